// SPDX-License-Identifier: GPL-2.0

//! Properties of the running task that hold for a scope: credentials, allocation, throttling.
//!
//! C headers: [`include/linux/cred.h`](srctree/include/linux/cred.h),
//! [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    cred::Credential,
    types::NotThreadSafe, //
};

/// The running task acts with other credentials while this lives.
///
/// Guards nest: they must be dropped in the reverse order of their making, which scopes ensure.
pub struct CredGuard<'a> {
    old: *const bindings::cred,
    _cred: PhantomData<&'a Credential>,
    _task: NotThreadSafe,
}

impl<'a> CredGuard<'a> {
    /// Takes on `cred`, as `override_creds()` does.
    pub fn new(cred: &'a Credential) -> Self {
        // SAFETY: `cred` outlives the guard. `Credential` is a transparent wrapper.
        let old = unsafe { bindings::override_creds(core::ptr::from_ref(cred).cast()) };
        Self {
            old,
            _cred: PhantomData,
            _task: NotThreadSafe,
        }
    }
}

impl Drop for CredGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: `old` were the credentials of this task, which the guard cannot have left.
        unsafe { bindings::revert_creds(self.old) };
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
