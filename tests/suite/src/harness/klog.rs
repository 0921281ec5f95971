// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, watched for complaints while a test runs.

use crate::sys::{Errno, file};
use std::os::fd::OwnedFd;
use std::path::Path;

/// What no test may make the kernel say. Messages about failing devices are not among these: some
/// tests make devices fail.
const COMPLAINTS: &[&str] = &[
    "BUG:",
    "kernel BUG at",
    "WARNING:",
    "Oops",
    "general protection fault",
    "KASAN",
    "UBSAN",
    "KCSAN",
    "possible recursive locking",
    "possible circular locking",
    "suspicious RCU usage",
    "inconsistent lock state",
    "blocked for more than",
    "soft lockup",
    "hard LOCKUP",
    "rcu_preempt detected stalls",
    "refcount_t",
    "list_add corruption",
    "list_del corruption",
    "Busy inodes after unmount",
    "scheduling while atomic",
    "Page cache invalidation failure",
    "rust_kernel: panicked",
];

/// The log from the time of opening on.
pub struct KernelLog {
    fd: Option<OwnedFd>,
}

impl KernelLog {
    pub fn open() -> Self {
        let flags = libc::O_RDONLY | libc::O_NONBLOCK;
        let fd = file::open(Path::new("/dev/kmsg"), flags, 0).ok();
        if let Some(fd) = &fd {
            let _ = file::lseek(fd, 0, libc::SEEK_END);
        }
        Self { fd }
    }

    /// The messages since the last call.
    pub fn news(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut buf = vec![0; 8192];
        while let Some(fd) = &self.fd {
            match file::read(fd, &mut buf) {
                Ok(0) => break,
                Ok(n) => lines.extend(message(&String::from_utf8_lossy(&buf[..n]))),
                // Some were overwritten before we came; what is left can still be read.
                Err(Errno(libc::EPIPE)) => {}
                Err(_) => break,
            }
        }
        lines
    }

    /// The complaints since the last call.
    pub fn complaints(&self) -> Vec<String> {
        let mut news = self.news();
        news.retain(|line| is_complaint(line));
        news
    }
}

/// The text of a record, which reads `level,seq,time,flags;text`.
fn message(record: &str) -> Option<String> {
    let (_, text) = record.split_once(';')?;
    text.lines().next().map(str::to_string)
}

fn is_complaint(line: &str) -> bool {
    COMPLAINTS.iter().any(|c| line.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_to_their_text() {
        let record = "4,1234,5678,-;WARNING: CPU: 0\n SUBSYSTEM=x\n";
        assert_eq!(message(record).unwrap(), "WARNING: CPU: 0");
    }

    #[test]
    fn device_errors_are_no_complaints() {
        assert!(!is_complaint(
            "Buffer I/O error on dev dm-0, logical block 5"
        ));
        assert!(is_complaint("BUG: kernel NULL pointer dereference"));
    }
}
