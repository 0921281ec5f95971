// SPDX-License-Identifier: GPL-2.0
//! sendfile(2): from the file into a socket or a pipe, and from memory that is a file into the file.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Op, Request};
use crate::single::{Transfer, uninterrupted};

/// Bytes sent to the socket before they are received: what it surely holds.
const PIECE: usize = 32 << 10;

/// The file and what it exchanges bytes with.
#[derive(Debug)]
pub(crate) struct Sendfile {
    file: File,
    /// Where writes come from.
    source: OwnedFd,
    /// Where reads go, and where they are received.
    socket: [OwnedFd; 2],
}

impl Sendfile {
    pub(crate) fn new(file: File) -> Result<Self, Error> {
        // SAFETY: the name is a terminated string.
        let source = unsafe { libc::memfd_create(c"diorace".as_ptr(), libc::MFD_CLOEXEC) };
        if source < 0 {
            return Err(Error::call("memfd_create"));
        }
        let mut pair = [0; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: the descriptor was opened just now; `pair` is valid for writing two descriptors.
        let (source, made) = unsafe {
            let made = libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr());
            (OwnedFd::from_raw_fd(source), made)
        };
        if made < 0 {
            return Err(Error::call("socketpair"));
        }
        // SAFETY: both descriptors were opened just now and belong to nobody else.
        let socket = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self {
            file,
            source,
            socket,
        })
    }

    /// From the file through the socket into memory.
    fn read(&self, offset: u64, start: *mut u8, len: usize) -> Result<usize, Errno> {
        let [into, out] = &self.socket;
        let sent = send(into.as_raw_fd(), self.file.fd(), offset, len)?;
        let mut got = 0;
        while got < sent {
            let to = start.wrapping_add(got).cast();
            // SAFETY: the request's buffer has so many bytes left.
            got += uninterrupted(|| unsafe {
                Errno::check(libc::read(out.as_raw_fd(), to, sent - got))
            })?;
        }
        Ok(sent)
    }

    /// From memory through a file in memory into the file, at its position.
    fn write(&self, offset: u64, start: *mut u8, len: usize) -> Result<usize, Errno> {
        let source = self.source.as_raw_fd();
        let from = start.cast_const().cast();
        let put = uninterrupted(|| {
            // SAFETY: the request's buffer has `len` bytes.
            Errno::check(unsafe { libc::pwrite(source, from, len, 0) })
        })?;
        // SAFETY: no pointers involved. Nobody else uses this descriptor.
        if unsafe { libc::lseek(self.file.fd(), offset as libc::off_t, libc::SEEK_SET) } < 0 {
            return Err(Errno::last());
        }
        send(self.file.fd(), source, 0, put)
    }
}

/// sendfile(2) from an offset.
fn send(to: RawFd, from: RawFd, offset: u64, len: usize) -> Result<usize, Errno> {
    let mut at = offset as libc::off_t;
    // SAFETY: `at` is valid for reading and writing an offset.
    uninterrupted(|| unsafe { Errno::check(libc::sendfile(to, from, &mut at, len)) })
}

impl Transfer for Sendfile {
    fn transfer(&mut self, request: &mut Request) -> Result<usize, Errno> {
        let (len, start) = (request.bytes(), request.buffer.start());
        let mut done = 0;
        while done < len {
            let (at, part) = (request.offset + done as u64, start.wrapping_add(done));
            let moved = match request.op {
                Op::Read => self.read(at, part, (len - done).min(PIECE)),
                Op::Write => self.write(at, part, len - done),
            };
            match moved {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}
