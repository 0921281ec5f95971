// SPDX-License-Identifier: GPL-2.0

//! Running something in a kernel thread, and waiting for it.
//!
//! C headers: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::bindings;
use kernel::{
    ffi,
    prelude::*,
    sync::{
        Arc,
        Completion, //
    },
    workqueue::Queue, //
};

/// What the running task keeps on its stack for the worker.
struct Frame<F, R> {
    f: Option<F>,
    result: Option<R>,
}

/// A [`Frame`] without its types, to be sent to the worker.
struct Job {
    run: unsafe fn(*mut ffi::c_void),
    frame: *mut ffi::c_void,
}

// SAFETY: The frame holds only what may be sent, and is used by one task at a time.
unsafe impl Send for Job {}

impl Job {
    fn run(self) {
        // SAFETY: `run` belongs to the type of `frame`, which the running task keeps until the
        // worker is done.
        unsafe { (self.run)(self.frame) };
    }
}

/// Runs `f` on a system work queue and waits for it, whatever signals come.
///
/// For a task that is being killed but must still have something done, which its own pending
/// signal would cut short.
///
/// Context: process context, may sleep. `f` must not need a lock that the caller holds.
///
/// # Errors
///
/// `ENOMEM`; `f` did not run then.
pub fn run<R: Send, F: FnOnce() -> R + Send>(f: F) -> Result<R> {
    let mut frame = Frame {
        f: Some(f),
        result: None,
    };
    let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let job = Job {
        run: run_frame::<F, R>,
        frame: core::ptr::from_mut(&mut frame).cast(),
    };
    let theirs = done.clone();
    // `workqueue::system_unbound()` is the old name, which the kernel warns of.
    // SAFETY: A C global, always available.
    let queue = unsafe { Queue::from_raw(bindings::system_dfl_wq) };
    queue.try_spawn(GFP_KERNEL, move || {
        job.run();
        theirs.complete_all();
    })?;
    done.wait_for_completion();
    frame.result.ok_or(EIO)
}

/// Runs the closure of a frame.
///
/// # Safety
///
/// `frame` points to a live `Frame<F, R>` that nobody else uses.
unsafe fn run_frame<F: FnOnce() -> R, R>(frame: *mut ffi::c_void) {
    // SAFETY: The caller guarantees the frame.
    let frame = unsafe { &mut *frame.cast::<Frame<F, R>>() };
    frame.result = frame.f.take().map(|f| f());
}
