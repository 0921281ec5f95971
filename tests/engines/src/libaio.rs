// SPDX-License-Identifier: GPL-2.0
//! The kernel's own asynchronous I/O by raw system calls, without the C library of that name.

use std::time::Duration;

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Completion, Op, Queue, Rejected, Request};
use crate::slots::Slots;
use crate::vector::{MOST, Vectors};

/// `struct iocb` of linux/aio_abi.h on a little-endian machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

#[cfg(not(target_endian = "little"))]
compile_error!("the layout of struct iocb is written down for little-endian machines");

/// `struct io_event` of linux/aio_abi.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Event {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_CMD_PWRITE: u16 = 1;
const IOCB_CMD_PREADV: u16 = 7;
const IOCB_CMD_PWRITEV: u16 = 8;

/// How requests are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// A buffer each.
    Plain,
    /// Several vectors each.
    Vector,
    /// A buffer each, and before each `O_DIRECT` is set or cleared.
    Toggle,
}

/// An asynchronous I/O context for one file.
///
/// # Invariants
/// The slot of a request that the kernel has keeps it, and with it the buffer that the kernel uses;
/// `vectors[slot]` neither moves nor changes meanwhile.
#[derive(Debug)]
pub(crate) struct Libaio {
    context: libc::c_ulong,
    file: File,
    style: Style,
    slots: Slots,
    iocbs: Vec<Iocb>,
    vectors: Vec<Vectors>,
    /// Slots that the kernel has not been told of.
    waiting: Vec<usize>,
    /// Their control blocks, for the system call.
    pointers: Vec<usize>,
    /// What the kernel refused.
    refused: Vec<Completion>,
    events: Vec<Event>,
    count: usize,
}

impl Libaio {
    pub(crate) fn new(file: File, depth: usize, style: Style) -> Result<Self, Error> {
        if style == Style::Toggle {
            let toggled = file.set_direct(true).and_then(|()| file.set_direct(false));
            let engine = "O_DIRECT by fcntl";
            toggled.map_err(|errno| Error::Unavailable { engine, errno })?;
        }
        let depth = depth.max(1);
        let mut context: libc::c_ulong = 0;
        // SAFETY: `context` is valid for writing and zero, as io_setup(2) demands.
        let result =
            unsafe { libc::syscall(libc::SYS_io_setup, depth as libc::c_long, &mut context) };
        if result < 0 {
            let (engine, errno) = ("libaio", Errno::last());
            return Err(Error::Unavailable { engine, errno });
        }
        Ok(Self {
            context,
            file,
            style,
            slots: Slots::new(depth),
            iocbs: vec![Iocb::default(); depth],
            vectors: vec![Vectors::NONE; depth],
            waiting: Vec::with_capacity(depth),
            pointers: Vec::with_capacity(depth),
            refused: Vec::with_capacity(depth),
            events: vec![Event::default(); depth],
            count: 0,
        })
    }

    fn iocb(&mut self, slot: usize) -> Iocb {
        let Some(request) = self.slots.get(slot) else {
            return Iocb::default();
        };
        let plain = self.style != Style::Vector;
        let (buffer, bytes) = if plain {
            (request.buffer.start() as u64, request.bytes() as u64)
        } else {
            let vectors = Vectors::cut(request, 1 + self.count % MOST);
            self.vectors[slot] = vectors;
            (self.vectors[slot].as_ptr() as u64, vectors.len() as u64)
        };
        self.count += 1;
        Iocb {
            data: self.slots.token(slot),
            opcode: match (request.op, plain) {
                (Op::Read, true) => IOCB_CMD_PREAD,
                (Op::Write, true) => IOCB_CMD_PWRITE,
                (Op::Read, false) => IOCB_CMD_PREADV,
                (Op::Write, false) => IOCB_CMD_PWRITEV,
            },
            fd: self.file.fd() as u32,
            buffer,
            bytes,
            offset: request.offset as i64,
            ..Iocb::default()
        }
    }

    /// Hands over what waits in `pointers`; how many the kernel took.
    fn io_submit(&self, count: usize) -> Result<usize, Errno> {
        // SAFETY: each of the `count` pointers is to a filled-in iocb, which the kernel copies; the
        // buffer or the vectors it names stay as they are until the completion is collected.
        Errno::check(unsafe {
            libc::syscall(
                libc::SYS_io_submit,
                self.context,
                count as libc::c_long,
                self.pointers.as_ptr(),
            )
        } as libc::ssize_t)
    }

    /// Collects events; one at least if it arrives in time.
    fn get_events(&mut self, wait: Duration) -> Result<usize, Errno> {
        let mut timeout = libc::timespec {
            tv_sec: wait.as_secs() as libc::time_t,
            tv_nsec: wait.subsec_nanos().into(),
        };
        // SAFETY: `events` is valid for writing as many events as are asked for, `timeout` for
        // reading; the context is alive until drop.
        let got = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                1 as libc::c_long,
                self.events.len() as libc::c_long,
                self.events.as_mut_ptr(),
                &mut timeout,
            )
        };
        match Errno::check(got as libc::ssize_t) {
            Err(Errno::EINTR) => Ok(0),
            other => other,
        }
    }
}

impl Libaio {
    /// Takes what completes in time.
    fn collect(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        let got = self.get_events(wait);
        let got = got.map_err(|errno| Error::Call {
            call: "io_getevents",
            errno,
        })?;
        for event in &self.events[..got] {
            let result = Errno::decode(event.result);
            let slot = self.slots.slot(event.data)?;
            out.push(self.slots.end(slot, result)?);
        }
        Ok(())
    }
}

impl Queue for Libaio {
    fn depth(&self) -> usize {
        self.slots.depth()
    }

    fn in_flight(&self) -> usize {
        self.slots.used() + self.refused.len()
    }

    fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>> {
        let slot = self.slots.put(request).map_err(Rejected::full)?;
        self.iocbs[slot] = self.iocb(slot);
        self.waiting.push(slot);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut first = 0;
        while first < self.waiting.len() {
            let some = if self.style == Style::Toggle {
                // A refusal only makes this request what the last one was.
                let _ = self.file.set_direct(self.count % 3 != 0);
                self.count += 1;
                1
            } else {
                self.waiting.len() - first
            };
            self.pointers.clear();
            let slots = self.waiting[first..first + some].iter();
            self.pointers
                .extend(slots.map(|slot| &raw const self.iocbs[*slot] as usize));
            match self.io_submit(some) {
                Ok(taken) => first += taken,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    let refused = self.slots.end(self.waiting[first], Err(errno))?;
                    self.refused.push(refused);
                    first += 1;
                }
            }
        }
        self.waiting.clear();
        Ok(())
    }

    fn take_refused(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.refused)
    }

    fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        self.flush()?;
        if !self.refused.is_empty() {
            out.append(&mut self.refused);
            return Ok(());
        }
        if self.slots.used() == 0 {
            return Ok(());
        }
        self.collect(wait, out)
    }

    fn linger(&mut self, wait: Duration) -> Result<(), Error> {
        std::thread::sleep(wait);
        // Whatever arrives is none of ours.
        self.collect(Duration::ZERO, &mut Vec::new())
    }
}

impl Drop for Libaio {
    fn drop(&mut self) {
        // SAFETY: the context was made by io_setup and is destroyed once. The call returns after all
        // requests have ended, so the buffers may be freed afterwards.
        let result = unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
        if result < 0 {
            // Whether anything is still in flight is unknown: better to lose the memory.
            self.slots.leak();
            std::mem::forget(std::mem::take(&mut self.vectors));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::single::tests::{request, scratch};

    #[test]
    fn a_second_completion_is_noticed_when_nothing_is_outstanding() {
        let Ok(mut queue) = Libaio::new(scratch("libaio"), 2, Style::Plain) else {
            eprintln!("skipped: no libaio here");
            return;
        };
        queue.submit(request(0)).unwrap();
        let mut done = Vec::new();
        while queue.in_flight() > 0 {
            queue.reap(Duration::from_secs(1), &mut done).unwrap();
        }
        queue.linger(Duration::ZERO).unwrap();
        // Its memory is still there, in the completion.
        queue.pointers = vec![&raw const queue.iocbs[0] as usize];
        assert_eq!(queue.io_submit(1), Ok(1));
        let lingered = queue.linger(Duration::from_millis(50));
        assert!(matches!(lingered, Err(Error::Twice)), "{lingered:?}");
        assert_eq!(done.len(), 1);
    }
}
