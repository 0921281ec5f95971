// SPDX-License-Identifier: GPL-2.0
//! A thread that makes files which share the blocks of the one that is raced on.
//!
//! For the oracle a clone is a read: what it holds must have been legal at some time between the
//! beginning and the end of the call. Afterwards it must hold that for ever, whatever is written to the
//! file that it was made of.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use engines::{Buffer, Errno, File, Op};
use oracle::{Class, Finding, Read, Severity, Tally};

use crate::crew::pulse::Pulse;
use crate::race::shared::Shared;
use crate::race::store::Twin;
use crate::rng::Rng;

/// How long the others may write on before the clone is looked at again, at most.
const LATER: u64 = 20_000;

/// The thread.
pub struct Cloner {
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    /// A reader's slot of the history.
    slot: usize,
    tally: Tally,
    rng: Rng,
}

impl Cloner {
    /// Has done nothing yet.
    pub fn new(shared: &Arc<Shared>, pulse: &Arc<Pulse>, slot: usize, rng: Rng) -> Self {
        Self {
            shared: Arc::clone(shared),
            pulse: Arc::clone(pulse),
            slot,
            tally: Tally::default(),
            rng,
        }
    }

    /// Clones until it is time to stop.
    pub fn run(mut self) -> Result<Tally> {
        let len = self.shared.history.len_bytes();
        let mut buffer = Buffer::new(len as usize, self.shared.geometry.page as usize)?;
        while !self.shared.stopped() {
            let start = self.shared.history.begin_read(self.slot);
            self.pulse.begin(0, Op::Read, 0, len);
            let made = self.shared.store.twin();
            let read = self.shared.history.end_read(start);
            self.pulse
                .end(0, made.as_ref().map(|_| len).map_err(|_| ()));
            match made {
                Ok(twin) => self.judge(&twin, &read, &mut buffer),
                Err(errno) => self.shared.failed("clone", errno),
            }
            self.shared.history.release(&read);
            thread::sleep(Duration::from_micros(self.rng.below(LATER)));
        }
        Ok(self.tally)
    }

    /// Reads it both ways, and again after a while.
    fn judge(&mut self, twin: &Twin, read: &Read, buffer: &mut Buffer) {
        let mut first: Option<Vec<u64>> = None;
        for (file, how) in [
            (&twin.direct, "a direct read of a clone"),
            (&twin.cached, "a cached read of a clone"),
            (&twin.direct, "a direct read of a clone, some time later,"),
        ] {
            if first.is_some() {
                thread::sleep(Duration::from_micros(self.rng.below(LATER)));
            }
            match fetch(file, buffer) {
                Ok(got) => {
                    let words = &buffer.words()[..got / 8];
                    let history = &self.shared.history;
                    history.check(read, 0, words, &mut self.tally);
                    match &first {
                        None => first = Some(words.to_vec()),
                        Some(first) => self.compare(first, words, read),
                    }
                    self.shared.tell(&mut self.tally, how);
                }
                Err(errno) => self.shared.failed("clone", errno),
            }
        }
    }

    /// What has changed in a file to which nobody wrote came from somewhere else.
    fn compare(&mut self, first: &[u64], words: &[u64], read: &Read) {
        let differ = first.iter().zip(words).position(|(a, b)| a != b);
        let Some(nth) = differ else {
            return;
        };
        self.tally.add(Finding {
            class: Class::Foreign,
            severity: Severity::Violation,
            offset: nth as u64 * 8,
            len: 8,
            seen: self.shared.history.describe(words[nth]),
            value: None,
            legal: Vec::new(),
            superseded_by: None,
            overlapping: Vec::new(),
            read: Some(*read),
        });
    }
}

/// All of a file.
fn fetch(file: &File, buffer: &mut Buffer) -> Result<usize, Errno> {
    file.pread(buffer.words_mut(), 0)
}
