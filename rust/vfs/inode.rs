// SPDX-License-Identifier: GPL-2.0

//! Inodes of the filesystem that is being implemented.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    FileSystem,
    FileTable,
    InodeTable,
    MappingTable,
    SuperBlock, //
};
use crate::bindings;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

/// An inode of the filesystem `T`.
///
/// # Invariants
///
/// The inode is the `inode` field of a [`Storage<T>`], its reference count is not zero, and
/// `Storage::data` is initialised.
#[repr(transparent)]
pub struct Inode<T: FileSystem>(Opaque<bindings::inode>, PhantomData<T>);

/// What the slab cache of `T` holds: the inode that the VFS sees, and `T`'s data.
///
/// `key` identifies the inode in the inode hash and is constant from its insertion on. `ready` says
/// whether `data` is initialised; both are written by the one task that sets the inode up, before
/// anybody else can get at it (`I_NEW`).
#[repr(C)]
pub(super) struct Storage<T: FileSystem> {
    inode: Opaque<bindings::inode>,
    key: UnsafeCell<usize>,
    ready: UnsafeCell<bool>,
    data: UnsafeCell<MaybeUninit<T::Inode>>,
}

// SAFETY: An inode may be used from any task; the data are `Send` and `Sync` by the trait's bounds.
unsafe impl<T: FileSystem> Send for Inode<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for Inode<T> {}

// SAFETY: `ihold()` and `iput()` count references on every inode, and the inode with its data lives
// while the count is not zero.
unsafe impl<T: FileSystem> AlwaysRefCounted for Inode<T> {
    fn inc_ref(&self) {
        // SAFETY: The reference shows that the count is not zero.
        unsafe { bindings::ihold(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own. `Inode` is a transparent wrapper.
        unsafe { bindings::iput(obj.as_ptr().cast()) };
    }
}

impl<T: FileSystem> Inode<T> {
    /// The wrapper of a C inode.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of a superblock of `T`, set up completely (not `I_NEW`, not bad),
    /// and referenced for the duration of `'a`.
    pub unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*inode.cast() }
    }

    /// The C inode.
    pub fn as_raw(&self) -> *mut bindings::inode {
        self.0.get()
    }

    fn storage(&self) -> *mut Storage<T> {
        // By the type invariant, and `inode` is the first field of a `repr(C)` structure.
        self.as_raw().cast()
    }

    /// The filesystem's data of this inode.
    pub fn data(&self) -> &T::Inode {
        // SAFETY: By the type invariant the data are initialised, and they live as long as the
        // inode. Nobody has a mutable reference to them before they are dropped.
        unsafe { (*(*self.storage()).data.get()).assume_init_ref() }
    }

    /// The superblock that the inode belongs to.
    pub fn super_block(&self) -> &SuperBlock<T> {
        // SAFETY: `i_sb` is constant, and a superblock outlives its inodes. It belongs to `T`,
        // because the inode does, and is set up, because it has an inode.
        unsafe { SuperBlock::from_raw((*self.as_raw()).i_sb) }
    }

    /// The page cache of the inode.
    pub fn mapping_raw(&self) -> *mut bindings::address_space {
        // SAFETY: The inode lives; `i_mapping` of an inode of `T` never changes.
        unsafe { (*self.as_raw()).i_mapping }
    }

    /// File type and permission bits.
    pub fn mode(&self) -> u16 {
        // SAFETY: The inode lives. A racing change of permission bits yields either value.
        unsafe { core::ptr::addr_of!((*self.as_raw()).i_mode).read_volatile() }
    }

    /// Whether this is a regular file.
    pub fn is_regular(&self) -> bool {
        u32::from(self.mode()) & bindings::S_IFMT == bindings::S_IFREG
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        u32::from(self.mode()) & bindings::S_IFMT == bindings::S_IFDIR
    }

    /// The file size.
    pub fn size(&self) -> i64 {
        // SAFETY: The inode lives.
        unsafe { bindings::i_size_read(self.as_raw()) }
    }

    /// Sets the file size, without touching the page cache.
    ///
    /// The caller serialises writers, by the exclusive inode lock for example.
    pub fn set_size(&self, size: i64) {
        // SAFETY: The inode lives.
        unsafe { bindings::i_size_write(self.as_raw(), size) };
    }
}

/// An inode that is being set up: in the inode hash, locked (`I_NEW`), not usable by others yet.
///
/// Dropping it without [`init`](NewInode::init) takes it out of the hash and makes those who wait
/// for it look again.
///
/// # Invariants
///
/// `inode` is the `inode` field of a [`Storage<T>`], has `I_NEW` set by the running task, and
/// `Storage::data` is not initialised. The structure owns a reference.
pub struct NewInode<T: FileSystem> {
    inode: NonNull<bindings::inode>,
    _type: PhantomData<T>,
}

impl<T: FileSystem> NewInode<T> {
    /// The C inode.
    pub fn as_raw(&self) -> *mut bindings::inode {
        self.inode.as_ptr()
    }

    /// Installs the inode operations.
    pub fn set_inode_table(&mut self, table: InodeTable<T>) {
        // SAFETY: By the type invariant nobody else uses the inode yet.
        unsafe { (*self.as_raw()).i_op = table.as_ptr() };
    }

    /// Installs the operations of open files.
    pub fn set_file_table(&mut self, table: FileTable<T>) {
        // SAFETY: By the type invariant nobody else uses the inode yet.
        unsafe { (*self.as_raw()).__bindgen_anon_3.i_fop = table.as_ptr() };
    }

    /// Installs the operations of the page cache.
    pub fn set_mapping_table(&mut self, table: MappingTable<T>) {
        // SAFETY: By the type invariant nobody else uses the inode yet.
        unsafe { (*(*self.as_raw()).i_mapping).a_ops = table.as_ptr() };
    }

    /// Initialises the private data and makes the inode usable by everybody.
    ///
    /// # Errors
    ///
    /// That of `data`; the inode is gone then.
    pub fn init<E>(self, data: impl PinInit<T::Inode, E>) -> Result<ARef<Inode<T>>, E> {
        let storage: *mut Storage<T> = self.as_raw().cast();
        // SAFETY: By the type invariant the data are not initialised and nobody uses them. The
        // storage does not move before `destroy_inode()` drops them in place, so they are pinned.
        unsafe { pin_init::raw_try_init((*storage).data.get().cast(), data)? };
        // SAFETY: As above. `unlock_new_inode()` orders the store before any use by others.
        unsafe { *(*storage).ready.get() = true };
        let inode = core::mem::ManuallyDrop::new(self).inode;
        // SAFETY: The running task set `I_NEW`.
        unsafe { bindings::unlock_new_inode(inode.as_ptr()) };
        // SAFETY: The reference of `self` goes to the new `ARef`.
        // INVARIANT: The data were initialised above.
        Ok(unsafe { ARef::from_raw(inode.cast()) })
    }
}

impl<T: FileSystem> Drop for NewInode<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant: locked by this task, with a reference that goes here.
        unsafe { bindings::iget_failed(self.as_raw()) };
    }
}
