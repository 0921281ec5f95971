// SPDX-License-Identifier: GPL-2.0

//! The iterator over a caller's buffers.
//!
//! C headers: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::bvec::Direction;
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// An `iov_iter` handed in by the VFS for one call: user memory, kernel pages, anything.
///
/// It belongs to the request of the call. Once that is queued the iterator may be gone, and must not be
/// used any more: this the types do not see to, unlike for the request itself ([`super::kiocb`]).
///
/// # Invariants
///
/// - `raw` is a valid iterator for `'a`, and nobody else uses it meanwhile.
/// - It has moved on from where it can go back to by `total` less what is left.
pub struct IovIter<'a> {
    raw: NonNull<bindings::iov_iter>,
    total: usize,
    _call: PhantomData<&'a mut bindings::iov_iter>,
}

impl IovIter<'_> {
    /// Wraps an iterator.
    ///
    /// # Safety
    ///
    /// `raw` is non-null, valid, and for this wrapper alone while it lives.
    pub(super) unsafe fn from_raw(raw: *mut bindings::iov_iter) -> Self {
        // SAFETY: The caller guarantees it.
        // INVARIANT: It has not moved yet.
        unsafe {
            Self {
                raw: NonNull::new_unchecked(raw),
                total: iter_count(raw),
                _call: PhantomData,
            }
        }
    }

    /// The raw iterator.
    pub(super) fn as_raw(&self) -> *mut bindings::iov_iter {
        self.raw.as_ptr()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        // SAFETY: By the type invariants the iterator is valid.
        unsafe { iter_count(self.raw.as_ptr()) }
    }

    /// Whether it names pages of the kernel's, rather than memory of a task.
    pub fn is_kernel(&self) -> bool {
        // SAFETY: By the type invariants the iterator is valid.
        unsafe { !bindings::user_backed_iter(self.raw.as_ptr()) }
    }

    /// Which way the data go.
    pub fn direction(&self) -> Direction {
        // SAFETY: By the type invariants the iterator is valid.
        if unsafe { (*self.raw.as_ptr()).data_source } {
            Direction::FromPages
        } else {
            Direction::ToPages
        }
    }

    /// Moves on by `bytes`, which must be at most [`IovIter::remaining`].
    pub fn advance(&mut self, bytes: usize) {
        // SAFETY: By the type invariants the iterator is valid.
        unsafe { bindings::iov_iter_advance(self.raw.as_ptr(), bytes) };
    }

    /// Cuts what is left to `bytes`, which must be at most [`IovIter::remaining`].
    pub fn truncate(&mut self, bytes: usize) {
        let cut = self.remaining().saturating_sub(bytes);
        // SAFETY: By the type invariants the iterator is valid and ours; every kind of iterator
        // has the count there. This is what `iov_iter_truncate()` does.
        unsafe {
            let iter = self.raw.as_ptr();
            let count = &mut (*iter).__bindgen_anon_1.__bindgen_anon_1.as_mut().count;
            *count = bytes.min(*count);
        }
        // INVARIANT: As much less is left as there is in all.
        self.total = self.total.saturating_sub(cut);
    }

    /// Moves back by `bytes`, but no farther than to where the call has found it.
    pub fn revert(&mut self, bytes: usize) {
        let moved = self.total.saturating_sub(self.remaining());
        // SAFETY: By the type invariants the iterator is valid, and so is where it goes back to.
        unsafe { bindings::iov_iter_revert(self.raw.as_ptr(), bytes.min(moved)) };
    }
}

/// How many bytes an iterator has left, as `iov_iter_count()` does.
///
/// # Safety
///
/// `iter` is valid for reads.
pub(super) unsafe fn iter_count(iter: *const bindings::iov_iter) -> usize {
    // SAFETY: The caller guarantees the iterator; every kind of iterator has the count there.
    unsafe { (*iter).__bindgen_anon_1.__bindgen_anon_1.as_ref().count }
}
