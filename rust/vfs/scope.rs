// SPDX-License-Identifier: GPL-2.0

//! Properties of the running task that hold for a scope: credentials, allocation, throttling.
//!
//! C headers: [`include/linux/cred.h`](srctree/include/linux/cred.h),
//! [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use crate::bindings;
use kernel::{
    cred::Credential,
    types::NotThreadSafe, //
};

/// Has the running task act as `cred` while it does `act`, as `override_creds()` does.
///
/// No guard, since one that is forgotten, or dropped out of turn, would leave the task with
/// credentials of which it has no reference.
pub fn with_creds<R>(cred: &Credential, act: impl FnOnce() -> R) -> R {
    // SAFETY: `cred` outlives the call, and `old` were the credentials of this task, to which every
    // call that `act` has made of this has returned. `Credential` is a transparent wrapper.
    unsafe {
        let old = bindings::override_creds(core::ptr::from_ref(cred).cast());
        let result = act();
        bindings::revert_creds(old);
        result
    }
}

/// The largest file that the running task may make, `RLIMIT_FSIZE`.
pub fn file_size_limit() -> u64 {
    // SAFETY: No requirements beyond task context.
    unsafe { bindings::rlimit_fsize() as u64 }
}

/// Allocations of the running task do not enter a filesystem while this lives.
pub struct NofsGuard {
    flags: u32,
    _task: NotThreadSafe,
}

impl NofsGuard {
    /// Enters the scope, as `memalloc_nofs_save()` does.
    pub fn enter() -> Self {
        Self {
            // SAFETY: No requirements beyond task context.
            flags: unsafe { bindings::memalloc_nofs_save() },
            _task: NotThreadSafe,
        }
    }
}

impl Drop for NofsGuard {
    fn drop(&mut self) {
        // SAFETY: `flags` came from `memalloc_nofs_save()` in this task.
        unsafe { bindings::memalloc_nofs_restore(self.flags) };
    }
}

/// The running task writes on behalf of another device while this lives, and is throttled against
/// the device that it writes to alone (`PF_LOCAL_THROTTLE`).
pub struct LocalThrottleGuard {
    flags: usize,
    _task: NotThreadSafe,
}

impl LocalThrottleGuard {
    /// Enters the scope.
    pub fn enter() -> Self {
        Self {
            // SAFETY: No requirements beyond task context.
            flags: unsafe { bindings::local_throttle_save() },
            _task: NotThreadSafe,
        }
    }
}

impl Drop for LocalThrottleGuard {
    fn drop(&mut self) {
        // SAFETY: `flags` came from `local_throttle_save()` in this task.
        unsafe { bindings::local_throttle_restore(self.flags) };
    }
}
