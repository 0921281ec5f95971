// SPDX-License-Identifier: GPL-2.0

//! Iterators over arrays of page ranges, for I/O between kernel pages and a file.
//!
//! C headers: [`include/linux/bvec.h`](srctree/include/linux/bvec.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::iov::iter_count;
use crate::bindings;
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr, //
};
use kernel::{
    alloc::KVVec,
    page::PAGE_SIZE,
    prelude::*, //
};

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

/// So many page ranges need no allocation: those of most requests of 16 KiB.
const FEW: usize = 4;

/// An array of page ranges. A short one lies in place.
///
/// # Invariants
///
/// With [`BvecArray::Few`], `len <= FEW`, and that many elements at the beginning are in use.
pub(super) enum BvecArray {
    /// In place.
    Few {
        array: [bindings::bio_vec; FEW],
        len: usize,
    },
    /// Allocated.
    Many(KVVec<bindings::bio_vec>),
}

impl BvecArray {
    /// An empty array with room for `capacity` elements.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn with_capacity(capacity: usize) -> Result<Self> {
        if capacity > FEW {
            return Ok(Self::Many(KVVec::with_capacity(capacity, GFP_KERNEL)?));
        }
        // INVARIANT: None is in use.
        Ok(Self::Few {
            array: Default::default(),
            len: 0,
        })
    }

    /// Where further elements go, and for how many there is room.
    pub(super) fn spare(&mut self) -> (*mut bindings::bio_vec, usize) {
        match self {
            Self::Few { array, len } => {
                let spare = array.get_mut(*len..).unwrap_or_default();
                (spare.as_mut_ptr(), spare.len())
            }
            Self::Many(array) => {
                let spare = array.spare_capacity_mut();
                (spare.as_mut_ptr().cast(), spare.len())
            }
        }
    }

    /// Takes `count` further elements into use.
    ///
    /// # Safety
    ///
    /// There is room for them, and they were written to where [`BvecArray::spare`] says.
    pub(super) unsafe fn extend(&mut self, count: usize) {
        match self {
            // INVARIANT: The caller guarantees that there is room.
            Self::Few { len, .. } => *len = len.saturating_add(count),
            // SAFETY: The caller guarantees both.
            Self::Many(array) => unsafe { array.inc_len(count) },
        }
    }

    /// Adds an element for which there is room.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is none.
    pub(super) fn push(&mut self, bvec: bindings::bio_vec) -> Result {
        let (spare, room) = self.spare();
        if room == 0 {
            return Err(ENOMEM);
        }
        // SAFETY: There is room for one at `spare`.
        unsafe {
            spare.write(bvec);
            self.extend(1);
        }
        Ok(())
    }

    /// Whether the array takes more than a page: more elements than a `struct bio` has, in memory
    /// that only a context that may sleep can free (`vfree()`).
    pub(super) fn takes_pages(&self) -> bool {
        match self {
            Self::Few { .. } => false,
            Self::Many(array) => array.capacity() > PAGE_SIZE / size_of::<bindings::bio_vec>(),
        }
    }

    /// Empties the array.
    pub(super) fn clear(&mut self) {
        match self {
            // INVARIANT: None is in use.
            Self::Few { len, .. } => *len = 0,
            Self::Many(array) => array.clear(),
        }
    }
}

impl Deref for BvecArray {
    type Target = [bindings::bio_vec];

    fn deref(&self) -> &[bindings::bio_vec] {
        match self {
            Self::Few { array, len } => array.get(..*len).unwrap_or_default(),
            Self::Many(array) => array,
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

    /// Another iterator at the same place, for one whose word about how far it came counts, and not
    /// where it leaves its iterator.
    pub(super) fn fork(&self) -> Self {
        // INVARIANT: The same array and pages, for as long.
        Self {
            // SAFETY: `raw` is valid for reads, and has plain values in it, which own nothing.
            raw: unsafe { ptr::read(&self.raw) },
            _bvecs: PhantomData,
        }
    }

    /// Moves on by `bytes`, or to the end if that is nearer.
    pub(super) fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.remaining());
        // SAFETY: By the type invariants the iterator is valid; it has `bytes` bytes.
        unsafe { bindings::iov_iter_advance(&mut self.raw, bytes) };
    }

    /// Has `f` see the next `bytes` alone, and moves behind them whatever it leaves.
    pub(super) fn with_next<R>(&mut self, bytes: usize, f: impl FnOnce(&mut Self) -> R) -> R {
        let left = self.remaining();
        let bytes = bytes.min(left);
        self.set_count(bytes);
        let result = f(self);
        self.advance(bytes);
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
