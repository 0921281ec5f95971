// SPDX-License-Identifier: GPL-2.0
//! A write and where its words are now.

use std::ops::Range;
use std::sync::Arc;

use crate::change::moved;
use crate::clock::Ordinal;
use crate::record::{Record, overlap};

/// A part of a write, at the places to which shifts have moved it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Arc<Record>,
    /// Where the words are.
    pub(crate) range: Range<u64>,
    /// What was added to the places for which they were written.
    pub(crate) by: i64,
    /// False if the write met a shift: it may be here or elsewhere, and hides nothing.
    pub(crate) certain: bool,
}

impl Entry {
    /// The part of a new write that lies in `words`.
    pub(crate) fn new(record: &Arc<Record>, words: &Range<u64>) -> Self {
        Self {
            range: overlap(&record.words, words),
            record: Arc::clone(record),
            by: 0,
            certain: true,
        }
    }

    /// The place for which the word at `place` was written.
    pub(crate) fn origin(&self, place: u64) -> u64 {
        place.saturating_add_signed(-self.by)
    }

    /// Rule (b): whether this write makes an earlier one, which ended at `end`, illegal for a read
    /// that starts at `read`; and for which words of `run`.
    pub(crate) fn supersedes(&self, end: Ordinal, read: Ordinal, run: &Range<u64>) -> Range<u64> {
        if self.certain && end < self.record.start && self.record.end() < read {
            let good = moved(&self.record.acknowledged(), self.by);
            overlap(&overlap(&good, &self.range), run)
        } else {
            run.start..run.start
        }
    }

    /// Whether some of these words may or may not be in the file for good.
    pub(crate) fn is_undefined_in(&self, words: &Range<u64>) -> bool {
        let mine = overlap(&self.range, words);
        !mine.is_empty() && self.record.is_undefined_in(&moved(&mine, -self.by))
    }

    /// Takes in another part of the same write if it is the next one, or the same.
    pub(crate) fn join(&mut self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.record, &other.record)
            && (self.by, self.certain) == (other.by, other.certain)
            && (self.range.start..=self.range.end).contains(&other.range.start);
        if same {
            self.range.end = self.range.end.max(other.range.end);
        }
        same
    }
}
