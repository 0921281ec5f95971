// SPDX-License-Identifier: GPL-2.0

//! Page-cache folios, locked.
//!
//! C headers: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::range_set::ByteRange;
use crate::{
    bindings,
    pure::run, //
};
use core::ptr::NonNull;

/// A folio of a page cache whose lock and one reference this owns.
///
/// # Invariants
///
/// `raw` is a live folio, locked on behalf of this guard, which also owns one reference to it.
pub struct LockedFolio {
    raw: NonNull<bindings::folio>,
}

impl LockedFolio {
    /// Takes over a locked folio and one reference to it.
    ///
    /// # Safety
    ///
    /// `raw` is a live folio, locked, and both its lock and a reference are the caller's to give.
    pub(super) unsafe fn from_raw(raw: NonNull<bindings::folio>) -> Self {
        // INVARIANT: As the caller guarantees.
        Self { raw }
    }

    /// Locks the folio at `index` of `mapping`, if there is one.
    ///
    /// # Safety
    ///
    /// `mapping` is the address space of a live inode.
    ///
    /// Context: process context, sleeps for the lock.
    pub(super) unsafe fn find(mapping: *mut bindings::address_space, index: usize) -> Option<Self> {
        // SAFETY: The caller guarantees `mapping`.
        let raw = unsafe { bindings::filemap_lock_folio(mapping, index) };
        let raw = kernel::error::from_err_ptr(raw).ok()?;
        // INVARIANT: `filemap_lock_folio` returns the folio locked and referenced.
        NonNull::new(raw).map(|raw| Self { raw })
    }

    /// The bytes of the file that the folio stands for.
    pub fn range(&self) -> Option<ByteRange> {
        // SAFETY: By the type invariants the folio is live and locked.
        unsafe { folio_range(self.raw.as_ptr()) }
    }

    /// Writes zeros into the folio from byte `pos` of the file to its end.
    pub fn zero_from(&self, pos: i64) {
        // SAFETY: By the type invariants the folio is live and locked.
        let (start, size) = unsafe {
            (
                bindings::folio_pos(self.raw.as_ptr()),
                bindings::folio_size(self.raw.as_ptr()),
            )
        };
        let from = pos
            .checked_sub(start)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(0);
        if from < size {
            // SAFETY: `from < size`, and the folio is locked.
            unsafe { bindings::folio_zero_segment(self.raw.as_ptr(), from, size) };
        }
    }

    /// Whether the folio holds data that a reader may be given.
    pub fn is_uptodate(&self) -> bool {
        // SAFETY: By the type invariants the folio is live.
        unsafe { bindings::folio_test_uptodate(self.raw.as_ptr()) }
    }

    /// Gives the lock and the reference away.
    pub(super) fn into_raw(self) -> *mut bindings::folio {
        let raw = self.raw.as_ptr();
        core::mem::forget(self);
        raw
    }
}

impl Drop for LockedFolio {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the lock and a reference are ours.
        unsafe {
            bindings::folio_unlock(self.raw.as_ptr());
            bindings::folio_put(self.raw.as_ptr());
        }
    }
}

/// The bytes of the file that a folio stands for.
///
/// # Safety
///
/// `folio` is in a page cache and locked, so that neither its index nor its size can change.
pub(super) unsafe fn folio_range(folio: *mut bindings::folio) -> Option<ByteRange> {
    // SAFETY: The caller guarantees `folio`.
    unsafe { ByteRange::new(bindings::folio_pos(folio), bindings::folio_size(folio)) }
}

/// Where in a folio the `len` bytes at `pos` of the file lie, if they do lie in it.
///
/// # Safety
///
/// As [`folio_range`].
pub(super) unsafe fn offset_within(
    folio: *mut bindings::folio,
    pos: i64,
    len: usize,
) -> Option<usize> {
    // SAFETY: The caller guarantees `folio`.
    let (start, size) = unsafe { (bindings::folio_pos(folio), bindings::folio_size(folio)) };
    run::offset_within(start, size, pos, len)
}
