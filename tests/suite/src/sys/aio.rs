// SPDX-License-Identifier: GPL-2.0

//! Linux native AIO (`io_submit` and its family) by plain system calls.

use super::Res;
use super::errno::{Errno, check, check_unit};
use super::mem::Slice;
use crate::patience;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const READ: u16 = 0;
const WRITE: u16 = 1;

/// The kernel's `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    reqprio: i16,
    fildes: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

const _: () = assert!(size_of::<Iocb>() == 64);

/// The kernel's `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

/// One completed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The number that submitting returned.
    pub id: u64,
    /// Bytes moved, or the error.
    pub result: Res<usize>,
}

/// One request to be submitted.
#[derive(Clone)]
pub struct Request {
    opcode: u16,
    fd: i32,
    mem: Slice,
    offset: u64,
    flags: i32,
}

impl Request {
    pub fn read(fd: impl AsFd, to: &Slice, offset: u64) -> Self {
        Self::new(READ, fd, to, offset)
    }

    pub fn write(fd: impl AsFd, from: &Slice, offset: u64) -> Self {
        Self::new(WRITE, fd, from, offset)
    }

    fn new(opcode: u16, fd: impl AsFd, mem: &Slice, offset: u64) -> Self {
        Self {
            opcode,
            fd: fd.as_fd().as_raw_fd(),
            mem: mem.clone(),
            offset,
            flags: 0,
        }
    }

    /// The same request with `RWF_*` flags.
    pub fn with_flags(mut self, flags: i32) -> Self {
        self.flags = flags;
        self
    }

    fn iocb(&self, id: u64) -> Iocb {
        Iocb {
            data: id,
            opcode: self.opcode,
            fildes: self.fd as u32,
            buf: self.mem.as_ptr() as u64,
            nbytes: self.mem.len() as u64,
            offset: self.offset as i64,
            rw_flags: self.flags,
            ..Iocb::default()
        }
    }
}

/// An AIO context. It holds the memory of every request until the request was reaped; dropping it
/// waits for what is in flight.
pub struct Aio {
    ctx: u64,
    next: u64,
    held: HashMap<u64, Slice>,
}

impl Aio {
    pub fn new(depth: u32) -> Res<Self> {
        let mut ctx = 0u64;
        // SAFETY: The kernel writes the new context to `ctx`.
        check_unit(unsafe { libc::syscall(libc::SYS_io_setup, depth, &raw mut ctx) })?;
        Ok(Self {
            ctx,
            next: 1,
            held: HashMap::new(),
        })
    }

    /// Submits requests in one call; returns the numbers of those the kernel took.
    pub fn submit(&mut self, requests: &[Request]) -> Res<Vec<u64>> {
        let ids: Vec<u64> = (0..requests.len() as u64).map(|i| self.next + i).collect();
        let mut iocbs: Vec<Iocb> = requests
            .iter()
            .zip(&ids)
            .map(|(r, id)| r.iocb(*id))
            .collect();
        let list: Vec<*mut Iocb> = iocbs.iter_mut().map(|i| &raw mut *i).collect();
        self.next += ids.len() as u64;
        for (request, id) in requests.iter().zip(&ids) {
            self.held.insert(*id, request.mem.clone());
        }
        // SAFETY: `list` points to live iocbs, which the kernel copies; the memory they name is held
        // in `held` until the request is reaped.
        let taken = check(unsafe {
            libc::syscall(
                libc::SYS_io_submit,
                self.ctx,
                list.len() as i64,
                list.as_ptr(),
            )
        });
        let count = taken.map_or(0, |n| n as usize);
        for id in &ids[count..] {
            self.held.remove(id);
        }
        taken.map(|_| ids[..count].to_vec())
    }

    /// Submits one request and returns its number.
    pub fn submit_one(&mut self, request: Request) -> Res<u64> {
        let ids = self.submit(&[request])?;
        ids.first().copied().ok_or(Errno(libc::EAGAIN))
    }

    /// Reaps from `min` to `max` completions, fewer when `limit` passes first.
    pub fn reap(&mut self, min: usize, max: usize, limit: Duration) -> Res<Vec<Done>> {
        let mut events = vec![Event::default(); max];
        let timeout = libc::timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        // SAFETY: `events` has room for as many events as we say.
        let n = check(unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.ctx,
                min as i64,
                max as i64,
                events.as_mut_ptr(),
                &raw const timeout,
            )
        })?;
        Ok(events[..n as usize].iter().map(|e| self.done(e)).collect())
    }

    fn done(&mut self, event: &Event) -> Done {
        self.held.remove(&event.data);
        let result = match event.res {
            n if n < 0 => Err(Errno(-n as i32)),
            n => Ok(n as usize),
        };
        Done {
            id: event.data,
            result,
        }
    }

    /// Reaps exactly `count` completions, or fails with `ETIME`.
    pub fn reap_all(&mut self, count: usize, limit: Duration) -> Res<Vec<Done>> {
        let limit = patience::at_most(limit);
        let start = std::time::Instant::now();
        let mut all = Vec::new();
        while all.len() < count {
            let left = limit.saturating_sub(start.elapsed());
            let missing = count - all.len();
            let some = self.reap(missing, missing, left)?;
            if some.is_empty() && left.is_zero() {
                return Err(Errno(libc::ETIME));
            }
            all.extend(some);
        }
        Ok(all)
    }

    /// Submits one request and waits for it.
    pub fn run(&mut self, request: Request, limit: Duration) -> Res<usize> {
        self.submit_one(request)?;
        self.reap_all(1, limit)?[0].result
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: The context is ours. The call returns when nothing is in flight any more, so the
        // memory in `held` may go afterwards.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.ctx) };
    }
}
