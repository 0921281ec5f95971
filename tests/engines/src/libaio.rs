// SPDX-License-Identifier: GPL-2.0
//! The kernel's own asynchronous I/O by raw system calls, without the C library of that name.

use std::time::Duration;

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Completion, Op, Queue, Rejected, Request};

/// `struct iocb` of linux/aio_abi.h on a little-endian machine.
#[repr(C)]
#[derive(Clone, Copy, Default)]
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
#[derive(Clone, Copy, Default)]
struct Event {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_CMD_PWRITE: u16 = 1;

/// An asynchronous I/O context for one file.
///
/// # Invariants
/// While a request is in flight its slot holds it, and with it the buffer that the kernel uses.
pub(crate) struct Libaio {
    context: libc::c_ulong,
    file: File,
    slots: Vec<Option<Request>>,
    events: Vec<Event>,
    in_flight: usize,
}

impl Libaio {
    pub(crate) fn new(file: File, depth: usize) -> Result<Self, Error> {
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
            slots: (0..depth).map(|_| None).collect(),
            events: vec![Event::default(); depth],
            in_flight: 0,
        })
    }

    fn iocb(&self, slot: usize, request: &Request) -> Iocb {
        Iocb {
            data: slot as u64,
            opcode: match request.op {
                Op::Read => IOCB_CMD_PREAD,
                Op::Write => IOCB_CMD_PWRITE,
            },
            fd: self.file.fd() as u32,
            buffer: request.buffer.start() as u64,
            bytes: request.len.min(request.buffer.len()) as u64,
            offset: request.offset as i64,
            ..Iocb::default()
        }
    }

    /// Collects events; `least` of them if they arrive in time.
    fn get_events(&mut self, least: usize, wait: Duration) -> Result<usize, Errno> {
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
                least as libc::c_long,
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

impl Queue for Libaio {
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
        let mut iocb = self.iocb(slot, &request);
        let mut list = [&mut iocb as *mut Iocb];
        // INVARIANT: the request is in its slot before the kernel knows of it.
        self.slots[slot] = Some(request);
        // SAFETY: `list` holds one pointer to a filled-in iocb, which the kernel copies; the buffer it
        // names has the given length and stays in the slot until the completion is collected.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_submit,
                self.context,
                1 as libc::c_long,
                list.as_mut_ptr(),
            )
        };
        if result == 1 {
            self.in_flight += 1;
            return Ok(());
        }
        let errno = Errno::last();
        match self.slots[slot].take() {
            Some(request) => Err(Box::new(Rejected { errno, request })),
            None => Ok(()),
        }
    }

    fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        if self.in_flight == 0 {
            return Ok(());
        }
        let got = self.get_events(1, wait);
        let got = got.map_err(|errno| Error::Call {
            call: "io_getevents",
            errno,
        })?;
        for nth in 0..got {
            let event = self.events[nth];
            let request = self
                .slots
                .get_mut(event.data as usize)
                .and_then(Option::take);
            // A completion for a request that is not outstanding means that one completed twice.
            let request = request.ok_or(Error::Call {
                call: "io_getevents returned a completion that nobody waits for",
                errno: Errno(0),
            })?;
            self.in_flight -= 1;
            out.push(Completion {
                id: request.id,
                result: Errno::decode(event.result),
                buffer: request.buffer,
            });
        }
        Ok(())
    }
}

impl Drop for Libaio {
    fn drop(&mut self) {
        // SAFETY: the context was made by io_setup and is destroyed once. The call returns after all
        // requests have ended, so the buffers may be freed afterwards.
        let result = unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
        if result < 0 {
            // Whether anything is still in flight is unknown: better to lose the memory.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}
