// SPDX-License-Identifier: GPL-2.0
//! What `stat` may say about a file that only grows.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds of a growing file's size.
///
/// When an extending write has completed, the size must cover it; it never covers more than what
/// has been announced. Truncation is not known here.
#[derive(Debug, Default)]
pub struct SizeTracker {
    acknowledged: AtomicU64,
    announced: AtomicU64,
}

impl SizeTracker {
    /// A file of this size.
    pub fn new(len: u64) -> Self {
        Self {
            acknowledged: AtomicU64::new(len),
            announced: AtomicU64::new(len),
        }
    }

    /// To be called before a write is handed to the kernel.
    pub fn begin_write(&self, end: u64) {
        self.announced.fetch_max(end, Ordering::SeqCst);
    }

    /// To be called after a write's completion was seen, with the end of the bytes acknowledged.
    pub fn end_write(&self, end: u64) {
        self.acknowledged.fetch_max(end, Ordering::SeqCst);
    }

    /// The least size that a `stat` or read beginning now may find.
    pub fn least(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Whether a `stat` may say `size`, if [`least`](Self::least) was `least` before it and the call
    /// comes after it.
    pub fn is_legal(&self, least: u64, size: u64) -> bool {
        least <= size && size <= self.announced.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completed_extension_must_show() {
        let size = SizeTracker::new(100);
        size.begin_write(200);
        let least = size.least();
        assert!(size.is_legal(least, 100));
        assert!(size.is_legal(least, 200));
        assert!(!size.is_legal(least, 201));
        size.end_write(200);
        assert!(!size.is_legal(size.least(), 100));
    }
}
