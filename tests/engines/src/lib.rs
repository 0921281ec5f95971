// SPDX-License-Identifier: GPL-2.0
//! Ways to read and write a file on Linux.
//!
//! System calls, libaio, io_uring and shared mappings behind one trait, [`Queue`]: requests go in with
//! a buffer, completions come out with the buffer. This is the only crate of the workspace's tester
//! that contains unsafe code, all of it directly around a system call or a mapping; the crate knows
//! nothing of what is written or why.
//!
//! Nothing here retries or repairs: a short transfer is a short count, an error is an [`Errno`]. Only
//! interruptions before anything happened are hidden where that is safe.

mod buffer;
mod bus;
mod errno;
mod error;
mod file;
mod libaio;
mod mapping;
mod probe;
mod queue;
pub mod signals;
pub mod supervise;
mod sync;
mod uring;

pub use buffer::Buffer;
pub use errno::Errno;
pub use error::Error;
pub use file::{Advice, File};
pub use mapping::{Mapping, MmapQueue};
pub use probe::{DioAlign, page_size};
pub use queue::{Completion, Kind, Op, Path, Queue, Rejected, Request, open};
