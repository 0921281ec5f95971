// SPDX-License-Identifier: GPL-2.0

//! Writing dirty folios back to the store: `writepages`.
//!
//! C headers: [`include/linux/writeback.h`](srctree/include/linux/writeback.h),
//! [`include/linux/iomap.h`](srctree/include/linux/iomap.h)
//!
//! iomap says which blocks of a folio are dirty. Its callback runs with the folio locked, where
//! the store must not be written (that takes the lower file's `i_rwsem`, whose holder may be
//! faulting in this very folio). So the callback only collects, and the store is written after the
//! folio was unlocked, with one write for each contiguous run.

use super::{
    bvec::{
        BvecIter,
        Direction, //
    },
    mapping::CachedFile,
    memory::insist,
    part::Part,
    scope::NofsGuard,
    Inode, //
};
use crate::{
    bindings,
    pure::run::{
        self,
        split_run,
        Piece, //
    },
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    alloc::KVVec,
    prelude::*, //
};

/// Dirty bytes of one folio that is under writeback.
struct DirtyPart {
    /// What is written: up to the end of the file.
    part: Part,
    /// What iomap counts: whole blocks.
    blocks: usize,
}

impl Piece for DirtyPart {
    fn pos(&self) -> i64 {
        self.part.pos()
    }

    fn bytes(&self) -> usize {
        self.part.len()
    }
}

/// Parts that are collected until they are worth a write.
///
/// # Invariants
///
/// Each part stands for one `writeback_range` that iomap counts as pending, so that its folio
/// stays under writeback until `iomap_finish_folio_write` is called for the part.
struct Batch<'a, T: CachedFile> {
    inode: &'a Inode<T>,
    parts: KVVec<DirtyPart>,
    bvecs: KVVec<bindings::bio_vec>,
    bytes: usize,
    _fs: PhantomData<T>,
}

/// A batch is written when it holds this many bytes: enough for a large write to the store, and
/// little enough that folios do not stay under writeback for long.
const BATCH_BYTES: usize = 4 << 20;

impl<'a, T: CachedFile> Batch<'a, T> {
    const OPS: bindings::iomap_writeback_ops = bindings::iomap_writeback_ops {
        writeback_range: Some(Self::add),
        writeback_submit: None,
    };

    fn new(inode: &'a Inode<T>) -> Self {
        Self {
            inode,
            parts: KVVec::new(),
            bvecs: KVVec::new(),
            bytes: 0,
            _fs: PhantomData,
        }
    }

    /// Makes room for every part that one more folio can have, so that adding them cannot fail.
    fn reserve(&mut self, folio: NonNull<bindings::folio>) -> Result {
        // SAFETY: The folio is locked by the caller of `write_folio`, the inode is live.
        let blocks = unsafe {
            bindings::folio_size(folio.as_ptr()) >> u32::from((*self.inode.as_raw()).i_blkbits)
        };
        let room = blocks.max(1);
        // Under a folio lock, memory may not be had from a filesystem.
        let _nofs = NofsGuard::enter();
        self.parts.reserve(room, GFP_KERNEL)?;
        // One for each part there can be now: a run may hold them all.
        self.bvecs.clear();
        self.bvecs.reserve(self.parts.capacity(), GFP_KERNEL)?;
        Ok(())
    }

    /// `iomap_writeback_ops::writeback_range`
    ///
    /// # Safety
    ///
    /// Called by iomap with a context whose `wb_ctx` is a `Batch<T>` that nobody else uses, and a
    /// folio of its inode, locked and under writeback, of which `len` bytes at `pos` are dirty.
    unsafe extern "C" fn add(
        wpc: *mut bindings::iomap_writepage_ctx,
        folio: *mut bindings::folio,
        pos: u64,
        len: u32,
        end_pos: u64,
    ) -> isize {
        // SAFETY: The caller guarantees the context; `writepages` made its `wb_ctx`.
        let batch = unsafe { &mut *(*wpc).wb_ctx.cast::<Self>() };
        // SAFETY: As above.
        unsafe { (*wpc).iomap.type_ = bindings::IOMAP_MAPPED as u16 };
        let blocks = len as usize;
        let data = run::before_end(pos, blocks, end_pos);
        // SAFETY: The folio is locked now, and under writeback until iomap is told that the part is
        // finished, which ends the part.
        let Some(part) = (unsafe { Part::new(folio, pos as i64, data) }) else {
            return EIO.to_errno() as isize;
        };
        // INVARIANT: Returning the length makes iomap count the part as pending.
        if batch
            .parts
            .push_within_capacity(DirtyPart { part, blocks })
            .is_err()
        {
            // `reserve` made room for every block of the folio.
            return ENOMEM.to_errno() as isize;
        }
        batch.bytes = batch.bytes.saturating_add(blocks);
        blocks as isize
    }

    /// Writes what was collected. Errors go to the mapping, whose next `fsync` reports them.
    ///
    /// Context: process context, may sleep; no folio is locked.
    fn submit(&mut self) {
        let mut failure = None;
        let mut rest: &[DirtyPart] = &self.parts;
        while let Some((run, after)) = split_run(rest) {
            if let Err(error) = write_run(self.inode, run, &mut self.bvecs) {
                self.inode.set_mapping_error(error);
                failure.get_or_insert_with(|| self.inode.write_back_failed(error));
            }
            for part in run {
                // SAFETY: By the type invariants the part is pending; this ends it.
                unsafe {
                    bindings::iomap_finish_folio_write(
                        self.inode.as_raw(),
                        part.part.folio(),
                        part.blocks,
                    );
                }
            }
            // A folio can have a part in the next run as well.
            if !shares_folio(run, after) {
                failure = None;
            }
            rest = after;
        }
        self.parts.clear();
        self.bytes = 0;
    }
}

impl<T: CachedFile> Drop for Batch<'_, T> {
    fn drop(&mut self) {
        // A part that is never finished would hang every later wait for its folio.
        self.submit();
    }
}

/// Whether the last folio of `run` is the first of `after`.
fn shares_folio(run: &[DirtyPart], after: &[DirtyPart]) -> bool {
    match (run.last(), after.first()) {
        (Some(last), Some(first)) => last.part.folio() == first.part.folio(),
        _ => false,
    }
}

/// Writes one contiguous run to the store. `bvecs` has room for all parts of the batch.
///
/// What finds no room must not take along what stands behind it and has its room already. The rest
/// is not tried: each refusal can cost the store a commit of its journal.
fn write_run<T: CachedFile>(
    inode: &Inode<T>,
    run: &[DirtyPart],
    bvecs: &mut KVVec<bindings::bio_vec>,
) -> Result {
    let (pos, len) = run::extent(run).ok_or(EOVERFLOW)?;
    bvecs.clear();
    for dirty in run {
        bvecs
            .push_within_capacity(dirty.part.bvec())
            .map_err(|_| ENOMEM)?;
    }
    // SAFETY: The folios are under writeback until the parts are finished, after this call.
    let mut iter = unsafe { BvecIter::new(Direction::FromPages, bvecs, len) };
    let result = T::write_back(inode, pos, &mut iter);
    if result != Err(ENOSPC) && result != Err(EDQUOT) {
        return result;
    }
    while iter.remaining() > 0 {
        let done = len.saturating_sub(iter.remaining());
        let at = pos.saturating_add_unsigned(done as u64);
        let Some(stored) = T::next_stored(inode, at) else {
            break;
        };
        iter.advance(usize::try_from(stored.start().saturating_sub(at))?);
        let bytes = stored.end().saturating_sub(stored.start() as u64) as usize;
        let _ = iter.with_next(bytes, |iter| T::write_back(inode, stored.start(), iter));
    }
    result
}

/// `address_space_operations::writepages`
///
/// # Safety
///
/// Called by the VFS with the mapping of a regular file of `T`.
pub(super) unsafe extern "C" fn writepages<T: CachedFile>(
    mapping: *mut bindings::address_space,
    wbc: *mut bindings::writeback_control,
) -> c_int {
    // SAFETY: The caller guarantees the mapping, whose host is an inode of `T`.
    let inode = unsafe { Inode::<T>::from_raw((*mapping).host) };
    // SAFETY: The caller guarantees both.
    unsafe { wait_for_earlier(mapping, wbc) };
    let mut batch = Batch::new(inode);
    let mut wpc = bindings::iomap_writepage_ctx {
        inode: inode.as_raw(),
        wbc,
        ops: const { &Batch::<T>::OPS },
        ..Default::default()
    };
    let mut folio = ptr::null_mut();
    let mut error = 0;
    loop {
        // SAFETY: `folio` is what the last call returned, as the iterator wants it.
        folio = unsafe { bindings::writeback_iter(mapping, wbc, folio, &mut error) };
        let Some(locked) = NonNull::new(folio) else {
            break;
        };
        // SAFETY: The iterator returns the folio locked, its dirty flag cleared.
        error = unsafe { write_folio::<T>(&mut wpc, locked, &mut batch) };
        if batch.bytes >= BATCH_BYTES || error != 0 {
            batch.submit();
        }
    }
    batch.submit();
    error
}

/// Waits for writeback that is under way already, if this one has to be complete.
///
/// The iterator would wait for it folio by folio, with the folio locked. It needs the lower
/// `i_rwsem`, which somebody may hold who is faulting in that very folio.
///
/// # Safety
///
/// `mapping` and `wbc` are valid.
unsafe fn wait_for_earlier(
    mapping: *mut bindings::address_space,
    wbc: *mut bindings::writeback_control,
) {
    // SAFETY: The caller guarantees both.
    unsafe {
        if (*wbc).sync_mode == bindings::writeback_sync_modes_WB_SYNC_ALL {
            let (start, end) = ((*wbc).range_start, (*wbc).range_end);
            bindings::filemap_fdatawait_range_keep_errors(mapping, start, end);
        }
    }
}

/// Collects the dirty parts of one folio, and unlocks it.
///
/// # Safety
///
/// `folio` is locked on behalf of the caller and was cleaned for this writeback.
unsafe fn write_folio<T: CachedFile>(
    wpc: &mut bindings::iomap_writepage_ctx,
    folio: NonNull<bindings::folio>,
    batch: &mut Batch<'_, T>,
) -> c_int {
    let error = match insist(|| batch.reserve(folio)) {
        Ok(()) => {
            // Only now: the callback uses the batch through this pointer alone.
            wpc.wb_ctx = ptr::from_mut(batch).cast();
            // SAFETY: The caller guarantees the folio's state.
            unsafe { bindings::iomap_writeback_folio(wpc, folio.as_ptr()) }
        }
        Err(e) => {
            // Nothing is lost: the folio stays dirty for a later try.
            // SAFETY: The folio is locked.
            unsafe { bindings::folio_redirty_for_writepage(wpc.wbc, folio.as_ptr()) };
            e.to_errno()
        }
    };
    // SAFETY: The lock is ours to release.
    unsafe { bindings::folio_unlock(folio.as_ptr()) };
    error
}
