// SPDX-License-Identifier: GPL-2.0
//! Clocks: one that costs next to nothing, and those of processor time.

use std::time::Duration;

/// Time since the machine was started, as of the last tick of the kernel: some milliseconds late. On
/// machines whose clock is slow to read, a precise one would cost more than a request.
pub fn coarse_time() -> Duration {
    time(libc::CLOCK_MONOTONIC_COARSE)
}

/// Processor time of the calling thread, in the kernel and outside.
pub fn thread_cpu_time() -> Duration {
    time(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time of all threads of this process, those that have ended included.
pub fn process_cpu_time() -> Duration {
    time(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn time(clock: libc::clockid_t) -> Duration {
    // SAFETY: `timespec` is plain data for which all zeroes are valid.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `now` is valid for writing. These clocks always exist.
    unsafe { libc::clock_gettime(clock, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
