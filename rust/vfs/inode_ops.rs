// SPDX-License-Identifier: GPL-2.0

//! Operations on inodes: what a filesystem implements. The table is [`super::inode_table`].
//!
//! The VFS holds the inode lock of the directory exclusively around everything that changes a
//! directory, and shared or exclusively around `lookup`. The functions here run in process context
//! and may sleep, except where they say otherwise.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`Documentation/filesystems/locking.rst`](srctree/Documentation/filesystems/locking.rst)

use super::{
    attr::{
        Access,
        Query,
        SetAttr,
        Stat, //
    },
    dentry::{
        ChildDentry,
        NegativeDentry,
        Spliced,
        UnhashedDentry, //
    },
    lower::{
        LowerDentry,
        LowerInode, //
    },
    superblock::SuperOperations,
    Dentry,
    FileSystem,
    Inode,
    SuperBlock, //
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    error::{
        from_err_ptr,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    prelude::*, //
};

/// A move or exchange of two names.
pub struct Rename<'a, T: FileSystem> {
    /// The directory it is moved from.
    pub old_dir: &'a Inode<T>,
    /// What is moved.
    pub old: ChildDentry<'a, T>,
    /// The directory it is moved to.
    pub new_dir: &'a Inode<T>,
    /// The place it is moved to, positive or negative.
    pub new: ChildDentry<'a, T>,
    /// `RENAME_*`.
    pub flags: u32,
}

impl<T: FileSystem> Rename<'_, T> {
    /// Whether the two change places.
    pub fn is_exchange(&self) -> bool {
        self.flags & bindings::RENAME_EXCHANGE != 0
    }
}

/// The body of a symbolic link, as the lower filesystem gave it to the VFS: there as long as the
/// dentry is, and until the cleanup is done, if there is one to do. Both outlive `'a`.
pub struct LinkBody<'a> {
    raw: *const c_char,
    _dentry: PhantomData<&'a LowerDentry>,
}

impl LinkBody<'_> {
    /// What the VFS wants to have returned.
    pub(super) fn into_raw(self) -> *const c_char {
        self.raw
    }
}

/// What is to be done when the VFS no longer needs the body of a symbolic link.
pub struct LinkCleanup<'a>(&'a mut bindings::delayed_call);

impl<'a> LinkCleanup<'a> {
    /// Wraps the place where the lower filesystem leaves it.
    pub(super) fn new(call: &'a mut bindings::delayed_call) -> Self {
        Self(call)
    }
}

/// Where a task wants the body of a symbolic link copied to: memory of its own, which need not be
/// there.
pub struct LinkBuffer {
    to: *mut c_char,
    len: c_int,
}

impl LinkBuffer {
    /// Wraps the buffer of a call, an address in user space.
    pub(super) fn new(to: *mut c_char, len: c_int) -> Self {
        Self { to, len }
    }
}

impl LowerDentry {
    /// Copies the body of this symbolic link to the calling task, and says how long it is, as far as
    /// it fits.
    ///
    /// Some links of the kernel lead elsewhere without a body, and can be asked for one only so, not
    /// by [`LowerDentry::get_link`], which is for a walk along them. The security modules are not
    /// asked: the VFS has asked them about the upper link.
    ///
    /// Context: process context, may sleep. C: `vfs_readlink()`.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem; `EFAULT`.
    pub fn read_link(&self, buffer: LinkBuffer) -> Result<c_int> {
        if self.inode().is_none() {
            return Err(ESTALE);
        }
        // SAFETY: The dentry is referenced and positive; the call checks the address.
        let ret = unsafe { bindings::vfs_readlink(self.as_raw(), buffer.to, buffer.len) };
        to_result(ret).map(|()| ret)
    }

    /// The body of this symbolic link.
    ///
    /// Context: process context, may sleep. C: `vfs_get_link()`.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem and the security modules.
    pub fn get_link<'a>(&'a self, cleanup: LinkCleanup<'a>) -> Result<LinkBody<'a>> {
        if self.inode().is_none() {
            return Err(ESTALE);
        }
        // SAFETY: The dentry is referenced and positive.
        let body = unsafe { bindings::vfs_get_link(self.as_raw(), cleanup.0) };
        from_err_ptr(body.cast_mut()).map(|raw| LinkBody {
            raw,
            _dentry: PhantomData,
        })
    }
}

/// What every kind of inode of a filesystem has: attributes, and rules who may do what.
pub trait AttributeOperations: Sized + 'static {
    /// The filesystem.
    type Fs: FileSystem;

    /// Whether the calling task may do `access`.
    ///
    /// May be called under RCU, with nothing kept but by RCU; `access` says so then, and the
    /// function fails with `ECHILD` rather than sleep. That is why it gets the lower inode and no
    /// private data of the upper one.
    fn permission(sb: &SuperBlock<Self::Fs>, lower: &LowerInode, access: Access) -> Result;

    /// Attributes.
    fn getattr(dentry: &Dentry<Self::Fs>, inode: &Inode<Self::Fs>, query: Query) -> Result<Stat>;

    /// Changes attributes. The inode lock is held exclusively.
    fn setattr(dentry: &Dentry<Self::Fs>, inode: &Inode<Self::Fs>, attr: SetAttr<'_>) -> Result;

    /// Notes an access to the inode: the mount options ask for a new access time.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if `nowait` and it would have to sleep.
    fn touch_atime(inode: &Inode<Self::Fs>, nowait: bool) -> Result;

    /// Notes a change of what the inode stands for that the VFS makes by itself: data were written to
    /// a pipe, for example.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if it would have to sleep and `flags` (`IOCB_*`) do not allow it.
    fn modified(inode: &Inode<Self::Fs>, flags: u32) -> Result;
}

/// What can be done with an inode. What is left out, the VFS refuses with the errno that programs
/// expect.
#[vtable]
pub trait InodeOperations: Sized + 'static {
    /// The filesystem.
    type Fs: SuperOperations;

    /// The operations on attributes.
    type Attributes: AttributeOperations<Fs = Self::Fs>;

    /// Looks up a name in a directory.
    fn lookup(_dir: &Inode<Self::Fs>, _dentry: UnhashedDentry<'_, Self::Fs>) -> Result<Spliced> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a regular file.
    fn create(_dir: &Inode<Self::Fs>, _dentry: NegativeDentry<'_, Self::Fs>, _mode: u16) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a directory.
    fn mkdir(_dir: &Inode<Self::Fs>, _dentry: NegativeDentry<'_, Self::Fs>, _mode: u16) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a device, FIFO or socket.
    fn mknod(
        _dir: &Inode<Self::Fs>,
        _dentry: NegativeDentry<'_, Self::Fs>,
        _mode: u16,
        _device: u32,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Creates a symbolic link.
    fn symlink(
        _dir: &Inode<Self::Fs>,
        _dentry: NegativeDentry<'_, Self::Fs>,
        _target: &CStr,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives the file `old` another name. The inode lock of the file is held exclusively as well.
    fn link(
        _old: &Dentry<Self::Fs>,
        _dir: &Inode<Self::Fs>,
        _dentry: NegativeDentry<'_, Self::Fs>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes a name of something that is no directory. Its inode lock is held exclusively too.
    fn unlink(_dir: &Inode<Self::Fs>, _dentry: ChildDentry<'_, Self::Fs>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Removes an empty directory. Its inode lock is held exclusively too.
    fn rmdir(_dir: &Inode<Self::Fs>, _dentry: ChildDentry<'_, Self::Fs>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Moves or exchanges names. The dcache is brought up to date by the caller.
    fn rename(_rename: &Rename<'_, Self::Fs>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Copies the body of a symbolic link to the calling task, which does not follow it.
    fn read_link(_dentry: &Dentry<Self::Fs>, _buffer: LinkBuffer) -> Result<c_int> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Reads a symbolic link on a walk along it.
    fn get_link<'a>(
        _dentry: &'a Dentry<Self::Fs>,
        _cleanup: LinkCleanup<'a>,
    ) -> Result<LinkBody<'a>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
