// SPDX-License-Identifier: GPL-2.0

//! Bounds of time, which are longer on a kernel or a machine that is slow.

use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static FACTOR: AtomicU32 = AtomicU32::new(1);

/// The factor that the environment asks for.
pub fn from_environment() -> u32 {
    std::env::var("DIOFS_PATIENCE")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1)
}

/// Multiplies every bound of time from now on.
pub fn set(factor: u32) {
    FACTOR.store(factor.max(1), Ordering::Relaxed);
}

pub fn factor() -> u32 {
    FACTOR.load(Ordering::Relaxed)
}

/// A bound, as long as it has to be here.
pub fn at_most(bound: Duration) -> Duration {
    bound * factor()
}

/// Repeats what may be refused for a moment.
pub fn repeat<T>(bound: Duration, call: impl Fn() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        let answer = call();
        if answer.is_ok() || start.elapsed() > at_most(bound) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for what is to come soon.
pub fn wait_for(what: &str, ready: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !ready()? {
        ensure!(
            start.elapsed() < at_most(Duration::from_secs(10)),
            "there is no {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
