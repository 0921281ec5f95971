// SPDX-License-Identifier: GPL-2.0

//! Protection against being frozen, as a page fault takes it.
//!
//! C headers: [`include/linux/fs/super.h`](srctree/include/linux/fs/super.h)

use super::{
    lower::LowerMount,
    wait::{
        Signals,
        WaitQueue,
        Wake, //
    }, //
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    time::msecs_to_jiffies,
    types::NotThreadSafe, //
};

/// After how many milliseconds one looks whether the filesystem is still frozen.
const LOOK_AGAIN_MS: u32 = 100;

/// While it lives its filesystem is not frozen: at the level of page faults, between which and that
/// of writes `mmap_lock` comes.
///
/// # Invariants
///
/// The structure owns a `sb_start_pagefault()` on a superblock that outlives it, made by the running
/// task.
pub struct FaultAccess<'a> {
    sb: *mut bindings::super_block,
    _lives: PhantomData<&'a ()>,
    _task: NotThreadSafe,
}

impl FaultAccess<'_> {
    /// Waits while the filesystem is frozen, unless the running task is being killed.
    ///
    /// `sb_start_pagefault()` sleeps uninterruptibly. Here that could be for ever: while a stacked
    /// filesystem is being frozen, it is written to the one below, which may need a lock that the
    /// faulting task holds. For the same reason lockdep must not take this for a lock that is waited
    /// for until it is had.
    ///
    /// Context: a page fault, may sleep; no folio lock is held.
    ///
    /// # Errors
    ///
    /// `EINTR` if the running task is being killed.
    ///
    /// # Safety
    ///
    /// The superblock outlives the result.
    pub(super) unsafe fn new(sb: *mut bindings::super_block) -> Result<Self> {
        // SAFETY: The caller guarantees the superblock.
        let start = move || unsafe { bindings::sb_start_pagefault_trylock(sb) };
        while !start() {
            // SAFETY: As above. These queues live forever. Whoever ends a freeze wakes this one, a
            // moment before faults are let in; others may too.
            let queue = unsafe {
                let state = &raw mut (*sb).s_writers.frozen;
                WaitQueue::from_raw(bindings::__var_waitqueue(state.cast()))
            };
            let limit = msecs_to_jiffies(LOOK_AGAIN_MS);
            match queue.wait(Signals::FatalOrSuspend, Some(limit), start) {
                Wake::Ready => break,
                Wake::Killed => return Err(EINTR),
                Wake::TimedOut | Wake::Overtaken => {}
            }
        }
        // INVARIANT: Made just now.
        Ok(Self {
            sb,
            _lives: PhantomData,
            _task: NotThreadSafe,
        })
    }
}

impl LowerMount {
    /// Waits while the filesystem is frozen, then keeps it from being frozen, at the level below
    /// that of [`want_write`](LowerMount::want_write). Whether the mount may be written to is not
    /// asked; an open file can say so.
    ///
    /// C: `sb_start_pagefault()`.
    ///
    /// # Errors
    ///
    /// `EINTR` if the running task is being killed.
    pub fn want_fault(&self) -> Result<FaultAccess<'_>> {
        // SAFETY: The superblock lives as long as the mount.
        unsafe { FaultAccess::new(self.super_block_raw()) }
    }
}

impl Drop for FaultAccess<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::sb_end_pagefault(self.sb) };
    }
}
