// SPDX-License-Identifier: GPL-2.0
//! splice(2) and vmsplice(2): the way of a file's pages through a pipe.
//!
//! What is spliced out of a file may be the pages of the cache themselves, which others go on
//! changing while they lie in the pipe. The pipe is empty again before a request ends, so that what
//! is seen is what the file held at some time during the request.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Op, Request};
use crate::single::{Transfer, uninterrupted};

/// Bytes that the pipe shall hold; fewer where the kernel does not give as many.
const ROOM: i32 = 1 << 20;

/// A pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    room: usize,
}

impl Pipe {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut ends = [0; 2];
        // SAFETY: `ends` is valid for writing two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
            return Err(Error::call("pipe2"));
        }
        // SAFETY: both descriptors were opened just now and belong to nobody else.
        let [out, into] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: no pointers involved.
        let room = unsafe {
            libc::fcntl(into.as_raw_fd(), libc::F_SETPIPE_SZ, ROOM);
            libc::fcntl(into.as_raw_fd(), libc::F_GETPIPE_SZ)
        };
        let room = usize::try_from(room).map_err(|_| Error::call("F_GETPIPE_SZ"))?;
        Ok(Self { out, into, room })
    }
}

/// A file and a pipe.
#[derive(Debug)]
pub(crate) struct Spliced {
    file: File,
    pipe: Pipe,
    /// Memory is spliced, not copied.
    mapped: bool,
}

impl Spliced {
    pub(crate) fn new(file: File, mapped: bool) -> Result<Self, Error> {
        let pipe = Pipe::new()?;
        Ok(Self { file, pipe, mapped })
    }

    /// From one descriptor to another, one of which is the pipe.
    fn splice(&self, op: Op, offset: u64, len: usize) -> Result<usize, Errno> {
        let mut at = offset as libc::loff_t;
        let none = std::ptr::null_mut();
        let (file, pipe) = (self.file.fd(), &self.pipe);
        // SAFETY: `at` is valid for reading and writing an offset.
        uninterrupted(|| unsafe {
            Errno::check(match op {
                Op::Read => libc::splice(file, &mut at, pipe.into.as_raw_fd(), none, len, 0),
                Op::Write => libc::splice(pipe.out.as_raw_fd(), none, file, &mut at, len, 0),
            })
        })
    }

    /// Between memory and the pipe: all of it, which the pipe has or has room for.
    fn fill_or_drain(&self, op: Op, start: *mut u8, len: usize) -> Result<(), Errno> {
        let mut done = 0;
        while done < len {
            let vector = libc::iovec {
                iov_base: start.wrapping_add(done).cast(),
                iov_len: len - done,
            };
            let (fd, base, n) = (self.end(op), vector.iov_base, vector.iov_len);
            // SAFETY: the memory belongs to the request, and pages that the pipe refers to are not
            // touched before the pipe is empty again.
            let moved = uninterrupted(|| unsafe {
                Errno::check(match op {
                    _ if self.mapped => libc::vmsplice(fd, &vector, 1, 0),
                    Op::Read => libc::read(fd, base, n),
                    Op::Write => libc::write(fd, base, n),
                })
            })?;
            if moved == 0 {
                return Err(Errno(libc::EPIPE));
            }
            done += moved;
        }
        Ok(())
    }

    /// The end of the pipe on the side of memory.
    fn end(&self, op: Op) -> RawFd {
        match op {
            Op::Read => self.pipe.out.as_raw_fd(),
            Op::Write => self.pipe.into.as_raw_fd(),
        }
    }

    /// Through the pipe, as much as it holds at once. What does not go on is thrown away with it, lest
    /// the next request finds it.
    fn part(&mut self, op: Op, offset: u64, start: *mut u8, len: usize) -> Result<usize, Errno> {
        let (done, empty) = match op {
            Op::Read => {
                let done = self.read(offset, start, len);
                (done, done.is_ok())
            }
            Op::Write => {
                let done = self.write(offset, start, len);
                (done, done == Ok(len))
            }
        };
        if !empty {
            self.pipe = Pipe::new().map_err(|_| Errno::EIO)?;
        }
        done
    }

    fn read(&self, offset: u64, start: *mut u8, len: usize) -> Result<usize, Errno> {
        let got = self.splice(Op::Read, offset, len)?;
        self.fill_or_drain(Op::Read, start, got)?;
        Ok(got)
    }

    fn write(&self, offset: u64, start: *mut u8, len: usize) -> Result<usize, Errno> {
        self.fill_or_drain(Op::Write, start, len)?;
        let mut done = 0;
        while done < len {
            match self.splice(Op::Write, offset + done as u64, len - done) {
                Ok(n) if n > 0 => done += n,
                Err(errno) if done == 0 => return Err(errno),
                _ => break,
            }
        }
        Ok(done)
    }
}

impl Transfer for Spliced {
    fn transfer(&mut self, request: &mut Request) -> Result<usize, Errno> {
        let (len, start) = (request.bytes(), request.buffer.start());
        let mut done = 0;
        while done < len {
            // Memory that is not aligned to pages needs one more place in the pipe.
            let n = (len - done).min(self.pipe.room / 2);
            let part = start.wrapping_add(done);
            match self.part(request.op, request.offset + done as u64, part, n) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}
