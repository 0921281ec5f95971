// SPDX-License-Identifier: GPL-2.0
//! Every request of a run on record, and the requests of a record made again.
//!
//! A record is text: a line that names the format, a line of JSON with the choices of the run, and a
//! line for each request that has ended:
//!
//! ```text
//! scenario false-sharing
//! thread 0 libaio write
//! 0 w 13312 512 17 25 512
//! ```
//!
//! It holds no content: a replay writes words of its own, and judges them.
//!
//! The last is: thread, `w` or `r`, offset, length, when it began and ended, and how many bytes were
//! moved or `-` for an error. Beginnings and ends are numbered by one counter, as in the oracle.

mod log;
mod script;

pub use log::{Entry, Header, Log};
pub use script::{Part, Script};

/// Names the format, on the first line.
const MAGIC: &str = "diorace-record 1";
