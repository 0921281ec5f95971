// SPDX-License-Identifier: GPL-2.0

//! The kernel's trace events, in a buffer of one's own.

use super::process;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const TRACEFS: &str = "/sys/kernel/tracing";

/// Whether there is tracing.
pub fn available() -> bool {
    Path::new(TRACEFS).join("instances").exists()
}

/// Trace events of the calling thread, from now on.
pub struct Trace {
    instance: PathBuf,
}

impl Trace {
    /// Each event is `SYSTEM/NAME`.
    pub fn start(events: &[&str]) -> Result<Self> {
        let thread = process::thread();
        let trace = Self {
            instance: Path::new(TRACEFS).join(format!("instances/diofs-suite-{thread}")),
        };
        fs::create_dir(&trace.instance).context("tracefs: a buffer of its own")?;
        trace.write("set_event_pid", &thread.to_string())?;
        for event in events {
            trace.write(&format!("events/{event}/enable"), "1")?;
        }
        Ok(trace)
    }

    /// Forgets what was, and goes on.
    pub fn clear(&self) -> Result<()> {
        self.write("trace", "")?;
        self.write("tracing_on", "1")
    }

    /// The events since the start or the last [`Trace::clear`], a line each. It ends with this.
    pub fn lines(&self) -> Result<Vec<String>> {
        self.write("tracing_on", "0")?;
        let text = fs::read_to_string(self.instance.join("trace")).context("reading the trace")?;
        let events = text.lines().filter(|line| !line.starts_with('#'));
        Ok(events.map(str::to_string).collect())
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.instance.join(name), text).with_context(|| format!("tracefs: {name}"))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.instance);
    }
}
