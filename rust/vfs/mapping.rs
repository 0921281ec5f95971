// SPDX-License-Identifier: GPL-2.0

//! Files with a page cache over a store that is read and written synchronously, behind a gate.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h) (`address_space_operations`),
//! [`include/linux/iomap.h`](srctree/include/linux/iomap.h)
//!
//! The page cache itself (folios of all sizes, which of their blocks are up to date or dirty, the
//! end of the file) is iomap's. A filesystem gives three things, as [`CachedFile`]: how to fill
//! from the store, how to write back to it, and a *gate*: ranges of the file that the cache must
//! not hold for now. A path that would bring a folio into the cache, or dirty one, over a closed
//! range steps aside:
//!
//! | path            | what it does at a closed gate                                   |
//! |-----------------|-----------------------------------------------------------------|
//! | readahead       | leaves its folios out ([`super::fill`])                          |
//! | read            | unlocks its folio, waits, has the caller look anew               |
//! | buffered write  | unlocks its folio, waits, takes a folio anew ([`super::buffered`]) |
//! | store by mmap   | unlocks its folio, waits, has the fault repeated ([`super::fault`]) |
//!
//! Each has its folio in the cache and locked *before* it asks, see [`super::range_set`].

use super::{
    bvec::BvecIter,
    fill,
    inode::NewInode,
    iov::IovIter,
    kiocb::{
        Kiocb,
        Reply, //
    },
    range_set::{
        ByteRange,
        Gate, //
    },
    wait::{
        Signals,
        Wake, //
    },
    writeback,
    FileSystem,
    Inode,
    MappingTable, //
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    ffi::c_uint,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
};

/// A filesystem whose regular files have a gated page cache.
pub trait CachedFile: FileSystem {
    /// How the gate stands over `range`.
    ///
    /// At [`Gate::Closing`] one should step aside for a while, but may go on: whoever is closing it
    /// will look at the cache once more. At [`Gate::Closed`] one must not.
    ///
    /// Contains a full memory barrier before it looks.
    ///
    /// Context: any; a folio lock is held.
    fn gate(inode: &Inode<Self>, range: ByteRange) -> Gate;

    /// Waits until the gate over `range` stands better than `gate`.
    ///
    /// Without a limit, or if the answer is [`Wake::Ready`], it may stand so again: look. With a
    /// limit, one who finds it closed for ever anew is told so by [`Wake::Overtaken`].
    ///
    /// Context: process context, may sleep; no folio lock is held.
    fn gate_wait(
        inode: &Inode<Self>,
        gate: Gate,
        range: ByteRange,
        signals: Signals,
        limit: Option<Jiffies>,
    ) -> Wake;

    /// Reads from the store at `pos` into `dst`, as much as there is; stops short only at its end.
    ///
    /// Context: process context, may sleep. Folio locks and the `invalidate_lock` are held: nothing
    /// may be called that takes the `i_rwsem` of a lower file.
    fn fill(inode: &Inode<Self>, pos: i64, dst: &mut BvecIter<'_>) -> Result;

    /// Writes all of `src` to the store at `pos`. On an error, `src` stands where the first byte is
    /// that was not written.
    ///
    /// Context: process context, may sleep; no folio lock is held, but folios are under writeback.
    fn write_back(inode: &Inode<Self>, pos: i64, src: &mut BvecIter<'_>) -> Result;

    /// Where from `pos` on the store has data already, so that writing there needs no more room.
    ///
    /// Context: as [`CachedFile::write_back`].
    fn next_stored(inode: &Inode<Self>, pos: i64) -> Option<ByteRange>;

    /// Transfers directly between `iter` and the store, at the position of `kiocb`.
    ///
    /// Context: process context, may sleep; the inode's `i_rwsem` is held exclusively to write, and
    /// not to read.
    fn direct_io<'a>(kiocb: Kiocb<'a, Self>, iter: &mut IovIter<'_>) -> Reply<'a>;

    /// How long a read or a store may wait for the same to open the gate, in milliseconds.
    ///
    /// A task that holds the lower file's `i_rwsem` and touches a mapping of the upper file can
    /// wait for a writer that waits for that very lock. This limit ends it: the read goes on, with
    /// data that may be superseded, and the store fails if [`CachedFile::store_is_contended`]. Those
    /// who have no such lock come in by the same way and cannot be told apart.
    const FAULT_LIMIT_MS: u32;

    /// Whether somebody waits for a lock of the lower file that another task has.
    ///
    /// Context: process context; nothing is waited for. The answer can be history at once, but a
    /// deadlock does not go away by itself.
    fn store_is_contended(inode: &Inode<Self>) -> bool;
}

/// The largest folios that the cache takes: none that a page table can map as a whole.
///
/// To make one of those, `collapse_file()` of khugepaged keeps the folios that it has found locked
/// and reads the missing ones, which takes the `invalidate_lock`. Truncation takes that first, and
/// then waits for the locked folios: both for ever. It leaves files alone that cannot have them.
const MAX_FOLIO_ORDER: c_uint = bindings::PMD_ORDER.saturating_sub(1);

/// How long a read or a store steps aside for one who is closing the gate, in milliseconds: so that
/// he gets done, if what he waits for is not what the reader or storer holds.
const CLOSING_LIMIT_MS: u32 = 50;

/// How long a read or a store waits at a gate that stands so.
pub(super) fn gate_limit<T: CachedFile>(gate: Gate) -> Jiffies {
    msecs_to_jiffies(match gate {
        Gate::Closed => T::FAULT_LIMIT_MS,
        Gate::Closing | Gate::Open => CLOSING_LIMIT_MS,
    })
}

/// The address space operations of `T`'s regular files.
pub struct MappingOps<T: CachedFile>(PhantomData<T>);

impl<T: CachedFile> MappingOps<T> {
    /// The table.
    pub const TABLE: bindings::address_space_operations = bindings::address_space_operations {
        read_folio: Some(fill::read_folio::<T>),
        readahead: Some(fill::readahead::<T>),
        writepages: Some(writeback::writepages::<T>),
        dirty_folio: Some(bindings::iomap_dirty_folio),
        invalidate_folio: Some(bindings::iomap_invalidate_folio),
        release_folio: Some(bindings::iomap_release_folio),
        is_partially_uptodate: Some(bindings::iomap_is_partially_uptodate),
        migrate_folio: Some(bindings::filemap_migrate_folio),
        error_remove_folio: Some(bindings::generic_error_remove_folio),
        direct_IO: Some(direct_io::<T>),
        ..pin_init::zeroed()
    };

    /// Gives a new inode this page cache.
    pub fn install(inode: &mut NewInode<T>) {
        // SAFETY: The table's functions are sound on regular files of `T`.
        inode.set_mapping_table(unsafe { MappingTable::new(const { &Self::TABLE }) });
        // SAFETY: Nobody else uses a new inode, and its mapping was initialised with it.
        unsafe {
            let mapping = (*inode.as_raw()).i_mapping;
            bindings::mapping_set_folio_order_range(mapping, 0, MAX_FOLIO_ORDER);
            // Reclaim must not wait for writeback here: it may need memory for the lower's I/O.
            bindings::mapping_set_may_deadlock_on_reclaim(mapping);
            bindings::mapping_set_gfp_mask(mapping, (*mapping).gfp_mask & !bindings::__GFP_FS);
        }
    }
}

/// `address_space_operations::direct_IO`
///
/// # Safety
///
/// Called by the VFS with a kiocb for an open file of `T`, its inode's `i_rwsem` held as
/// [`CachedFile::direct_io`] wants it, and an iterator that is valid for the call.
unsafe extern "C" fn direct_io<T: CachedFile>(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: The caller guarantees both for the duration of the call.
    let (kiocb, mut iter) = unsafe { (Kiocb::from_raw(kiocb), IovIter::from_raw(iter)) };
    T::direct_io(kiocb, &mut iter).into_c()
}
