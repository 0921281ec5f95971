// SPDX-License-Identifier: GPL-2.0

//! The page cache of an inode as a whole: looking, flushing, invalidating, cutting.
//!
//! C headers: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    folio::LockedFolio,
    inode_cache::Storage,
    range_set::ByteRange,
    FileSystem,
    Inode, //
};
use crate::bindings;
use kernel::{
    error::to_result,
    page::PAGE_SHIFT,
    prelude::*,
    sync::atomic::{
        ordering::{
            Acquire,
            Relaxed,
            Release, //
        },
        Atomic, //
    },
};

/// The failures of write-back of one inode.
///
/// The flags of the mapping (`AS_EIO`, `AS_ENOSPC`) do not tell one who waits for the write-back of
/// others that it has failed: whoever asks first clears them for all. And its error sequence does not
/// change by an error like the last one that nobody has looked at yet.
///
/// A folio is under writeback for some time after a part of it has failed. So both ends of that time
/// are counted: a failure of a folio that one has waited for had not ended when the wait began, and
/// had begun when it ended.
pub(super) struct WriteFailures {
    begun: Atomic<u32>,
    ended: Atomic<u32>,
    last: Atomic<i32>,
    /// All errors that the mapping was told of.
    errors: Atomic<u32>,
}

impl WriteFailures {
    /// None yet.
    pub(super) const fn none() -> Self {
        Self {
            begun: Atomic::new(0),
            ended: Atomic::new(0),
            last: Atomic::new(0),
            errors: Atomic::new(0),
        }
    }
}

/// A failure of write-back whose folios are still under writeback.
pub(super) struct WriteFailure<'a>(&'a WriteFailures);

impl Drop for WriteFailure<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Release);
    }
}

impl<T: FileSystem> Inode<T> {
    /// Whether the cache holds any folio, at the cost of one load.
    ///
    /// Context: any.
    pub fn has_pages(&self) -> bool {
        // SAFETY: The mapping lives as long as the inode; any value of a racing update will do.
        unsafe { core::ptr::addr_of!((*self.mapping_raw()).nrpages).read_volatile() != 0 }
    }

    /// Whether the cache holds a folio in `range`, as `filemap_range_has_page()` does.
    ///
    /// Context: any: it takes no lock.
    pub fn range_has_page(&self, range: ByteRange) -> bool {
        // SAFETY: The mapping lives as long as the inode.
        unsafe { bindings::filemap_range_has_page(self.mapping_raw(), range.start(), range.last()) }
    }

    /// Whether a flush of everything would have something to do.
    ///
    /// Context: process context, does not sleep.
    pub fn needs_writeback(&self) -> bool {
        if !self.has_pages() {
            return false;
        }
        // SAFETY: The mapping lives as long as the inode.
        unsafe { bindings::filemap_range_has_writeback(self.mapping_raw(), 0, i64::MAX) }
    }

    /// Whether a flush of `range` would have something to do.
    ///
    /// Context: process context, does not sleep.
    pub fn range_needs_writeback(&self, range: ByteRange) -> bool {
        if !self.has_pages() {
            return false;
        }
        // SAFETY: The mapping lives as long as the inode.
        unsafe {
            bindings::filemap_range_has_writeback(self.mapping_raw(), range.start(), range.last())
        }
    }

    /// Writes the dirty folios of `range` back and waits, as `filemap_write_and_wait_range()`.
    ///
    /// Context: process context, may sleep; no folio lock and no `invalidate_lock` is held.
    ///
    /// # Errors
    ///
    /// Those of write-back of this file that has failed meanwhile, whoever did it, or that has failed
    /// before without that anybody has asked.
    pub fn flush(&self, range: ByteRange) -> Result {
        self.flush_between(range.start(), range.last())
    }

    /// Writes all dirty folios back and waits.
    ///
    /// Context, errors: as [`Inode::flush`].
    pub fn flush_all(&self) -> Result {
        if !self.has_pages() {
            return Ok(());
        }
        self.flush_between(0, i64::MAX)
    }

    fn flush_between(&self, start: i64, last: i64) -> Result {
        self.watch_write_back(|| {
            // SAFETY: The mapping lives as long as the inode.
            to_result(unsafe {
                bindings::filemap_write_and_wait_range(self.mapping_raw(), start, last)
            })
        })
    }

    /// Does what [`Inode::flush`] does for one who is not told: an error stays to be told to the next
    /// one who asks.
    ///
    /// C: `filemap_fdatawrite_range()`, `filemap_fdatawait_range_keep_errors()`.
    ///
    /// Context: as [`Inode::flush`].
    pub fn settle(&self, range: ByteRange) {
        self.settle_between(range.start(), range.last());
    }

    /// Does what [`Inode::flush_all`] does for one who is not told.
    ///
    /// Context: as [`Inode::flush`].
    pub fn settle_all(&self) {
        if self.has_pages() {
            self.settle_between(0, i64::MAX);
        }
    }

    fn settle_between(&self, start: i64, last: i64) {
        let mapping = self.mapping_raw();
        // SAFETY: The mapping lives as long as the inode.
        unsafe {
            // What could not be tried is dirty still.
            bindings::filemap_fdatawrite_range(mapping, start, last);
            bindings::filemap_fdatawait_range_keep_errors(mapping, start, last);
        }
    }

    /// The error of write-back that nobody has been told of since it happened, as
    /// `filemap_check_errors()`; then it has been told.
    ///
    /// Context: any.
    pub fn write_back_error(&self) -> Result {
        // SAFETY: The mapping lives as long as the inode.
        to_result(unsafe { bindings::filemap_check_errors(self.mapping_raw()) })
    }

    /// Does `act`, and fails if write-back of this file has failed meanwhile, whoever did it.
    ///
    /// Context: that of `act`.
    pub fn watch_write_back<R>(&self, act: impl FnOnce() -> Result<R>) -> Result<R> {
        let failures = self.write_failures();
        let ended = failures.ended.load(Acquire);
        let result = act();
        if failures.begun.load(Acquire) == ended {
            return result;
        }
        // This one is told now.
        let _ = self.write_back_error();
        to_result(failures.last.load(Relaxed)).and(result)
    }

    /// How many errors of write-back there have been.
    ///
    /// Context: any.
    pub fn write_back_errors(&self) -> u32 {
        self.write_failures().errors.load(Relaxed)
    }

    fn write_failures(&self) -> &WriteFailures {
        // SAFETY: The inode is referenced.
        unsafe { Storage::<T>::failures(self.as_raw()) }
    }

    /// Lets all who wait for write-back know that it has failed, until the result is dropped. That is
    /// to happen when no folio is under this writeback any more.
    ///
    /// Context: process context; the folios that were to be written are under writeback.
    pub(super) fn write_back_failed(&self, error: Error) -> WriteFailure<'_> {
        let failures = self.write_failures();
        failures.last.store(error.to_errno(), Relaxed);
        failures.begun.fetch_add(1, Release);
        WriteFailure(failures)
    }

    /// Unmaps and removes the folios of `range`, as `invalidate_inode_pages2_range()` does.
    ///
    /// Context: process context, sleeps for folio locks and writeback; no folio lock is held.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a folio is dirty, or its private data cannot be released.
    pub fn invalidate(&self, range: ByteRange) -> Result {
        // SAFETY: The mapping lives as long as the inode.
        to_result(unsafe {
            bindings::invalidate_inode_pages2_range(
                self.mapping_raw(),
                range.first_page(PAGE_SHIFT),
                range.last_page(PAGE_SHIFT),
            )
        })
    }

    /// How many folios of `range` hold data that a reader may be given.
    ///
    /// Context: process context, does not sleep.
    pub fn count_uptodate(&self, range: ByteRange) -> u64 {
        let mut found = 0u64;
        let mut index = range.first_page(PAGE_SHIFT);
        let mut batch = bindings::folio_batch::default();
        loop {
            // SAFETY: The mapping lives as long as the inode, and the batch is empty.
            let count = unsafe {
                bindings::filemap_get_folios(
                    self.mapping_raw(),
                    &mut index,
                    range.last_page(PAGE_SHIFT),
                    &mut batch,
                )
            };
            if count == 0 {
                return found;
            }
            for folio in batch.folios.iter().take(count as usize) {
                // SAFETY: The batch holds a reference to each of its folios.
                if unsafe { bindings::folio_test_uptodate(*folio) } {
                    found = found.saturating_add(1);
                }
            }
            // SAFETY: The batch is filled; this drops its references and empties it.
            unsafe { bindings::__folio_batch_release(&mut batch) };
        }
    }

    /// Records an error for the next `fsync` of every open file, as `mapping_set_error()` does.
    ///
    /// Context: any.
    pub fn set_mapping_error(&self, error: Error) {
        self.write_failures().errors.fetch_add(1, Relaxed);
        // SAFETY: The mapping lives as long as the inode.
        unsafe { bindings::mapping_set_error(self.mapping_raw(), error.to_errno()) };
    }

    /// Zeroes what the cache holds past the end of the file, in the folio that holds the end.
    ///
    /// A store through a mapping can have put something there. It must not become part of the file
    /// when that grows.
    ///
    /// Context: process context, sleeps for a folio lock; the `i_rwsem` is held exclusively.
    pub fn zero_past_end(&self) {
        let size = self.size();
        if !self.has_pages() || size < 0 {
            return;
        }
        // SAFETY: The mapping is that of a live inode.
        let folio = unsafe { LockedFolio::find(self.mapping_raw(), (size as usize) >> PAGE_SHIFT) };
        if let Some(folio) = folio {
            folio.zero_from(size);
        }
    }

    /// Tells mappings that the file has grown from `from` to its present size, as
    /// `pagecache_isize_extended()` does.
    ///
    /// Context: process context, may sleep; the `i_rwsem` is held exclusively.
    pub fn size_extended(&self, from: i64) {
        // SAFETY: The inode lives.
        unsafe { bindings::pagecache_isize_extended(self.as_raw(), from, self.size()) };
    }

    /// Sets the size, and removes what the cache holds past it, as `truncate_setsize()` does.
    ///
    /// Removing a folio waits for its writeback with the folio locked and faults kept out, and
    /// writeback wants the lower `i_rwsem`. Somebody who holds that may be faulting here. So the
    /// waiting is done first: with the new size set, no writeback starts past it.
    ///
    /// Context: process context, may sleep; the `i_rwsem` is held exclusively, and no direct
    /// transfer is in flight.
    pub fn truncate_cache(&self, size: i64) {
        self.set_size(size);
        // SAFETY: The inode lives. Faults are kept out while the cache is cut.
        unsafe {
            bindings::filemap_fdatawait_range_keep_errors(self.mapping_raw(), size, i64::MAX);
            bindings::filemap_invalidate_lock(self.mapping_raw());
            bindings::truncate_setsize(self.as_raw(), size);
            bindings::filemap_invalidate_unlock(self.mapping_raw());
        }
    }

    /// Waits until no direct transfer is in flight, as `inode_dio_wait()` does.
    ///
    /// Context: process context, may sleep; the `i_rwsem` is held exclusively.
    pub fn wait_direct(&self) {
        // SAFETY: The inode lives.
        unsafe { bindings::inode_dio_wait(self.as_raw()) };
    }

    /// Whether a write has no privileges to remove (`IS_NOSEC()`).
    pub fn is_nosec(&self) -> bool {
        // SAFETY: The inode lives.
        unsafe { bindings::is_nosec(self.as_raw()) }
    }
}
