// SPDX-License-Identifier: GPL-2.0

//! Names in the lower filesystem: looking them up, and changing directories.
//!
//! Every change is made through a guard that holds what the VFS wants held, and can be had only
//! from a [`WriteAccess`]: freeze protection and write access to the mount first, then the locks of
//! the directories ([`Creating`], [`Removing`], [`Renaming`]). Dropping a guard releases what it
//! took.
//!
//! Lock order, outer first: lower `sb_writers` ([`WriteAccess`]), lower directory `i_rwsem` (the
//! other guards). The caller may hold the `i_rwsem` of upper inodes.
//!
//! All functions here run in process context and may sleep. The calling task's credentials apply.
//!
//! C headers: [`include/linux/namei.h`](srctree/include/linux/namei.h),
//! [`include/linux/mount.h`](srctree/include/linux/mount.h)

use super::lower::{
    LowerDentry,
    LowerMount, //
};
use crate::bindings;
use core::ptr::null_mut;
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::aref::ARef,
    types::NotThreadSafe, //
};

impl LowerDentry {
    /// Looks up `name` in this directory: from the dcache, or by asking the filesystem.
    ///
    /// Does not check that the caller may search the directory. The dentry is negative when there
    /// is no such name. Takes the directory's `i_rwsem`, shared. C: `lookup_noperm_unlocked()`.
    ///
    /// # Errors
    ///
    /// `EACCES` for a name that cannot be one, `ENOTDIR` when this is no directory, `ENOENT` when it
    /// was removed; those of the lower filesystem.
    pub fn lookup(&self, name: &Name<'_>) -> Result<ARef<LowerDentry>> {
        self.directory()?;
        let mut qstr = name.0;
        // SAFETY: The dentry is referenced and a directory; the name lives during the call.
        let dentry = unsafe { bindings::lookup_noperm_unlocked(&mut qstr, self.as_raw()) };
        let dentry = from_err_ptr(dentry)?;
        // SAFETY: A dentry that is no error pointer comes with a reference.
        unsafe { Self::take(dentry) }
    }
}

/// The name of a directory entry. It borrows the memory of a dentry that cannot be renamed
/// meanwhile.
pub struct Name<'a>(bindings::qstr, core::marker::PhantomData<&'a [u8]>);

impl Name<'_> {
    /// Wraps the name of a dentry.
    ///
    /// # Safety
    ///
    /// The name that `qstr` points to must stay as it is for the lifetime of the new object.
    pub(super) unsafe fn from_raw(qstr: bindings::qstr) -> Self {
        Self(qstr, core::marker::PhantomData)
    }
}

/// The right to change the lower filesystem through a mount.
///
/// # Invariants
///
/// The structure owns what a successful `mnt_want_write()` on `mount` takes, for the running task.
pub struct WriteAccess<'a> {
    mount: &'a LowerMount,
    _task: NotThreadSafe,
}

impl LowerMount {
    /// Waits while the filesystem is frozen, then keeps it from being frozen or made read-only.
    ///
    /// C: `mnt_want_write()`.
    ///
    /// # Errors
    ///
    /// `EROFS`.
    pub fn want_write(&self) -> Result<WriteAccess<'_>> {
        // SAFETY: The mount is referenced.
        to_result(unsafe { bindings::mnt_want_write(self.as_raw()) })?;
        // INVARIANT: The call above succeeded.
        Ok(WriteAccess {
            mount: self,
            _task: NotThreadSafe,
        })
    }

    /// The same, if the filesystem is not frozen.
    ///
    /// C: `sb_start_write_trylock()`, `mnt_get_write_access()`.
    pub fn try_want_write(&self) -> Option<WriteAccess<'_>> {
        let sb = self.super_block_raw();
        // SAFETY: The mount is referenced, and its superblock lives as long. What the first call
        // takes is given back if the second one fails.
        unsafe {
            if !bindings::sb_start_write_trylock(sb) {
                return None;
            }
            if bindings::mnt_get_write_access(self.as_raw()) != 0 {
                bindings::sb_end_write(sb);
                return None;
            }
        }
        // INVARIANT: Both were taken, as `mnt_want_write()` does.
        Some(WriteAccess {
            mount: self,
            _task: NotThreadSafe,
        })
    }
}

impl Drop for WriteAccess<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::mnt_drop_write(self.mount.as_raw()) };
    }
}

impl WriteAccess<'_> {
    /// The mount that may be written to.
    pub fn mount(&self) -> &LowerMount {
        self.mount
    }

    /// Locks `parent` to give the negative dentry `child` in it an inode.
    ///
    /// C: `start_creating_dentry()`.
    ///
    /// # Errors
    ///
    /// `EEXIST` when the child is positive, `ESTALE` when it is no longer that child of `parent`,
    /// because the lower filesystem was changed directly.
    pub fn start_creating<'a>(
        &'a self,
        parent: &'a LowerDentry,
        child: &'a LowerDentry,
    ) -> Result<Creating<'a>> {
        parent.directory()?;
        // SAFETY: Both dentries are referenced, the parent is a positive directory.
        from_err_ptr(unsafe { bindings::start_creating_dentry(parent.as_raw(), child.as_raw()) })
            .map_err(moved_away)?;
        // INVARIANT: Locked by the call above.
        Ok(Creating {
            access: self,
            parent,
            child,
            _task: NotThreadSafe,
        })
    }

    /// Locks `parent` to remove the positive dentry `child` from it.
    ///
    /// C: `start_removing_dentry()`.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the child is negative, `ESTALE` when it is no longer that child of `parent`.
    pub fn start_removing<'a>(
        &'a self,
        parent: &'a LowerDentry,
        child: &'a LowerDentry,
    ) -> Result<Removing<'a>> {
        parent.directory()?;
        // SAFETY: Both dentries are referenced, the parent is a positive directory.
        from_err_ptr(unsafe { bindings::start_removing_dentry(parent.as_raw(), child.as_raw()) })
            .map_err(moved_away)?;
        // INVARIANT: Locked by the call above.
        Ok(Removing {
            access: self,
            parent,
            child,
            _task: NotThreadSafe,
        })
    }

    /// Locks two directories to move `old` from the one to the place of `new` in the other.
    ///
    /// C: `start_renaming_two_dentries()`.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `ENOTEMPTY` and `EXDEV` as `rename(2)` says, `ESTALE` when one of them is no longer
    /// that child of its parent, `ENOENT` when it is negative and must not be.
    pub fn start_renaming<'a>(
        &'a self,
        old_parent: &'a LowerDentry,
        old: &'a LowerDentry,
        new_parent: &'a LowerDentry,
        new: &'a LowerDentry,
        flags: u32,
    ) -> Result<Renaming<'a>> {
        old_parent.directory()?;
        new_parent.directory()?;
        if !old_parent.same_filesystem(new_parent) {
            return Err(EXDEV);
        }
        let mut data = bindings::renamedata {
            mnt_idmap: self.mount.idmap(),
            old_parent: old_parent.as_raw(),
            new_parent: new_parent.as_raw(),
            flags,
            ..bindings::renamedata::default()
        };
        // SAFETY: The four dentries are referenced; the parents are directories of one filesystem,
        // and that they are the parents, the call verifies.
        to_result(unsafe {
            bindings::start_renaming_two_dentries(&mut data, old.as_raw(), new.as_raw())
        })
        .map_err(moved_away)?;
        // INVARIANT: Locked by the call above, which took references to all but the new parent.
        let renaming = Renaming {
            data,
            _access: self,
            _task: NotThreadSafe,
        };
        // A source or, in an exchange, a target that vanished below is nothing that the lower
        // `vfs_rename()` reliably notices.
        let exchange = flags & bindings::RENAME_EXCHANGE != 0;
        if old.inode().is_none() || (exchange && new.inode().is_none()) {
            return Err(ENOENT);
        }
        Ok(renaming)
    }
}

/// The `start_*()` functions say `EINVAL` when a dentry left its parent. `ESTALE` makes the VFS look
/// the path up again. That a directory is not moved below itself, which is `EINVAL` as well, the VFS
/// has seen to above.
fn moved_away(error: Error) -> Error {
    if error == EINVAL {
        ESTALE
    } else {
        error
    }
}

/// A locked lower directory in which `child` can be created.
///
/// # Invariants
///
/// `parent`'s `i_rwsem` is held exclusively by the running task, `child` is a hashed, negative
/// child of it, and the guard owns the lock and a reference to `child`.
pub struct Creating<'a> {
    access: &'a WriteAccess<'a>,
    parent: &'a LowerDentry,
    child: &'a LowerDentry,
    _task: NotThreadSafe,
}

impl Creating<'_> {
    fn directory(&self) -> *mut bindings::inode {
        // SAFETY: By the type invariant the parent is locked as a directory, so it has an inode.
        unsafe { (*self.parent.as_raw()).d_inode }
    }

    fn idmap(&self) -> *mut bindings::mnt_idmap {
        self.access.mount.idmap()
    }

    /// Creates a regular file. C: `vfs_create()`.
    pub fn create(self, mode: u16) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe {
            bindings::vfs_create(self.idmap(), self.child.as_raw(), mode, null_mut())
        })
    }

    /// Creates a directory. C: `vfs_mkdir()`.
    ///
    /// Returns the dentry of the new directory, which need not be the one that was to be created.
    pub fn mkdir(self, mode: u16) -> Result<ARef<LowerDentry>> {
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: By the type invariant. On error the call itself ends what `self` holds.
        let dentry = from_err_ptr(unsafe {
            bindings::vfs_mkdir(
                this.idmap(),
                this.directory(),
                this.child.as_raw(),
                mode,
                null_mut(),
            )
        })?;
        // SAFETY: On success the lock is still held, and the reference to the child has become one
        // to `dentry`. The second one taken here is given to the caller.
        unsafe {
            let result = LowerDentry::take(bindings::dget(dentry));
            bindings::end_creating(dentry);
            result
        }
    }

    /// Creates a device, FIFO or socket. C: `vfs_mknod()`.
    pub fn mknod(self, mode: u16, device: u32) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe {
            bindings::vfs_mknod(
                self.idmap(),
                self.directory(),
                self.child.as_raw(),
                mode,
                device,
                null_mut(),
            )
        })
    }

    /// Creates a symbolic link to `target`. C: `vfs_symlink()`.
    pub fn symlink(self, target: &CStr) -> Result {
        // SAFETY: By the type invariant; `target` is a C string.
        to_result(unsafe {
            bindings::vfs_symlink(
                self.idmap(),
                self.directory(),
                self.child.as_raw(),
                target.as_char_ptr(),
                null_mut(),
            )
        })
    }

    /// Creates another name for the file `old`. C: `vfs_link()`.
    pub fn link(self, old: &LowerDentry) -> Result {
        // SAFETY: By the type invariant; `old` is referenced.
        to_result(unsafe {
            bindings::vfs_link(
                old.as_raw(),
                self.idmap(),
                self.directory(),
                self.child.as_raw(),
                null_mut(),
            )
        })
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::end_creating(self.child.as_raw()) };
    }
}

/// A locked lower directory from which `child` can be removed.
///
/// # Invariants
///
/// `parent`'s `i_rwsem` is held exclusively by the running task, `child` is a hashed, positive
/// child of it, and the guard owns the lock and a reference to `child`.
pub struct Removing<'a> {
    access: &'a WriteAccess<'a>,
    parent: &'a LowerDentry,
    child: &'a LowerDentry,
    _task: NotThreadSafe,
}

impl Removing<'_> {
    fn directory(&self) -> *mut bindings::inode {
        // SAFETY: By the type invariant the parent is locked as a directory, so it has an inode.
        unsafe { (*self.parent.as_raw()).d_inode }
    }

    /// Removes a name of something that is no directory. C: `vfs_unlink()`.
    pub fn unlink(self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe {
            bindings::vfs_unlink(
                self.access.mount.idmap(),
                self.directory(),
                self.child.as_raw(),
                null_mut(),
            )
        })
    }

    /// Removes an empty directory. C: `vfs_rmdir()`.
    pub fn rmdir(self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe {
            bindings::vfs_rmdir(
                self.access.mount.idmap(),
                self.directory(),
                self.child.as_raw(),
                null_mut(),
            )
        })
    }
}

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::end_removing(self.child.as_raw()) };
    }
}

/// Two locked lower directories between which something can be moved.
///
/// # Invariants
///
/// `data` was filled in by a successful `start_renaming_two_dentries()` in the running task, and
/// the guard owns the locks and references that it took.
pub struct Renaming<'a> {
    data: bindings::renamedata,
    _access: &'a WriteAccess<'a>,
    _task: NotThreadSafe,
}

impl Renaming<'_> {
    /// Moves or exchanges. C: `vfs_rename()`.
    pub fn rename(mut self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::vfs_rename(&mut self.data) })
    }
}

impl Drop for Renaming<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::end_renaming(&mut self.data) };
    }
}
