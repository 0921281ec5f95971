// SPDX-License-Identifier: GPL-2.0

//! Attributes: those of the lower inode, but for what the upper one alone knows.
//!
//! The calling task's own credentials decide what it may do, here and below.

use super::{
    page_cache,
    Diofs, //
};
use crate::vfs::{
    attr::{
        Access,
        Query,
        SetAttr,
        Stat,
        Times, //
    },
    inode_ops::AttributeOperations,
    lower::LowerInode,
    Dentry,
    Inode,
    SuperBlock, //
};
use kernel::prelude::*;

/// The operations on attributes, which all kinds of inodes share.
pub struct Attributes;

impl AttributeOperations for Attributes {
    type Fs = Diofs;

    // What the lower filesystem says.
    fn permission(sb: &SuperBlock<Diofs>, lower: &LowerInode, access: Access) -> Result {
        sb.data().root.mount.permission(lower, access)
    }

    // All attributes of the lower inode, as those of a file of this filesystem.
    fn getattr(dentry: &Dentry<Diofs>, inode: &Inode<Diofs>, query: Query) -> Result<Stat> {
        let sb = inode.super_block();
        let mut stat = sb.data().root.mount.getattr(dentry.lower()?, query)?;
        stat.move_to(sb);
        if inode.is_regular() {
            stat.refresh_from(inode);
            // Programs that copy files do not read one that has no blocks, but take it for a hole.
            if stat.is_without_blocks() && inode.needs_writeback() {
                stat.count_cached_blocks(inode);
            }
        }
        Ok(stat)
    }

    // Below, and then here.
    fn setattr(dentry: &Dentry<Diofs>, inode: &Inode<Diofs>, mut attr: SetAttr<'_>) -> Result {
        attr.prepare(dentry)?;
        let mount = &inode.super_block().data().root.mount;
        let sets_times = attr.sets_times() && inode.is_regular();
        // Known early where nothing can be changed.
        drop(mount.want_write()?);
        let lower = dentry.lower()?;
        let size = attr.size();
        // The VFS has looked at the upper inode, which need not know yet.
        if size.is_some() && inode.lower().is_append_only() {
            return Err(EPERM);
        }
        // Some lower filesystems take write-back for a change, were it to come later.
        if sets_times {
            inode.settle_all();
        }
        // Write access is taken for the change alone: a change of size first waits for write-back,
        // which needs write access too, and somebody may be freezing the lower filesystem.
        let mut change = || mount.want_write()?.notify_change(lower, &mut attr);
        match size {
            Some(size) if inode.is_regular() => page_cache::set_size(inode, size, change),
            _ => change(),
        }
        .inspect_err(|_| inode.refresh())?;
        if sets_times {
            inode.copy_attributes(mount, Times::All);
        } else {
            inode.refresh();
        }
        Ok(())
    }

    fn touch_atime(inode: &Inode<Diofs>, nowait: bool) -> Result {
        if nowait {
            return Err(EAGAIN);
        }
        let mount = &inode.super_block().data().root.mount;
        inode.lower().alias_path(mount)?.touch_atime();
        inode.copy_atime();
        Ok(())
    }

    fn modified(inode: &Inode<Diofs>, flags: u32) -> Result {
        let mount = &inode.super_block().data().root.mount;
        if inode.is_regular() {
            // Writes note it where they are made; it is a diofs above that asks, perhaps in a page
            // fault. The file that it has open for writing holds write access below as well.
            let _access = mount.want_fault()?;
            inode.lower().update_change_times(flags)?;
            inode.follow_times();
        } else {
            // As for a pipe of any filesystem, with which data go on while that is frozen.
            let Some(_access) = mount.try_want_write() else {
                return Ok(());
            };
            inode.lower().update_change_times(flags)?;
            inode.refresh();
        }
        Ok(())
    }
}
