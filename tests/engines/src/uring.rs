// SPDX-License-Identifier: GPL-2.0
//! io_uring in its several ways.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, squeue, types};

use crate::buffer::Buffer;
use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::kind::Ring;
use crate::queue::{Completion, Op, Queue, Rejected, Request};
use crate::region::Region;
use crate::slots::Slots;
use crate::vector::{MOST, Vectors};

/// How long `drop` waits for requests that were never reaped.
const DRAIN: Duration = Duration::from_secs(10);

/// Milliseconds after which the kernel's thread goes to sleep.
const IDLE: u32 = 2;

/// Buffers that can be registered beyond one for each request.
const SPARE: usize = 8;

/// Set in the user data of what is linked to a request and is no request itself.
const COMPANION: u64 = 1 << 63;

/// A ring for one file.
///
/// # Invariants
/// While a request is in flight its slot holds it, and with it the buffer that the kernel uses;
/// `vectors[slot]` does not move and is not changed. Registered memory lives as long as the ring.
pub(crate) struct Uring {
    ring: IoUring,
    file: File,
    way: Ring,
    slots: Slots,
    vectors: Vec<Vectors>,
    /// Slots that are not in the submission queue yet.
    waiting: Vec<usize>,
    /// What became of requests whose companion has not ended.
    halves: HashMap<usize, (bool, Result<usize, Errno>)>,
    /// Registered memory, by address.
    regions: HashMap<usize, (u16, Arc<Region>)>,
    /// Whether the kernel still has to be told who submits.
    dormant: bool,
    count: usize,
}

impl Uring {
    pub(crate) fn new(file: File, depth: usize, way: Ring) -> Result<Self, Error> {
        let depth = depth.max(1);
        // A linked write has a companion.
        let entries = (2 * depth).next_power_of_two() as u32;
        let mut builder = IoUring::builder();
        builder.dontfork();
        match way {
            Ring::Sqpoll => builder.setup_sqpoll(IDLE),
            Ring::Iopoll => builder.setup_iopoll(),
            // Whoever wakes the ring is the one who may submit, so that it is opened asleep.
            Ring::Defer => builder
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_r_disabled(),
            _ => &mut builder,
        };
        let ring = builder.build(entries).map_err(unavailable("io_uring"))?;
        if way == Ring::Fixed {
            let registered = ring.submitter().register_files(&[file.fd()]);
            registered.map_err(unavailable("a registered file"))?;
            let room = ring
                .submitter()
                .register_buffers_sparse((depth + SPARE) as u32);
            room.map_err(unavailable("registered buffers"))?;
        }
        Ok(Self {
            ring,
            file,
            way,
            slots: Slots::new(depth),
            vectors: vec![Vectors::NONE; depth],
            waiting: Vec::with_capacity(depth),
            halves: HashMap::new(),
            regions: HashMap::new(),
            dormant: way == Ring::Defer,
            count: 0,
        })
    }

    /// The submission queue entry for a request in its slot.
    fn entry(&mut self, slot: usize) -> Option<squeue::Entry> {
        let request = self.slots.get(slot)?;
        let fd = types::Fd(if self.way == Ring::Fixed {
            0
        } else {
            self.file.fd()
        });
        let (start, len) = (request.buffer.start(), request.bytes() as u32);
        let (op, at) = (request.op, request.offset);
        let index = self.regions.get(&(start as usize)).map(|(index, _)| *index);
        let entry = if let Some(index) = index {
            match op {
                Op::Read => opcode::ReadFixed::new(fd, start, len, index)
                    .offset(at)
                    .build(),
                Op::Write => opcode::WriteFixed::new(fd, start, len, index)
                    .offset(at)
                    .build(),
            }
        } else if self.way == Ring::Vector {
            let cut = Vectors::cut(request, 1 + self.count % MOST);
            self.count += 1;
            self.vectors[slot] = cut;
            let (list, n) = (self.vectors[slot].as_ptr(), cut.len() as u32);
            match op {
                Op::Read => opcode::Readv::new(fd, list, n).offset(at).build(),
                Op::Write => opcode::Writev::new(fd, list, n).offset(at).build(),
            }
        } else {
            match op {
                Op::Read => opcode::Read::new(fd, start, len).offset(at).build(),
                Op::Write => opcode::Write::new(fd, start, len).offset(at).build(),
            }
        };
        let flags = match self.way {
            Ring::Fixed => Flags::FIXED_FILE,
            Ring::Async => Flags::ASYNC,
            _ => Flags::empty(),
        };
        Some(entry.flags(flags).user_data(self.slots.token(slot)))
    }

    /// Puts an entry into the submission queue, which the kernel empties when it is full.
    fn push(&mut self, entry: &squeue::Entry) -> Result<(), Error> {
        loop {
            // SAFETY: the buffer and the vectors that the entry names stay as they are in the slot
            // until the completion is collected.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter(0, Duration::ZERO)?;
        }
    }

    /// Puts a request into the submission queue; a linked write together with its fdatasync, and
    /// with the read after it, if there is one.
    fn queue(&mut self, slot: usize, next: Option<usize>) -> Result<(), Error> {
        let Some(entry) = self.entry(slot) else {
            return Ok(());
        };
        let op = |slot: usize| self.slots.get(slot).map(|request| request.op);
        if self.way != Ring::Linked || op(slot) == Some(Op::Read) {
            return self.push(&entry);
        }
        let follows = next.is_some_and(|next| op(next) == Some(Op::Read));
        let sync = opcode::Fsync::new(types::Fd(self.file.fd())).flags(types::FsyncFlags::DATASYNC);
        let sync = sync.build().user_data(self.slots.token(slot) | COMPANION);
        let sync = sync.flags(if follows {
            Flags::IO_LINK
        } else {
            Flags::empty()
        });
        self.push(&entry.flags(Flags::IO_LINK))?;
        self.push(&sync)
    }

    /// Tells the kernel, and waits for so many completions at most so long.
    fn enter(&mut self, want: usize, wait: Duration) -> Result<(), Error> {
        let timeout = types::Timespec::from(wait);
        let args = types::SubmitArgs::new().timespec(&timeout);
        match self.ring.submitter().submit_with_args(want, &args) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error().unwrap_or(0) {
                // An entry that the kernel does not take now stays queued.
                libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY => Ok(()),
                errno => Err(Error::Call {
                    call: "io_uring_enter",
                    errno: Errno(errno),
                }),
            },
        }
    }

    /// Takes what has completed.
    fn collect(&mut self, out: &mut Vec<Completion>) -> Result<(), Error> {
        let Self {
            ring,
            slots,
            halves,
            way,
            ..
        } = self;
        for event in ring.completion() {
            let slot = slots.slot(event.user_data() & !COMPANION)?;
            let mut result = Errno::decode(event.result().into());
            let writes = slots.get(slot).is_some_and(|r| r.op == Op::Write);
            if *way == Ring::Linked && writes {
                let companion = event.user_data() & COMPANION != 0;
                let (write, sync) = match (halves.remove(&slot), companion) {
                    (None, _) => {
                        halves.insert(slot, (companion, result));
                        continue;
                    }
                    (Some((false, write)), true) => (write, result),
                    (Some((true, sync)), false) => (result, sync),
                    _ => return Err(Error::Twice),
                };
                // After a short write the chain is cut; that is no failure of the sync.
                result = match sync {
                    Err(errno) if errno != Errno::ECANCELED => Err(errno),
                    _ => write,
                };
            }
            out.push(slots.end(slot, result)?);
        }
        Ok(())
    }
}

/// What the kernel said when it was asked for something it may lack.
fn unavailable(engine: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Unavailable {
        engine,
        errno: Errno(error.raw_os_error().unwrap_or(0)),
    }
}

impl Queue for Uring {
    fn depth(&self) -> usize {
        self.slots.depth()
    }

    fn in_flight(&self) -> usize {
        self.slots.used()
    }

    fn buffer(&mut self, len: usize, align: usize) -> Result<Buffer, Error> {
        if self.way != Ring::Fixed || self.regions.len() >= self.slots.depth() + SPARE {
            return Buffer::new(len, align);
        }
        let region = Arc::new(Region::new(len)?);
        let index = self.regions.len() as u16;
        let vector = libc::iovec {
            iov_base: region.at(0).as_ptr().cast(),
            iov_len: region.len(),
        };
        let submitter = self.ring.submitter();
        // SAFETY: the region stays mapped as long as the ring.
        let registered =
            unsafe { submitter.register_buffers_update(index.into(), &[vector], None) };
        registered.map_err(unavailable("a registered buffer"))?;
        let start = region.at(0).as_ptr() as usize;
        self.regions.insert(start, (index, Arc::clone(&region)));
        Buffer::from_region(region, 0, len)
    }

    fn takes_any_memory(&self) -> bool {
        self.way != Ring::Fixed
    }

    fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>> {
        let slot = self.slots.put(request).map_err(Rejected::full)?;
        self.waiting.push(slot);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.dormant {
            let woken = self.ring.submitter().register_enable_rings();
            woken.map_err(unavailable("a ring with deferred work"))?;
            self.dormant = false;
        }
        let waiting = std::mem::take(&mut self.waiting);
        for (nth, slot) in waiting.iter().enumerate() {
            self.queue(*slot, waiting.get(nth + 1).copied())?;
        }
        self.waiting = waiting;
        self.waiting.clear();
        self.enter(0, Duration::ZERO)
    }

    fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        self.flush()?;
        if self.slots.used() == 0 {
            return Ok(());
        }
        let before = out.len();
        self.collect(out)?;
        if out.len() > before {
            return Ok(());
        }
        self.enter(1, wait)?;
        self.collect(out)
    }

    fn linger(&mut self, wait: Duration) -> Result<(), Error> {
        std::thread::sleep(wait);
        if !self.dormant {
            // Some rings put completions where they are seen only when somebody asks.
            self.enter(1, Duration::ZERO)?;
        }
        self.collect(&mut Vec::new())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let deadline = Instant::now() + DRAIN;
        let mut out = Vec::new();
        while self.in_flight() > 0 && Instant::now() < deadline {
            if self.reap(Duration::from_millis(100), &mut out).is_err() {
                break;
            }
        }
        if self.in_flight() > 0 {
            // The kernel may still use the buffers: better to lose the memory.
            self.slots.leak();
            std::mem::forget(std::mem::take(&mut self.vectors));
            std::mem::forget(std::mem::take(&mut self.regions));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::single::tests::{request, scratch};

    #[test]
    fn a_second_completion_is_noticed_when_nothing_is_outstanding() {
        for way in [Ring::Plain, Ring::Sqpoll, Ring::Linked, Ring::Defer] {
            let Ok(mut queue) = Uring::new(scratch(&format!("{way:?}")), 2, way) else {
                eprintln!("skipped: {way:?} is not available here");
                continue;
            };
            queue.linger(Duration::ZERO).unwrap();
            queue.submit(request(0)).unwrap();
            let token = queue.slots.token(0);
            let mut done = Vec::new();
            while queue.in_flight() > 0 {
                queue.reap(Duration::from_secs(1), &mut done).unwrap();
            }
            queue.linger(Duration::ZERO).unwrap();
            let ghost = opcode::Nop::new().build().user_data(token);
            queue.push(&ghost).unwrap();
            queue.enter(0, Duration::ZERO).unwrap();
            // A thread of the kernel takes it up when it runs.
            let lingered = (0..100)
                .map(|_| queue.linger(Duration::from_millis(50)))
                .find(Result::is_err);
            assert!(
                matches!(lingered, Some(Err(Error::Twice))),
                "{way:?} {lingered:?}"
            );
            // It is told once, and does not keep the ring from being closed.
            queue.linger(Duration::ZERO).unwrap();
        }
    }
}
