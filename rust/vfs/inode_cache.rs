// SPDX-License-Identifier: GPL-2.0

//! The memory of inodes.
//!
//! The C inode, the lower inode and the filesystem's data live in one object of a slab cache. The
//! data are dropped, and the lower inode let go of, when the inode is destroyed; the memory is freed
//! an RCU grace period later, because walks under RCU may still look at it.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/slab.h`](srctree/include/linux/slab.h)

use super::{
    cache::WriteFailures,
    FileSystem, //
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
    sync::{
        atomic::Atomic,
        rcu, //
    },
    types::Opaque, //
};

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
    failures: WriteFailures,
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

    /// Sets the lower inode, and takes a reference to it.
    ///
    /// # Safety
    ///
    /// `inode` must be a new inode of `T` that is not hashed yet, `lower` be referenced.
    pub(super) unsafe fn set_lower(inode: *mut bindings::inode, lower: *mut bindings::inode) {
        // SAFETY: By the function's requirements nobody else uses the inode.
        unsafe {
            bindings::ihold(lower);
            *(*inode.cast::<Self>()).lower.get() = lower;
        }
    }

    /// Where the private data are.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of `T`, referenced or kept by RCU.
    pub(super) unsafe fn data(inode: *mut bindings::inode) -> *mut T::Inode {
        // SAFETY: By the function's requirements and the layout.
        unsafe { (*inode.cast::<Self>()).data.get().cast() }
    }

    /// Whether the private data are initialised; not so if that failed half way.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of `T` that no other task sets up or clears at this time.
    pub(super) unsafe fn is_ready(inode: *mut bindings::inode) -> bool {
        // SAFETY: By the function's requirements and the layout.
        unsafe { *(*inode.cast::<Self>()).ready.get() }
    }

    /// Says that the private data are initialised.
    ///
    /// # Safety
    ///
    /// `inode` must be a new inode of `T` (`I_NEW`) that the running task sets up, and whose data
    /// it has initialised.
    pub(super) unsafe fn set_ready(inode: *mut bindings::inode) {
        // SAFETY: By the function's requirements nobody else uses the inode.
        unsafe { *(*inode.cast::<Self>()).ready.get() = true };
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

    /// The failures of write-back of the regular file `inode`.
    ///
    /// # Safety
    ///
    /// `inode` must be an inode of `T` that is referenced for `'a`.
    pub(super) unsafe fn failures<'a>(inode: *mut bindings::inode) -> &'a WriteFailures {
        // SAFETY: By the function's requirements and the layout.
        unsafe { &(*inode.cast::<Self>()).failures }
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
            (&raw mut (*storage).failures).write(WriteFailures::none());
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
        // which stays, and `changes`, which like `failures` need not be dropped.
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
