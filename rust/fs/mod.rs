// SPDX-License-Identifier: GPL-2.0

//! The filesystem: what diofs does, said in terms of the abstractions in [`crate::vfs`].

#![deny(unsafe_code)]

pub mod inode;
pub mod superblock;

use crate::vfs::FileSystem;
use kernel::prelude::*;

/// The filesystem type.
pub struct Diofs;

impl FileSystem for Diofs {
    const NAME: &'static CStr = c"diofs";
    type Super = superblock::SuperData;
    type Inode = inode::InodeData;
}
