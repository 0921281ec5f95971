// SPDX-License-Identifier: GPL-2.0

//! The table of inode operations that the VFS calls.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    attr::{
        Access,
        Query,
        SetAttr, //
    },
    dentry::{
        ChildDentry,
        NegativeDentry,
        UnhashedDentry, //
    },
    inode_cache::Storage,
    inode_ops::{
        AttributeOperations,
        InodeOperations,
        LinkBuffer,
        LinkCleanup,
        Rename, //
    },
    lower::LowerInode,
    owner::{
        follow_access,
        Held, //
    },
    revalidate::DirChange,
    superblock::SuperOperations,
    Dentry,
    FileSystem,
    Inode,
    InodeTable,
    SuperBlock, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::null_mut, //
};
use kernel::{
    error::from_result,
    prelude::*, //
};

/// The table of the operations `O`.
pub struct InodeOps<O: InodeOperations>(PhantomData<O>);

macro_rules! optional {
    ($has:expr, $function:expr) => {
        if $has {
            Some($function)
        } else {
            None
        }
    };
}

impl<O: InodeOperations> InodeOps<O> {
    /// The table, to be installed in new inodes.
    pub const fn table() -> InodeTable<O::Fs> {
        // SAFETY: The functions below are sound for objects of `O::Fs`.
        unsafe { InodeTable::new(&Self::TABLE) }
    }

    const TABLE: bindings::inode_operations = bindings::inode_operations {
        lookup: optional!(O::HAS_LOOKUP, Self::lookup),
        create: optional!(O::HAS_CREATE, Self::create),
        mkdir: optional!(O::HAS_MKDIR, Self::mkdir),
        mknod: optional!(O::HAS_MKNOD, Self::mknod),
        symlink: optional!(O::HAS_SYMLINK, Self::symlink),
        link: optional!(O::HAS_LINK, Self::link),
        unlink: optional!(O::HAS_UNLINK, Self::unlink),
        rmdir: optional!(O::HAS_RMDIR, Self::rmdir),
        rename: optional!(O::HAS_RENAME, Self::rename),
        readlink: optional!(O::HAS_READ_LINK, Self::read_link),
        get_link: optional!(O::HAS_GET_LINK, Self::get_link),
        permission: Some(Self::permission),
        getattr: Some(Self::getattr),
        setattr: Some(Self::setattr),
        update_time: Some(Self::update_time),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the VFS: `dir` is a locked directory of `O::Fs`, `dentry` a new, unhashed dentry
    /// in it.
    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: As this function's requirements.
        let (dir, dentry) = unsafe { (Inode::from_raw(dir), UnhashedDentry::from_raw(dentry)) };
        match O::lookup(dir, dentry) {
            Ok(spliced) => spliced.into_raw(),
            Err(error) => error.to_ptr(),
        }
    }

    /// Calls `make` for a name that is to be made in `dir`.
    ///
    /// # Safety
    ///
    /// `dir` must be a directory of `O::Fs` that is locked exclusively, `dentry` a negative dentry
    /// in it.
    unsafe fn make(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        make: impl FnOnce(&Inode<O::Fs>, NegativeDentry<'_, O::Fs>) -> Result,
    ) -> Result {
        // SAFETY: As this function's requirements.
        let (dir, dentry, _change) = unsafe {
            (
                Inode::from_raw(dir),
                NegativeDentry::from_raw(dentry),
                DirChange::begin::<O::Fs>(dir),
            )
        };
        make(dir, dentry)
    }

    /// # Safety
    ///
    /// Called by the VFS, with what `make()` wants.
    unsafe extern "C" fn create(
        _idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let result = unsafe { Self::make(dir, dentry, |dir, dentry| O::create(dir, dentry, mode)) };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with what `make()` wants.
    unsafe extern "C" fn mkdir(
        _idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> *mut bindings::dentry {
        // SAFETY: As this function's requirements.
        match unsafe { Self::make(dir, dentry, |dir, dentry| O::mkdir(dir, dentry, mode)) } {
            Ok(()) => null_mut(),
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS, with what `make()` wants.
    unsafe extern "C" fn mknod(
        _idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        device: bindings::dev_t,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let result = unsafe {
            Self::make(dir, dentry, |dir, dentry| {
                O::mknod(dir, dentry, mode, device)
            })
        };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with what `make()` wants, and a C string.
    unsafe extern "C" fn symlink(
        _idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        target: *const c_char,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let result = unsafe {
            let target = CStr::from_char_ptr(target);
            Self::make(dir, dentry, |dir, dentry| O::symlink(dir, dentry, target))
        };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS, with what `make()` wants, and a positive dentry of `O::Fs`.
    unsafe extern "C" fn link(
        old: *mut bindings::dentry,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let result = unsafe {
            let old = Dentry::from_raw(old);
            Self::make(dir, dentry, |dir, dentry| O::link(old, dir, dentry))
        };
        from_result(|| result.map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS: `dir` is a directory of `O::Fs` that is locked exclusively, `dentry` a
    /// positive dentry in it whose inode is locked.
    unsafe extern "C" fn unlink(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: As this function's requirements.
        let (dir, dentry) = unsafe { (Inode::from_raw(dir), ChildDentry::from_raw(dentry)) };
        from_result(|| O::unlink(dir, dentry).map(|()| 0))
    }

    /// # Safety
    ///
    /// As `unlink()`.
    unsafe extern "C" fn rmdir(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: As this function's requirements.
        let (dir, dentry) = unsafe { (Inode::from_raw(dir), ChildDentry::from_raw(dentry)) };
        from_result(|| O::rmdir(dir, dentry).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS: `old` is a positive dentry in the directory `old_dir`, `new` a dentry in
    /// the directory `new_dir`, all of `O::Fs`, and the directories are locked exclusively. The
    /// filesystem type has `FS_RENAME_DOES_D_MOVE`.
    unsafe extern "C" fn rename(
        _idmap: *mut bindings::mnt_idmap,
        old_dir: *mut bindings::inode,
        old: *mut bindings::dentry,
        new_dir: *mut bindings::inode,
        new: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let rename = unsafe {
            Rename {
                old_dir: Inode::from_raw(old_dir),
                old: ChildDentry::from_raw(old),
                new_dir: Inode::from_raw(new_dir),
                new: ChildDentry::from_raw(new),
                flags,
            }
        };
        // SAFETY: As this function's requirements.
        let _change = unsafe { RenameChange::begin::<O::Fs>(old_dir, new_dir) };
        if let Err(error) = O::rename(&rename) {
            return error.to_errno();
        }
        // The names move while the directories are still marked as being changed.
        // SAFETY: As this function's requirements.
        unsafe {
            if rename.is_exchange() {
                bindings::d_exchange(old, new);
            } else {
                bindings::d_move(old, new);
            }
        }
        0
    }

    /// # Safety
    ///
    /// Called by the VFS with a symbolic link of `O::Fs`.
    unsafe extern "C" fn read_link(
        dentry: *mut bindings::dentry,
        buffer: *mut c_char,
        len: c_int,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let dentry = unsafe { Dentry::from_raw(dentry) };
        from_result(|| O::read_link(dentry, LinkBuffer::new(buffer, len)))
    }

    /// # Safety
    ///
    /// Called by the VFS with a symbolic link of `O::Fs`; `dentry` is null under RCU.
    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        _inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        if dentry.is_null() {
            return ECHILD.to_ptr();
        }
        // SAFETY: As this function's requirements; nobody else uses `done`.
        let (dentry, cleanup) = unsafe { (Dentry::from_raw(dentry), LinkCleanup::new(&mut *done)) };
        match O::get_link(dentry, cleanup) {
            Ok(body) => body.into_raw(),
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `O::Fs`, which with `MAY_NOT_BLOCK` is kept only by RCU.
    unsafe extern "C" fn permission(
        _idmap: *mut bindings::mnt_idmap,
        inode: *mut bindings::inode,
        mask: c_int,
    ) -> c_int {
        // SAFETY: As this function's requirements. The lower inode is constant, and freed by RCU
        // as well. The superblock lasts: a walk under RCU is in a mount that is freed by RCU.
        let (sb, lower) = unsafe {
            let sb: &SuperBlock<O::Fs> = SuperBlock::from_raw((*inode).i_sb);
            (sb, LowerInode::from_raw(Storage::<O::Fs>::lower_of(inode)))
        };
        let wants = |what: u32| mask as u32 & what != 0;
        let may_not_block = wants(bindings::MAY_NOT_BLOCK);
        // Who opens the file, or wants to know whether it may be, has no lock of it. Others may:
        // `execve()` asks once more with the inode locked, `mincore()` with its memory.
        let held = if may_not_block {
            Held::Atomic
        } else if wants(bindings::MAY_OPEN | bindings::MAY_ACCESS) {
            Held::No
        } else {
            Held::Perhaps
        };
        // SAFETY: As above.
        let followed =
            unsafe { follow_access(inode, lower, &O::Fs::lower_root(sb.data()).mount, held) };
        from_result(|| {
            if !followed && may_not_block {
                return Err(ECHILD);
            }
            // As whom to run it is not known. `execve()` that has come that far takes it as saying
            // that it is not to be run as somebody else.
            if !followed && wants(bindings::MAY_EXEC) {
                return Err(EACCES);
            }
            O::Attributes::permission(sb, lower, Access(mask)).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with a path whose dentry is a positive one of `O::Fs`, and a structure
    /// that nobody else uses.
    unsafe extern "C" fn getattr(
        _idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        mask: u32,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let (dentry, inode) = unsafe {
            let dentry = (*path).dentry;
            (Dentry::from_raw(dentry), Inode::from_raw((*dentry).d_inode))
        };
        match O::Attributes::getattr(dentry, inode, Query { mask, flags }) {
            Ok(result) => {
                // SAFETY: As this function's requirements.
                unsafe { *stat = result.0 };
                0
            }
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a positive dentry of `O::Fs` whose inode is locked exclusively, and a
    /// structure that nobody else uses.
    unsafe extern "C" fn setattr(
        _idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let (dentry, inode, attr) = unsafe {
            (
                Dentry::from_raw(dentry),
                Inode::from_raw((*dentry).d_inode),
                SetAttr(&mut *attr),
            )
        };
        from_result(|| O::Attributes::setattr(dentry, inode, attr).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with a referenced inode of `O::Fs`.
    unsafe extern "C" fn update_time(
        inode: *mut bindings::inode,
        kind: bindings::fs_update_time,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let inode: &Inode<O::Fs> = unsafe { Inode::from_raw(inode) };
        let nowait = flags & bindings::IOCB_NOWAIT as u32 != 0;
        from_result(|| {
            if kind == bindings::fs_update_time_FS_UPD_ATIME {
                O::Attributes::touch_atime(inode, nowait)
            } else {
                O::Attributes::modified(inode, flags)
            }
            .map(|()| 0)
        })
    }
}

/// Marks the one or two directories of a rename as being changed.
struct RenameChange<'a> {
    _old: DirChange<'a>,
    _new: Option<DirChange<'a>>,
}

impl RenameChange<'_> {
    /// # Safety
    ///
    /// As [`DirChange::begin`], for both directories, which may be the same.
    unsafe fn begin<T: FileSystem>(
        old_dir: *mut bindings::inode,
        new_dir: *mut bindings::inode,
    ) -> Self {
        // SAFETY: By the function's requirements.
        unsafe {
            Self {
                _old: DirChange::begin::<T>(old_dir),
                _new: (old_dir != new_dir).then(|| DirChange::begin::<T>(new_dir)),
            }
        }
    }
}
