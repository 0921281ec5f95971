// SPDX-License-Identifier: GPL-2.0
//! What the kernel says while a run goes on.
//!
//! The kernel complains about a failed invalidation ("Page cache invalidation failure on direct I/O")
//! at most ten times a day, so that its silence proves nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::status::Status;

/// Longest record that the kernel hands out.
const RECORD: usize = 8192;

/// Lines kept.
const KEEP: usize = 40;

/// What a healthy kernel never says.
const COMPLAINTS: [&str; 27] = [
    "Oops",
    "BUG:",
    "kernel BUG at",
    "WARNING: ",
    "general protection fault",
    "unable to handle",
    "Kernel panic",
    "possible circular locking",
    "possible recursive locking",
    "possible irq lock inversion",
    "inconsistent lock state",
    "bad unlock balance",
    "held lock freed",
    "lock held when returning to user space",
    "suspicious RCU usage",
    "INFO: trying to register non-static key",
    "KASAN:",
    "KCSAN:",
    "UBSAN:",
    "blocked for more than",
    "soft lockup",
    "hard LOCKUP",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "kernel stack overflow",
    "Bad page state",
];

/// What a filesystem says of its own structures or data when they are damaged, together with the name of
/// its device, by which others' troubles are told apart.
const DAMAGE: [&str; 10] = [
    "-fs error",
    "BTRFS error",
    "BTRFS critical",
    "csum failed",
    "orruption",
    "nternal error",
    "failed to convert unwritten extents",
    "Aborting journal",
    "hutting down",
    "shut down",
];

/// What is said of a device that fails: then errors are no wonder.
const DEVICE: [&str; 4] = [
    "I/O error, dev ",
    "Buffer I/O error on dev ",
    "lost async page write",
    "lost sync page write",
];

/// Direct and cached I/O met, and it could not be kept in step. The next line names the file.
const COLLISION: &str = "Page cache invalidation failure on direct I/O";

/// Within how many lines the one comes that names the file.
const NEAR: usize = 8;

/// The same in iomap: a store had just reserved the extent, and the request is refused.
const REFUSAL: &str = "Direct I/O collision with buffered writes";

/// What was said between the beginning and the end of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct KernelLog {
    /// Why it could not be read, if so.
    pub unreadable: Option<String>,
    /// Failed invalidations of the page cache for files of this run.
    pub collisions: u64,
    /// The same for files of others.
    pub collisions_elsewhere: u64,
    /// Direct requests that were refused because of buffered writes, for files of this run.
    #[serde(default)]
    pub refusals: u64,
    /// Oopses, warnings, reports of lockdep and sanitizers, hung tasks: about anything.
    pub complaints: u64,
    /// What the filesystem under test said of damage to it.
    #[serde(default)]
    pub damage: u64,
    /// Errors of block devices.
    #[serde(default)]
    pub device_errors: u64,
    /// The first of these lines.
    pub lines: Vec<String>,
}

/// Listens to the log from the time on at which a run began.
#[derive(Debug)]
pub struct Cursor {
    log: Result<File, String>,
    /// By which files of this run are known: the name of their directory and what follows it.
    ours: String,
    /// Names that the device under test may be called by.
    devices: Vec<String>,
    heard: KernelLog,
}

impl Cursor {
    /// Begins to listen. The files of this run are in `dir`.
    pub fn begin(place: &Place, dir: &Path) -> Self {
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg");
        let at_end = open.and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
        Self {
            log: at_end.map_err(|error| error.to_string()),
            ours: within(dir),
            devices: devices(&place.sources()),
            heard: KernelLog::default(),
        }
    }

    /// What was said since the last time.
    pub fn listen(&mut self) -> KernelLog {
        let file = match &mut self.log {
            Ok(file) => file,
            Err(why) => {
                self.heard.unreadable = Some(why.clone());
                return self.heard.clone();
            }
        };
        let mut lines = Vec::new();
        let mut record = [0u8; RECORD];
        loop {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(n) => lines.extend(message(&String::from_utf8_lossy(&record[..n]))),
                // EPIPE: some records were overwritten before they could be read.
                Err(error)
                    if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
                Err(_) => break,
            }
        }
        let news = classify(&lines, &self.ours, &self.devices);
        self.heard.add(&news);
        news
    }

    /// What was said in all.
    pub fn end(mut self) -> KernelLog {
        self.listen();
        self.heard
    }
}

/// What the kernel may call the devices that are mounted from here. A directory is none.
fn devices(sources: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for source in sources {
        let real = fs::canonicalize(source).unwrap_or_default();
        let paths = [Path::new(source), real.as_path()];
        let paths = paths.into_iter().filter(|path| path.is_absolute());
        let devices = paths.filter(|path| !path.is_dir());
        names.extend(devices.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())));
    }
    names.dedup();
    names
}

/// How the kernel names a file in a directory of ours, from that on which no other run has.
fn within(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    format!("{}/", name.to_string_lossy())
}

/// The text of a record: what follows the first semicolon on its first line. None if it is not the kernel
/// that speaks: what programs write to the log has a facility, in the priority above its three lowest
/// bits.
fn message(record: &str) -> Option<String> {
    let (head, text) = record.lines().next()?.split_once(';')?;
    let priority = head.split(',').next()?.parse::<u32>().ok()?;
    (priority >> 3 == 0).then(|| text.to_owned())
}

/// Files of this run are those whose name contains `ours`.
fn classify(lines: &[String], ours: &str, devices: &[String]) -> KernelLog {
    let mut log = KernelLog::default();
    // The complaint about a collision has two lines; what another processor says may come between.
    let mut files: Vec<_> = lines.iter().map(|line| names_file(line)).collect();
    for (nth, line) in lines.iter().enumerate() {
        let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
        if line.contains(COLLISION) {
            let mut near = (nth + 1..files.len()).take(NEAR);
            let file = near.find(|at| std::mem::take(&mut files[*at]));
            let file = file.map_or("", |at| lines[at].as_str());
            let ours = file.contains(ours);
            log.collisions += u64::from(ours);
            log.collisions_elsewhere += u64::from(!ours);
            log.keep(line);
            log.keep(file);
        } else if line.contains(REFUSAL) {
            let ours = line.contains(ours);
            log.refusals += u64::from(ours);
            log.collisions_elsewhere += u64::from(!ours);
            log.keep(line);
        } else if says(&COMPLAINTS) && !is_of_program(line) {
            log.complaints += 1;
            log.keep(line);
        } else if says(&DEVICE) {
            log.device_errors += 1;
            log.keep(line);
        } else if says(&DAMAGE) && devices.iter().any(|name| names(line, name)) {
            log.damage += 1;
            log.keep(line);
        }
    }
    log
}

/// Whether a line tells of a fault of a program: the kernel's own have no address behind the word.
fn is_of_program(line: &str) -> bool {
    line.starts_with("traps: ") && line.contains(" general protection fault ip:")
}

/// Whether a line is the second one about a collision.
fn names_file(line: &str) -> bool {
    line.contains("File: ") && line.contains(" PID: ")
}

/// Whether a line speaks of a device: its name in parentheses, or after the word, and no longer one.
fn names(line: &str, device: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    ["(", "device "].iter().any(|before| {
        let name = format!("{before}{device}");
        let mut found = line.match_indices(&name);
        found.any(|(at, _)| ends(&line[at + name.len()..]))
    })
}

impl KernelLog {
    fn keep(&mut self, line: &str) {
        if self.lines.len() < KEEP && !line.is_empty() {
            self.lines.push(line.to_owned());
        }
    }

    fn add(&mut self, news: &Self) {
        self.collisions += news.collisions;
        self.collisions_elsewhere += news.collisions_elsewhere;
        self.refusals += news.refusals;
        self.complaints += news.complaints;
        self.damage += news.damage;
        self.device_errors += news.device_errors;
        for line in &news.lines {
            self.keep(line);
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
        for (n, what) in [
            (self.refusals, "direct requests refused"),
            (self.damage, "reports of damage to this filesystem"),
            (self.device_errors, "errors of block devices"),
            (self.collisions_elsewhere, "failed invalidations elsewhere"),
        ] {
            if n > 0 {
                text += &format!(", {n} {what}");
            }
        }
        text
    }

    /// What nothing excuses.
    pub fn grave(&self) -> u64 {
        self.complaints + self.damage
    }

    /// How often direct and cached I/O met on files of this run.
    pub fn met(&self) -> u64 {
        self.collisions + self.refusals
    }

    /// What it means for the verdict.
    pub fn status(&self, profile: &str) -> Status {
        match (self.grave(), self.met()) {
            (0, 0) => Status::Legal,
            (0, _) if profile != "strict" => Status::Collision,
            _ => Status::Violation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = ".diorace-7-0/";

    #[test]
    fn files_of_another_run_are_not_ours() {
        assert_eq!(within(Path::new("/mnt/.diorace-7-0")), OURS);
        let of = |run: &str| {
            let lines = [
                "Page cache invalidation failure on direct I/O.  Possible data corruption!",
                &format!("File: /mnt/.diorace-{run}/x PID: 7 Comm: diorace"),
                &format!(
                    "Direct I/O collision with buffered writes! File: /mnt/.diorace-{run}/x Comm: y"
                ),
            ];
            let lines: Vec<_> = lines.into_iter().map(str::to_owned).collect();
            let log = classify(&lines, OURS, &[]);
            (log.collisions, log.refusals, log.collisions_elsewhere)
        };
        assert_eq!(of("7-0"), (1, 1, 0));
        for other in ["8-0", "7-1", "17-0", "7-01"] {
            assert_eq!(of(other), (0, 0, 2), "{other}");
        }
    }

    #[test]
    fn what_programs_say_is_no_complaint_of_the_kernel() {
        let complaints = |record: &str| {
            let lines: Vec<_> = message(record).into_iter().collect();
            classify(&lines, OURS, &[]).complaints
        };
        assert_eq!(complaints("4,1,5,-;WARNING: CPU: 1 PID: 7 at fs/x.c:1"), 1);
        assert_eq!(complaints("4,1,5,-,caller=T7;BUG: x"), 1);
        assert_eq!(
            complaints("12,1,5,-;mount: WARNING: device write-protected"),
            0
        );
        let own =
            "1,1,5,-;Oops: general protection fault, probably for non-canonical address: 0000 [#1]";
        assert_eq!(complaints(own), 1);
        let qemu =
            "6,1,5,-;traps: qemu[9] general protection fault ip:7efe sp:7efe error:0 in libc";
        assert_eq!(complaints(qemu), 0);
        assert_eq!(complaints("30,1,5,-;systemd[1]: Oops"), 0);
    }

    #[test]
    fn complaints_and_collisions_are_told_apart() {
        let lines = [
            "2,1,5,-;Page cache invalidation failure on direct I/O.  Possible data corruption!",
            "2,2,5,-;File: mnt/.diorace-7-0/false-sharing PID: 7 Comm: diorace",
            "2,3,5,-;Page cache invalidation failure on direct I/O.  Possible data corruption!",
            "6,6,5,-;loop0: detected capacity change from 0 to 16",
            "2,4,5,-;File: mnt/disk.img PID: 9 Comm: qemu",
            "6,5,5,-;EXT4-fs (vda): mounted filesystem",
        ];
        let mut lines: Vec<_> = lines.into_iter().filter_map(message).collect();
        let log = classify(&lines, OURS, &[]);
        assert_eq!(
            (log.collisions, log.collisions_elsewhere, log.complaints),
            (1, 1, 0)
        );
        assert_eq!(log.status("bare"), Status::Collision);
        assert_eq!(log.status("strict"), Status::Violation);
        lines.extend(message(
            "4,6,6,-;WARNING: CPU: 1 PID: 7 at fs/x.c:1\n SUBSYSTEM=x",
        ));
        let log = classify(&lines, OURS, &[]);
        assert_eq!(log.complaints, 1);
        assert_eq!(log.status("bare"), Status::Violation);
        assert_eq!(classify(&[], OURS, &[]).status("strict"), Status::Legal);
    }

    #[test]
    fn damage_to_the_device_under_test_counts_and_that_to_others_does_not() {
        let lines = [
            "EXT4-fs error (device vdb): ext4_find_extent:938: inode #12: bad header/extent",
            "EXT4-fs error (device vdb1): ext4_lookup:1: inode #2: deleted inode referenced: 13",
            "XFS (vdb): Metadata corruption detected at xfs_agf_read_verify",
            "EXT4-fs (vdb): mounted filesystem r/w without journal",
            "I/O error, dev sdq, sector 8 op 0x1:(WRITE) flags 0x800",
            "Direct I/O collision with buffered writes! File: /mnt/.diorace-7-0/x Comm: write mmap",
        ];
        let lines: Vec<_> = lines.into_iter().map(str::to_owned).collect();
        let log = classify(&lines, OURS, &["vdb".to_owned()]);
        assert_eq!((log.damage, log.device_errors, log.refusals), (2, 1, 1));
        assert_eq!((log.complaints, log.status("bare")), (0, Status::Violation));
        assert_eq!(
            classify(&lines[3..], OURS, &[]).status("bare"),
            Status::Collision
        );
        assert_eq!(
            classify(&lines[3..5], OURS, &[]).status("bare"),
            Status::Legal
        );
        let devices = |sources: &[&str]| {
            let sources: Vec<_> = sources.iter().map(ToString::to_string).collect();
            devices(&sources)
        };
        assert_eq!(devices(&["/dev/null"]), ["null"]);
        assert_eq!(devices(&["/proc", "/dev/null"]), ["null"]);
        assert!(devices(&["none"]).is_empty());
    }

    #[test]
    fn a_log_that_cannot_be_read_says_so() {
        let cursor = Cursor {
            log: Err("permission denied".into()),
            ours: OURS.to_owned(),
            devices: Vec::new(),
            heard: KernelLog::default(),
        };
        let log = cursor.end();
        assert!(log.summary().contains("permission denied"));
        assert_eq!(log.status("strict"), Status::Legal);
    }
}
