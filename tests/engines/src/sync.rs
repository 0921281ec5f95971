// SPDX-License-Identifier: GPL-2.0
//! pread(2) and pwrite(2).

use crate::errno::Errno;
use crate::file::File;
use crate::queue::{Op, Request};
use crate::single::{Transfer, uninterrupted};

/// Synchronous system calls on one file.
#[derive(Debug)]
pub(crate) struct Sync(pub(crate) File);

impl Transfer for Sync {
    fn transfer(&mut self, request: &mut Request) -> Result<usize, Errno> {
        let len = request.bytes();
        let (fd, at) = (self.0.fd(), request.offset as libc::off64_t);
        let start = request.buffer.start();
        // SAFETY: the buffer has `len` bytes at `start`, and moves nowhere while `request` is
        // borrowed. Where it is a shared mapping the kernel may write it: nobody has a reference.
        uninterrupted(|| unsafe {
            Errno::check(match request.op {
                Op::Read => libc::pread64(fd, start.cast(), len, at),
                Op::Write => libc::pwrite64(fd, start.cast(), len, at),
            })
        })
    }
}
