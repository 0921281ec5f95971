// SPDX-License-Identifier: GPL-2.0
//! The second look: what each mode shows where something wrong was seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engines::{Buffer, Errno, Op, Queue, Request};
use oracle::{Class, Finding, Mode, OpView, Tally};

use crate::crew::pulse::Pulse;
use crate::race::plan::{engine, mode};
use crate::race::shared::Shared;
use crate::report::finding::Look;

/// Bytes looked at again, at most.
const SPAN: u64 = 64 << 10;

/// The rest of a read that returned less than the file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// It can be had by asking again.
    There,
    /// It cannot, although the file has it.
    Missing,
    /// Something fails there, which ends a read early; or the file ends there by now.
    Excused,
}

/// Engines of all modes for one thread, opened when first needed.
#[derive(Default)]
pub struct Rechecker {
    slot: usize,
    queues: HashMap<&'static str, Box<dyn Queue>>,
    buffer: Option<Buffer>,
    /// Who is watched meanwhile, if no other request is.
    pulse: Option<Arc<Pulse>>,
}

impl Rechecker {
    /// `slot` is a reader's slot of the history that nobody else uses.
    pub fn new(slot: usize) -> Self {
        Self {
            slot,
            ..Self::default()
        }
    }

    /// The same, with each look a request that is watched.
    pub fn watched(slot: usize, pulse: &Arc<Pulse>) -> Self {
        Self {
            pulse: Some(Arc::clone(pulse)),
            ..Self::new(slot)
        }
    }

    /// Looks in every mode, and says what class the finding belongs to in the light of that: what no
    /// mode shows any more is lost.
    pub fn look(
        &mut self,
        shared: &Shared,
        finding: &Finding,
        tally: &mut Tally,
    ) -> (Vec<Look>, Class) {
        let modes: &[Mode] = match finding.class {
            // What is there does not tell how much there was.
            Class::Size | Class::Short => &[],
            _ => &[Mode::Mmap, Mode::Buffered, Mode::Direct],
        };
        let looks: Vec<Look> = modes
            .iter()
            .map(|mode| self.look_once(shared, *mode, finding, tally))
            .collect();
        let sticky = !looks.is_empty() && looks.iter().all(|look| look.verdict == "wrong");
        let class = match finding.class {
            Class::Stale if sticky => Class::Lost,
            other => other,
        };
        (looks, class)
    }

    fn look_once(
        &mut self,
        shared: &Shared,
        mode: Mode,
        finding: &Finding,
        tally: &mut Tally,
    ) -> Look {
        let len = finding.len.clamp(8, SPAN);
        let began = finding.read.map(|read| read.start);
        // What the read should have returned. What was under way may have come after it.
        let before = |op: &&OpView| op.end.is_some_and(|end| Some(end) < began);
        let right = finding.legal.iter().filter(before);
        let right = finding.superseded_by.iter().chain(right);
        let mut verdict = String::from("legal");
        let mut seen = String::new();
        let mut fresh = Tally::default();
        let result = self.read(shared, mode, finding.offset, len, &mut fresh);
        match result {
            Err(errno) => verdict = errno.to_string(),
            Ok(first) => {
                seen = format!("{first:#018x}");
                if let Some(wrong) = fresh.findings().first() {
                    seen = wrong.seen.to_string();
                }
                if !fresh.is_clean() {
                    verdict = "wrong".to_owned();
                } else if right.clone().any(|op| shared.history.is_of(first, op)) {
                    verdict = "right".to_owned();
                }
            }
        }
        // What was noticed for the first time here must be counted, too.
        fresh.take_findings();
        tally.merge(fresh);
        Look {
            mode: mode.name().to_owned(),
            verdict,
            seen,
        }
    }

    /// Reads a range in one mode, judges it, and returns its first word.
    fn read(
        &mut self,
        shared: &Shared,
        mode: Mode,
        offset: u64,
        len: u64,
        tally: &mut Tally,
    ) -> Result<u64, Errno> {
        let align = shared.geometry.align.max(8);
        let start = offset / align * align;
        let end = (offset + len)
            .next_multiple_of(align)
            .min(shared.history.len_bytes());
        let read = shared.history.begin_read(self.slot);
        let result = self.fetch(shared, mode, start, (end - start) as usize);
        let read = shared.history.end_read(read);
        if result.is_ok() {
            let skip = ((offset - start) / 8) as usize;
            let words = self.buffer.as_ref().map_or(&[][..], Buffer::words);
            let got = result.map_or(0, |got| got as usize / 8);
            let words = words
                .get(skip..(skip + (len / 8) as usize).min(got))
                .unwrap_or_default();
            shared.history.check(&read, offset, words, tally);
        }
        shared.history.release(&read);
        if result? + start < offset + 8 {
            // The file ends before this place, by now.
            return Err(Errno::EFAULT);
        }
        let words = self.buffer.as_ref().map_or(&[][..], Buffer::words);
        Ok(words
            .get(((offset - start) / 8) as usize)
            .copied()
            .unwrap_or(0))
    }

    /// What a mode returns at a place from which a read has returned nothing.
    pub fn rest(&mut self, shared: &Shared, mode: Mode, offset: u64, len: u64) -> Remainder {
        let align = shared.geometry.align.max(8);
        let start = offset / align * align;
        let end = (offset + len.min(SPAN)).next_multiple_of(align);
        let read = shared.history.begin_read(self.slot);
        let got = self.fetch(shared, mode, start, (end - start) as usize);
        let read = shared.history.end_read(read);
        let (least, _) = shared.history.size_bounds(&read);
        shared.history.release(&read);
        match got {
            Ok(got) if start + got > offset => Remainder::There,
            Ok(_) if offset < least => Remainder::Missing,
            _ => Remainder::Excused,
        }
    }

    fn fetch(&mut self, shared: &Shared, way: Mode, offset: u64, len: usize) -> Result<u64, Errno> {
        match self.pulse.clone() {
            Some(pulse) => pulse.during(|| self.fetch_now(shared, way, offset, len)),
            None => self.fetch_now(shared, way, offset, len),
        }
    }

    fn fetch_now(
        &mut self,
        shared: &Shared,
        way: Mode,
        offset: u64,
        len: usize,
    ) -> Result<u64, Errno> {
        let kind = engine(way);
        assert_eq!(mode(kind), way);
        if !self.queues.contains_key(kind.name()) {
            let queue = shared.store.open(kind, 1);
            let queue = queue.map_err(|error| error.errno().unwrap_or(Errno::EIO))?;
            self.queues.insert(kind.name(), queue);
        }
        let room = SPAN + 2 * shared.geometry.align;
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => Buffer::new(room as usize, 4096).map_err(|_| Errno::EIO)?,
        };
        let Some(queue) = self.queues.get_mut(kind.name()) else {
            return Err(Errno::EIO);
        };
        let request = Request {
            id: 0,
            op: Op::Read,
            offset,
            len,
            buffer,
        };
        queue.submit(request).map_err(|rejected| rejected.errno)?;
        let mut done = Vec::new();
        while queue.in_flight() > 0 {
            queue
                .reap(Duration::from_secs(1), &mut done)
                .map_err(|_| Errno::EIO)?;
        }
        let done = done.pop().ok_or(Errno::EIO)?;
        self.buffer = Some(done.buffer);
        done.result.map(|n| n as u64)
    }
}
