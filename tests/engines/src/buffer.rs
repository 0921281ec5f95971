// SPDX-License-Identifier: GPL-2.0
//! Memory that requests read into and write from.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::error::Error;
use crate::mapping::Mapping;
use crate::probe::page_size;
use crate::region::Region;

/// Size of a word in bytes.
const WORD: usize = 8;

/// What is special about a buffer's memory. To direct I/O it matters: the device reads and writes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As aligned as it was asked for.
    Plain,
    /// Begins so many bytes into a page.
    Shifted(usize),
    /// Its pages are not mapped when the request is submitted, so that the kernel has to fault them in.
    Absent,
    /// Part of a huge page, if there is one to be had.
    Huge,
}

/// Size of a huge page on most machines.
const HUGE: usize = 2 << 20;

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
        /// Whether it is taken away from the page tables before each request.
        absent: bool,
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
        Ok(Self::blank(len, align)?.present())
    }

    /// The same with all pages present.
    fn present(mut self) -> Self {
        self.words_mut().fill(0);
        self
    }

    /// Memory as the allocator gives it.
    fn blank(len: usize, align: usize) -> Result<Self, Error> {
        let len = len.max(WORD).next_multiple_of(WORD);
        let align = align.max(WORD).next_power_of_two();
        let layout = Layout::from_size_align(len, align).map_err(|_| Error::Buffer(len))?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(Error::Buffer(len))?;
        // INVARIANT: allocated and zeroed just now; size and alignment are multiples of a word.
        Ok(Self(Kind::Heap(Heap { start, layout })))
    }

    /// The same in memory that is special in some way.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn shaped(len: usize, align: usize, shape: Shape) -> Result<Self, Error> {
        let (shift, absent) = match shape {
            Shape::Plain => return Self::new(len, align),
            Shape::Huge => {
                let buffer = Self::blank(len.next_multiple_of(HUGE), HUGE)?;
                // Before any page of it is there.
                buffer.advise(libc::MADV_HUGEPAGE);
                return Ok(buffer.present());
            }
            Shape::Shifted(shift) => (shift.next_multiple_of(WORD), false),
            Shape::Absent => (0, true),
        };
        let region = Arc::new(Region::new(shift + len)?);
        let mut buffer = Self::from_region(region, shift, len)?;
        if let Kind::Region { absent: is, .. } = &mut buffer.0 {
            *is = absent;
        }
        Ok(buffer)
    }

    /// To be called just before a request is handed to the kernel.
    pub fn get_ready(&self) {
        if let Kind::Region { absent: true, .. } = self.0 {
            // Of shared memory this takes the entries of the page tables only.
            self.advise(libc::MADV_DONTNEED);
        }
    }

    /// madvise(2) of its pages. A refusal has no consequence.
    fn advise(&self, advice: i32) {
        let page = page_size();
        let first = self.start() as usize / page * page;
        let end = (self.start() as usize + self.len()).next_multiple_of(page);
        // SAFETY: the pages are mapped, and hold nothing but this buffer and what is around it in its
        // region; none of the advices given here changes what shared memory, or memory not yet used,
        // holds.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, advice) };
    }

    /// Part of a shared mapping as a buffer.
    ///
    /// # Errors
    /// If the mapping does not reach that far, is not the file's any more, or the range does not consist of
    /// words.
    pub fn from_mapping(mapping: Arc<Mapping>, offset: usize, len: usize) -> Result<Self, Error> {
        let end = offset.checked_add(len);
        let odd = offset % WORD != 0 || len % WORD != 0;
        if mapping.is_broken() || odd || end.is_none_or(|end| end > mapping.len()) {
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
            absent: false,
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
                ..
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_every_shape_keeps_what_is_put_there() {
        for shape in [Shape::Plain, Shape::Shifted(12), Shape::Absent, Shape::Huge] {
            let mut buffer = Buffer::shaped(8192, page_size(), shape).unwrap();
            assert!(buffer.len() >= 8192, "{shape:?}");
            buffer.words_mut().fill(7);
            buffer.get_ready();
            assert!(buffer.words().iter().all(|word| *word == 7), "{shape:?}");
            let shift = buffer.start() as usize % page_size();
            assert_eq!(shift != 0, matches!(shape, Shape::Shifted(_)), "{shape:?}");
        }
    }
}
