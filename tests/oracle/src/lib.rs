// SPDX-License-Identifier: GPL-2.0
//! Decides whether what a read of a racing file returned was legal.
//!
//! Many threads write one file at once, through the page cache, around it and through mappings of
//! it, while others read. No order is promised between operations that overlap in time, so nobody
//! can say *the* right content; but for every word and every read there is a *set* of right
//! contents, and this crate computes it. It performs no I/O and knows no filesystem: it is told
//! when writes begin and end and what reads returned.
//!
//! # The rules
//!
//! A file is an array of 8-byte words. Every word written carries the write that made it
//! ([`word`]). One counter ([`clock`]) gives every event an ordinal: a write's *start* is taken
//! before the request is handed to the kernel, its *end* after its completion was seen; likewise for
//! reads. A write that has not completed has no end.
//!
//! A read may return for a word the value of a write `w` that covers it, if
//!
//! * (a) `w` started before the read ended, and
//! * (b) there is no *acknowledged* write `x` of that word which started after `w` ended and ended
//!   before the read started.
//!
//! The content at the beginning counts as a write that ended before everything. This is a
//! multi-writer *regular register*: nothing is said about several words of one read belonging
//! together, nor about two overlapping reads agreeing.
//!
//! A write that failed, and the part of a short write that was not acknowledged, may or may not have
//! happened: it is a legal value under the same rule, but it supersedes nothing.
//!
//! # Changes of size
//!
//! Truncation, punching and zeroing ([`Change`]) are writes of zeroes under the same rule. What was
//! written before such a change and is seen after it is *resurrected*. The size itself lies between
//! bounds that follow from the same order of events. Collapsing and inserting move words; a read that
//! overlaps such a move may return any word of this file, and later ones must find every word where
//! the move has put it.
//!
//! # Example
//!
//! ```
//! use oracle::{Config, History, Mode, Outcome, Tally};
//!
//! let history = History::new(Config::new(4096)).unwrap();
//! let mut words = vec![0u64; 64];
//!
//! let write = history.begin_write(1, Mode::Direct, 512, 512).unwrap();
//! write.fill(&mut words);
//! // ... the words reach the file here ...
//! history.end_write(&write, Outcome::Done(512));
//!
//! let mut tally = Tally::default();
//! let read = history.begin_read(0);
//! let read = history.end_read(read);
//! history.check(&read, 512, &words, &mut tally);
//! assert!(tally.is_clean());
//!
//! // The same read, had the kernel returned the old content of the last word:
//! words[63] = history.initial_word(512 / 8 + 63);
//! history.check(&read, 512, &words, &mut tally);
//! assert_eq!(tally.findings()[0].class, oracle::Class::Stale);
//! ```

mod cell;
mod change;
mod check;
pub mod clock;
mod count;
mod entry;
mod error;
mod finding;
mod history;
mod layout;
mod record;
mod size;
mod sizes;
pub mod word;
mod zone;

pub use change::{Change, Changed};
pub use error::Error;
pub use finding::{Class, Finding, OpView, Seen, Severity, Tally};
pub use history::{Changing, Config, History, Initial, Read, ReadStart};
pub use record::{Mode, Outcome, Write};
pub use size::SizeTracker;
pub use word::{Key, Tag, WORD};
pub use zone::{GRANULE, Profile, granule};
