// SPDX-License-Identifier: GPL-2.0

//! The pages behind a caller's buffers, held for the time of a transfer.
//!
//! C headers: [`include/linux/uio.h`](srctree/include/linux/uio.h) (`iov_iter_extract_bvecs()`)
//!
//! Whoever transfers from user memory faults its pages in at some point. If that point lies under
//! a lock of the lower file, or while a range of the cache is closed, and the memory is a mapping
//! of the very file, the fault can wait for the one who faults. Pinned before anything else, the
//! pages cannot fault later.

use super::{
    bvec::{
        BvecArray,
        BvecIter,
        Direction, //
    },
    fill::mapping_of,
    iov::IovIter,
    FileSystem,
    Inode, //
};
use crate::bindings;
use kernel::{
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
};

/// Who keeps the pages of a buffer.
enum Held {
    /// The buffer, by a pin of each.
    Pinned,
    /// The one who made the iterator.
    ByCaller,
    /// The buffer, and whoever allocated them.
    Pages { _pages: Arc<KVec<Page>> },
}

/// Pages to transfer from or to.
///
/// # Invariants
///
/// `bvecs` names `len` bytes of pages that stay valid until this is dropped: kept as `held` says.
pub struct PinnedBuffer {
    bvecs: BvecArray,
    len: usize,
    held: Held,
    direction: Direction,
}

// SAFETY: The pages are held independently of any task.
unsafe impl Send for PinnedBuffer {}
// SAFETY: As above.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// Pins all that is left of `iter`, which moves to its end.
    ///
    /// `mem_align` is the alignment of addresses that the device needs, a power of two, or zero.
    ///
    /// Returns nothing if the pages are to be read into and one of them is in a page cache of the
    /// filesystem of `inode`. The iterator is where it was.
    ///
    /// Context: process context, no locks held: user memory is faulted in.
    ///
    /// # Errors
    ///
    /// `EFAULT` if some of the memory is not there, `EINVAL` if some of it is not aligned,
    /// `ENOMEM`. The iterator is where it was.
    pub fn pin<T: FileSystem>(
        inode: &Inode<T>,
        iter: &mut IovIter<'_>,
        mem_align: u32,
    ) -> Result<Option<Self>> {
        let direction = iter.direction();
        let total = iter.remaining();
        // SAFETY: The iterator is valid.
        let (pages, pinned, user) = unsafe {
            (
                bindings::iov_iter_npages(iter.as_raw(), c_int::MAX),
                bindings::iov_iter_extract_will_pin(iter.as_raw()),
                bindings::user_backed_iter(iter.as_raw()),
            )
        };
        // INVARIANT: No bytes, no pages.
        let mut buffer = Self {
            bvecs: BvecArray::with_capacity(pages.max(1) as usize)?,
            len: 0,
            held: if pinned { Held::Pinned } else { Held::ByCaller },
            direction,
        };
        while iter.remaining() > 0 {
            if let Err(error) = buffer.extract(iter, mem_align.saturating_sub(1)) {
                iter.revert(total.saturating_sub(iter.remaining()));
                return Err(error);
            }
        }
        if user && direction == Direction::ToPages {
            if buffer.has_cache_pages(inode) {
                iter.revert(total);
                return Ok(None);
            }
            buffer.mark_dirty();
        }
        Ok(Some(buffer))
    }

    /// The first `len` bytes of kernel pages, to read into.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the pages hold fewer bytes, `ENOMEM`.
    pub(super) fn of_pages(pages: Arc<KVec<Page>>, len: usize) -> Result<Self> {
        let mut bvecs = BvecArray::with_capacity(pages.len())?;
        let mut left = len;
        for page in pages.iter() {
            let part = left.min(PAGE_SIZE);
            left = left.saturating_sub(part);
            let bvec = bindings::bio_vec {
                bv_page: page.as_ptr(),
                bv_len: part as u32,
                bv_offset: 0,
            };
            bvecs.push(bvec)?;
        }
        if left > 0 {
            return Err(EINVAL);
        }
        // INVARIANT: The elements add up to `len`; the reference keeps the pages.
        Ok(Self {
            bvecs,
            len,
            held: Held::Pages { _pages: pages },
            direction: Direction::ToPages,
        })
    }

    /// Whether a page belongs to a cache of the filesystem of `inode`, or to none any more; so may
    /// memory of a driver that never was in one, which cannot be told from that.
    fn has_cache_pages<T: FileSystem>(&self, inode: &Inode<T>) -> bool {
        // SAFETY: The inode lives.
        let operations = unsafe { (*inode.mapping_raw()).a_ops };
        let _rcu = rcu::read_lock();
        self.bvecs.iter().any(|bvec| {
            // SAFETY: By the type invariants the pages are live. A mapping that a folio is seen in
            // can be left by it and go away, but its memory not before the end of the read section.
            unsafe {
                let mapping = mapping_of(bindings::page_folio(bvec.bv_page));
                mapping.is_null()
                    || mapping.addr() & bindings::FOLIO_MAPPING_FLAGS == 0
                        && (*mapping).a_ops == operations
            }
        })
    }

    /// Extracts some more of `iter`, at least one byte.
    fn extract(&mut self, iter: &mut IovIter<'_>, mem_align_mask: u32) -> Result {
        let (spare, room) = self.bvecs.spare();
        let max = u16::try_from(room).unwrap_or(u16::MAX);
        if max == 0 {
            return Err(EFAULT);
        }
        let mut count: u16 = 0;
        // SAFETY: The iterator is valid, and there is room for `max` elements at `spare`.
        let got = unsafe {
            bindings::iov_iter_extract_bvecs(
                iter.as_raw(),
                spare,
                iter.remaining(),
                &mut count,
                max,
                mem_align_mask,
                0,
            )
        };
        let got = match usize::try_from(got) {
            Ok(0) => return Err(EFAULT),
            Ok(bytes) => bytes,
            Err(_) => return Err(Error::from_errno(got as c_int)),
        };
        // INVARIANT: `count` more elements were initialised, which name `got` more bytes.
        // SAFETY: As above; `count <= max`, for which there is room.
        unsafe { self.bvecs.extend(usize::from(count)) };
        self.len = self.len.saturating_add(got);
        Ok(())
    }

    /// How many bytes the buffer holds.
    pub fn size(&self) -> usize {
        self.len
    }

    /// Which way the data go.
    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// An iterator over the first `len` bytes.
    pub(super) fn iter(&self, len: usize) -> BvecIter<'_> {
        // SAFETY: By the type invariants; `len` is bounded by the number of bytes.
        unsafe { BvecIter::new(self.direction, &self.bvecs, len.min(self.len)) }
    }

    /// Whether letting go of the buffer has to dirty pages, which sleeps.
    ///
    /// The pages to read into were dirtied when they were pinned. If write-back has cleaned one of
    /// them since, it must be dirtied again, or what was read into it can be lost. Once the data
    /// are there, a write-back that cleans a page takes them along: the answer need not be asked
    /// for twice.
    ///
    /// Context: any.
    pub(super) fn needs_redirty(&self) -> bool {
        if !matches!(self.held, Held::Pinned) || self.direction == Direction::FromPages {
            return false;
        }
        self.bvecs.iter().any(|bvec| {
            // SAFETY: By the type invariants the pages are live.
            unsafe { !bindings::folio_test_dirty(bindings::page_folio(bvec.bv_page)) }
        })
    }

    /// Whether to let go of the buffer takes too long for an interrupt, which lets go of the pages
    /// of one `struct bio` at a time elsewhere; or has to free memory that sleeps.
    ///
    /// Context: any.
    pub(super) fn is_long(&self) -> bool {
        self.bvecs.takes_pages()
    }

    /// Lets go of the pages, and names none any more. The memory of the array stays: an
    /// [iterator](Self::iter) of it may still be moved.
    ///
    /// Context: any, unless `redirty` is set or the buffer [is long](Self::is_long); then process
    /// context without locks of folios. The caller may hold the inode lock of the file above, as a
    /// lower filesystem does that dirties what it has read into.
    pub(super) fn release(&mut self, redirty: bool) {
        if matches!(self.held, Held::Pinned) {
            for bvec in self.bvecs.iter() {
                let bytes = (bvec.bv_offset as usize).saturating_add(bvec.bv_len as usize);
                // SAFETY: By the type invariants this owns a pin of each page of the range.
                unsafe {
                    bindings::unpin_user_page_range_dirty_lock(
                        bvec.bv_page,
                        bytes.div_ceil(PAGE_SIZE),
                        redirty,
                    );
                }
            }
        }
        // INVARIANT: No pages, nothing pinned.
        self.held = Held::ByCaller;
        self.bvecs.clear();
        self.len = 0;
    }

    /// Dirties the pages to read into.
    fn mark_dirty(&self) {
        for bvec in self.bvecs.iter() {
            // SAFETY: By the type invariants the pages are live; no locks are held.
            unsafe { bindings::folio_mark_dirty_lock(bindings::page_folio(bvec.bv_page)) };
        }
    }
}

impl Drop for PinnedBuffer {
    // Context: process context, unless the pages were let go of before.
    fn drop(&mut self) {
        let redirty = self.needs_redirty();
        self.release(redirty);
    }
}
