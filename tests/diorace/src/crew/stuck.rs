// SPDX-License-Identifier: GPL-2.0
//! What can be said about a thread that does not come back.

use std::fmt;
use std::fs;

use engines::Op;

use crate::crew::pulse::{Outstanding, Pulse};

/// A thread that hangs, as the tool and the kernel see it.
#[derive(Debug)]
pub struct Stuck {
    label: String,
    thread: i32,
    request: Option<Outstanding>,
    state: Option<String>,
    wchan: Option<String>,
    syscall: Option<String>,
    stack: Option<String>,
}

impl Stuck {
    /// Looks at a thread from outside.
    pub fn look(pulse: &Pulse) -> Self {
        // What is stuck is whoever makes the system calls.
        let (thread, place) = match pulse.worker() {
            Some(process) => (process, format!("/proc/{process}")),
            None => (
                pulse.thread(),
                format!("/proc/self/task/{}", pulse.thread()),
            ),
        };
        let read = |name: &str| {
            let text = fs::read_to_string(format!("{place}/{name}")).ok()?;
            let text = text.trim();
            (!text.is_empty() && text != "0").then(|| text.to_owned())
        };
        let state = read("status").and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("State:"))?;
            Some(line.trim_start_matches("State:").trim().to_owned())
        });
        Self {
            label: format!("{} {}", pulse.engine, pulse.role.name()),
            thread,
            request: pulse.oldest(),
            state,
            wchan: read("wchan"),
            syscall: read("syscall"),
            stack: read("stack"),
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} ({})", self.thread, self.label)?;
        if let Some(request) = &self.request {
            let op = match request.op {
                Op::Read => "read",
                Op::Write => "write",
            };
            let Outstanding {
                age, offset, len, ..
            } = request;
            write!(
                f,
                ": {op} of {len} bytes at {offset}, outstanding {:.1} s",
                age.as_secs_f64()
            )?;
        }
        for (name, value) in [
            ("state", &self.state),
            ("waits in", &self.wchan),
            ("system call", &self.syscall),
        ] {
            if let Some(value) = value {
                write!(f, "; {name} {value}")?;
            }
        }
        for line in self.stack.iter().flat_map(|stack| stack.lines()) {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}
