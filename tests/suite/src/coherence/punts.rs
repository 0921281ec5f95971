// SPDX-License-Identifier: GPL-2.0

//! Counts the requests that io_uring hands to its worker threads, because they would have to wait.

use crate::harness::skip;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

const EVENT: &str = "io_uring_queue_async_work";

/// The kernel's trace of handed-over requests, from now on.
pub struct Punts {
    tracing: PathBuf,
}

impl Punts {
    pub fn watch() -> Result<Self> {
        let tracing = PathBuf::from("/sys/kernel/tracing");
        if !tracing.join("trace").exists() {
            return skip("tracefs is not mounted");
        }
        let punts = Self { tracing };
        punts.write("trace", "")?;
        punts.write(&format!("events/io_uring/{EVENT}/enable"), "1")?;
        punts.write("tracing_on", "1")?;
        Ok(punts)
    }

    /// How many there were. The trace ends with this.
    pub fn count(self) -> Result<usize> {
        let trace = fs::read_to_string(self.tracing.join("trace")).context("reading the trace")?;
        Ok(trace.lines().filter(|l| l.contains(EVENT)).count())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.tracing.join(name), text).with_context(|| format!("tracefs: {name}"))
    }
}

impl Drop for Punts {
    fn drop(&mut self) {
        let _ = self.write(&format!("events/io_uring/{EVENT}/enable"), "0");
    }
}
