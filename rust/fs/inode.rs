// SPDX-License-Identifier: GPL-2.0

//! Inodes: one for each lower inode that is in use.

use crate::vfs::lower::LowerInode;
use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

/// Private data of an inode.
#[pin_data]
pub struct InodeData {
    /// The inode below.
    pub lower: ARef<LowerInode>,
}
