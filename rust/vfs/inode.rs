// SPDX-License-Identifier: GPL-2.0

//! Inodes of the filesystem that is being implemented.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    attr::{
        block_bits,
        copy_attributes,
        Times, //
    },
    inode_cache::Storage,
    lower::{
        LowerInode,
        LowerMount, //
    },
    FileSystem,
    FileTable,
    InodeTable,
    MappingTable,
    SuperBlock, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        LockClassKey, //
    },
    types::Opaque, //
};

/// An inode of the filesystem `T`.
///
/// # Invariants
///
/// The inode is the `inode` field of a [`Storage<T>`] whose `data` is initialised. It is referenced;
/// or the VFS keeps it, with a count of zero, for the call in which it asks whether to drop it, has it
/// written back or evicts it. Such a call takes no reference.
#[repr(transparent)]
pub struct Inode<T: FileSystem>(Opaque<bindings::inode>, PhantomData<T>);

// SAFETY: An inode may be used from any task; the data are `Send` and `Sync` by the trait's bounds.
unsafe impl<T: FileSystem> Send for Inode<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for Inode<T> {}

// SAFETY: `ihold()` and `iput()` count references on every inode, and the inode with its data lives
// while the count is not zero.
unsafe impl<T: FileSystem> AlwaysRefCounted for Inode<T> {
    fn inc_ref(&self) {
        // SAFETY: By the type invariant the count is not zero where references are taken.
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
    /// and referenced, or kept by the VFS, for the duration of `'a`.
    pub unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*inode.cast() }
    }

    /// The C inode.
    pub fn as_raw(&self) -> *mut bindings::inode {
        self.0.get()
    }

    /// The filesystem's data of this inode.
    pub fn data(&self) -> &T::Inode {
        // SAFETY: By the type invariant the data are initialised, and they live as long as the
        // inode. Nobody has a mutable reference to them before they are dropped.
        unsafe { &*Storage::<T>::data(self.as_raw()) }
    }

    /// The lower inode.
    pub fn lower(&self) -> &LowerInode {
        // SAFETY: By the type invariant the inode is set up, so `lower` owns a reference.
        unsafe { LowerInode::from_raw(Storage::<T>::lower_of(self.as_raw())) }
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

/// What [`SuperBlock::inode_for`] found.
pub enum Found<T: FileSystem> {
    /// An inode that is in use or was.
    Known(ARef<Inode<T>>),
    /// A new one, to be set up.
    New(NewInode<T>),
}

impl<T: FileSystem> SuperBlock<T> {
    /// The inode that stacks on `lower`: there is at most one.
    ///
    /// Context: process context, may sleep. C: `iget5_locked_rcu()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn inode_for(&self, lower: &LowerInode) -> Result<Found<T>> {
        let key = lower.as_raw();
        // SAFETY: The superblock is set up. The two functions get `key`, and inodes of `T`.
        let inode = unsafe {
            bindings::iget5_locked_rcu(
                self.as_raw(),
                key.addr() as u64,
                Some(stacks_on::<T>),
                Some(stack_on::<T>),
                key.cast(),
            )
        };
        let inode = NonNull::new(inode).ok_or(ENOMEM)?;
        // SAFETY: The inode is referenced. `I_NEW` can only be seen by the task that has to set it
        // up: others waited in the call above.
        if unsafe { bindings::inode_state_read_once(inode.as_ptr()) }
            & bindings::inode_state_flags_enum_I_NEW
            != 0
        {
            // INVARIANT: New, so the data are not initialised; the reference goes to the object.
            return Ok(Found::New(NewInode {
                inode,
                _type: PhantomData,
            }));
        }
        // SAFETY: The reference goes to the object. Inodes that failed to be set up are taken out
        // of the hash before they are unlocked, so this one is set up.
        Ok(Found::Known(unsafe { ARef::from_raw(inode.cast()) }))
    }
}

/// # Safety
///
/// Called by `iget5_locked_rcu()` with a hashed inode of `T`, under RCU, and a lower inode.
unsafe extern "C" fn stacks_on<T: FileSystem>(
    inode: *mut bindings::inode,
    lower: *mut c_void,
) -> c_int {
    // SAFETY: As this function's requirements.
    let same = unsafe { Storage::<T>::lower_of(inode) } == lower.cast();
    same.into()
}

/// # Safety
///
/// Called by `iget5_locked_rcu()` with a new inode of `T`, before it is hashed, under a spinlock,
/// and a referenced lower inode.
unsafe extern "C" fn stack_on<T: FileSystem>(
    inode: *mut bindings::inode,
    lower: *mut c_void,
) -> c_int {
    let lower: *mut bindings::inode = lower.cast();
    // SAFETY: As this function's requirements: nobody else uses the inode yet.
    unsafe {
        Storage::<T>::set_lower(inode, lower);
        // That of the memory's last use otherwise.
        (*inode).i_mode = 0;
        (*inode).i_ino = (*lower).i_ino;
        (*inode).i_generation = (*lower).i_generation;
    }
    0
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

    /// The lower inode.
    pub fn lower(&self) -> &LowerInode {
        // SAFETY: The inode is hashed, so `lower` is set and owns a reference.
        unsafe { LowerInode::from_raw(Storage::<T>::lower_of(self.as_raw())) }
    }

    /// Copies what `stat` shows from the lower inode, which is in `mount`, the size included.
    pub fn copy_attributes(&mut self, mount: &LowerMount) {
        // SAFETY: By the type invariant the inode lives, and nobody else uses it yet.
        unsafe {
            copy_attributes(self.as_raw(), self.lower(), mount, Times::All);
            // The state of blocks in the page cache is kept per folio, which may be a single page, and
            // for as many blocks as there were when it came in.
            (*self.as_raw()).i_blkbits = block_bits((*self.lower().as_raw()).i_blkbits);
            bindings::i_size_write(self.as_raw(), self.lower().size());
        }
    }

    /// Makes the inode a device, FIFO or socket, as the lower one. C: `init_special_inode()`.
    pub fn set_special(&mut self) {
        let lower = self.lower().as_raw();
        // SAFETY: By the type invariant nobody else uses the inode yet; type and device number of
        // the lower one are constant.
        unsafe { bindings::init_special_inode(self.as_raw(), (*lower).i_mode, (*lower).i_rdev) };
    }

    /// Tells lockdep how deep in a stack of filesystems the inode is: the same code locks the
    /// inodes of two levels when this filesystem stacks on itself.
    pub fn set_lock_depth(&mut self, depth: i32) {
        let (rwsem, invalidate) = lock_classes(depth, self.is_directory());
        // SAFETY: By the type invariant nobody uses the locks yet; the classes are static.
        unsafe {
            bindings::inode_set_lock_classes(self.as_raw(), rwsem.as_ptr(), invalidate.as_ptr())
        };
    }

    fn is_directory(&self) -> bool {
        // SAFETY: By the type invariant nobody else uses the inode yet.
        let mode = unsafe { (*self.as_raw()).i_mode };
        u32::from(mode) & bindings::S_IFMT == bindings::S_IFDIR
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
        // SAFETY: By the type invariant the data are not initialised and nobody uses them. The
        // storage does not move before `destroy_inode()` drops them in place, so they are pinned.
        unsafe { pin_init::raw_try_init(Storage::<T>::data(self.as_raw()), data)? };
        // SAFETY: As above. `unlock_new_inode()` orders the store before any use by others.
        unsafe { Storage::<T>::set_ready(self.as_raw()) };
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

type LockClass = Pin<&'static LockClassKey>;

/// The lock classes of `i_rwsem` and `invalidate_lock` at `depth`.
fn lock_classes(depth: i32, directory: bool) -> (LockClass, LockClass) {
    match (depth, directory) {
        (..=1, true) => (static_lock_class!(), static_lock_class!()),
        (..=1, false) => (static_lock_class!(), static_lock_class!()),
        (_, true) => (static_lock_class!(), static_lock_class!()),
        (_, false) => (static_lock_class!(), static_lock_class!()),
    }
}
