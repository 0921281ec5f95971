// SPDX-License-Identifier: GPL-2.0

//! The inode lock as a guard.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h) (`inode_lock()` and its kin)
//!
//! Lock order (outer first): upper `i_rwsem`, lower `sb_writers`, lower `i_rwsem`, `mmap_lock`, upper
//! `invalidate_lock`, upper folio lock, lower `invalidate_lock`, lower folio lock. Nothing that
//! takes the lower `i_rwsem` may be called under an upper `invalidate_lock` or folio lock.

use super::{
    FileSystem,
    Inode, //
};
use crate::bindings;
use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

/// How an inode lock is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Together with other shared holders.
    Shared,
    /// Alone.
    Exclusive,
}

/// The upper inode's `i_rwsem`, held.
///
/// # Invariants
///
/// The running task holds `inode`'s `i_rwsem` as `hold` says, and the guard owns that hold.
pub struct InodeLock<'a, T: FileSystem> {
    inode: &'a Inode<T>,
    hold: Hold,
    _task: NotThreadSafe,
}

impl<'a, T: FileSystem> InodeLock<'a, T> {
    /// Takes the lock, or fails with `EAGAIN` where that would block and `nowait` is set.
    ///
    /// Context: process context; sleeps unless `nowait`.
    pub fn acquire(inode: &'a Inode<T>, hold: Hold, nowait: bool) -> Result<Self> {
        let raw = inode.as_raw();
        // SAFETY: `raw` is a live inode.
        let taken = unsafe {
            match (hold, nowait) {
                (Hold::Shared, true) => bindings::inode_trylock_shared(raw),
                (Hold::Exclusive, true) => bindings::inode_trylock(raw),
                (Hold::Shared, false) => {
                    bindings::inode_lock_shared(raw);
                    true
                }
                (Hold::Exclusive, false) => {
                    bindings::inode_lock(raw);
                    true
                }
            }
        };
        if !taken {
            return Err(EAGAIN);
        }
        // INVARIANT: Taken just now.
        Ok(Self {
            inode,
            hold,
            _task: NotThreadSafe,
        })
    }
}

impl<T: FileSystem> Drop for InodeLock<'_, T> {
    fn drop(&mut self) {
        let raw = self.inode.as_raw();
        // SAFETY: By the type invariants the lock is held so, by this task, and owned by the guard.
        unsafe {
            match self.hold {
                Hold::Shared => bindings::inode_unlock_shared(raw),
                Hold::Exclusive => bindings::inode_unlock(raw),
            }
        }
    }
}
