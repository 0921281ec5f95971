// SPDX-License-Identifier: GPL-2.0

//! Ranges of bytes of a file.

/// A non-empty range of bytes of a file, `start..=last`.
///
/// # Invariants
///
/// `start <= last <= i64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    last: u64,
}

impl ByteRange {
    /// The range of `len` bytes from `pos`; `None` if it is empty or ends past the largest offset.
    pub fn new(pos: i64, len: usize) -> Option<Self> {
        let start = u64::try_from(pos).ok()?;
        let last = start.checked_add(u64::try_from(len).ok()?.checked_sub(1)?)?;
        // INVARIANT: `last` is `start` plus something, and checked against the largest offset.
        (last <= i64::MAX as u64).then_some(Self { start, last })
    }

    /// The range from `start` to before `end`; `None` if it is empty.
    pub fn between(start: i64, end: i64) -> Option<Self> {
        let len = usize::try_from(end.checked_sub(start)?).ok()?;
        Self::new(start, len)
    }

    /// First byte of the range.
    pub fn start(self) -> i64 {
        self.start as i64
    }

    /// Last byte of the range.
    pub fn last(self) -> i64 {
        self.last as i64
    }

    /// First byte after the range.
    pub fn end(self) -> u64 {
        // By the type invariants this cannot overflow.
        self.last + 1
    }

    /// Whether a file of `size` bytes ends before the range does.
    pub fn extends(self, size: i64) -> bool {
        i64::try_from(self.end()).map_or(true, |end| end > size)
    }

    /// The index of the page of `1 << shift` bytes that holds the first byte.
    pub fn first_page(self, shift: usize) -> usize {
        (self.start as usize) >> shift
    }

    /// The index of the page of `1 << shift` bytes that holds the last byte.
    pub fn last_page(self, shift: usize) -> usize {
        (self.last as usize) >> shift
    }
}
