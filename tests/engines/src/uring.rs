// SPDX-License-Identifier: GPL-2.0
//! io_uring: plain reads and writes, every second of them with two vectors.

use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Completion, Op, Queue, Rejected, Request};

/// How long `drop` waits for requests that were never reaped.
const DRAIN: Duration = Duration::from_secs(10);

/// A ring for one file.
///
/// # Invariants
/// While a request is in flight its slot holds it, and with it the buffer that the kernel uses;
/// `vectors[slot]` does not move and is not changed.
pub(crate) struct Uring {
    ring: IoUring,
    file: File,
    slots: Vec<Option<Request>>,
    vectors: Vec<[libc::iovec; 2]>,
    in_flight: usize,
    count: u64,
}

// SAFETY: the vectors point into buffers that the slots own; nothing else here is bound to a thread.
unsafe impl Send for Uring {}

impl Uring {
    pub(crate) fn new(file: File, depth: usize) -> Result<Self, Error> {
        let depth = depth.max(1);
        let ring = IoUring::new(depth.next_power_of_two() as u32);
        let ring = ring.map_err(|error| Error::Unavailable {
            engine: "io_uring",
            errno: Errno(error.raw_os_error().unwrap_or(0)),
        })?;
        let none = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Ok(Self {
            ring,
            file,
            slots: (0..depth).map(|_| None).collect(),
            vectors: vec![[none; 2]; depth],
            in_flight: 0,
            count: 0,
        })
    }

    /// The submission queue entry for a request in its slot.
    fn entry(&mut self, slot: usize, request: &Request) -> squeue::Entry {
        let fd = types::Fd(self.file.fd());
        let len = request.len.min(request.buffer.len());
        let start = request.buffer.start();
        self.count += 1;
        let half = (len / 2).next_multiple_of(4096);
        let entry = if self.count % 2 == 0 && half < len {
            self.vectors[slot] = [
                libc::iovec {
                    iov_base: start.cast(),
                    iov_len: half,
                },
                libc::iovec {
                    iov_base: start.wrapping_add(half).cast(),
                    iov_len: len - half,
                },
            ];
            let vectors = self.vectors[slot].as_ptr();
            match request.op {
                Op::Read => opcode::Readv::new(fd, vectors, 2)
                    .offset(request.offset)
                    .build(),
                Op::Write => opcode::Writev::new(fd, vectors, 2)
                    .offset(request.offset)
                    .build(),
            }
        } else {
            match request.op {
                Op::Read => opcode::Read::new(fd, start, len as u32)
                    .offset(request.offset)
                    .build(),
                Op::Write => opcode::Write::new(fd, start, len as u32)
                    .offset(request.offset)
                    .build(),
            }
        };
        entry.user_data(slot as u64)
    }

    /// Takes what has completed.
    fn collect(&mut self, out: &mut Vec<Completion>) -> Result<(), Error> {
        for event in self.ring.completion() {
            let request = self.slots.get_mut(event.user_data() as usize);
            let request = request.and_then(Option::take).ok_or(Error::Call {
                call: "io_uring returned a completion that nobody waits for",
                errno: Errno(0),
            })?;
            self.in_flight -= 1;
            out.push(Completion {
                id: request.id,
                result: Errno::decode(event.result().into()),
                buffer: request.buffer,
            });
        }
        Ok(())
    }
}

impl Queue for Uring {
    fn depth(&self) -> usize {
        self.slots.len()
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>> {
        let Some(slot) = self.slots.iter().position(Option::is_none) else {
            let errno = Errno::EAGAIN;
            return Err(Box::new(Rejected { errno, request }));
        };
        let entry = self.entry(slot, &request);
        // SAFETY: the buffer and the vectors that the entry names stay in the slot until the
        // completion is collected.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            let errno = Errno::EAGAIN;
            return Err(Box::new(Rejected { errno, request }));
        }
        // INVARIANT: the request is in its slot before the kernel knows of it.
        self.slots[slot] = Some(request);
        self.in_flight += 1;
        // An entry that the kernel does not take now stays queued, and `reap` hands it over.
        let _ = self.ring.submit();
        Ok(())
    }

    fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        if self.in_flight == 0 {
            return Ok(());
        }
        let before = out.len();
        self.collect(out)?;
        if out.len() > before {
            return Ok(());
        }
        let timeout = types::Timespec::from(wait);
        let args = types::SubmitArgs::new().timespec(&timeout);
        if let Err(error) = self.ring.submitter().submit_with_args(1, &args) {
            match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                errno => {
                    return Err(Error::Call {
                        call: "io_uring_enter",
                        errno: Errno(errno.unwrap_or(0)),
                    });
                }
            }
        }
        self.collect(out)
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let deadline = Instant::now() + DRAIN;
        let mut out = Vec::new();
        while self.in_flight > 0 && Instant::now() < deadline {
            if self.reap(Duration::from_millis(100), &mut out).is_err() {
                break;
            }
        }
        if self.in_flight > 0 {
            // The kernel may still use the buffers: better to lose the memory.
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::take(&mut self.vectors));
        }
    }
}
