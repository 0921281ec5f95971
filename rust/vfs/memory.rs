// SPDX-License-Identifier: GPL-2.0

//! Patience with memory that is short for a moment.

use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
};

/// How often a thing is tried that needs memory which is not there.
const TRIES: usize = 50;

/// How long to wait from one try to the next, in milliseconds.
const PAUSE_MS: i64 = 20;

/// Does `f`, again and again for a second if it fails for want of memory.
///
/// For write-back: whoever wrote the data was told that they were taken, perhaps long ago, and to
/// give up would lose them. Filesystems of the kernel do the same, some of them for ever.
///
/// Context: process context, sleeps.
///
/// # Errors
///
/// Those of `f`; `ENOMEM` only if it failed so each time.
pub fn insist<R>(mut f: impl FnMut() -> Result<R>) -> Result<R> {
    for _ in 1..TRIES {
        match f() {
            Err(error) if error == ENOMEM => fsleep(Delta::from_millis(PAUSE_MS)),
            result => return result,
        }
    }
    f()
}
