// SPDX-License-Identifier: GPL-2.0

//! Iterators over arrays of page ranges, for I/O between kernel pages and a file.
//!
//! C headers: [`include/linux/bvec.h`](srctree/include/linux/bvec.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::iov::iter_count;
use crate::bindings;
use core::marker::PhantomData;

/// Which way the data go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the pages into the file: a write.
    FromPages,
    /// From the file into the pages: a read.
    ToPages,
}

impl Direction {
    pub(super) const fn as_raw(self) -> u32 {
        match self {
            Direction::FromPages => bindings::ITER_SOURCE,
            Direction::ToPages => bindings::ITER_DEST,
        }
    }
}

/// An `iov_iter` over an array of page ranges.
///
/// # Invariants
///
/// `raw` iterates over an array that lives for `'a`, as do the pages that it names.
pub struct BvecIter<'a> {
    raw: bindings::iov_iter,
    _bvecs: PhantomData<&'a [bindings::bio_vec]>,
}

// SAFETY: The pages are not bound to a task, and the array is only read.
unsafe impl Send for BvecIter<'_> {}

impl<'a> BvecIter<'a> {
    /// An iterator over the first `len` bytes of `bvecs`.
    ///
    /// # Safety
    ///
    /// The pages that `bvecs` names stay valid for `'a`, and `len` is at most the sum of the
    /// ranges' lengths.
    pub(super) unsafe fn new(
        direction: Direction,
        bvecs: &'a [bindings::bio_vec],
        len: usize,
    ) -> Self {
        let mut raw = bindings::iov_iter::default();
        // SAFETY: `raw` is valid for writes; the array outlives the iterator by `'a`.
        unsafe {
            bindings::iov_iter_bvec(
                &mut raw,
                direction.as_raw(),
                bvecs.as_ptr(),
                bvecs.len(),
                len,
            );
        }
        // INVARIANT: As the caller and the lifetime guarantee.
        Self {
            raw,
            _bvecs: PhantomData,
        }
    }

    /// The raw iterator.
    pub(super) fn as_raw(&mut self) -> *mut bindings::iov_iter {
        &mut self.raw
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        // SAFETY: By the type invariants the iterator is valid.
        unsafe { iter_count(&self.raw) }
    }

    /// Has `f` see the next `bytes` alone, and moves behind them whatever it leaves.
    pub(super) fn with_next<R>(&mut self, bytes: usize, f: impl FnOnce(&mut Self) -> R) -> R {
        let left = self.remaining();
        let bytes = bytes.min(left);
        self.set_count(bytes);
        let result = f(self);
        // SAFETY: By the type invariants the iterator is valid; it has that many bytes.
        unsafe { bindings::iov_iter_advance(&mut self.raw, self.remaining()) };
        self.set_count(left.saturating_sub(bytes));
        result
    }

    /// Sets how many bytes are left, as `iov_iter_truncate()` and `iov_iter_reexpand()` do: no more
    /// than the array still names.
    fn set_count(&mut self, count: usize) {
        // SAFETY: Every kind of iterator has the count there; the callers have it at most what it was.
        unsafe {
            self.raw.__bindgen_anon_1.__bindgen_anon_1.as_mut().count = count;
        }
    }

    /// Fills what is left with zeros.
    pub fn zero_rest(&mut self) {
        let left = self.remaining();
        // SAFETY: By the type invariants the pages are valid; the iterator has `left` bytes.
        unsafe { bindings::iov_iter_zero(left, &mut self.raw) };
    }
}
