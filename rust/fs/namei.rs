// SPDX-License-Identifier: GPL-2.0

//! Names: each change is made below with the caller's credentials, and then shows here.
//!
//! The VFS has locked the upper directories. Below, write access to the mount comes first and the
//! locks of the directories second; the guards see to it.

use super::{
    inode,
    Diofs, //
};
use crate::vfs::{
    dentry::{
        ChildDentry,
        NegativeDentry,
        Spliced,
        UnhashedDentry, //
    },
    inode_ops::Rename,
    lower::LowerMount,
    namei::{
        Creating,
        Removing, //
    },
    Dentry,
    Inode, //
};
use kernel::prelude::*;

fn lower_mount(inode: &Inode<Diofs>) -> &LowerMount {
    &inode.super_block().data().root.mount
}

/// Looks up a name. One that does not exist is remembered as such.
pub fn lookup(dir: &Inode<Diofs>, dentry: UnhashedDentry<'_, Diofs>) -> Result<Spliced> {
    let parent = dentry.parent().lower()?;
    // It can have become such a directory since it was looked up.
    inode::check_directory(parent)?;
    let lower = parent.lookup(&dentry.name())?;
    inode::check_directory(&lower)?;
    let inode = lower
        .inode()
        .map(|inode| inode::get(dir.super_block(), inode))
        .transpose()?;
    dentry.splice(lower, inode)
}

/// Makes something by `make` and gives `dentry` its inode.
pub fn make(
    dir: &Inode<Diofs>,
    dentry: NegativeDentry<'_, Diofs>,
    make: impl FnOnce(Creating<'_>) -> Result,
) -> Result {
    let access = lower_mount(dir).want_write()?;
    let (parent, child) = (dentry.parent().lower()?, dentry.lower()?);
    make(access.start_creating(parent, child)?)?;
    dir.refresh();
    let lower = child.inode().ok_or(EIO)?;
    let inode = inode::get(dir.super_block(), lower)?;
    dentry.instantiate(inode);
    Ok(())
}

/// Makes a regular file.
///
/// # Errors
///
/// `ESTALE` if somebody else has made something of that name below since it was looked up. The VFS
/// looks again then, and opens that, or says `EEXIST` itself to who wants a new file.
pub fn create(dir: &Inode<Diofs>, dentry: NegativeDentry<'_, Diofs>, mode: u16) -> Result {
    make(dir, dentry, |creating| creating.create(mode)).map_err(|error| match error {
        EEXIST => ESTALE,
        error => error,
    })
}

/// Makes a directory.
pub fn mkdir(dir: &Inode<Diofs>, dentry: NegativeDentry<'_, Diofs>, mode: u16) -> Result {
    let access = lower_mount(dir).want_write()?;
    let (parent, child) = (dentry.parent().lower()?, dentry.lower()?);
    let made = access.start_creating(parent, child)?.mkdir(mode)?;
    dir.refresh();
    // The lower filesystem may have the directory under another dentry. Then this one is worth
    // nothing, and the next lookup finds the right one.
    match child.inode() {
        Some(lower) if core::ptr::eq(&*made, child) => {
            let inode = inode::get(dir.super_block(), lower)?;
            dentry.instantiate(inode);
        }
        _ => dentry.forget(),
    }
    Ok(())
}

/// Gives a file another name.
pub fn link(old: &Dentry<Diofs>, dir: &Inode<Diofs>, dentry: NegativeDentry<'_, Diofs>) -> Result {
    let source = old.lower()?;
    make(dir, dentry, |creating| creating.link(source))?;
    if let Some(inode) = old.inode() {
        inode.refresh();
    }
    Ok(())
}

/// Removes a name by `remove`.
pub fn remove(
    dir: &Inode<Diofs>,
    dentry: ChildDentry<'_, Diofs>,
    remove: impl FnOnce(Removing<'_>) -> Result,
) -> Result {
    let access = lower_mount(dir).want_write()?;
    let (parent, child) = (dentry.parent().lower()?, dentry.lower()?);
    remove(access.start_removing(parent, child)?)?;
    dentry.unhash();
    dir.refresh();
    if let Some(inode) = dentry.inode() {
        inode.refresh();
    }
    Ok(())
}

/// Moves or exchanges names, as far as the lower filesystem can do what the flags say.
pub fn rename(rename: &Rename<'_, Diofs>) -> Result {
    let access = lower_mount(rename.old_dir).want_write()?;
    let renaming = access.start_renaming(
        rename.old.parent().lower()?,
        rename.old.lower()?,
        rename.new.parent().lower()?,
        rename.new.lower()?,
        rename.flags,
    )?;
    renaming.rename()?;
    rename.old_dir.refresh();
    rename.new_dir.refresh();
    for dentry in [&rename.old, &rename.new] {
        if let Some(inode) = dentry.inode() {
            inode.refresh();
        }
    }
    Ok(())
}
