// SPDX-License-Identifier: GPL-2.0

//! io_uring, with one request form for reads and one for writes.

use super::errno::Errno;
use super::mem::Slice;
use super::{Res, aio::Done};
use crate::patience;
use io_uring::{IoUring, opcode, squeue, types};
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// A ring. It holds the memory of every request until the request was reaped.
pub struct Uring {
    ring: IoUring,
    next: u64,
    held: HashMap<u64, Slice>,
}

fn errno(e: std::io::Error) -> Errno {
    Errno(e.raw_os_error().unwrap_or(libc::EIO))
}

impl Uring {
    pub fn new(depth: u32) -> Res<Self> {
        Ok(Self {
            ring: IoUring::new(depth).map_err(errno)?,
            next: 1,
            held: HashMap::new(),
        })
    }

    /// Queues a read; it is issued by [`Uring::submit`].
    pub fn read(&mut self, fd: impl AsFd, to: &Slice, offset: u64) -> Res<u64> {
        let fd = types::Fd(fd.as_fd().as_raw_fd());
        let entry = opcode::Read::new(fd, to.as_ptr(), to.len() as u32).offset(offset);
        self.push(entry.build(), to)
    }

    /// Queues a write; it is issued by [`Uring::submit`].
    pub fn write(&mut self, fd: impl AsFd, from: &Slice, offset: u64) -> Res<u64> {
        let fd = types::Fd(fd.as_fd().as_raw_fd());
        let entry = opcode::Write::new(fd, from.as_ptr(), from.len() as u32).offset(offset);
        self.push(entry.build(), from)
    }

    fn push(&mut self, entry: squeue::Entry, mem: &Slice) -> Res<u64> {
        let id = self.next;
        self.next += 1;
        let entry = entry.user_data(id);
        // SAFETY: The memory the entry names is held in `held` until its completion is reaped or
        // the ring is dropped, which is after `Drop` has waited for everything in flight.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| Errno(libc::EAGAIN))?;
        self.held.insert(id, mem.clone());
        Ok(id)
    }

    /// Issues what was queued, without waiting for completions.
    pub fn submit(&mut self) -> Res<usize> {
        self.ring.submit().map_err(errno)
    }

    /// Takes the completions that are there, at most `max`.
    pub fn reap(&mut self, max: usize) -> Vec<Done> {
        let done: Vec<Done> = self
            .ring
            .completion()
            .take(max)
            .map(|c| Done {
                id: c.user_data(),
                result: match c.result() {
                    n if n < 0 => Err(Errno(-n)),
                    n => Ok(n as usize),
                },
            })
            .collect();
        for d in &done {
            self.held.remove(&d.id);
        }
        done
    }

    /// Reaps exactly `count` completions, or fails with `ETIME`.
    pub fn reap_all(&mut self, count: usize, limit: Duration) -> Res<Vec<Done>> {
        let limit = patience::at_most(limit);
        let start = Instant::now();
        let mut all = Vec::new();
        loop {
            all.extend(self.reap(count - all.len()));
            if all.len() >= count {
                return Ok(all);
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Errno(libc::ETIME));
            }
            self.wait_one(left)?;
        }
    }

    fn wait_one(&mut self, limit: Duration) -> Res<()> {
        let limit = types::Timespec::from(limit);
        let args = types::SubmitArgs::new().timespec(&limit);
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(e) => Err(errno(e)),
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let count = self.held.len();
        if self.reap_all(count, Duration::from_secs(60)).is_err() {
            // Still in flight: the kernel may yet touch this memory, so it must stay for ever.
            self.held.drain().for_each(|(_, mem)| std::mem::forget(mem));
        }
    }
}
