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

/// What the kernel says of a device that fails.
const IO_ERROR: &str = "I/O error";

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
        complaints(self.news())
    }
}

/// What a healthy kernel does not say.
fn complaints(mut news: Vec<String>) -> Vec<String> {
    let mut after_error = false;
    news.retain(|line| {
        after_error |= line.contains(IO_ERROR);
        is_complaint(line) && !(after_error && is_of_a_failed_buffer(line))
    });
    news
}

/// The text of a record, which reads `level,seq,time,flags;text`.
fn message(record: &str) -> Option<String> {
    let (_, text) = record.split_once(';')?;
    text.lines().next().map(str::to_string)
}

/// ext4 without a journal goes on using a block of metadata that could not be written, and the kernel
/// warns that its buffer is not up to date. It does so on the bare filesystem as well, once in a while:
/// somebody has to change the block between the error and the end.
fn is_of_a_failed_buffer(line: &str) -> bool {
    line.contains("WARNING:") && line.contains(" at mark_buffer_dirty+")
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

    #[test]
    fn a_buffer_may_be_bad_after_an_error_only() {
        let warning = "WARNING: at mark_buffer_dirty+0x1a7/0x210, CPU#0: diofs-suite/1854";
        let error = "EXT4-fs (dm-1): I/O error while writing superblock";
        let told = |lines: &[&str]| complaints(lines.iter().map(ToString::to_string).collect());
        assert_eq!(told(&[warning, error]), [warning]);
        assert!(told(&[error, warning]).is_empty());
        let other = "WARNING: at mark_inode_dirty+0x1a7/0x210, CPU#0: diofs-suite/1854";
        assert_eq!(told(&[error, other]), [other]);
    }
}
