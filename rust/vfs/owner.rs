// SPDX-License-Identifier: GPL-2.0

//! Owner, mode and flags of a file: what decides about access to it, and as whom a program runs. They
//! are copied from the lower to the upper inode, never mixed of old and new.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/stat.h`](srctree/include/linux/stat.h)

use super::{
    lower::{
        LowerInode,
        LowerMount, //
    },
    FileSystem,
    Inode, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::types::NotThreadSafe;

/// The inode flags that mean the same on both layers.
const COPIED_FLAGS: u32 =
    bindings::S_SYNC | bindings::S_NOATIME | bindings::S_APPEND | bindings::S_IMMUTABLE;

const SET_ID: u32 = bindings::S_ISUID | bindings::S_ISGID;

/// Whether a file of this mode may run as its owner or group, if it is a program.
fn is_set_id(mode: u16) -> bool {
    let mode = u32::from(mode);
    mode & bindings::S_IFMT == bindings::S_IFREG && mode & SET_ID != 0
}

/// Whether the running task holds the upper inode's `i_rwsem`, and may sleep.
#[derive(Clone, Copy)]
pub(super) enum Held {
    /// It does, exclusively, or nobody else can use the inode yet. It may sleep.
    Yes,
    /// It does not, nor the lower one's. It may sleep.
    No,
    /// It may hold it, or locks that come after the lower one's, as that of its memory.
    Perhaps,
    /// It may hold it, and must not sleep.
    Atomic,
}

/// The locks under which owner and mode of a program are copied.
///
/// A filesystem gives a file another owner first and takes its set-id bits away later, both under the
/// lower `i_rwsem`. The VFS reads them one by one as well, under the upper one, to find out as whom a
/// program runs. Whoever mixes old and new may make somebody root.
///
/// # Invariants
///
/// The running task holds the `i_rwsem` of `lower`, shared, and that of `upper`, if there is one,
/// exclusively, and the guard owns both.
struct ProgramLock {
    upper: Option<NonNull<bindings::inode>>,
    lower: NonNull<bindings::inode>,
    _task: NotThreadSafe,
}

impl ProgramLock {
    /// Takes the locks that `held` says are missing, or nothing if it must not wait for them.
    ///
    /// # Safety
    ///
    /// Both inodes must live as long as the guard, or be kept by RCU if `held` is [`Held::Atomic`].
    unsafe fn acquire(
        inode: NonNull<bindings::inode>,
        lower: NonNull<bindings::inode>,
        held: Held,
    ) -> Option<Self> {
        // SAFETY: By the function's requirements. The upper lock comes before the lower one.
        let upper = unsafe {
            match held {
                Held::Yes => None,
                Held::No => {
                    bindings::inode_lock(inode.as_ptr());
                    Some(inode)
                }
                Held::Perhaps => return Self::try_acquire(inode, lower),
                Held::Atomic => return None,
            }
        };
        // SAFETY: By the function's requirements.
        unsafe { bindings::inode_lock_shared(lower.as_ptr()) };
        // INVARIANT: Taken just now.
        Some(Self {
            upper,
            lower,
            _task: NotThreadSafe,
        })
    }

    /// Takes both locks if they are to be had at once.
    ///
    /// # Safety
    ///
    /// As for [`ProgramLock::acquire`].
    unsafe fn try_acquire(
        inode: NonNull<bindings::inode>,
        lower: NonNull<bindings::inode>,
    ) -> Option<Self> {
        // SAFETY: By the function's requirements; what was taken alone is let go.
        unsafe {
            if !bindings::inode_trylock(inode.as_ptr()) {
                return None;
            }
            if !bindings::inode_trylock_shared(lower.as_ptr()) {
                bindings::inode_unlock(inode.as_ptr());
                return None;
            }
        }
        // INVARIANT: Taken just now.
        Some(Self {
            upper: Some(inode),
            lower,
            _task: NotThreadSafe,
        })
    }
}

impl Drop for ProgramLock {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe {
            bindings::inode_unlock_shared(self.lower.as_ptr());
            if let Some(upper) = self.upper {
                bindings::inode_unlock(upper.as_ptr());
            }
        }
    }
}

/// Copies owner, mode and flags, those of a program under the locks that keep them together
/// ([`ProgramLock`]). Returns whether it did, or could not have the locks.
///
/// # Safety
///
/// Both inodes must live, or be kept by RCU if `held` is [`Held::Atomic`], and `lower` be in a mount
/// of `idmap`.
pub(super) unsafe fn copy_access(
    inode: *mut bindings::inode,
    lower: *mut bindings::inode,
    idmap: *mut bindings::mnt_idmap,
    held: Held,
) -> bool {
    // SAFETY: By the function's requirements. Owner and mode may not belong together without the
    // locks, but then both modes, this one and that which is replaced, give nobody any rights.
    unsafe {
        let mode = (&raw const (*lower).i_mode).read_volatile();
        if !is_set_id(mode) {
            bindings::inode_spin_lock(inode);
            let plain = !is_set_id((*inode).i_mode);
            if plain {
                set_access(inode, lower, idmap, mode);
            }
            bindings::inode_spin_unlock(inode);
            if plain {
                return true;
            }
        }
    }
    // SAFETY: By the function's requirements neither is null.
    let (upper, below) = unsafe { (NonNull::new_unchecked(inode), NonNull::new_unchecked(lower)) };
    // SAFETY: By the function's requirements.
    let Some(_lock) = (unsafe { ProgramLock::acquire(upper, below, held) }) else {
        return false;
    };
    // SAFETY: By the function's requirements.
    unsafe {
        bindings::inode_spin_lock(inode);
        set_access(inode, lower, idmap, (*lower).i_mode);
        bindings::inode_spin_unlock(inode);
    }
    true
}

/// Gives the upper inode this mode, and owner and flags of the lower one.
///
/// # Safety
///
/// Both inodes must live, `inode`'s `i_lock` be held, and `lower` be in a mount of `idmap`.
unsafe fn set_access(
    inode: *mut bindings::inode,
    lower: *mut bindings::inode,
    idmap: *mut bindings::mnt_idmap,
    mode: u16,
) {
    // A set-id bit that came from below makes what the VFS remembered about privileges to drop on
    // write untrue.
    let forget = if u32::from(mode) & SET_ID != 0 {
        bindings::S_NOSEC
    } else {
        0
    };
    // SAFETY: By the function's requirements. The last function changes the flags atomically; the VFS,
    // with the inode lock held, does not, and what it undoes of this is made good by the next look.
    unsafe {
        (*inode).i_uid = bindings::inode_kuid(idmap, lower);
        (*inode).i_gid = bindings::inode_kgid(idmap, lower);
        (*inode).i_mode = mode;
        bindings::inode_set_flags(
            inode,
            (*lower).i_flags & COPIED_FLAGS,
            COPIED_FLAGS | forget,
        );
    }
}

/// Copies owner, mode and flags to the upper inode if those of the lower one were changed directly,
/// as `chattr(1)` has to. Returns whether the upper ones are up to date, or could not be made so
/// without waiting for a lock that `held` forbids to wait for. That can only be with a program that
/// runs as its owner or group, or did.
///
/// The VFS decides much by the upper inode alone: whether a file is immutable or may only be
/// appended to, as whom a program runs, and whether a write takes its set-id bits away.
///
/// Context: as `held` says. Takes the upper `i_rwsem`, if it is not held, and the lower one, shared.
///
/// # Safety
///
/// `inode` must be an inode that is set up, of a filesystem that stacks on `mount`, where `lower` is,
/// and both be referenced or, if `held` is [`Held::Atomic`], kept by RCU.
pub(super) unsafe fn follow_access(
    inode: *mut bindings::inode,
    lower: &LowerInode,
    mount: &LowerMount,
    held: Held,
) -> bool {
    let idmap = mount.idmap();
    let lower = lower.as_raw();
    // SAFETY: By the function's requirements the memory of both inodes is there. A racing change is
    // seen now or the next time.
    unsafe {
        let mode = (&raw const (*inode).i_mode).read_volatile();
        let flags = (&raw const (*inode).i_flags).read_volatile();
        let same = mode == (&raw const (*lower).i_mode).read_volatile()
            && (flags ^ (&raw const (*lower).i_flags).read_volatile()) & COPIED_FLAGS == 0
            && (&raw const (*inode).i_uid).read_volatile().val
                == bindings::inode_kuid(idmap, lower).val
            && (&raw const (*inode).i_gid).read_volatile().val
                == bindings::inode_kgid(idmap, lower).val
            // What the VFS remembers of the mode that was here before.
            && !(is_set_id(mode) && flags & bindings::S_NOSEC != 0);
        same || copy_access(inode, lower, idmap, held)
    }
}

impl<T: FileSystem> Inode<T> {
    /// Copies owner, mode and flags from the lower inode, which is in `mount`, if they were changed
    /// directly there.
    ///
    /// Context: process context, may sleep; the inode lock is held exclusively, and the lower one is
    /// taken.
    pub fn follow_access(&self, mount: &LowerMount) {
        // SAFETY: The inode lives.
        unsafe { follow_access(self.as_raw(), self.lower(), mount, Held::Yes) };
    }
}
