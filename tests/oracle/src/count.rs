// SPDX-License-Identifier: GPL-2.0
//! Judges how much a read returned, and what `stat` said.

use crate::finding::Class;
use crate::history::{History, Read};
use crate::record::Write;

impl History {
    /// Whether the file changes its size.
    pub fn is_sized(&self) -> bool {
        self.sizes.is_some()
    }

    /// The bounds of the size that the file may have had during a read, or during whatever else was
    /// announced like one.
    pub fn size_bounds(&self, read: &Read) -> (u64, u64) {
        match &self.sizes {
            Some(sizes) => (
                sizes.least(read.start, read.end),
                sizes.greatest(read.start, read.end),
            ),
            None => (self.len_bytes(), self.len_bytes()),
        }
    }

    /// Whether the file was so long, all the time that a write took, that it reached to the end of what
    /// was written. To be asked after [`end_write`](History::end_write).
    pub fn held(&self, write: &Write) -> bool {
        let end = write.offset() + write.len();
        match &self.sizes {
            Some(sizes) => sizes.least(write.record.start, write.record.end()) >= end,
            None => true,
        }
    }

    /// What is wrong with a read of `len` bytes at `offset` that returned `got`.
    pub fn count_is_wrong(&self, read: &Read, offset: u64, len: u64, got: u64) -> Option<Class> {
        let (least, greatest) = self.size_bounds(read);
        if got < least.saturating_sub(offset).min(len) {
            Some(Class::Short)
        } else if got > greatest.saturating_sub(offset).min(len) {
            Some(Class::Size)
        } else {
            None
        }
    }

    /// Whether `stat`, announced like a read, may have said `size`.
    pub fn size_is_legal(&self, read: &Read, size: u64) -> bool {
        let (least, greatest) = self.size_bounds(read);
        least <= size && size <= greatest
    }
}
