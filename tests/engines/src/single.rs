// SPDX-License-Identifier: GPL-2.0
//! A queue of depth one whose requests end before `submit` returns.

use std::time::Duration;

use crate::errno::Errno;
use crate::error::Error;
use crate::queue::{Completion, Queue, Rejected, Request};

/// Executes one request at a time.
pub(crate) trait Transfer: Send {
    /// Moves the bytes; the count, or why none were moved.
    fn transfer(&mut self, request: &mut Request) -> Result<usize, Errno>;
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Single<T> {
    engine: T,
    done: Option<Completion>,
}

impl<T: Transfer> Single<T> {
    pub(crate) fn new(engine: T) -> Self {
        Self { engine, done: None }
    }
}

impl<T: Transfer> Queue for Single<T> {
    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        usize::from(self.done.is_some())
    }

    fn submit(&mut self, mut request: Request) -> Result<(), Box<Rejected>> {
        if self.done.is_some() {
            let errno = Errno::EAGAIN;
            return Err(Box::new(Rejected { errno, request }));
        }
        let result = self.engine.transfer(&mut request);
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

/// Repeats a system call that was interrupted before anything happened.
pub(crate) fn uninterrupted(
    mut call: impl FnMut() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::buffer::Buffer;
    use crate::file::File;
    use crate::queue::{Op, Request};

    /// A read of that page.
    pub(crate) fn request(id: usize) -> Request {
        Request {
            id,
            op: Op::Read,
            offset: 0,
            len: 4096,
            buffer: Buffer::new(4096, 4096).unwrap(),
        }
    }

    /// A file of a page that has no name any more.
    pub(crate) fn scratch(name: &str) -> File {
        let name = format!("engines-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(4096).unwrap();
        file
    }
}
