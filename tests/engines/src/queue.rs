// SPDX-License-Identifier: GPL-2.0
//! Requests in, completions out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::buffer::Buffer;
use crate::errno::Errno;
use crate::error::Error;
use crate::remote::WorkerId;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// File to buffer.
    Read,
    /// Buffer to file.
    Write,
}

/// One request. The caller names it; it gets it back with the completion.
#[derive(Debug)]
pub struct Request {
    /// The caller's name for it.
    pub id: usize,
    /// What to do.
    pub op: Op,
    /// Offset in the file in bytes.
    pub offset: u64,
    /// Bytes; at most the buffer's length.
    pub len: usize,
    /// The data.
    pub buffer: Buffer,
}

impl Request {
    /// How many bytes it moves: no more than the buffer has.
    pub(crate) fn bytes(&self) -> usize {
        self.len.min(self.buffer.len())
    }
}

/// A request that has ended.
#[derive(Debug)]
pub struct Completion {
    /// The caller's name for the request.
    pub id: usize,
    /// Bytes transferred, or why none were.
    pub result: Result<usize, Errno>,
    /// The data.
    pub buffer: Buffer,
}

/// A request that was never handed to the kernel.
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub errno: Errno,
    /// The request.
    pub request: Request,
}

impl Rejected {
    /// As many requests are outstanding as may be.
    pub(crate) fn full(request: Request) -> Box<Self> {
        let errno = Errno::EAGAIN;
        Box::new(Self { errno, request })
    }
}

/// How long a request may take that somebody waits for who is not watched.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until nothing is outstanding, but not for ever: `call` says what did not end.
///
/// # Errors
/// `ETIMEDOUT`; or if the queue itself is broken.
pub(crate) fn drain(
    queue: &mut dyn Queue,
    patience: Duration,
    call: &'static str,
    done: &mut Vec<Completion>,
) -> Result<(), Error> {
    let begin = Instant::now();
    while queue.in_flight() > 0 {
        let left = patience.saturating_sub(begin.elapsed());
        if left.is_zero() {
            let errno = Errno(libc::ETIMEDOUT);
            return Err(Error::Call { call, errno });
        }
        queue.reap(left.min(Duration::from_secs(1)), done)?;
    }
    Ok(())
}

/// Executes requests on one file.
pub trait Queue: Send {
    /// How many requests may be outstanding.
    fn depth(&self) -> usize;

    /// How many were submitted and not yet reaped.
    fn in_flight(&self) -> usize;

    /// Memory for requests; some engines are faster, or different, with memory that they know.
    ///
    /// # Errors
    /// If there is not enough memory, or the kernel does not take it for this engine.
    fn buffer(&mut self, len: usize, align: usize) -> Result<Buffer, Error> {
        Buffer::new(len, align)
    }

    /// Whether requests may lie in any memory; else only [`buffer`](Queue::buffer) knows which.
    fn takes_any_memory(&self) -> bool {
        true
    }

    /// Takes a request. The kernel may hear of it only with the next [`flush`](Queue::flush); what
    /// it does not accept then comes back as a completion with the error.
    ///
    /// # Errors
    /// With the request, if as many are outstanding as may be: nothing of it happened.
    fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>>;

    /// Hands to the kernel what was submitted.
    ///
    /// # Errors
    /// If the queue itself is broken.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// What the kernel has not accepted of what was flushed; without this it comes with the next
    /// [`reap`](Queue::reap).
    fn take_refused(&mut self) -> Vec<Completion> {
        Vec::new()
    }

    /// Flushes, waits up to `wait` for at least one completion, if any request is outstanding, and
    /// takes all that have arrived.
    ///
    /// # Errors
    /// If the queue itself is broken.
    fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error>;

    /// Waits so long, and looks whether the kernel tells of the end of a request that nobody waits for
    /// any more. To be called when nothing is outstanding.
    ///
    /// # Errors
    /// [`Error::Twice`] if it does; or if the queue itself is broken.
    fn linger(&mut self, _wait: Duration) -> Result<(), Error> {
        Ok(())
    }

    /// The process that makes the system calls, if it is another one.
    fn worker(&self) -> Option<Arc<WorkerId>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::single::tests::request;

    /// A queue whose requests never end.
    struct Stuck(usize);

    impl Queue for Stuck {
        fn depth(&self) -> usize {
            1
        }

        fn in_flight(&self) -> usize {
            self.0
        }

        fn submit(&mut self, _request: Request) -> Result<(), Box<Rejected>> {
            self.0 += 1;
            Ok(())
        }

        fn reap(&mut self, wait: Duration, _out: &mut Vec<Completion>) -> Result<(), Error> {
            std::thread::sleep(wait);
            Ok(())
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let (mut queue, mut done) = (Stuck(0), Vec::new());
        let short = Duration::from_millis(50);
        assert!(drain(&mut queue, short, "a read", &mut done).is_ok());
        queue.submit(request(0)).unwrap();
        let error = drain(&mut queue, short, "a read", &mut done).unwrap_err();
        assert_eq!(error.errno(), Some(Errno(libc::ETIMEDOUT)));
        assert!(error.to_string().starts_with("a read: "), "{error}");
    }
}
