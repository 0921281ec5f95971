// SPDX-License-Identifier: GPL-2.0
//! pread(2) and pwrite(2): a queue of depth one whose requests end before `submit` returns.

use std::time::Duration;

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Completion, Op, Queue, Rejected, Request};

/// Synchronous system calls on one file.
#[derive(Debug)]
pub(crate) struct Sync {
    file: File,
    done: Option<Completion>,
}

impl Sync {
    pub(crate) fn new(file: File) -> Self {
        Self { file, done: None }
    }
}

/// Executes a request by one system call, again if it was interrupted before anything happened.
pub(crate) fn execute(file: &File, request: &Request) -> Result<usize, Errno> {
    let len = request.len.min(request.buffer.len());
    let (fd, at) = (file.fd(), request.offset as libc::off64_t);
    let start = request.buffer.start();
    loop {
        // SAFETY: the buffer has `len` bytes at `start`, and moves nowhere while `request` is
        // borrowed. Where it is a shared mapping the kernel may write it: nobody has a reference.
        let result = Errno::check(unsafe {
            match request.op {
                Op::Read => libc::pread64(fd, start.cast(), len, at),
                Op::Write => libc::pwrite64(fd, start.cast(), len, at),
            }
        });
        if result != Err(Errno::EINTR) {
            return result;
        }
    }
}

impl Queue for Sync {
    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        usize::from(self.done.is_some())
    }

    fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>> {
        if self.done.is_some() {
            let errno = Errno::EAGAIN;
            return Err(Box::new(Rejected { errno, request }));
        }
        let result = execute(&self.file, &request);
        self.done = Some(Completion {
            id: request.id,
            result,
            buffer: request.buffer,
        });
        Ok(())
    }

    fn reap(&mut self, _wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        out.extend(self.done.take());
        Ok(())
    }
}
