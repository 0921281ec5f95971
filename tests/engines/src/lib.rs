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

mod advice;
mod allocate;
mod buffer;
mod bus;
mod clock;
mod copy;
mod direct;
mod errno;
mod error;
mod file;
mod flags;
mod kind;
mod libaio;
mod mapped;
mod mapping;
mod memory;
mod message;
mod open;
mod pipe;
mod probe;
mod process;
mod queue;
mod region;
mod remote;
mod sendfile;
pub mod signals;
mod single;
mod slots;
pub mod supervise;
mod sync;
mod uring;
mod vector;

pub use advice::Advice;
pub use allocate::Allocate;
pub use buffer::{Buffer, Shape};
pub use clock::{coarse_time, process_cpu_time, thread_cpu_time};
pub use direct::{Directness, Verdict};
pub use errno::Errno;
pub use error::Error;
pub use file::File;
pub use kind::{Flag, Kind, Path, Ring, Touch};
pub use mapping::Mapping;
pub use open::{open, open_on};
pub use probe::{DioAlign, atomic_units, page_size};
pub use process::{raise_descriptors, terminal_width};
pub use queue::{Completion, Op, Queue, Rejected, Request};
pub use remote::{Fate, Job, Remote, WorkerId};
