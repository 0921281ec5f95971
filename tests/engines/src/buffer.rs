// SPDX-License-Identifier: GPL-2.0
//! Memory that requests read into and write from.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::Error;
use crate::mapping::Mapping;
use crate::region::Region;

/// Size of a word in bytes.
const WORD: usize = 8;

/// A buffer for one request. It travels with the request, so that nobody touches it meanwhile.
#[derive(Debug)]
pub struct Buffer(Kind);

#[derive(Debug)]
enum Kind {
    Heap(Heap),
    /// Part of anonymous shared memory. Another process may use it while the request is in its hands,
    /// and nobody else: whoever hands out the part gives it to one buffer at a time.
    Region {
        region: Arc<Region>,
        offset: usize,
        len: usize,
    },
    /// Part of a shared mapping: others may change it at any time.
    Mapped {
        mapping: Arc<Mapping>,
        offset: usize,
        len: usize,
    },
}

/// Aligned memory of our own.
///
/// # Invariants
/// `start` points to `layout.size()` initialised bytes allocated with `layout`, whose alignment is at
/// least that of a word and whose size is a multiple of it.
#[derive(Debug)]
struct Heap {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone, as that of a `Box<[u64]>` does.
unsafe impl Send for Heap {}
// SAFETY: shared references give out shared slices only.
unsafe impl Sync for Heap {}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: by the invariant, `start` was allocated with `layout` and is freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl Buffer {
    /// Zeroed memory of at least `len` bytes at a multiple of `align`, with its pages present.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(len: usize, align: usize) -> Result<Self, Error> {
        let len = len.max(WORD).next_multiple_of(WORD);
        let align = align.max(WORD).next_power_of_two();
        let layout = Layout::from_size_align(len, align).map_err(|_| Error::Buffer(len))?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Error::Buffer(len))?;
        // INVARIANT: allocated and zeroed just now; size and alignment are multiples of a word.
        let mut buffer = Self(Kind::Heap(Heap { start, layout }));
        buffer.words_mut().fill(0);
        Ok(buffer)
    }

    /// Part of a shared mapping as a buffer.
    ///
    /// # Errors
    /// If the mapping does not reach that far or the range does not consist of words.
    pub fn from_mapping(mapping: Arc<Mapping>, offset: usize, len: usize) -> Result<Self, Error> {
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > mapping.len()) || offset % WORD != 0 || len % WORD != 0 {
            return Err(Error::Buffer(len));
        }
        Ok(Self(Kind::Mapped {
            mapping,
            offset,
            len,
        }))
    }

    /// Part of anonymous shared memory as a buffer, which nobody else may use.
    ///
    /// # Errors
    /// If the region does not reach that far or the range does not consist of words.
    pub(crate) fn from_region(
        region: Arc<Region>,
        offset: usize,
        len: usize,
    ) -> Result<Self, Error> {
        let len = len.max(WORD).next_multiple_of(WORD);
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > region.len()) || offset % WORD != 0 {
            return Err(Error::Buffer(len));
        }
        Ok(Self(Kind::Region {
            region,
            offset,
            len,
        }))
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Heap(heap) => heap.layout.size(),
            Kind::Region { len, .. } | Kind::Mapped { len, .. } => *len,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it begins, for system calls.
    pub(crate) fn start(&self) -> *mut u8 {
        match &self.0 {
            Kind::Heap(heap) => heap.start.as_ptr(),
            Kind::Region { region, offset, .. } => region.at(*offset).as_ptr(),
            Kind::Mapped {
                mapping, offset, ..
            } => mapping.at(*offset),
        }
    }

    /// Where it begins in a region, if it lies in that one.
    pub(crate) fn place_in(&self, other: &Arc<Region>) -> Option<usize> {
        match &self.0 {
            Kind::Region { region, offset, .. } if Arc::ptr_eq(region, other) => Some(*offset),
            _ => None,
        }
    }

    /// Its memory, if nobody else uses it while the buffer is here.
    fn own(&self) -> Option<(NonNull<u64>, usize)> {
        match &self.0 {
            Kind::Heap(heap) => Some((heap.start.cast(), heap.layout.size() / WORD)),
            Kind::Region {
                region,
                offset,
                len,
            } => Some((region.at(*offset).cast(), len / WORD)),
            Kind::Mapped { .. } => None,
        }
    }

    /// Its content; empty for mapped memory, of which no stable view exists.
    pub fn words(&self) -> &[u64] {
        match self.own() {
            // SAFETY: these are aligned words, any bytes are valid as such, and the borrow of the
            // buffer keeps others from changing them.
            Some((start, count)) => unsafe { std::slice::from_raw_parts(start.as_ptr(), count) },
            None => &[],
        }
    }

    /// Its content; empty for mapped memory.
    pub fn words_mut(&mut self) -> &mut [u64] {
        match self.own() {
            // SAFETY: as in `words`; the exclusive borrow makes it the only reference.
            Some((start, count)) => unsafe {
                std::slice::from_raw_parts_mut(start.as_ptr(), count)
            },
            None => &mut [],
        }
    }
}
