// SPDX-License-Identifier: GPL-2.0
//! What can be said about a thread that does not come back.

use std::fmt;
use std::fs;

use engines::{Op, signals};

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
        let state = field(&place, "State:");
        Self {
            label: format!("{} {}", pulse.engine, pulse.role.name()),
            thread,
            request: pulse.oldest(),
            state,
            wchan: read("wchan"),
            syscall: read("syscall").map(|text| named(&text)),
            stack: read("stack"),
        }
    }
}

/// A line of a process's or thread's status.
fn field(place: &str, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("{place}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// Lets the process that makes a thread's system calls go on, and the one that looks after it, if
/// somebody has stopped them; says whether somebody had.
pub fn revive(pulse: &Pulse) -> bool {
    let Some(process) = pulse.worker() else {
        return false;
    };
    let parent = field(&format!("/proc/{process}"), "PPid:").and_then(|pid| pid.parse().ok());
    let both = [Some(process), parent];
    let stopped = |process: &i32| {
        let state = field(&format!("/proc/{process}"), "State:");
        state.is_some_and(|state| state.starts_with('T'))
    };
    let stopped: Vec<i32> = both.into_iter().flatten().filter(stopped).collect();
    stopped.iter().for_each(|process| signals::go_on(*process));
    !stopped.is_empty()
}

/// The numbers that /proc shows of a system call, with the name of the call where it is one for I/O.
fn named(text: &str) -> String {
    let number = text.split(' ').next().and_then(|word| word.parse().ok());
    let known = number.and_then(|number: i64| CALLS.iter().find(|(known, _)| *known == number));
    known.map_or(text.to_owned(), |(_, name)| format!("{name} ({text})"))
}

const CALLS: [(libc::c_long, &str); 24] = [
    (libc::SYS_read, "read"),
    (libc::SYS_write, "write"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_preadv2, "preadv2"),
    (libc::SYS_pwritev2, "pwritev2"),
    (libc::SYS_io_submit, "io_submit"),
    (libc::SYS_io_getevents, "io_getevents"),
    (libc::SYS_io_destroy, "io_destroy"),
    (libc::SYS_io_uring_enter, "io_uring_enter"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_sync_file_range, "sync_file_range"),
    (libc::SYS_msync, "msync"),
    (libc::SYS_madvise, "madvise"),
    (libc::SYS_fadvise64, "fadvise64"),
    (libc::SYS_readahead, "readahead"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_splice, "splice"),
    (libc::SYS_sendfile, "sendfile"),
    (libc::SYS_copy_file_range, "copy_file_range"),
    (libc::SYS_close, "close"),
    (libc::SYS_clock_nanosleep, "clock_nanosleep"),
];

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
