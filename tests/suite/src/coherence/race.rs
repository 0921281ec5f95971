// SPDX-License-Identifier: GPL-2.0

//! Calls made by another thread while something is held in flight.

use crate::harness::hang;
use crate::patience;
use crate::sys::process;
use anyhow::{Result, anyhow};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long a call is given to show that it does not wait.
const SOON: Duration = Duration::from_millis(150);

/// How long a call may take once nothing holds it any more.
const LATE: Duration = Duration::from_secs(30);

/// A thread that makes one call.
pub struct Racer<T> {
    thread: i32,
    answer: Receiver<T>,
    early: std::cell::RefCell<Option<T>>,
}

impl<T: Send + 'static> Racer<T> {
    /// Starts the thread, and returns when it is about to make its call.
    pub fn start(call: impl FnOnce() -> T + Send + 'static) -> Self {
        let (send, answer) = channel();
        let (ready, started) = channel();
        std::thread::spawn(move || {
            let _ = ready.send(process::thread());
            let _ = send.send(call());
        });
        Self {
            thread: started.recv().unwrap_or_default(),
            answer,
            early: std::cell::RefCell::new(None),
        }
    }

    /// Whether the call returns soon.
    pub fn finished_soon(&self) -> bool {
        self.finished_within(patience::at_most(SOON))
    }

    /// Whether the call has returned.
    pub fn has_returned(&self) -> bool {
        self.finished_within(Duration::ZERO)
    }

    /// Waits until the call waits for something, as an inode lock, that no signal ends.
    pub fn wait_asleep(&self) -> Result<()> {
        patience::wait_for("call that waits", || {
            Ok(hang::is_uninterruptible(self.thread))
        })
    }

    /// Gives the call the time to meet what is held in flight, on a slow kernel twice as much. It is
    /// waited for each time, so that more would cost minutes.
    pub fn give_a_moment(&self) {
        self.finished_within(SOON * patience::factor().min(2));
    }

    fn finished_within(&self, limit: Duration) -> bool {
        let mut early = self.early.borrow_mut();
        if early.is_none() {
            *early = self.answer.recv_timeout(limit).ok();
        }
        early.is_some()
    }

    /// Waits for the call to return. If it does not, what everybody waits for is told.
    pub fn join(self) -> Result<T> {
        if let Some(answer) = self.early.into_inner() {
            return Ok(answer);
        }
        let late = patience::at_most(LATE);
        self.answer.recv_timeout(late).map_err(|e| match e {
            RecvTimeoutError::Timeout => {
                hang::describe_own();
                anyhow!("a call did not return in {} s", late.as_secs())
            }
            RecvTimeoutError::Disconnected => anyhow!("a racing thread panicked"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_however_early_it_comes() {
        let racer = Racer::start(|| 5);
        assert!(racer.finished_soon());
        assert!(racer.finished_soon());
        assert_eq!(racer.join().unwrap(), 5);
    }

    #[test]
    fn a_call_that_waits_is_not_soon() {
        let (go, wait) = channel::<()>();
        let racer = Racer::start(move || wait.recv().is_ok());
        assert!(!racer.finished_soon());
        go.send(()).unwrap();
        assert!(racer.join().unwrap());
    }
}
