// SPDX-License-Identifier: GPL-2.0

//! Making a filesystem type known to the VFS.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    context::{
        ContextOps,
        Mount, //
    },
    inode_cache::InodeCache,
    superblock::SuperOps,
    FileSystem, //
};
use crate::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A filesystem type that is registered as long as this lives.
///
/// It must live as long as the module: the VFS holds a reference to the module while there is a
/// superblock.
///
/// # Invariants
///
/// `fs_type` is registered.
// The type comes first: the cache goes only when no more inodes can be made.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub struct Registration<T: FileSystem> {
    #[pin]
    fs_type: Opaque<bindings::file_system_type>,
    cache: InodeCache<T>,
}

// SAFETY: Registering and unregistering may be done by different tasks.
unsafe impl<T: FileSystem> Send for Registration<T> {}
// SAFETY: A shared reference gives nothing but the cache, which is `Sync`.
unsafe impl<T: FileSystem> Sync for Registration<T> {}

impl<T: Mount> Registration<T> {
    /// Registers the filesystem type. C: `register_filesystem()`.
    ///
    /// # Errors
    ///
    /// `EBUSY` when the name is taken; `ENOMEM`.
    pub fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            cache: InodeCache::new()?,
            fs_type <- Opaque::try_ffi_init(|slot: *mut bindings::file_system_type| {
                let fs_type = bindings::file_system_type {
                    name: T::NAME.as_char_ptr(),
                    owner: module.as_ptr(),
                    fs_flags: bindings::FS_RENAME_DOES_D_MOVE as c_int,
                    init_fs_context: Some(ContextOps::<T>::init_fs_context),
                    parameters: ContextOps::<T>::parameters(),
                    kill_sb: Some(SuperOps::<T>::kill_sb),
                    ..pin_init::zeroed()
                };
                // SAFETY: The slot is ours to fill in, and stays where it is while registered,
                // because it is pinned and unregistered when it is dropped.
                to_result(unsafe {
                    slot.write(fs_type);
                    bindings::register_filesystem(slot)
                })
            }),
        })
    }
}

impl<T: FileSystem> Registration<T> {
    /// The inode cache that belongs to a filesystem type.
    ///
    /// # Safety
    ///
    /// `fs_type` must be the one of a `Registration<T>`, which must live for `'a`.
    pub(super) unsafe fn cache_of<'a>(
        fs_type: *mut bindings::file_system_type,
    ) -> &'a InodeCache<T> {
        // SAFETY: By the function's requirements, and `fs_type` is the first field.
        unsafe { &(*fs_type.cast::<Self>()).cache }
    }
}

#[pinned_drop]
impl<T: FileSystem> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant. Fails only for a type that is not registered.
        unsafe { bindings::unregister_filesystem(self.fs_type.get()) };
    }
}
