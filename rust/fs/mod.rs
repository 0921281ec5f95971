// SPDX-License-Identifier: GPL-2.0

//! The filesystem: what diofs does, said in terms of the abstractions in [`crate::vfs`].

#![forbid(unsafe_code)]

pub mod attr;
pub mod dir;
pub mod direct;
pub mod file;
pub mod inode;
pub mod lower_io;
pub mod namei;
pub mod options;
pub mod page_cache;
pub mod registry;
pub mod stats;
pub mod superblock;
pub mod symlink;

use crate::vfs::FileSystem;
use kernel::prelude::*;

/// The filesystem type.
pub struct Diofs;

impl FileSystem for Diofs {
    const NAME: &'static CStr = c"diofs";
    type Super = superblock::SuperData;
    type Inode = inode::InodeData;
}
