// SPDX-License-Identifier: GPL-2.0

//! Wait queues whose waiters may be killed or time out.
//!
//! C headers: [`include/linux/wait.h`](srctree/include/linux/wait.h)
//!
//! [`kernel::sync::CondVar`] has neither a killable nor an uninterruptible wait with a timeout,
//! and wants its lock held at wake-up; a filesystem needs all three relaxed.

use crate::bindings;
pub use crate::pure::gate::Wake;
use core::{
    mem::MaybeUninit,
    ptr, //
};
use kernel::{
    ffi,
    prelude::*,
    sync::LockClassKey,
    time::Jiffies,
    types::Opaque, //
};

/// Which signals end a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// None: the caller cannot back out.
    None,
    /// Fatal ones only.
    Fatal,
    /// Fatal ones only. The machine can be suspended meanwhile.
    FatalOrSuspend,
}

impl Signals {
    const KILLABLE: i32 = (bindings::TASK_WAKEKILL | bindings::TASK_UNINTERRUPTIBLE) as i32;

    const fn task_state(self) -> i32 {
        match self {
            Signals::None => kernel::task::TASK_UNINTERRUPTIBLE,
            Signals::Fatal => Self::KILLABLE,
            Signals::FatalOrSuspend => Self::KILLABLE | bindings::TASK_FREEZABLE as i32,
        }
    }
}

/// A `wait_queue_head_t`.
///
/// # Invariants
///
/// `head` is an initialised wait queue head.
#[pin_data]
#[repr(transparent)]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue head is made to be shared between tasks; its own lock guards it.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// An initialiser of an empty wait queue.
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: `__init_waitqueue_head` initialises the head.
            head <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, `name` and `key` live forever.
                unsafe {
                    bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
                }
            }),
        })
    }

    /// One of the kernel's.
    ///
    /// # Safety
    ///
    /// The head is initialised, and lives through `'a`.
    pub(super) unsafe fn from_raw<'a>(head: *mut bindings::wait_queue_head) -> &'a Self {
        // SAFETY: By this function's requirements; a queue is nothing but its head.
        unsafe { &*head.cast::<Self>() }
    }

    /// Wakes every waiter, so that each looks at its condition again.
    ///
    /// Context: any, hard interrupts included.
    pub fn wake_all(&self) {
        // SAFETY: By the type invariants the head is initialised.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                kernel::task::TASK_NORMAL,
                0,
                ptr::null_mut(),
            );
        }
    }

    /// Sleeps until `ready` holds, a signal of `signals` is pending, or `timeout` has passed.
    ///
    /// Whoever makes the condition true calls [`WaitQueue::wake_all`] afterwards.
    ///
    /// Context: process context, may sleep. `ready` may take locks but must not sleep.
    pub fn wait(
        &self,
        signals: Signals,
        timeout: Option<Jiffies>,
        mut ready: impl FnMut() -> bool,
    ) -> Wake {
        let mut entry = MaybeUninit::<bindings::wait_queue_entry>::zeroed();
        let mut left = timeout.map_or(ffi::c_long::MAX, |t| t as ffi::c_long);
        // SAFETY: `entry` is valid for writes; it stays on this stack frame until `finish_wait`.
        unsafe { bindings::init_wait_entry(entry.as_mut_ptr(), 0) };
        let wake = loop {
            // SAFETY: The head is initialised (type invariant), and so is the entry.
            let signal = unsafe {
                bindings::prepare_to_wait_event(
                    self.head.get(),
                    entry.as_mut_ptr(),
                    signals.task_state(),
                )
            };
            if ready() {
                break Wake::Ready;
            }
            if signal != 0 {
                break Wake::Killed;
            }
            if left == 0 {
                break Wake::TimedOut;
            }
            // SAFETY: This is process context, and no lock is held by this function.
            left = unsafe { bindings::schedule_timeout(left) };
        };
        // SAFETY: The entry was initialised above and is not used after this call.
        unsafe { bindings::finish_wait(self.head.get(), entry.as_mut_ptr()) };
        wake
    }
}
