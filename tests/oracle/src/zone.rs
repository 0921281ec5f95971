// SPDX-License-Identifier: GPL-2.0
//! Where a filesystem may be held to the rules.
//!
//! Linux promises little about direct writes beside cached writers: the final invalidation of the
//! page cache is best effort, and its grain is the folio, up to two megabytes. Where both kinds of
//! writer have touched one folio, an old value is therefore a *collision* on an ordinary file
//! system and a violation on one that promises coherence. The kernel is a cached writer, too: of
//! zeroes, where a page is cut in two.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::record::Mode;

/// The greatest folio of the page cache in bytes, where a page has 4 KiB: what lies in different granules
/// shares no folio. Larger pages make larger folios, see [`granule`].
pub const GRANULE: u64 = 2 << 20;

/// The greatest folio where a page has so many bytes: no folio has more than 2^11 pages, nor more than
/// 2 MiB with pages of 4 KiB.
pub fn granule(page: u64) -> u64 {
    if page <= PAGE { GRANULE } else { page << 11 }
}

/// The least page: where a cut or the end of the file lies within one, the kernel itself writes zeroes
/// to the rest of it through the cache.
pub(crate) const PAGE: u64 = 4096;

/// What the filesystem under test promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Direct and cached writers of one folio may collide; everything else holds.
    Bare,
    /// Everything holds everywhere.
    Strict,
}

/// Remembers which kinds of writer have touched which part of the file.
#[derive(Debug)]
pub(crate) struct Zones {
    granule: u64,
    touched: Vec<AtomicU8>,
}

impl Zones {
    pub(crate) fn new(len: u64, granule: u64) -> Self {
        let granules = len.div_ceil(granule);
        let touched = (0..granules).map(|_| AtomicU8::new(0)).collect();
        Self { granule, touched }
    }

    /// To be called before the write is submitted: what it may cause comes later.
    pub(crate) fn touch(&self, mode: Mode, offset: u64, len: u64) {
        for granule in offset / self.granule..(offset + len).div_ceil(self.granule) {
            let cell = &self.touched[granule as usize];
            if cell.load(Ordering::Relaxed) & mode.bit() != mode.bit() {
                cell.fetch_or(mode.bit(), Ordering::SeqCst);
            }
        }
    }

    /// To be called before the kernel may zero a part of the page around `edge`.
    pub(crate) fn touch_edge(&self, edge: u64) {
        let inside = edge / self.granule < self.touched.len() as u64;
        if edge % PAGE != 0 && inside {
            self.touch(Mode::Buffered, edge / 8 * 8, 8);
        }
    }

    /// Content moves: what has touched one part may have touched any.
    pub(crate) fn spread(&self) {
        let all = self
            .touched
            .iter()
            .fold(0, |all, cell| all | cell.load(Ordering::SeqCst));
        for cell in &self.touched {
            cell.fetch_or(all, Ordering::SeqCst);
        }
    }

    /// Whether direct and cached writers share the granule around `offset`.
    pub(crate) fn mixed(&self, offset: u64) -> bool {
        let mask = self.touched[(offset / self.granule) as usize].load(Ordering::SeqCst);
        mask & Mode::Direct.bit() != 0 && mask & !Mode::Direct.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_direct_beside_cached_is_mixed() {
        let zones = Zones::new(3 * GRANULE, granule(4096));
        zones.touch(Mode::Direct, 0, 512);
        zones.touch(Mode::Buffered, GRANULE - 8, 16);
        zones.touch(Mode::Mmap, GRANULE, 8);
        assert!(zones.mixed(GRANULE - 8));
        assert!(!zones.mixed(GRANULE));
        assert!(!zones.mixed(2 * GRANULE));
        zones.touch(Mode::Either, 2 * GRANULE, 8);
        assert!(zones.mixed(2 * GRANULE));
    }

    #[test]
    fn larger_pages_make_larger_folios() {
        assert_eq!(granule(4096), GRANULE);
        assert_eq!(granule(64 << 10), 128 << 20);
        let zones = Zones::new(256 << 20, granule(64 << 10));
        zones.touch(Mode::Direct, 0, 512);
        zones.touch(Mode::Buffered, 127 << 20, 8);
        assert!(zones.mixed(3 * GRANULE) && !zones.mixed(128 << 20));
    }
}
