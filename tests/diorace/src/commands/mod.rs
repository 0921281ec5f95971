// SPDX-License-Identifier: GPL-2.0
//! The subcommands.

pub mod compare;
pub mod list;
pub mod run;
pub mod selftest;
