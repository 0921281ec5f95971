// SPDX-License-Identifier: GPL-2.0

//! The page cache of regular files: where its data come from and go to, and its size.
//!
//! Filling takes a cached read of the lower file, which on ext2, ext3 and ext4 takes no `i_rwsem`:
//! it runs under folio locks and the `invalidate_lock`. Writing back takes a cached write, with no
//! folio locked. Both leave nothing behind in the lower page cache, where the lower filesystem can
//! do that (`IOCB_DONTCACHE`), so that data are cached once, up here.

use super::{
    direct,
    lower_io::{
        self,
        Access, //
    },
    Diofs, //
};
use crate::vfs::{
    bvec::BvecIter,
    iov::IovIter,
    kiocb::{
        Kiocb,
        Reply, //
    },
    mapping::CachedFile,
    memory::insist,
    range_set::{
        ByteRange,
        Gate, //
    },
    scope::{
        file_size_limit,
        with_creds,
        LocalThrottleGuard,
        NofsGuard, //
    },
    wait::{
        Signals,
        Wake, //
    },
    worker,
    Inode, //
};
use kernel::{
    bindings,
    prelude::*,
    time::Jiffies, //
};

impl CachedFile for Diofs {
    const FAULT_LIMIT_MS: u32 = 60_000;

    fn gate(inode: &Inode<Self>, range: ByteRange) -> Gate {
        inode.data().io.registry.gate(range)
    }

    fn gate_wait(
        inode: &Inode<Self>,
        gate: Gate,
        range: ByteRange,
        signals: Signals,
        limit: Option<Jiffies>,
    ) -> Wake {
        let stats = &inode.super_block().data().stats;
        inode
            .data()
            .io
            .registry
            .wait(stats, gate, range, signals, limit)
    }

    fn fill(inode: &Inode<Self>, pos: i64, dst: &mut BvecIter<'_>) -> Result {
        let source = lower_io::cache_file(inode, Access::Read, None)?;
        let mounter = &inode.super_block().data().mounter;
        with_creds(mounter, || source.file.read_cached(pos, dst))
    }

    fn write_back(inode: &Inode<Self>, pos: i64, src: &mut BvecIter<'_>) -> Result {
        let _nofs = NofsGuard::enter();
        let total = src.remaining();
        // What the lower filesystem has taken before it failed need not be written again.
        insist(|| {
            let done = total.saturating_sub(src.remaining());
            write_rest(inode, pos.saturating_add_unsigned(done as u64), src)
        })
    }

    fn next_stored(inode: &Inode<Self>, pos: i64) -> Option<ByteRange> {
        let lower = lower_io::cache_file(inode, Access::Write, None).ok()?.file;
        let data = lower.llseek(pos, bindings::SEEK_DATA as i32).ok()?;
        let hole = lower.llseek(data, bindings::SEEK_HOLE as i32).ok()?;
        ByteRange::between(data, hole)
    }

    fn store_is_contended(inode: &Inode<Self>) -> bool {
        inode.data().lower.is_contended()
    }

    fn direct_io<'a>(kiocb: Kiocb<'a, Self>, iter: &mut IovIter<'_>) -> Reply<'a> {
        direct::direct_io(kiocb, iter)
    }
}

/// Writes all of `src`.
fn write_rest(inode: &Inode<Diofs>, mut pos: i64, src: &mut BvecIter<'_>) -> Result {
    while src.remaining() > 0 {
        let left = src.remaining();
        write_some(inode, pos, src)?;
        let done = left.saturating_sub(src.remaining());
        pos = pos.saturating_add_unsigned(done as u64);
    }
    Ok(())
}

/// Writes some of `src`, by another task if the running one may not.
fn write_some(inode: &Inode<Diofs>, pos: i64, src: &mut BvecIter<'_>) -> Result {
    let end = pos.saturating_add_unsigned(src.remaining() as u64);
    // The lower filesystem applies the limit of the running task, who need not be the writer.
    let is_limited = || file_size_limit() < end as u64;
    let is_own = |error| error == EINTR || error == ERESTARTSYS || error == EFBIG && is_limited();
    if !is_limited() {
        match write_lower(inode, pos, src) {
            Err(error) if is_own(error) && !worker::is_worker() => {}
            result => return result,
        }
    }
    // The running task is being killed, and the lower filesystem will not write for it, or its limit
    // is below what is to be written, perhaps only now. The data may be somebody else's: have them
    // written by a task that nobody kills and that has no limit.
    let depth = inode.super_block().stack_depth();
    worker::run(depth, || write_lower(inode, pos, src))?
}

/// Writes some to the lower file as its owner, throttled by the lower device alone.
fn write_lower(inode: &Inode<Diofs>, pos: i64, src: &mut BvecIter<'_>) -> Result {
    let _nofs = NofsGuard::enter();
    let _throttle = LocalThrottleGuard::enter();
    let target = lower_io::cache_file(inode, Access::Write, None)?;
    with_creds(&target.writer, || target.file.write_cached(pos, src))
}

/// Changes the size of a regular file, with `lower` changing that of the lower file.
///
/// Shrinking starts above: a folio that were written back after the lower file has shrunk would
/// make it grow again. Growing starts below, which may refuse. The lower file is changed with no
/// lock of the page cache held, since it takes the lower `i_rwsem`.
///
/// Context: process context, may sleep; the inode's `i_rwsem` is held exclusively.
///
/// # Errors
///
/// Those of `lower`. Then the file is what the lower file is; if data past `size` were still dirty
/// when they were cut off, they are gone, and the next `fsync` says so.
pub fn set_size(inode: &Inode<Diofs>, size: i64, lower: impl FnOnce() -> Result) -> Result {
    inode.wait_direct();
    let old = inode.size();
    if size <= old {
        return shrink(inode, size, lower);
    }
    lower()?;
    inode.zero_past_end();
    inode.set_size(size);
    inode.size_extended(old);
    Ok(())
}

fn shrink(inode: &Inode<Diofs>, size: i64, lower: impl FnOnce() -> Result) -> Result {
    let cut = ByteRange::between(size, inode.size());
    // What stays of the file is on the lower first, so that this does not grow, which limits could
    // refuse to the running task.
    if let Some(range) = ByteRange::between(inode.data().lower.size(), size) {
        inode.settle(range);
    }
    // Clean, what is cut off can be had from below again if that refuses. To empty a file is too
    // common, and refused too rarely, to write all its data first.
    if let Some(range) = cut.filter(|_| size > 0) {
        inode.settle(range);
    }
    let dirty = cut.is_some_and(|range| inode.range_needs_writeback(range));
    inode.truncate_cache(size);
    lower().inspect_err(|error| {
        if dirty {
            inode.set_mapping_error(*error);
        }
        // What was zeroed behind `size` must not be seen when it is inside the file again, nor
        // written back: stored to meanwhile, it is written now, up to the small size. Who comes in
        // until that is over has seen the small size, and zeros behind it.
        if let Some(range) = cut {
            inode.settle(range);
        }
        restore(inode, cut);
        inode.set_size(inode.data().lower.size().max(size));
        restore(inode, cut);
    })?;
    if size == 0 {
        // What could not be written is gone. `fsync` still says so, to direct requests it is nothing.
        let _ = inode.write_back_error();
    }
    Ok(())
}

/// Has what was cut off be fetched from below again.
fn restore(inode: &Inode<Diofs>, cut: Option<ByteRange>) {
    if cut.is_some_and(|range| inode.invalidate(range).is_err()) {
        inode.set_mapping_error(EIO);
    }
}
