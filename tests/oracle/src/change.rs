// SPDX-License-Identifier: GPL-2.0
//! Operations that change a file's size, or its content without any data.
//!
//! Two things can happen to words: a *cut* makes some of them zero, like a write of zeroes; a *shift*
//! moves all words behind a place. A cut obeys the rules for writes, so while it is under way both the
//! old content and zeroes are legal, and afterwards what was written before it is not. Of a read that
//! overlaps a shift in time, only this is asserted: that its words were written to this file, wherever.

use std::ops::Range;

use crate::word::WORD;

/// A change, in bytes. All numbers must be multiples of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// ftruncate(2): the file ends here from now on.
    Truncate {
        /// The new size.
        len: u64,
    },
    /// fallocate(2): reserve blocks.
    Allocate {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// Leave the size alone.
        keep: bool,
    },
    /// `FALLOC_FL_PUNCH_HOLE`.
    Punch {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// `FALLOC_FL_ZERO_RANGE`.
    Zero {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
        /// Leave the size alone.
        keep: bool,
    },
    /// `FALLOC_FL_COLLAPSE_RANGE`: take a range out.
    Collapse {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// `FALLOC_FL_INSERT_RANGE`: put a hole in between.
    Insert {
        /// Where.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It succeeded.
    Done,
    /// The filesystem refused it: nothing happened.
    Refused,
    /// It failed: any part of it may have happened.
    Failed,
}

/// Where words go, in places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shift {
    /// Places that vanish; empty for an insertion.
    pub(crate) gone: Range<u64>,
    /// What is added to every place from `gone.end` on.
    pub(crate) by: i64,
    /// Places that are zero afterwards.
    pub(crate) fresh: Range<u64>,
}

impl Change {
    /// A word for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncate { .. } => "truncate",
            Self::Allocate { .. } => "fallocate",
            Self::Punch { .. } => "punch",
            Self::Zero { .. } => "zero range",
            Self::Collapse { .. } => "collapse",
            Self::Insert { .. } => "insert",
        }
    }

    /// The bytes that it is about; what a truncation is about ends nowhere.
    pub fn range(self) -> Range<u64> {
        match self {
            Self::Truncate { len } => len..u64::MAX,
            Self::Allocate { offset, len, .. }
            | Self::Punch { offset, len }
            | Self::Zero { offset, len, .. }
            | Self::Collapse { offset, len }
            | Self::Insert { offset, len } => offset..offset.saturating_add(len),
        }
    }

    /// The places that it makes zero in a file of at most `limit` words.
    pub(crate) fn cut(self, limit: u64) -> Range<u64> {
        let range = self.range();
        let words = (range.start / WORD).min(limit)..(range.end / WORD).min(limit);
        match self {
            Self::Truncate { .. } | Self::Punch { .. } | Self::Zero { .. } => words,
            Self::Allocate { .. } | Self::Collapse { .. } | Self::Insert { .. } => 0..0,
        }
    }

    /// Where it moves the words of a file of at most `limit` words.
    pub(crate) fn shift(self, limit: u64) -> Option<Shift> {
        let range = self.range();
        let (start, end) = (range.start / WORD, range.end / WORD);
        let by = (end - start) as i64;
        match self {
            Self::Collapse { .. } => Some(Shift {
                gone: start..end,
                by: -by,
                fresh: limit.saturating_sub(end - start)..limit,
            }),
            Self::Insert { .. } => Some(Shift {
                gone: start..start,
                by,
                fresh: start.min(limit)..end.min(limit),
            }),
            _ => None,
        }
    }
}

impl Shift {
    /// The pieces that a range of places falls into, each with what is added to it.
    pub(crate) fn pieces(&self, range: &Range<u64>) -> [(Range<u64>, i64); 2] {
        let before = range.start..range.end.min(self.gone.start).max(range.start);
        let after = range.start.max(self.gone.end)..range.end.max(self.gone.end);
        [(before, 0), (after, self.by)]
    }
}

/// A range of places, moved.
pub(crate) fn moved(range: &Range<u64>, by: i64) -> Range<u64> {
    range.start.saturating_add_signed(by)..range.end.saturating_add_signed(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_splits_what_it_hits() {
        let collapse = Change::Collapse {
            offset: 80,
            len: 40,
        };
        let shift = collapse.shift(100).unwrap();
        assert_eq!(shift.pieces(&(5..20)), [(5..10, 0), (15..20, -5)]);
        assert_eq!(shift.pieces(&(20..30))[1], (20..30, -5));
        assert!(
            shift
                .pieces(&(11..14))
                .iter()
                .all(|(part, _)| part.is_empty())
        );
        assert_eq!(shift.fresh, 95..100);
        let insert = Change::Insert {
            offset: 80,
            len: 40,
        };
        let shift = insert.shift(100).unwrap();
        assert_eq!(shift.pieces(&(5..20)), [(5..10, 0), (10..20, 5)]);
        assert_eq!(shift.fresh, 10..15);
    }

    #[test]
    fn a_truncation_cuts_to_the_end() {
        assert_eq!(Change::Truncate { len: 80 }.cut(100), 10..100);
        assert_eq!(Change::Truncate { len: 8000 }.cut(100), 100..100);
        let punch = Change::Punch { offset: 8, len: 16 };
        assert_eq!(punch.cut(100), 1..3);
    }
}
