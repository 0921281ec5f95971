// SPDX-License-Identifier: GPL-2.0
//! After the race: every mode must show something legal, and all of them the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engines::{Advice, Buffer, Errno, Op, Queue, Request};
use oracle::{Class, Finding, Mode, Read, Seen, Severity, Tally};

use crate::crew::pulse::Pulse;
use crate::race::plan::engine;
use crate::race::recheck::Rechecker;
use crate::race::shared::Shared;

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

/// What fsync reported, and what was found.
#[derive(Debug)]
pub struct Quiet {
    /// What is wrong with the content.
    pub tally: Tally,
    /// What the descriptor that was opened before the race was told.
    pub sentinel: Result<(), Errno>,
}

/// Reads the whole file in every mode: as the race left it, after fsync, and after the cache was
/// dropped. `slot` is a reader's slot of the history; the one after it is used for second looks.
pub fn check(shared: &Arc<Shared>, pulse: &Arc<Pulse>, slot: usize) -> Result<Quiet> {
    let mut quiet = Checker::new(shared, pulse, slot)?;
    // Direct last: it writes back what is cached.
    quiet.pass(
        "after the race",
        &[Mode::Buffered, Mode::Mmap, Mode::Direct],
    )?;
    let sentinel = shared.store.fsync();
    quiet.pass("after fsync", &[Mode::Direct, Mode::Mmap, Mode::Buffered])?;
    // A refusal only makes the next pass less telling.
    let _ = shared
        .store
        .advise(Advice::DontNeed, 0, shared.history.len_bytes());
    quiet.pass("after dropping the cache", &[Mode::Buffered, Mode::Direct])?;
    let tally = quiet.tally;
    Ok(Quiet { tally, sentinel })
}

struct Checker<'a> {
    shared: &'a Arc<Shared>,
    pulse: &'a Arc<Pulse>,
    slot: usize,
    queues: HashMap<&'static str, Box<dyn Queue>>,
    again: Rechecker,
    tally: Tally,
}

impl<'a> Checker<'a> {
    fn new(shared: &'a Arc<Shared>, pulse: &'a Arc<Pulse>, slot: usize) -> Result<Self> {
        let mut queues = HashMap::new();
        for mode in Mode::ALL {
            queues.insert(mode.name(), shared.store.open(engine(mode), 1)?);
        }
        Ok(Self {
            shared,
            pulse,
            slot,
            queues,
            again: Rechecker::new(slot + 1),
            tally: Tally::default(),
        })
    }

    /// Reads the file in several modes and compares them.
    fn pass(&mut self, when: &str, modes: &[Mode]) -> Result<()> {
        let len = self.size()?;
        let buffers: Result<Vec<_>, _> = modes
            .iter()
            .map(|_| Buffer::new(CHUNK as usize, self.shared.geometry.page as usize))
            .collect();
        let mut buffers = buffers?;
        let mut at = 0;
        while at < len {
            let n = CHUNK.min(len - at);
            let mut got = Vec::new();
            for mode in modes {
                let buffer = buffers.pop().context("a buffer got lost")?;
                got.push((*mode, self.read(when, *mode, at, n, buffer)?));
            }
            self.compare(at, n, &got);
            buffers.extend(got.into_iter().map(|(_, buffer)| buffer));
            let who = || format!("the check {when}");
            self.shared.explain(&mut self.tally, &mut self.again, who);
            at += n;
        }
        Ok(())
    }

    /// How long the file is, which must be explained by what was done to it.
    fn size(&mut self) -> Result<u64> {
        let shared = self.shared;
        if !shared.history.is_sized() {
            return Ok(shared.history.len_bytes());
        }
        let read = shared.history.begin_read(self.slot);
        let size = shared.store.size()?;
        let read = shared.history.end_read(read);
        if !shared.history.size_is_legal(&read, size) {
            let finding = count(shared, Class::Size, 0, size, size, Some(read));
            self.tally.add(finding);
        }
        shared.history.release(&read);
        Ok(size.min(shared.history.len_bytes()) / 8 * 8)
    }

    /// Reads and judges a chunk in one mode.
    fn read(&mut self, when: &str, mode: Mode, at: u64, n: u64, buffer: Buffer) -> Result<Buffer> {
        let history = &self.shared.history;
        let queue = self
            .queues
            .get_mut(mode.name())
            .context("an engine got lost")?;
        let read = history.begin_read(self.slot);
        // Behind an end that is no multiple of anything there is nothing to be had.
        let whole = n.next_multiple_of(self.shared.geometry.align.max(8));
        let request = Request {
            id: 0,
            op: Op::Read,
            offset: at,
            len: whole as usize,
            buffer,
        };
        self.pulse.begin(0, Op::Read, at, n);
        let mut done = Vec::new();
        match queue.submit(request) {
            Ok(()) => {
                while queue.in_flight() > 0 {
                    queue.reap(Duration::from_secs(1), &mut done)?;
                }
            }
            Err(rejected) => anyhow::bail!("the check {when}: {}", rejected.errno),
        }
        let done = done.pop().context("a completion got lost")?;
        self.pulse
            .end(0, done.result.map(|n| n as u64).map_err(|_| ()));
        let read = history.end_read(read);
        match done.result {
            Ok(got) => {
                let words = &done.buffer.words()[..got.min(n as usize) / 8];
                history.check(&read, at, words, &mut self.tally);
                if (got as u64) < n {
                    let class = Class::Short;
                    let finding = count(self.shared, class, at, n, got as u64, Some(read));
                    self.tally.add(finding);
                }
            }
            Err(errno) => self
                .shared
                .failed(&format!("{} in the check {when}", mode.name()), errno),
        }
        history.release(&read);
        let (who, mode) = (when, mode.name());
        let who = || format!("a {mode} read of {n} bytes at {at} in the check {who}");
        self.shared.explain(&mut self.tally, &mut self.again, who);
        Ok(done.buffer)
    }

    /// Finds words in which the modes differ although nothing is under way.
    fn compare(&mut self, at: u64, n: u64, got: &[(Mode, Buffer)]) {
        let Some(((_, first), others)) = got.split_first() else {
            return;
        };
        let count = (n / 8) as usize;
        let first = &first.words()[..count];
        for (_, other) in others {
            let other = &other.words()[..count];
            let differ = first.iter().zip(other).position(|(a, b)| a != b);
            let Some(nth) = differ else {
                continue;
            };
            let offset = at + nth as u64 * 8;
            if self.shared.history.is_settled(offset, 8) {
                self.tally.add(Finding {
                    class: Class::Stale,
                    severity: self.shared.history.severity_at(offset),
                    offset,
                    len: 8,
                    seen: self.shared.history.describe(other[nth]),
                    value: None,
                    legal: Vec::new(),
                    superseded_by: None,
                    overlapping: Vec::new(),
                    read: None,
                });
            }
        }
    }
}

/// A finding about a number of bytes.
pub fn count(
    shared: &Shared,
    class: Class,
    offset: u64,
    len: u64,
    seen: u64,
    read: Option<Read>,
) -> Finding {
    let bounds = read.map(|read| shared.history.size_bounds(&read));
    if let Some((least, greatest)) = bounds {
        shared.note(format!(
            "{}: {seen} bytes at {offset}, when the file had at least {least} and at most {greatest}",
            class.name()
        ));
    }
    Finding {
        class,
        severity: Severity::Violation,
        offset,
        len,
        seen: Seen::Bytes(seen),
        value: None,
        legal: Vec::new(),
        superseded_by: None,
        overlapping: Vec::new(),
        read,
    }
}
