// SPDX-License-Identifier: GPL-2.0
//! The subcommands.

pub mod compare;
pub mod list;
mod outputs;
pub mod replay;
pub mod run;
pub mod selftest;
mod session;
