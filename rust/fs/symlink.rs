// SPDX-License-Identifier: GPL-2.0

//! Symbolic links: the body is the lower one's.

use super::{
    attr::Attributes,
    Diofs, //
};
use crate::vfs::{
    inode_ops::{
        InodeOperations,
        LinkBody,
        LinkBuffer,
        LinkCleanup, //
    },
    Dentry, //
};
use kernel::prelude::*;

/// Operations on symbolic links.
pub struct SymlinkOps;

#[vtable]
impl InodeOperations for SymlinkOps {
    type Fs = Diofs;
    type Attributes = Attributes;

    fn read_link(dentry: &Dentry<Diofs>, buffer: LinkBuffer) -> Result<c_int> {
        dentry.lower()?.read_link(buffer)
    }

    fn get_link<'a>(dentry: &'a Dentry<Diofs>, cleanup: LinkCleanup<'a>) -> Result<LinkBody<'a>> {
        dentry.lower()?.get_link(cleanup)
    }
}
