// SPDX-License-Identifier: GPL-2.0

//! What is decided by arithmetic and tables alone.
//!
//! Nothing in here needs the kernel: `core` is all that is used, and the values of the kernel's
//! flags. So the host compiles these very files as well and tests their properties
//! (`tests/pure`).

#![forbid(unsafe_code)]

pub mod bisect;
pub mod byte_range;
pub mod dio_busy;
pub mod flags;
pub mod gate;
pub mod run;
