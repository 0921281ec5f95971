// SPDX-License-Identifier: GPL-2.0

//! Superblocks of the filesystem that is being implemented.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::FileSystem;
use crate::bindings;
use core::marker::PhantomData;
use kernel::types::Opaque;

/// A superblock of the filesystem `T`, set up completely.
///
/// # Invariants
///
/// `s_fs_info` points to the pinned `T::Super` of this superblock.
#[repr(transparent)]
pub struct SuperBlock<T: FileSystem>(Opaque<bindings::super_block>, PhantomData<T>);

// SAFETY: A superblock may be used from any task; the data are `Send` and `Sync` by the trait's
// bounds.
unsafe impl<T: FileSystem> Send for SuperBlock<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for SuperBlock<T> {}

impl<T: FileSystem> SuperBlock<T> {
    /// The wrapper of a C superblock.
    ///
    /// # Safety
    ///
    /// `sb` must be a superblock of `T` whose `s_fs_info` is set, and it must stay so for `'a`.
    pub unsafe fn from_raw<'a>(sb: *mut bindings::super_block) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*sb.cast() }
    }

    /// The C superblock.
    pub fn as_raw(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// The filesystem's data of this superblock.
    pub fn data(&self) -> &T::Super {
        // SAFETY: By the type invariant, and the data live as long as the superblock is set up.
        unsafe { &*(*self.as_raw()).s_fs_info.cast() }
    }
}
