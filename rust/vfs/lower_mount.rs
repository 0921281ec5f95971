// SPDX-License-Identifier: GPL-2.0

//! Mounts of the lower filesystem.
//!
//! C header: [`include/linux/mount.h`](srctree/include/linux/mount.h)

use super::{
    context::SyncFlags,
    lower::{
        LowerDentry,
        LowerPath, //
    }, //
};
use crate::bindings;
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::{
        aref::AlwaysRefCounted,
        atomic::{
            ordering::Relaxed,
            Atomic, //
        }, //
    },
    types::Opaque, //
};

/// Up to which one the errors of a filesystem's write-back are known.
pub struct ErrorCursor(Atomic<u32>);

/// A mount of the lower filesystem.
#[repr(transparent)]
pub struct LowerMount(Opaque<bindings::vfsmount>);

// SAFETY: The VFS allows the use of a mount from any task.
unsafe impl Send for LowerMount {}
// SAFETY: As above.
unsafe impl Sync for LowerMount {}

// SAFETY: `mntget()` and `mntput()` count references on every mount.
unsafe impl AlwaysRefCounted for LowerMount {
    fn inc_ref(&self) {
        // SAFETY: The reference shows that the count is not zero.
        unsafe { bindings::mntget(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own; the wrapper is transparent.
        unsafe { bindings::mntput(obj.as_ptr().cast()) };
    }
}

impl LowerMount {
    /// The C mount.
    pub fn as_raw(&self) -> *mut bindings::vfsmount {
        self.0.get()
    }

    /// How the mount maps user and group numbers.
    pub(super) fn idmap(&self) -> *mut bindings::mnt_idmap {
        // SAFETY: The mount lives.
        unsafe { bindings::mnt_idmap(self.as_raw()) }
    }

    /// The C superblock, which lives as long as the mount.
    pub(super) fn super_block_raw(&self) -> *mut bindings::super_block {
        // SAFETY: The mount lives; `mnt_sb` is constant.
        unsafe { (*self.as_raw()).mnt_sb }
    }

    /// How many filesystems are stacked below and including this one, less one.
    pub fn stack_depth(&self) -> i32 {
        // SAFETY: The superblock lives as long as the mount; the depth is constant.
        unsafe { (*self.super_block_raw()).s_stack_depth }
    }

    /// The block size, in bytes; zero if the filesystem has no blocks of its own.
    pub(super) fn block_size(&self) -> usize {
        // SAFETY: The superblock lives as long as the mount; the size is constant.
        unsafe { (*self.super_block_raw()).s_blocksize }
    }

    /// Whether nothing can be written through this mount, because of the mount or of the
    /// filesystem.
    ///
    /// C: `__mnt_is_readonly()`.
    pub fn is_read_only(&self) -> bool {
        // SAFETY: The mount lives.
        unsafe { bindings::__mnt_is_readonly(self.as_raw()) }
    }

    /// What must not be done with files in this mount, because of the mount or of the filesystem: those
    /// of `SB_I_NODEV` and `SB_I_NOEXEC`.
    pub(super) fn restrictions(&self) -> usize {
        // SAFETY: The mount and its superblock live. A racing change of flags yields either value.
        let (mount, sb) = unsafe {
            (
                (&raw const (*self.as_raw()).mnt_flags).read_volatile() as u32,
                (&raw const (*self.super_block_raw()).s_iflags).read_volatile(),
            )
        };
        [
            (bindings::mount_flags_MNT_NODEV, bindings::SB_I_NODEV),
            (bindings::mount_flags_MNT_NOEXEC, bindings::SB_I_NOEXEC),
        ]
        .into_iter()
        .filter(|&(by_mount, by_sb)| mount & by_mount != 0 || sb & by_sb as usize != 0)
        .fold(0, |all, (_, flag)| all | flag as usize)
    }

    /// Which of `MS_SYNCHRONOUS` and `MS_DIRSYNC` the filesystem is mounted with.
    pub fn sync_flags(&self) -> SyncFlags {
        // SAFETY: The superblock lives as long as the mount; the flags may change under us, any
        // value will do.
        let flags = unsafe { (&raw const (*self.super_block_raw()).s_flags).read_volatile() };
        SyncFlags::new(flags)
    }

    /// Writes out everything that the filesystem has in memory and waits for it.
    ///
    /// Context: process context, sleeps. Takes the lower `s_umount`, shared. C:
    /// `sync_filesystem()`.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem.
    pub fn sync_filesystem(&self) -> Result {
        let sb = self.super_block_raw();
        // For lockdep: that of the upper superblock can be held. It comes before the lower one, which
        // is of the same class if it is stacked as well. (Subclass 1 is that of superblocks that are
        // just being mounted.)
        let subclass = if self.stack_depth() > 0 { 2 } else { 0 };
        // SAFETY: The superblock lives as long as the mount. `sync_filesystem()` wants `s_umount`
        // held, which the two calls around it ensure.
        to_result(unsafe {
            bindings::down_read_nested(&raw mut (*sb).s_umount, subclass);
            let ret = bindings::sync_filesystem(sb);
            bindings::up_read(&raw mut (*sb).s_umount);
            ret
        })
    }

    /// Where errors of the filesystem's write-back begin that are to be told from now on.
    pub fn error_cursor(&self) -> ErrorCursor {
        // SAFETY: The superblock lives as long as the mount.
        let now = unsafe { bindings::errseq_sample(&raw mut (*self.super_block_raw()).s_wb_err) };
        ErrorCursor(Atomic::new(now))
    }

    /// The last error of the filesystem's write-back behind the cursor, which moves on. One of
    /// several that ask at the same time is told.
    pub fn new_error(&self, cursor: &ErrorCursor) -> Result {
        let before = cursor.0.load(Relaxed);
        let mut seen = before;
        // SAFETY: The superblock lives as long as the mount; `seen` is ours.
        let error = unsafe {
            bindings::errseq_check_and_advance(
                &raw mut (*self.super_block_raw()).s_wb_err,
                &mut seen,
            )
        };
        match cursor.0.cmpxchg(before, seen, Relaxed) {
            Ok(_) => to_result(error),
            Err(_) => Ok(()),
        }
    }
}

/// A mount of our own, apart from every mount namespace, so that nobody can unmount or change it.
///
/// # Invariants
///
/// The structure owns the long-term reference that `clone_private_mount()` returned.
pub struct PrivateMount(NonNull<LowerMount>);

// SAFETY: A mount may be used and released from any task.
unsafe impl Send for PrivateMount {}
// SAFETY: As above.
unsafe impl Sync for PrivateMount {}

impl PrivateMount {
    /// Clones the mount of `path` with the directory `path` as its root.
    ///
    /// Context: process context, sleeps. C: `clone_private_mount()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the mount must not be cloned, `EPERM` without `CAP_SYS_ADMIN` over it.
    pub fn clone_of(path: &LowerPath) -> Result<Self> {
        let raw = path.to_raw();
        // SAFETY: The path lives during the call.
        let mount = from_err_ptr(unsafe { bindings::clone_private_mount(&raw) })?;
        let mount = NonNull::new(mount).ok_or(EINVAL)?;
        // INVARIANT: The reference goes from the call to the structure.
        Ok(Self(mount.cast()))
    }
}

impl Deref for PrivateMount {
    type Target = LowerMount;

    fn deref(&self) -> &LowerMount {
        // SAFETY: By the type invariant the mount is referenced.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for PrivateMount {
    fn drop(&mut self) {
        let mut mount: *mut bindings::vfsmount = self.0.as_ptr().cast();
        // SAFETY: By the type invariant; an array of one. Sleeps for an (expedited) RCU grace
        // period, after which nobody looks at the mount's long-term mark.
        unsafe { bindings::kern_unmount_array(&mut mount, 1) };
    }
}

impl LowerMount {
    /// The C path of `dentry` in this mount. It borrows both references.
    pub(super) fn at(&self, dentry: &LowerDentry) -> bindings::path {
        bindings::path {
            mnt: self.as_raw(),
            dentry: dentry.as_raw(),
        }
    }
}
