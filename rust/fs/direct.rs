// SPDX-License-Identifier: GPL-2.0

//! Direct I/O: past the page cache above, yet in agreement with it.
//!
//! A direct write goes through these steps, in this order, and the order is the point:
//!
//! 1. Its user pages are pinned, before any lock is taken and before its range is registered: a
//!    buffer mapped from this very file cannot fault at a bad time later.
//! 2. The inode lock is taken: shared inside the file, exclusive to extend it. Limits are checked.
//! 3. The range is registered ([`super::registry`]).
//! 4. Dirty pages of the range are written back, and the range is invalidated. Failing is clean
//!    here: nothing was submitted.
//! 5. The write is submitted to the lower file.
//! 6. When the lower file is done, with whatever result: the range is invalidated again, the size
//!    is published, the range leaves the registry, and the caller learns the result. It learns it
//!    once: a queued request has given its duty to complete away ([`crate::vfs::kiocb`]), and an
//!    error that comes afterwards has only the mapping to go to.
//!
//! A direct read pins, locks, flushes its range, and submits. If its buffer is mapped from a diofs,
//! it reads into pages of its own and copies from them at the end, with no lock held: a store like
//! any other.

use super::{
    file,
    stats::Stats,
    Diofs, //
};
use crate::vfs::{
    bounce::Bounce,
    bvec::Direction,
    iov::IovIter,
    kiocb::{
        Kiocb,
        Reply, //
    },
    lock::{
        Hold,
        InodeLock, //
    },
    pin::PinnedBuffer,
    range_set::ByteRange,
    transfer::{
        Context,
        DirectFile,
        Finished,
        Prepared,
        Submitted, //
    },
    Inode, //
};
use kernel::prelude::*;

/// How often the first invalidation is tried with the range about to be closed, and again with the
/// range closed. Then only those who had passed their look at the registry can dirty a folio again,
/// each once.
const INVALIDATION_TRIES: usize = 16;

/// How many bytes a read into a mapped buffer reads at a time.
const BOUNCE_BYTES: usize = 1 << 20;

/// Why a transfer was not submitted, or failed.
enum Failure {
    /// The pages to read into are in the page cache of a diofs.
    Mapped,
    /// The range could not be invalidated. Nothing was submitted.
    Busy,
    /// Anything else.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Mapped => EFAULT,
            Failure::Busy => EIO,
            Failure::Error(error) => error,
        }
    }
}

/// A transfer that has only to be submitted, with the inode locked.
struct Ready<'a> {
    transfer: Prepared<'a, Diofs>,
    /// Nothing if it is the caller's.
    lock: Option<InodeLock<'a, Diofs>>,
    may_queue: bool,
}

impl<'a> Ready<'a> {
    /// Submits it. `iter` had `total` bytes left when it was pinned, and is left where the result says.
    fn submit(
        self,
        kiocb: Kiocb<'a, Diofs>,
        iter: &mut IovIter<'_>,
        total: usize,
    ) -> Submitted<'a, Diofs> {
        let inode = kiocb.inode();
        let nowait = kiocb.is_nowait();
        let submitted = if self.may_queue {
            self.transfer.submit(kiocb)
        } else {
            Submitted::Ended(kiocb, self.transfer.submit_and_wait())
        };
        drop(self.lock);
        match submitted {
            // It may be complete already, and its iterator gone.
            Submitted::Queued(reply) => {
                stats(inode).dio_async.inc();
                Submitted::Queued(reply)
            }
            Submitted::Ended(kiocb, result) => {
                let result = result.map_err(|error| nowait_error(nowait, error));
                iter.revert(total.saturating_sub(result.unwrap_or(0)));
                Submitted::Ended(kiocb, result)
            }
        }
    }
}

/// Reads directly. Context: process context, no locks held.
pub fn read<'a>(kiocb: Kiocb<'a, Diofs>, iter: &mut IovIter<'_>) -> Reply<'a> {
    if let Err(error) = may_transfer(&kiocb) {
        return kiocb.reply(Err(error));
    }
    let inode = kiocb.inode();
    if iter.remaining() == 0 || kiocb.pos() >= inode.size() {
        return kiocb.reply(Ok(0));
    }
    stats(inode).dio_reads.inc();
    kiocb.file().accessed();
    advance(read_at(kiocb, iter))
}

/// Writes directly. Context: process context, no locks held.
pub fn write<'a>(mut kiocb: Kiocb<'a, Diofs>, iter: &mut IovIter<'_>) -> Reply<'a> {
    if let Err(error) = may_transfer(&kiocb) {
        return kiocb.reply(Err(error));
    }
    let total = iter.remaining();
    if total == 0 {
        return kiocb.reply(Ok(0));
    }
    stats(kiocb.inode()).dio_writes.inc();
    let ready = with_buffer(&mut kiocb, iter, |kiocb, buffer| {
        let (lock, range) = lock_for_write(kiocb, buffer.size())?;
        prepare_write(kiocb, buffer, range, Some(lock))
    });
    match ready {
        Ok(ready) => advance(ready.submit(kiocb, iter, total)),
        Err(Failure::Busy) => {
            let result = busy(&mut kiocb, iter);
            kiocb.reply(result)
        }
        Err(failure) => kiocb.reply(Err(failure.into())),
    }
}

/// `address_space_operations::direct_IO`, for generic code of the VFS: it holds the inode lock if
/// it writes, and moves the position on by itself.
pub fn direct_io<'a>(mut kiocb: Kiocb<'a, Diofs>, iter: &mut IovIter<'_>) -> Reply<'a> {
    if let Err(error) = may_transfer(&kiocb) {
        return kiocb.reply(Err(error));
    }
    let total = iter.remaining();
    let Some(range) = ByteRange::new(kiocb.pos(), total) else {
        return kiocb.reply(Ok(0));
    };
    if iter.direction() == Direction::ToPages {
        return read_at(kiocb, iter).reply();
    }
    let ready = with_buffer(&mut kiocb, iter, |kiocb, buffer| {
        prepare_write(kiocb, buffer, range, None)
    });
    match ready {
        Ok(ready) => ready.submit(kiocb, iter, total).reply(),
        Err(failure) => kiocb.reply(Err(failure.into())),
    }
}

/// Whether the lower file can be transferred directly. The VFS asks at `open`, but not when
/// `fcntl` sets `O_DIRECT` later.
fn may_transfer(kiocb: &Kiocb<'_, Diofs>) -> Result {
    if kiocb.file().data().can_direct {
        Ok(())
    } else {
        Err(EINVAL)
    }
}

/// Moves the position of a request on by what was done, and answers it.
fn advance<'a>(submitted: Submitted<'a, Diofs>) -> Reply<'a> {
    match submitted {
        Submitted::Ended(mut kiocb, Ok(bytes)) => {
            kiocb.advance(bytes);
            kiocb.reply(Ok(bytes))
        }
        submitted => submitted.reply(),
    }
}

/// Pins what is left of `iter` for `prepare`. If that fails `iter` is where it was.
fn with_buffer<'a>(
    kiocb: &mut Kiocb<'a, Diofs>,
    iter: &mut IovIter<'_>,
    prepare: impl FnOnce(&mut Kiocb<'a, Diofs>, PinnedBuffer) -> Result<Ready<'a>, Failure>,
) -> Result<Ready<'a>, Failure> {
    let total = iter.remaining();
    let mem_align = kiocb.file().data().mem_align()?;
    let Some(buffer) = PinnedBuffer::pin(kiocb.inode(), iter, mem_align)? else {
        return Err(Failure::Mapped);
    };
    prepare(kiocb, buffer).inspect_err(|_| iter.revert(total))
}

/// Reads at the position of the request, which stays.
fn read_at<'a>(mut kiocb: Kiocb<'a, Diofs>, iter: &mut IovIter<'_>) -> Submitted<'a, Diofs> {
    let pos = kiocb.pos();
    let total = iter.remaining();
    let ready = with_buffer(&mut kiocb, iter, |kiocb, buffer| {
        Ok(prepare_read(kiocb, buffer, pos)?)
    });
    match ready {
        Ok(ready) => ready.submit(kiocb, iter, total),
        Err(Failure::Mapped) => {
            let result = read_mapped(&kiocb, iter, pos);
            Submitted::Ended(kiocb, result)
        }
        Err(failure) => Submitted::Ended(kiocb, Err(failure.into())),
    }
}

/// Reads into a buffer that is mapped from a diofs, perhaps from this file.
///
/// A direct write to what it is mapped from takes the pages out of the cache. Had they been pinned
/// and read into, the data would be lost, also those beside what was written. Storing them at the
/// end instead goes through the gate of that file like every store. It needs the running task, so
/// the request is not queued.
fn read_mapped(kiocb: &Kiocb<'_, Diofs>, iter: &mut IovIter<'_>, start: i64) -> Result<usize> {
    if kiocb.is_nowait() {
        return Err(EAGAIN);
    }
    // An error of write-back, once told, is not told again: not half way, to nobody.
    if let Some(range) = ByteRange::new(start, iter.remaining()) {
        flush_for_read(kiocb.inode(), range, false)?;
    }
    let mut done = 0usize;
    while iter.remaining() > 0 {
        let len = iter.remaining().min(BOUNCE_BYTES);
        let pos = start.saturating_add_unsigned(done as u64);
        let (read, stored) = match read_and_store(kiocb, iter, pos, len) {
            Ok(bytes) => bytes,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        done = done.saturating_add(stored);
        if stored < read && done == 0 {
            return Err(EFAULT);
        }
        if stored < len {
            break;
        }
    }
    Ok(done)
}

/// Reads `len` bytes into pages of our own, and stores them to `iter`. Returns how many bytes were
/// read, and how many of them could be stored.
fn read_and_store(
    kiocb: &Kiocb<'_, Diofs>,
    iter: &mut IovIter<'_>,
    pos: i64,
    len: usize,
) -> Result<(usize, usize)> {
    let bounce = Bounce::new(len)?;
    let Ready { transfer, lock, .. } = prepare_read(kiocb, bounce.buffer()?, pos)?;
    let bytes = transfer.submit_and_wait()?;
    drop(lock);
    Ok((bytes, bounce.copy_to(bytes, iter)))
}

/// Makes a read into `buffer` from `pos` ready: flushes the range.
fn prepare_read<'a>(kiocb: &Kiocb<'a, Diofs>, buffer: PinnedBuffer, pos: i64) -> Result<Ready<'a>> {
    let inode = kiocb.inode();
    let nowait = kiocb.is_nowait();
    let range = ByteRange::new(pos, buffer.size()).ok_or(EINVAL)?;
    let lock = InodeLock::acquire(inode, Hold::Shared, nowait)?;
    flush_for_read(inode, range, nowait)?;
    let file = kiocb.file().data().lower.clone();
    Ok(Ready {
        transfer: Prepared::new(kiocb, file, buffer, range)?,
        lock: Some(lock),
        may_queue: true,
    })
}

/// Makes the lower file hold what a direct read of `range` has to return: all that was written or
/// stored before, and as much of the file as there is above.
fn flush_for_read(inode: &Inode<Diofs>, range: ByteRange, nowait: bool) -> Result {
    if !inode.has_pages() {
        return inode.write_back_error();
    }
    let size = inode.size();
    let lower_size = inode.data().lower.size();
    let wanted = i64::try_from(range.end()).unwrap_or(i64::MAX).min(size);
    // Where the lower file ends early, data beyond its end are still to be written back, and what
    // lies between is a hole above but the end of the file below.
    let behind = (lower_size < wanted)
        .then(|| ByteRange::between(lower_size, size))
        .flatten();
    if !inode.range_needs_writeback(range) && behind.is_none() {
        return inode.write_back_error();
    }
    if nowait {
        return Err(EAGAIN);
    }
    stats(inode).flushed_before.inc();
    inode.flush(range)?;
    behind.map_or(Ok(()), |range| inode.flush(range))
}

/// Takes the inode lock that a direct write of `len` bytes needs, and checks the limits.
fn lock_for_write<'a>(
    kiocb: &mut Kiocb<'a, Diofs>,
    len: usize,
) -> Result<(InodeLock<'a, Diofs>, ByteRange)> {
    let inode = kiocb.inode();
    let nowait = kiocb.is_nowait();
    let mut hold = if kiocb.is_append() || !inode.is_nosec() {
        Hold::Exclusive
    } else {
        Hold::Shared
    };
    loop {
        let lock = InodeLock::acquire(inode, hold, nowait)?;
        let count = kiocb.write_checks_count(len)?;
        // A limit that leaves nothing to write is an error.
        let range = ByteRange::new(kiocb.pos(), count).ok_or(EINVAL)?;
        let alone = extends(inode, range) || !inode.is_nosec();
        if hold == Hold::Exclusive {
            if alone && nowait {
                // Extending waits for the lower file, removing privileges for more than that.
                return Err(EAGAIN);
            }
            kiocb.file().remove_privs()?;
        }
        if hold == Hold::Exclusive || !alone {
            return Ok((lock, range));
        }
        hold = Hold::Exclusive;
    }
}

/// Makes a write ready, with the inode lock held: registers its range and empties the cache of it.
fn prepare_write<'a>(
    kiocb: &Kiocb<'a, Diofs>,
    buffer: PinnedBuffer,
    range: ByteRange,
    lock: Option<InodeLock<'a, Diofs>>,
) -> Result<Ready<'a>, Failure> {
    let inode = kiocb.inode();
    let file = kiocb.file().data().lower.clone();
    if kiocb.file().data().falls_back() {
        stats(inode).fallbacks.inc();
    }
    let mut transfer = Prepared::new(kiocb, file, buffer, range)?;
    transfer.enter(inode.data().io.registry.set());
    make_way(inode, &mut transfer, range, kiocb.is_nowait())?;
    Ok(Ready {
        transfer,
        lock,
        // A write that extends the file publishes the new size under the exclusive inode lock.
        may_queue: !extends(inode, range),
    })
}

/// Writes the dirty pages of a registered range back, and empties the cache of it.
///
/// The range is closed when this is called, and when it returns.
fn make_way(
    inode: &Inode<Diofs>,
    transfer: &mut Prepared<'_, Diofs>,
    range: ByteRange,
    nowait: bool,
) -> Result<(), Failure> {
    if is_empty(inode, range) {
        return Ok(());
    }
    if nowait {
        return Err(EAGAIN.into());
    }
    let stats = stats(inode);
    stats.invalidated_before.inc();
    if inode.range_needs_writeback(range) {
        stats.flushed_before.inc();
    }
    empty_cache(inode, transfer, range).inspect_err(|_| stats.invalidate_failures.inc())
}

fn is_empty(inode: &Inode<Diofs>, range: ByteRange) -> bool {
    !inode.has_pages() || !inode.range_has_page(range)
}

fn empty_cache(
    inode: &Inode<Diofs>,
    transfer: &mut Prepared<'_, Diofs>,
    range: ByteRange,
) -> Result<(), Failure> {
    // Halfway open first, so that nobody who stands in the way has to wait for this for long.
    for _ in 0..INVALIDATION_TRIES {
        transfer.set_closed(false);
        let invalidated = flush_and_invalidate(inode, range);
        inode.data().lower.wait_unlocked(extends(inode, range));
        transfer.set_closed(true);
        if invalidated? && is_empty(inode, range) {
            return Ok(());
        }
    }
    // Others come in faster than that. Nobody does while the range is closed.
    for _ in 0..INVALIDATION_TRIES {
        if flush_and_invalidate(inode, range)? {
            return Ok(());
        }
    }
    Err(Failure::Busy)
}

/// Whether the cache could be emptied of `range`. If not, somebody has dirtied it again.
fn flush_and_invalidate(inode: &Inode<Diofs>, range: ByteRange) -> Result<bool> {
    // To invalidate waits for write-back as well, of what was dirtied in between.
    inode.watch_write_back(|| {
        inode.flush(range)?;
        match inode.invalidate(range) {
            Ok(()) => Ok(true),
            Err(error) if error == EBUSY => Ok(false),
            Err(error) => Err(error),
        }
    })
}

/// What the mount option says for a direct write whose range could not be invalidated.
fn busy(kiocb: &mut Kiocb<'_, Diofs>, iter: &mut IovIter<'_>) -> Result<usize> {
    let sb = kiocb.inode().super_block().data();
    if !sb.options.busy_writes_sync() {
        return Err(EIO);
    }
    let bytes = file::write_cached(kiocb, iter)?;
    file::finish_fallback(kiocb, bytes)
}

/// Some lower filesystems say that they cannot do a thing without sleeping as if they could not do
/// it at all. To one who must not sleep it means: try again where you may.
fn nowait_error(nowait: bool, error: Error) -> Error {
    if nowait && error == EOPNOTSUPP {
        EAGAIN
    } else {
        error
    }
}

fn extends(inode: &Inode<Diofs>, range: ByteRange) -> bool {
    range.extends(inode.size())
}

fn stats(inode: &Inode<Diofs>) -> &Stats {
    &inode.super_block().data().stats
}

impl DirectFile for Diofs {
    fn finish_sleeps(inode: &Inode<Self>, done: &Finished) -> bool {
        done.direction == Direction::FromPages
            && inode.has_pages()
            && inode.range_has_page(done.range)
    }

    fn finish(inode: &Inode<Self>, done: &Finished) -> Result<usize> {
        if done.direction == Direction::ToPages {
            return done.result;
        }
        // In the lower file's completion there was nothing in the range when `finish_sleeps`
        // looked. It was registered then and still is, so nothing has come in since.
        let after = match done.context {
            Context::Completion => Ok(()),
            // Whatever the result: a write that failed or was cut short may have changed some.
            Context::Caller | Context::Worker => invalidate_after(inode, done.range),
        };
        if let Err(error) = after {
            inode.set_mapping_error(error);
        }
        let bytes = match done.result {
            Ok(bytes) => bytes,
            Err(_) => grown_below(inode, done.range),
        };
        publish_size(inode, done.range, bytes);
        match after {
            // The caller still waits in its call and can be told. Otherwise `fsync` tells.
            Err(error) if done.context == Context::Caller && done.result.is_ok() => Err(error),
            _ => done.result,
        }
    }
}

/// The second invalidation. It finds nothing with data in it, or the registry has a hole.
fn invalidate_after(inode: &Inode<Diofs>, range: ByteRange) -> Result {
    if !inode.has_pages() || !inode.range_has_page(range) {
        return Ok(());
    }
    let stats = stats(inode);
    stats.found_after.add(inode.count_uptodate(range) as i64);
    inode.invalidate(range).map_err(|_| {
        stats.after_failures.inc();
        EIO
    })
}

/// Grows the file to the end of what was written. The inode lock is held exclusively if it does.
fn publish_size(inode: &Inode<Diofs>, range: ByteRange, bytes: usize) {
    let old = inode.size();
    let end = range.start().saturating_add_unsigned(bytes as u64);
    if bytes > 0 && end > old {
        inode.zero_past_end();
        inode.set_size(end);
        inode.size_extended(old);
    }
}

/// How much of a range on which a write has failed lies within the lower file. That can have grown
/// all the same: what failed can be the sync of what was written. The upper file must not be the
/// shorter one, or a later write behind its end would make what is there part of it.
fn grown_below(inode: &Inode<Diofs>, range: ByteRange) -> usize {
    let end = i64::try_from(range.end()).unwrap_or(i64::MAX);
    let end = inode.data().lower.size().min(end);
    usize::try_from(end.saturating_sub(range.start())).unwrap_or(0)
}
