// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over the VFS for a stacking filesystem.
//!
//! The in-tree `kernel` crate has no superblocks, inodes, dentries or page cache yet. This module
//! supplies them as far as a filesystem needs that stacks on another one. It knows nothing of what
//! the filesystem is for: policy comes in through traits, and every `unsafe` of the crate is here.
//!
//! Objects come in two layers, and mixing them does not compile:
//!
//! - The *upper* layer is the filesystem that is being implemented. Its objects, [`Inode`],
//!   [`SuperBlock`] and [`Dentry`], carry the filesystem type as a parameter and give access to
//!   its private data.
//! - The *lower* layer is the filesystem below, of any type. Its objects ([`lower`]) have no type
//!   parameter and no private data, only what the VFS offers for every filesystem.
//!
//! Lock order, outer first: upper `sb_writers`, upper `i_rwsem`, lower `sb_writers`, lock of a pipe,
//! lower `i_rwsem`, `mmap_lock`, page fault levels ([`freeze`]), upper `invalidate_lock`, upper folio
//! lock, lower `invalidate_lock`, lower folio lock.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

pub mod attr;
pub mod bounce;
pub mod buffered;
pub mod bvec;
pub mod cache;
pub mod context;
pub mod cred;
pub mod dentry;
pub mod dir;
pub mod fault;
pub mod file;
pub mod fill;
pub mod folio;
pub mod freeze;
pub mod inode;
pub mod inode_cache;
pub mod inode_ops;
pub mod inode_table;
pub mod iov;
pub mod kiocb;
pub mod lock;
pub mod lower;
pub mod lower_file;
pub mod lower_mount;
pub mod mapping;
pub mod memory;
pub mod namei;
pub mod owner;
pub mod part;
pub mod pin;
pub mod range_set;
pub mod registration;
pub mod revalidate;
pub mod scope;
pub mod splice;
pub mod superblock;
pub mod transfer;
pub mod wait;
pub mod worker;
pub mod writeback;

pub use dentry::Dentry;
pub use inode::Inode;
pub use superblock::SuperBlock;

use crate::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

/// A filesystem type: its name and the types of its private data.
///
/// What it does is in the operation traits of the submodules.
pub trait FileSystem: Sized + Send + Sync + 'static {
    /// The name to mount it by.
    const NAME: &'static CStr;

    /// Private data of a superblock, pinned, dropped when the last inode is gone.
    type Super: Send + Sync + 'static;

    /// Private data of an inode, pinned, dropped in process context after the inode was evicted.
    type Inode: Send + Sync + 'static;
}

macro_rules! typed_table {
    ($(#[$doc:meta])* $name:ident, $c:ty) => {
        $(#[$doc])*
        pub struct $name<T: FileSystem>(&'static $c, PhantomData<fn() -> T>);

        impl<T: FileSystem> $name<T> {
            /// Wraps a table of operations.
            ///
            /// # Safety
            ///
            /// The functions in `table` must be sound to call, as the VFS calls them, on objects
            /// of the filesystem `T`.
            pub const unsafe fn new(table: &'static $c) -> Self {
                Self(table, PhantomData)
            }

            /// The C table.
            pub fn as_ptr(&self) -> *const $c {
                self.0
            }
        }

        impl<T: FileSystem> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T: FileSystem> Copy for $name<T> {}
    };
}

typed_table!(
    /// `struct inode_operations` for inodes of `T`.
    InodeTable,
    bindings::inode_operations
);
typed_table!(
    /// `struct file_operations` for files of `T`.
    FileTable,
    bindings::file_operations
);
typed_table!(
    /// `struct address_space_operations` for mappings of `T`.
    MappingTable,
    bindings::address_space_operations
);
