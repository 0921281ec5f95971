// SPDX-License-Identifier: GPL-2.0

//! Inodes of the filesystem that is being implemented.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    attr::{
        copy_attributes,
        Times, //
    },
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
    cell::UnsafeCell,
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::Atomic,
        rcu,
        LockClassKey, //
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

/// What the slab cache of `T` holds: the inode that the VFS sees, and what belongs to it.
///
/// `lower` identifies the inode in the inode hash. It owns a reference, is written once, before the
/// inode is hashed, and not cleared: a walk under RCU may read it until the memory is freed, and
/// the lower inode, freed by RCU as well, lasts as long. `ready` says whether `data` is
/// initialised; the one task that sets the inode up writes both, before anybody else can get at it
/// (`I_NEW`).
#[repr(C)]
pub(super) struct Storage<T: FileSystem> {
    inode: Opaque<bindings::inode>,
    lower: UnsafeCell<*mut bindings::inode>,
    changes: Atomic<u32>,
    ready: UnsafeCell<bool>,
    data: UnsafeCell<MaybeUninit<T::Inode>>,
}

impl<T: FileSystem> Storage<T> {
    /// The lower inode of `inode`; null if that is null.
    ///
    /// # Safety
    ///
    /// `inode` must be null or a hashed inode of `T` that is referenced or kept by RCU.
    pub(super) unsafe fn lower_of(inode: *mut bindings::inode) -> *mut bindings::inode {
        if inode.is_null() {
            return inode;
        }
        // SAFETY: By the function's requirements, the layout, and because `lower` is constant then.
        unsafe { *(*inode.cast::<Self>()).lower.get() }
    }

    /// The count of changes of the directory `inode`, odd while one is going on.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of `T` that is referenced or kept by RCU for `'a`.
    pub(super) unsafe fn changes<'a>(inode: *mut bindings::inode) -> &'a Atomic<u32> {
        // SAFETY: By the function's requirements and the layout.
        unsafe { &(*inode.cast::<Self>()).changes }
    }

    /// Makes a new, empty object of a piece of memory from the cache.
    ///
    /// # Safety
    ///
    /// `storage` must be such a piece; its `inode` was initialised by [`Storage::construct`].
    unsafe fn prepare(storage: *mut Self) {
        // SAFETY: By the function's requirements nobody else uses the memory.
        unsafe {
            (*storage).lower.get().write(null_mut());
            (&raw mut (*storage).changes).write(Atomic::new(0));
            (*storage).ready.get().write(false);
        }
    }

    /// # Safety
    ///
    /// Called by the slab allocator on each piece of new memory for the cache.
    unsafe extern "C" fn construct(storage: *mut c_void) {
        // SAFETY: `inode` is the first field.
        unsafe { bindings::inode_init_once(storage.cast()) };
    }

    /// Drops the private data and lets go of the lower inode.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of `T` that nobody references any more.
    unsafe fn clear(inode: *mut bindings::inode) {
        let storage: *mut Self = inode.cast();
        // SAFETY: By the function's requirements. What is read under RCU meanwhile is `lower`,
        // which stays, and `changes`, which need not be dropped.
        unsafe {
            if *(*storage).ready.get() {
                *(*storage).ready.get() = false;
                (*(*storage).data.get()).assume_init_drop();
            }
            bindings::iput(*(*storage).lower.get());
        }
    }
}

/// The slab cache of the inodes of `T`.
///
/// # Invariants
///
/// The pointer is a cache whose objects are `Storage<T>`.
pub(super) struct InodeCache<T: FileSystem>(NonNull<bindings::kmem_cache>, PhantomData<T>);

// SAFETY: Caches may be used from any task.
unsafe impl<T: FileSystem> Send for InodeCache<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for InodeCache<T> {}

impl<T: FileSystem> InodeCache<T> {
    /// Makes the cache.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        // SAFETY: The name is static.
        let cache = unsafe {
            bindings::kmem_cache_create(
                T::NAME.as_char_ptr(),
                size_of::<Storage<T>>(),
                align_of::<Storage<T>>(),
                0,
                Some(Storage::<T>::construct),
            )
        };
        // INVARIANT: The objects have the size and alignment of `Storage<T>`.
        NonNull::new(cache)
            .map(|cache| Self(cache, PhantomData))
            .ok_or(ENOMEM)
    }

    /// A new inode for `sb`, or null.
    ///
    /// # Safety
    ///
    /// `sb` must be a superblock of `T`.
    pub(super) unsafe fn alloc(&self, sb: *mut bindings::super_block) -> *mut bindings::inode {
        // SAFETY: By the function's requirements.
        let inode = unsafe { bindings::alloc_inode_sb(sb, self.0.as_ptr(), bindings::GFP_KERNEL) };
        if !inode.is_null() {
            // SAFETY: The memory is new and comes from the cache.
            unsafe { Storage::<T>::prepare(inode.cast()) };
        }
        inode
    }
}

impl<T: FileSystem> Drop for InodeCache<T> {
    fn drop(&mut self) {
        // Inodes are freed by RCU; those of the last unmount may still be under way.
        rcu::rcu_barrier();
        // SAFETY: The cache is empty: there is no superblock any more.
        unsafe { bindings::kmem_cache_destroy(self.0.as_ptr()) };
    }
}

/// The part of `super_operations` that is about the memory of inodes.
pub(super) struct InodeMemory<T: FileSystem>(PhantomData<T>);

impl<T: FileSystem> InodeMemory<T> {
    /// # Safety
    ///
    /// Called by the VFS with an inode of `T` that has no references any more.
    pub(super) unsafe extern "C" fn destroy_inode(inode: *mut bindings::inode) {
        // SAFETY: As this function's requirements.
        unsafe { Storage::<T>::clear(inode) };
    }

    /// # Safety
    ///
    /// Called by the VFS an RCU grace period after `destroy_inode()`.
    pub(super) unsafe extern "C" fn free_inode(inode: *mut bindings::inode) {
        // `kfree()` frees objects of every cache.
        // SAFETY: The memory came from `InodeCache::alloc()` and nobody uses it any more.
        unsafe { bindings::kfree(inode.cast()) };
    }
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

    /// Whether the inode was set up; not so if that failed half way.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of `T`, and not be set up by another task at this time.
    pub(super) unsafe fn is_ready(inode: *mut bindings::inode) -> bool {
        // SAFETY: By the function's requirements and the layout.
        unsafe { *(*inode.cast::<Storage<T>>()).ready.get() }
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
    // SAFETY: As this function's requirements: nobody else uses the inode yet. The reference
    // belongs to `Storage::lower` from here on.
    unsafe {
        bindings::ihold(lower);
        *(*inode.cast::<Storage<T>>()).lower.get() = lower;
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
