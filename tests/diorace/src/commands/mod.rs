// SPDX-License-Identifier: GPL-2.0
//! The subcommands.

pub mod compare;
pub mod describe;
pub mod doctor;
pub mod list;
mod minimise;
mod outputs;
pub mod render;
mod repeat;
pub mod replay;
pub mod run;
pub mod selftest;
mod session;
mod trial;
