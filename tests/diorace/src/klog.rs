// SPDX-License-Identifier: GPL-2.0
//! What the kernel says while a run goes on.
//!
//! The kernel complains about a failed invalidation ("Page cache invalidation failure on direct I/O")
//! at most ten times a day, so that its silence proves nothing.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arena::PREFIX;
use crate::status::Status;

/// Longest record that the kernel hands out.
const RECORD: usize = 8192;

/// Lines kept.
const KEEP: usize = 40;

/// What a healthy kernel never says.
const COMPLAINTS: [&str; 17] = [
    "Oops",
    "BUG:",
    "kernel BUG at",
    "WARNING: ",
    "general protection fault",
    "unable to handle",
    "Kernel panic",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "KASAN:",
    "UBSAN:",
    "blocked for more than",
    "soft lockup",
    "refcount_t:",
    "list_add corruption",
];

const COLLISION: &str = "Page cache invalidation failure on direct I/O";

/// What was said between the beginning and the end of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct KernelLog {
    /// Why it could not be read, if so.
    pub unreadable: Option<String>,
    /// Failed invalidations of the page cache for files of this run.
    pub collisions: u64,
    /// The same for files of others.
    pub collisions_elsewhere: u64,
    /// Oopses, warnings, reports of lockdep and sanitizers, hung tasks: about anything.
    pub complaints: u64,
    /// The first of these lines.
    pub lines: Vec<String>,
}

/// Remembers where the log ended when the run began.
#[derive(Debug)]
pub struct Cursor(Result<File, String>);

impl Cursor {
    /// Begins to listen.
    pub fn begin() -> Self {
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg");
        let at_end = open.and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
        Self(at_end.map_err(|error| error.to_string()))
    }

    /// What was said since.
    pub fn end(self) -> KernelLog {
        let mut file = match self.0 {
            Ok(file) => file,
            Err(why) => {
                let unreadable = Some(why);
                return KernelLog {
                    unreadable,
                    ..KernelLog::default()
                };
            }
        };
        let mut lines = Vec::new();
        let mut record = [0u8; RECORD];
        loop {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(n) => lines.push(message(&String::from_utf8_lossy(&record[..n]))),
                // EPIPE: some records were overwritten before they could be read.
                Err(error)
                    if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
                Err(_) => break,
            }
        }
        classify(&lines)
    }
}

/// The text of a record: what follows the first semicolon on its first line.
fn message(record: &str) -> String {
    let line = record.lines().next().unwrap_or_default();
    line.split_once(';')
        .map_or(line, |(_, text)| text)
        .to_owned()
}

fn classify(lines: &[String]) -> KernelLog {
    let mut log = KernelLog::default();
    for (nth, line) in lines.iter().enumerate() {
        if line.contains(COLLISION) {
            // The next line names the file.
            let file = lines.get(nth + 1).map_or("", String::as_str);
            let ours = file.contains(PREFIX);
            log.collisions += u64::from(ours);
            log.collisions_elsewhere += u64::from(!ours);
            log.keep(line);
            log.keep(file);
        } else if COMPLAINTS.iter().any(|what| line.contains(what)) {
            log.complaints += 1;
            log.keep(line);
        }
    }
    log
}

impl KernelLog {
    fn keep(&mut self, line: &str) {
        if self.lines.len() < KEEP && !line.is_empty() {
            self.lines.push(line.to_owned());
        }
    }

    /// In a few words.
    pub fn summary(&self) -> String {
        if let Some(why) = &self.unreadable {
            return format!("cannot be read ({why}), so nothing is known of it");
        }
        let mut text = format!(
            "{} failed invalidations on files of this run, {} complaints of the kernel",
            self.collisions, self.complaints
        );
        if self.collisions_elsewhere > 0 {
            text += &format!(
                ", {} failed invalidations elsewhere",
                self.collisions_elsewhere
            );
        }
        text
    }

    /// What it means for the verdict.
    pub fn status(&self, profile: &str) -> Status {
        match (self.complaints, self.collisions) {
            (0, 0) => Status::Legal,
            (0, _) if profile != "strict" => Status::Collision,
            _ => Status::Violation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_and_collisions_are_told_apart() {
        let lines = [
            "2,1,5,-;Page cache invalidation failure on direct I/O.  Possible data corruption!",
            "2,2,5,-;File: mnt/.diorace-7-0/false-sharing PID: 7 Comm: diorace",
            "2,3,5,-;Page cache invalidation failure on direct I/O.  Possible data corruption!",
            "2,4,5,-;File: mnt/disk.img PID: 9 Comm: qemu",
            "6,5,5,-;EXT4-fs (vda): mounted filesystem",
        ];
        let mut lines: Vec<_> = lines.into_iter().map(message).collect();
        let log = classify(&lines);
        assert_eq!(
            (log.collisions, log.collisions_elsewhere, log.complaints),
            (1, 1, 0)
        );
        assert_eq!(log.status("bare"), Status::Collision);
        assert_eq!(log.status("strict"), Status::Violation);
        lines.push(message(
            "4,6,6,-;WARNING: CPU: 1 PID: 7 at fs/x.c:1\n SUBSYSTEM=x",
        ));
        let log = classify(&lines);
        assert_eq!(log.complaints, 1);
        assert_eq!(log.status("bare"), Status::Violation);
        assert_eq!(classify(&[]).status("strict"), Status::Legal);
    }

    #[test]
    fn a_log_that_cannot_be_read_says_so() {
        let log = Cursor(Err("permission denied".into())).end();
        assert!(log.summary().contains("permission denied"));
        assert_eq!(log.status("strict"), Status::Legal);
    }
}
