// SPDX-License-Identifier: GPL-2.0
//! One write on record.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::change::Change;
use crate::clock::{NEVER, Ordinal};
use crate::word::{Key, Tag, WORD};

/// Which way an operation takes to the file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Through the page cache by a system call.
    Buffered,
    /// Around the page cache.
    Direct,
    /// Through the page cache by a load or store.
    Mmap,
    /// Through the page cache or around it: nobody can tell, because `O_DIRECT` is set and cleared on
    /// the descriptor meanwhile.
    Either,
}

impl Mode {
    /// Every mode that one can choose.
    pub const ALL: [Mode; 3] = [Mode::Buffered, Mode::Direct, Mode::Mmap];

    pub(crate) fn bit(self) -> u8 {
        match self {
            Self::Buffered => 1,
            Self::Direct => 2,
            Self::Mmap => 4,
            Self::Either => Self::Buffered.bit() | Self::Direct.bit(),
        }
    }

    /// A word for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buffered => "buffered",
            Self::Direct => "direct",
            Self::Mmap => "mmap",
            Self::Either => "either",
        }
    }
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The first so many bytes were acknowledged. The rest, if any, may have been written or not.
    Done(u64),
    /// An error: any part may have been written.
    Failed,
}

/// What the history keeps of a write.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) tag: Tag,
    pub(crate) sequence: u64,
    pub(crate) mode: Mode,
    /// What made the words zero, if it was no write.
    pub(crate) change: Option<Change>,
    /// Place of the first word and of the one after the last.
    pub(crate) words: Range<u64>,
    pub(crate) start: Ordinal,
    /// Set once, after `good`.
    end: AtomicU64,
    /// The acknowledged words are those before this place. Meaningful once `end` is set.
    good: AtomicU64,
    /// Whether its disappearance has been reported.
    noticed: AtomicBool,
}

impl Record {
    pub(crate) fn new(tag: Tag, sequence: u64, mode: Mode, words: Range<u64>, s: Ordinal) -> Self {
        Self {
            tag,
            sequence,
            mode,
            change: None,
            good: AtomicU64::new(words.start),
            words,
            start: s,
            end: AtomicU64::new(NEVER),
            noticed: AtomicBool::new(false),
        }
    }

    /// Words that a change makes zero.
    pub(crate) fn cut(change: Change, words: Range<u64>, start: Ordinal) -> Self {
        Self {
            change: Some(change),
            ..Self::new(Tag::HOLE, 0, Mode::Buffered, words, start)
        }
    }

    pub(crate) fn finish(&self, outcome: Outcome, end: Ordinal) {
        let good = match outcome {
            Outcome::Done(bytes) => (self.words.start + bytes / WORD).min(self.words.end),
            Outcome::Failed => self.words.start,
        };
        self.good.store(good, Ordering::Relaxed);
        self.end.store(end, Ordering::Release);
    }

    /// [`NEVER`] while it is under way.
    pub(crate) fn end(&self) -> Ordinal {
        self.end.load(Ordering::Acquire)
    }

    /// The words that were acknowledged; none while it is under way.
    pub(crate) fn acknowledged(&self) -> Range<u64> {
        if self.end() == NEVER {
            return self.words.start..self.words.start;
        }
        self.words.start..self.good.load(Ordering::Relaxed)
    }

    /// Whether some of its words may or may not be in the file for good.
    pub(crate) fn is_undefined_in(&self, words: &Range<u64>) -> bool {
        self.end() != NEVER
            && !overlap(&(self.acknowledged().end..self.words.end), words).is_empty()
    }

    /// True for the first caller only.
    pub(crate) fn notice(&self) -> bool {
        !self.noticed.swap(true, Ordering::Relaxed)
    }
}

/// The words that two ranges share.
pub(crate) fn overlap(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// A write that has been announced to the history.
#[derive(Clone, Debug)]
pub struct Write {
    pub(crate) record: Arc<Record>,
    pub(crate) key: Key,
}

impl Write {
    /// Produces the content to be written. `out` must be as long as the write.
    pub fn fill(&self, out: &mut [u64]) {
        self.key.fill(self.record.tag, self.record.words.start, out);
    }

    /// The word that belongs at `nth` place within the write.
    pub fn word(&self, nth: u64) -> u64 {
        self.key
            .encode(self.record.tag, self.record.words.start + nth)
    }

    /// Offset in bytes.
    pub fn offset(&self) -> u64 {
        self.record.words.start * WORD
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        (self.record.words.end - self.record.words.start) * WORD
    }

    /// Never true: a write has at least one word.
    pub fn is_empty(&self) -> bool {
        self.record.words.is_empty()
    }

    /// The writer's own count of its writes.
    pub fn sequence(&self) -> u64 {
        self.record.sequence
    }
}
