// SPDX-License-Identifier: GPL-2.0
//! A thread that makes files which share the blocks of the one that is raced on.
//!
//! For the oracle a clone is a read: what it holds must have been legal at some time between the
//! beginning and the end of the call. Afterwards it must hold that for ever, whatever is written to the
//! file that it was made of.

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use engines::{Buffer, Errno, File, Op};
use oracle::{Class, Finding, Read, Severity, Tally};

use crate::again::read_all;
use crate::crew::and_save;
use crate::crew::pulse::Pulse;
use crate::race::quiesce;
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
    pub fn run(mut self, found: &mut Tally) -> Result<()> {
        and_save(&mut self, Self::race, |cloner| {
            found.merge(mem::take(&mut cloner.tally));
        })
    }

    fn race(&mut self) -> Result<()> {
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
        Ok(())
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
            match fetch(file, buffer, self.shared.geometry.align as usize) {
                Ok(got) => {
                    self.judge_length(read, got as u64);
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

    /// A clone is as long as the file was at some time during the call.
    fn judge_length(&mut self, read: &Read, got: u64) {
        let len = self.shared.history.len_bytes();
        let wrong = self.shared.history.count_is_wrong(read, 0, len, got);
        if let Some(class) = wrong {
            let finding = quiesce::count(&self.shared, class, 0, len, got, Some(*read));
            self.tally.add(finding);
        }
    }

    /// What has changed in a file to which nobody wrote came from somewhere else.
    fn compare(&mut self, first: &[u64], words: &[u64], read: &Read) {
        let pairs = first.iter().zip(words).enumerate();
        let mut differ = pairs.filter(|(_, (a, b))| a != b);
        let excused = |nth: usize| {
            self.shared
                .may_differ(nth as u64 * 8, first[nth], words[nth])
        };
        let Some((nth, _)) = differ.find(|(nth, _)| !excused(*nth)) else {
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

/// All of a file: a read may return less, as long as the rest can be had by asking again.
fn fetch(file: &File, buffer: &mut Buffer, align: usize) -> Result<usize, Errno> {
    let words = buffer.words_mut();
    let got = read_all(words, align.max(8), |part, from| file.pread(part, from))?;
    Ok(got.all)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicBool;

    use oracle::{Config, History};

    use crate::crew::Crew;
    use crate::crew::pulse::Role;
    use crate::liar::{Liar, LiarStore};

    const LEN: u64 = 64 << 10;

    /// What is said of a clone from which so many bytes can be had.
    fn said_of(got: u64) -> u64 {
        let mut config = Config::new(LEN);
        config.readers = 1;
        let history = History::new(config).unwrap();
        let store = Arc::new(LiarStore(Arc::new(Liar::new(&history, None, 1))));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Shared::of(history, store, stop);
        let pulse = Crew::<()>::new().pulse("clone", Role::Read, 1);
        let mut cloner = Cloner::new(&shared, &pulse, 0, Rng::new(1, 0));
        let read = shared.history.end_read(shared.history.begin_read(0));
        cloner.judge_length(&read, got);
        cloner.tally.events(Severity::Violation, Class::Short)
    }

    #[test]
    fn a_clone_that_ends_early_is_noticed() {
        assert_eq!([said_of(LEN), said_of(LEN - 512), said_of(0)], [0, 1, 1]);
    }
}
