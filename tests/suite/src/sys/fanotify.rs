// SPDX-License-Identifier: GPL-2.0

//! fanotify: a listener whom the kernel asks before a file is opened or read.

use super::errno::{check, check_unit};
use super::{Res, cstr, file, process, stat};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Opening and reading, of files and directories.
const MASK: u64 = libc::FAN_OPEN_PERM | libc::FAN_ACCESS_PERM | libc::FAN_ONDIR;

/// What a listener was asked.
pub struct Question {
    /// The device that the file is on: major and minor number.
    pub dev: (u32, u32),
    /// Whether it is to be opened.
    pub opens: bool,
    /// Whether it is to be read.
    pub reads: bool,
}

/// A listener.
pub struct Listener(OwnedFd);

impl Listener {
    /// A listener of nothing yet.
    pub fn new() -> Res<Self> {
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        // SAFETY: A plain call.
        let fd = check(unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) })?;
        // SAFETY: The kernel just gave us this descriptor.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// Asks this listener about all files of the filesystem that `path` is on.
    pub fn watch(&self, path: &Path) -> Res<()> {
        let path = cstr(path)?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: `path` is a live C string.
        check_unit(unsafe {
            libc::fanotify_mark(
                self.0.as_raw_fd(),
                flags,
                MASK,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        })
    }

    /// Allows what is asked for within `limit`, and says what that was.
    pub fn allow(&self, limit: Duration) -> Res<Vec<Question>> {
        const LEN: usize = size_of::<libc::fanotify_event_metadata>();
        if !process::poll_in(&self.0, limit)? {
            return Ok(Vec::new());
        }
        let mut questions = Vec::new();
        let mut events = [0; 64 * LEN];
        let n = file::read(&self.0, &mut events)?;
        for event in events[..n].chunks_exact(LEN) {
            // SAFETY: The kernel has filled whole structures in; any bytes are one.
            let event: libc::fanotify_event_metadata =
                unsafe { std::ptr::read_unaligned(event.as_ptr().cast()) };
            // SAFETY: The kernel made this descriptor for the one who reads the event.
            let about = unsafe { OwnedFd::from_raw_fd(event.fd) };
            let stat = stat::fstat(&about)?;
            questions.push(Question {
                dev: (stat.dev_major, stat.dev_minor),
                opens: event.mask & libc::FAN_OPEN_PERM != 0,
                reads: event.mask & libc::FAN_ACCESS_PERM != 0,
            });
            let answer = libc::fanotify_response {
                fd: about.as_raw_fd(),
                response: libc::FAN_ALLOW,
            };
            // SAFETY: `answer` is a structure without padding.
            let bytes = unsafe {
                std::slice::from_raw_parts((&raw const answer).cast::<u8>(), size_of_val(&answer))
            };
            file::write(&self.0, bytes)?;
        }
        Ok(questions)
    }
}
