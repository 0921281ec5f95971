// SPDX-License-Identifier: GPL-2.0
//! A clock that costs next to nothing.

use std::time::Duration;

/// Time since the machine was started, as of the last tick of the kernel: some milliseconds late. On
/// machines whose clock is slow to read, a precise one would cost more than a request.
pub fn coarse_time() -> Duration {
    // SAFETY: `timespec` is plain data for which all zeroes are valid.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `now` is valid for writing. This clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
