// SPDX-License-Identifier: GPL-2.0

//! Directories: operations on their inodes, and open ones.

use super::{
    attr::Attributes,
    namei,
    Diofs, //
};
use crate::{
    pure::flags,
    vfs::{
        dentry::{
            ChildDentry,
            NegativeDentry,
            Spliced,
            UnhashedDentry, //
        },
        dir::DirOperations,
        file::Opening,
        inode_ops::{
            InodeOperations,
            Rename, //
        },
        lower::{
            LowerFile,
            NewLowerFile, //
        },
        Dentry,
        Inode, //
    },
};
use kernel::prelude::*;

/// Operations on directories.
pub struct DirectoryOps;

#[vtable]
impl InodeOperations for DirectoryOps {
    type Fs = Diofs;
    type Attributes = Attributes;

    fn lookup(dir: &Inode<Diofs>, dentry: UnhashedDentry<'_, Diofs>) -> Result<Spliced> {
        namei::lookup(dir, dentry)
    }

    fn create(dir: &Inode<Diofs>, dentry: NegativeDentry<'_, Diofs>, mode: u16) -> Result {
        namei::create(dir, dentry, mode)
    }

    fn mkdir(dir: &Inode<Diofs>, dentry: NegativeDentry<'_, Diofs>, mode: u16) -> Result {
        namei::mkdir(dir, dentry, mode)
    }

    fn mknod(
        dir: &Inode<Diofs>,
        dentry: NegativeDentry<'_, Diofs>,
        mode: u16,
        device: u32,
    ) -> Result {
        namei::make(dir, dentry, |creating| creating.mknod(mode, device))
    }

    fn symlink(dir: &Inode<Diofs>, dentry: NegativeDentry<'_, Diofs>, target: &CStr) -> Result {
        namei::make(dir, dentry, |creating| creating.symlink(target))
    }

    fn link(old: &Dentry<Diofs>, dir: &Inode<Diofs>, dentry: NegativeDentry<'_, Diofs>) -> Result {
        namei::link(old, dir, dentry)
    }

    fn unlink(dir: &Inode<Diofs>, dentry: ChildDentry<'_, Diofs>) -> Result {
        namei::remove(dir, dentry, |removing| removing.unlink())
    }

    fn rmdir(dir: &Inode<Diofs>, dentry: ChildDentry<'_, Diofs>) -> Result {
        namei::remove(dir, dentry, |removing| removing.rmdir())
    }

    fn rename(rename: &Rename<'_, Diofs>) -> Result {
        namei::rename(rename)
    }
}

impl DirOperations for DirectoryOps {
    type Fs = Diofs;

    fn open(
        dentry: &Dentry<Diofs>,
        inode: &Inode<Diofs>,
        flags: u32,
        above: Opening<'_>,
    ) -> Result<LowerFile> {
        let flags = flags::lower_directory(flags);
        let sb = inode.super_block().data();
        // The calling task was asked for its rights above. To security modules that decide by path
        // the lower directory, in a mount of nobody's, is none that it may open.
        let lower = dentry.lower()?;
        NewLowerFile::open_at(&sb.root.mount, lower, flags, &sb.mounter, Some(above))
            .map(NewLowerFile::share)
    }
}
