// SPDX-License-Identifier: GPL-2.0

//! Bringing data into the page cache: `read_folio` and `readahead`.
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)
//!
//! iomap says which parts of which folios must come from the store. They are collected, and then
//! filled with one read for each contiguous run.

use super::{
    bvec::{
        BvecIter,
        Direction, //
    },
    folio::folio_range,
    mapping::{
        gate_limit,
        CachedFile, //
    },
    part::Part,
    range_set::{
        ByteRange,
        Gate, //
    },
    scope::NofsGuard,
    wait::{
        Signals,
        Wake, //
    },
    Inode, //
};
use crate::{
    bindings,
    pure::{
        gate::{
            self,
            Next, //
        },
        run::{
            self,
            split_run, //
        },
    },
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::prelude::*;

/// One mapping that covers whatever is asked for: the store has no blocks of its own to tell of.
///
/// # Safety
///
/// Called by iomap with a live iterator and its two mappings.
unsafe extern "C" fn next_mapping(
    iter: *const bindings::iomap_iter,
    iomap: *mut bindings::iomap,
    srcmap: *mut bindings::iomap,
) -> c_int {
    // SAFETY: The caller guarantees the three pointers.
    unsafe {
        if (*iomap).length != 0 {
            let more = bindings::iomap_iter_continue(iter, iomap, srcmap, 0);
            if more <= 0 {
                return more;
            }
        }
        (*iomap).type_ = bindings::IOMAP_MAPPED as u16;
        (*iomap).offset = (*iter).pos;
        (*iomap).length = (*iter).len;
        (*iomap).addr = u64::MAX;
    }
    1
}

/// The mapping operations for every use of iomap here.
pub(super) static IOMAP_OPS: bindings::iomap_ops = bindings::iomap_ops {
    iomap_begin: None,
    iomap_end: None,
    iomap_next: Some(next_mapping),
};

/// Parts of folios to fill, in ascending order.
///
/// # Invariants
///
/// Each part stands for one `read_folio_range` that iomap counts as pending, so that its folio
/// stays locked until `iomap_finish_folio_read` is called for the part.
struct Batch<T: CachedFile> {
    parts: KVec<Part>,
    _fs: PhantomData<T>,
}

impl<T: CachedFile> Batch<T> {
    const READ_OPS: bindings::iomap_read_ops = bindings::iomap_read_ops {
        read_folio_range: Some(Self::add),
        submit_read: None,
        bio_set: ptr::null_mut(),
    };

    fn new() -> Self {
        Self {
            parts: KVec::new(),
            _fs: PhantomData,
        }
    }

    /// `iomap_read_ops::read_folio_range`
    ///
    /// # Safety
    ///
    /// Called by iomap with a live iterator and a context whose `read_ctx` is a `Batch<T>` that
    /// nobody else uses, and whose folio is locked.
    unsafe extern "C" fn add(
        iter: *const bindings::iomap_iter,
        ctx: *mut bindings::iomap_read_folio_ctx,
        len: usize,
    ) -> c_int {
        // SAFETY: The caller guarantees the pointers. The folio stays locked until iomap is told that
        // the part is finished, which ends the part.
        let (batch, part) = unsafe {
            (
                &mut *(*ctx).read_ctx.cast::<Self>(),
                Part::new((*ctx).cur_folio, (*iter).pos, len),
            )
        };
        let Some(part) = part else {
            return EIO.to_errno();
        };
        // INVARIANT: Returning zero makes iomap count the range as pending.
        match batch.parts.push(part, GFP_KERNEL) {
            Ok(()) => 0,
            Err(_) => ENOMEM.to_errno(),
        }
    }

    /// Fills all parts and tells iomap the outcome of each.
    fn finish(self, inode: &Inode<T>) {
        let mut rest: &[Part] = &self.parts;
        while let Some((run, after)) = split_run(rest) {
            let error = match fill_run::<T>(inode, run) {
                Ok(()) => 0,
                Err(e) => e.to_errno(),
            };
            for part in run {
                // SAFETY: By the type invariants the part is pending; this ends it.
                unsafe {
                    bindings::iomap_finish_folio_read(
                        part.folio(),
                        part.offset(),
                        part.len(),
                        error,
                    );
                }
            }
            rest = after;
        }
    }
}

/// Reads one contiguous run from the store.
fn fill_run<T: CachedFile>(inode: &Inode<T>, run: &[Part]) -> Result {
    let (pos, len) = run::extent(run).ok_or(EOVERFLOW)?;
    let mut bvecs = KVec::with_capacity(run.len(), GFP_KERNEL)?;
    for part in run {
        bvecs.push(part.bvec(), GFP_KERNEL)?;
    }
    // SAFETY: The folios are locked and referenced by the page cache until the parts are finished,
    // which happens after this call; `len` is the sum.
    let mut iter = unsafe { BvecIter::new(Direction::ToPages, &bvecs, len) };
    fill_to_end(inode, pos, &mut iter)
}

/// Reads from the store what lies within the file, and fills the rest of `dst` with zeros, as well
/// as what the store does not have.
///
/// A store that is about to be cut still has what lay behind the new end. A mapping would show it.
///
/// # Errors
///
/// Those of [`CachedFile::fill`].
pub(super) fn fill_to_end<T: CachedFile>(
    inode: &Inode<T>,
    pos: i64,
    dst: &mut BvecIter<'_>,
) -> Result {
    let within = usize::try_from(inode.size().saturating_sub(pos)).unwrap_or(0);
    dst.with_next(within, |dst| {
        T::fill(inode, pos, dst)?;
        dst.zero_rest();
        Ok::<_, Error>(())
    })?;
    dst.zero_rest();
    Ok(())
}

/// Fills one folio, which iomap unlocks.
///
/// # Safety
///
/// `folio` is in the cache of `inode`, locked, and the lock is this function's to release.
unsafe fn fill_folio<T: CachedFile>(inode: &Inode<T>, folio: *mut bindings::folio) {
    // Under a folio lock, memory may not be had from a filesystem.
    let _nofs = NofsGuard::enter();
    let mut batch = Batch::<T>::new();
    let mut ctx = bindings::iomap_read_folio_ctx {
        ops: const { &Batch::<T>::READ_OPS },
        cur_folio: folio,
        read_ctx: ptr::from_mut(&mut batch).cast(),
        ..Default::default()
    };
    // SAFETY: The context and the batch live through the call; the caller guarantees the folio.
    unsafe { bindings::iomap_read_folio(&IOMAP_OPS, &mut ctx, ptr::null_mut()) };
    batch.finish(inode);
}

/// `address_space_operations::read_folio`
///
/// At a gate that is not open the folio is unlocked, since the one who closed it may want the lock, and the
/// caller is told to look anew. A task that holds a lock of the lower file may be what that one
/// waits for; it must not wait for ever. Nor is it to starve. After a while the folio is filled all
/// the same: what it gets may be superseded, but whoever closed the gate invalidates the cache
/// before opening it.
///
/// # Safety
///
/// Called by the VFS with a locked folio of a regular file of `T`.
pub(super) unsafe extern "C" fn read_folio<T: CachedFile>(
    _file: *mut bindings::file,
    folio: *mut bindings::folio,
) -> c_int {
    // SAFETY: The folio is locked, so it stays in its mapping, whose host is an inode of `T`.
    let (inode, range) = unsafe {
        let mapping = mapping_of(folio);
        (Inode::<T>::from_raw((*mapping).host), folio_range(folio))
    };
    let Some(range) = range else {
        // SAFETY: The lock is ours to release.
        unsafe { bindings::folio_unlock(folio) };
        return EIO.to_errno();
    };
    let gate = T::gate(inode, range);
    if gate == Gate::Open {
        // SAFETY: As above.
        unsafe { fill_folio(inode, folio) };
        return 0;
    }
    // SAFETY: As above; the reference keeps the folio for the look after the wait.
    unsafe {
        bindings::folio_get(folio);
        bindings::folio_unlock(folio);
    }
    let wake = T::gate_wait(
        inode,
        gate,
        range,
        Signals::Fatal,
        Some(gate_limit::<T>(gate)),
    );
    // SAFETY: The reference taken above is handed over.
    unsafe { after_wait(inode, folio, range, gate, wake) }
}

/// Ends a `read_folio` that had to wait: see there.
///
/// # Safety
///
/// `folio` was in the cache of `inode`, is not locked, and a reference is this function's to drop.
unsafe fn after_wait<T: CachedFile>(
    inode: &Inode<T>,
    folio: *mut bindings::folio,
    range: ByteRange,
    gate: Gate,
    wake: Wake,
) -> c_int {
    let next = gate::after_read(gate, wake);
    let mut result = match next {
        Next::LookAnew | Next::GoOn(_) => {
            bindings::positive_aop_returns_AOP_TRUNCATED_PAGE as c_int
        }
        Next::Fail => EINTR.to_errno(),
    };
    // SAFETY: The caller's reference keeps the folio; a locked folio stays where it is, and its
    // mapping is null if it has left the cache.
    unsafe {
        if let Next::GoOn(gate) = next {
            if bindings::folio_lock_killable(folio) != 0 {
                result = EINTR.to_errno();
            } else if mapping_of(folio) == inode.mapping_raw()
                && !bindings::folio_test_uptodate(folio)
                && T::gate(inode, range) <= gate
            {
                fill_folio(inode, folio);
                result = 0;
            } else {
                bindings::folio_unlock(folio);
            }
        }
        bindings::folio_put(folio);
    }
    result
}

/// `address_space_operations::readahead`
///
/// All folios are in the cache and locked, and no memory may be had from a filesystem: the caller
/// has seen to that. Unless the gate is open over all of them, none is consumed, and the caller
/// takes them out again: a reader comes back for those it needs.
///
/// # Safety
///
/// Called by the VFS with the readahead of a regular file of `T`.
pub(super) unsafe extern "C" fn readahead<T: CachedFile>(rac: *mut bindings::readahead_control) {
    // SAFETY: The caller guarantees `rac` and its mapping.
    let (inode, pos, len) = unsafe {
        (
            Inode::<T>::from_raw((*(*rac).mapping).host),
            bindings::readahead_pos(rac),
            bindings::readahead_length(rac),
        )
    };
    let Some(range) = ByteRange::new(pos, len) else {
        return;
    };
    if T::gate(inode, range) != Gate::Open {
        return;
    }
    let mut batch = Batch::<T>::new();
    let mut ctx = bindings::iomap_read_folio_ctx {
        ops: const { &Batch::<T>::READ_OPS },
        rac,
        read_ctx: ptr::from_mut(&mut batch).cast(),
        ..Default::default()
    };
    // SAFETY: The context and the batch live through the call.
    unsafe { bindings::iomap_readahead(&IOMAP_OPS, &mut ctx, ptr::null_mut()) };
    batch.finish(inode);
}

/// The mapping a folio is in.
///
/// # Safety
///
/// `folio` is a live folio of a page cache, or was until it was removed.
pub(super) unsafe fn mapping_of(folio: *mut bindings::folio) -> *mut bindings::address_space {
    // SAFETY: `mapping` is a plain member of every page cache folio.
    unsafe { (*folio).__bindgen_anon_1.__bindgen_anon_1.mapping }
}
