// SPDX-License-Identifier: GPL-2.0

//! Running something in a kernel thread, and waiting for it.
//!
//! C headers: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::bindings;
use core::mem::MaybeUninit;
use kernel::prelude::*;

/// What the running task keeps on its stack for the worker.
#[repr(C)]
struct Frame<F, R> {
    // The first field, so that its address is that of the frame.
    work: MaybeUninit<bindings::work_struct>,
    f: Option<F>,
    result: Option<R>,
}

/// Whether the running task is a worker itself, which no signal and no limit can stop.
pub fn is_worker() -> bool {
    // SAFETY: No requirements beyond task context.
    unsafe { bindings::current_is_worker() }
}

/// Runs `f` on a system work queue and waits for it, whatever signals come.
///
/// For a task that is being killed but must still have something done, which its own pending
/// signal would cut short.
///
/// When this returns the worker has left this module's code for good.
///
/// `depth` is how many filesystems lie below the one that asks: for lockdep, to which the locks of
/// each are others.
///
/// Context: process context, may sleep; not in a worker, which reclaim may depend on. `f` must not
/// need a lock that the caller holds.
pub fn run<R: Send, F: FnOnce() -> R + Send>(depth: i32, f: F) -> Result<R> {
    let mut frame = Frame {
        work: MaybeUninit::uninit(),
        f: Some(f),
        result: None,
    };
    let raw = &raw mut frame;
    // SAFETY: The frame stays where it is until `flush_work()` has seen the end of the worker's
    // call; nobody else uses it meanwhile. The work is initialised here, queued once, and a static
    // queue takes it.
    unsafe {
        let work = raw.cast::<bindings::work_struct>();
        bindings::init_work_onstack(work, Some(run_frame::<F, R>), depth.unsigned_abs());
        bindings::queue_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            bindings::system_dfl_wq,
            work,
        );
        bindings::flush_work(work);
        bindings::destroy_work_on_stack(work);
    }
    frame.result.ok_or(EIO)
}

/// Runs the closure of a frame.
///
/// # Safety
///
/// `work` is that of a live `Frame<F, R>` that nobody else uses.
unsafe extern "C" fn run_frame<F: FnOnce() -> R, R>(work: *mut bindings::work_struct) {
    let frame = work.cast::<Frame<F, R>>();
    // SAFETY: The caller guarantees the frame, of which the work is the first field. That one is
    // the work queue's, which may look at it now.
    unsafe { (*frame).result = (*frame).f.take().map(|f| f()) };
}
