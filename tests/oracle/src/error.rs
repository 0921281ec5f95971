// SPDX-License-Identifier: GPL-2.0
//! What can be wrong with a question put to the oracle.

use std::fmt;

/// A request that the oracle cannot record. These are mistakes of the caller, never of the file
/// system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Offset or length is no multiple of a word, or the length is zero.
    Unaligned {
        /// Offset in bytes.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// The range ends beyond the greatest length the history was made for.
    OutOfRange {
        /// End of the range in bytes.
        end: u64,
        /// The length that the history covers.
        limit: u64,
    },
    /// The writer number is zero (the initial content) or beyond the configured number.
    Writer(u8),
    /// The file is longer than a word can name, or is empty.
    Geometry(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unaligned { offset, len } => {
                write!(f, "{len} bytes at {offset} do not consist of 8-byte words")
            }
            Self::OutOfRange { end, limit } => {
                write!(
                    f,
                    "a range ends at {end}, beyond the {limit} bytes on record"
                )
            }
            Self::Writer(id) => write!(f, "no writer has the number {id}"),
            Self::Geometry(len) => write!(f, "no history can cover a file of {len} bytes"),
        }
    }
}

impl std::error::Error for Error {}
