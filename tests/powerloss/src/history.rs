// SPDX-License-Identifier: GPL-2.0
//! What a file may hold after a cut: the values a word may have, the sizes the file may have.
//!
//! An acknowledged sync settles what was written before it: the last value is the only legal one.
//! Whatever was written since, up to the end of the next sync that was not acknowledged any more, may
//! have reached the disk or not, word by word. (A disk writes sectors of 512 bytes whole; no word
//! straddles two.)

use std::collections::BTreeMap;
use std::ops::Range;

use crate::acks::Acked;
use crate::plan::{Change, PROFILES, Piece, Plan, Step, Sync};
use crate::word::{WORD, describe, encode};

/// What one worker's words may be.
pub struct History {
    worker: usize,
    settled: Vec<u64>,
    /// Words written since they were last settled: each value since, in order.
    open: BTreeMap<u64, Vec<u64>>,
    size: u64,
    sizes: Vec<u64>,
}

/// A word or size that no legal history explains.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl History {
    /// The histories of all workers on files at a cut.
    pub fn all(acked: &Acked) -> Vec<Self> {
        let last = |worker: usize| acked.last.get(&(worker as u64)).copied();
        (0..PROFILES.len())
            .map(|worker| Self::new(acked.seed, worker, last(worker)))
            .collect()
    }

    /// The history of a worker whose steps up to `acked` were acknowledged, if any was.
    pub fn new(seed: u64, worker: usize, acked: Option<u64>) -> Self {
        let size = PROFILES[worker].initial_size();
        let mut history = Self {
            worker,
            settled: Vec::new(),
            open: BTreeMap::new(),
            size,
            sizes: vec![size],
        };
        for (number, step) in (0..).zip(Plan::new(seed, worker)) {
            history.apply(number, &step);
            if acked.is_some_and(|acked| number <= acked) {
                history.settle(&step);
            } else if step.sync != Sync::None {
                break;
            }
        }
        history
    }

    fn apply(&mut self, number: u64, step: &Step) {
        match &step.change {
            Change::Write(pieces) => {
                for place in pieces.iter().flat_map(places) {
                    let value = encode(self.worker, number, place);
                    self.open.entry(place).or_default().push(value);
                }
                let end = pieces.iter().map(|piece| piece.offset + piece.len).max();
                self.resize(self.size.max(end.unwrap_or(0)));
            }
            Change::Truncate(size) => {
                for place in size / WORD..self.size / WORD {
                    self.open.entry(place).or_default().push(0);
                }
                self.resize(*size);
            }
        }
    }

    fn resize(&mut self, size: u64) {
        self.size = size;
        self.sizes.push(size);
    }

    /// A step was acknowledged: what it makes durable is so.
    fn settle(&mut self, step: &Step) {
        match (&step.sync, &step.change) {
            (Sync::None, _) => return,
            (Sync::Dsync, Change::Write(pieces)) => {
                for place in pieces.iter().flat_map(places) {
                    let values = self.open.remove(&place);
                    self.set(place, values);
                }
            }
            _ => {
                for (place, values) in std::mem::take(&mut self.open) {
                    self.set(place, Some(values));
                }
            }
        }
        self.sizes = vec![self.size];
    }

    fn set(&mut self, place: u64, values: Option<Vec<u64>>) {
        let index = place as usize;
        if self.settled.len() <= index {
            self.settled.resize(index + 1, 0);
        }
        if let Some(last) = values.and_then(|values| values.last().copied()) {
            self.settled[index] = last;
        }
    }

    /// How many words an acknowledged sync vouches for.
    pub fn vouched(&self) -> usize {
        self.settled.iter().filter(|&&word| word != 0).count()
    }

    /// The only value that a word may have, if an acknowledged sync vouches for it and nothing was
    /// written there since.
    pub fn sole(&self, place: u64) -> Option<u64> {
        let settled = self.settled.get(place as usize).copied();
        settled.filter(|_| !self.open.contains_key(&place))
    }

    /// Every word and the size, against what the file holds.
    pub fn judge(&self, content: &[u64], size: u64) -> Vec<Wrong> {
        let profile = &PROFILES[self.worker];
        let mut wrong: Vec<Wrong> = self.judge_size(size).into_iter().collect();
        for (place, &word) in (0..).zip(content) {
            if profile.owns(place) && !self.allows(place, word) {
                wrong.push(self.explain(place, word));
            }
        }
        wrong
    }

    fn judge_size(&self, size: u64) -> Option<Wrong> {
        let low = self.sizes.iter().min().copied().unwrap_or(0);
        let high = self.sizes.iter().max().copied().unwrap_or(0);
        let legal = (low..=high).contains(&size);
        (!legal).then(|| Wrong(format!("size {size}, legal {low}..={high}")))
    }

    fn allows(&self, place: u64, word: u64) -> bool {
        let settled = self.settled.get(place as usize).copied().unwrap_or(0);
        word == settled
            || self
                .open
                .get(&place)
                .is_some_and(|values| values.contains(&word))
    }

    /// What is wrong about a word that is not legal.
    pub fn explain(&self, place: u64, word: u64) -> Wrong {
        let settled = self.settled.get(place as usize).copied().unwrap_or(0);
        let since = self.open.get(&place).map_or(0, Vec::len);
        Wrong(format!(
            "at {}: {}; acknowledged was {}, and {since} writes since",
            place * WORD,
            describe(word),
            describe(settled)
        ))
    }
}

fn places(piece: &Piece) -> Range<u64> {
    piece.offset / WORD..(piece.offset + piece.len) / WORD
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPENDER: usize = 6;

    /// What a disk holds that lost nothing of the first `steps` steps.
    fn everything(seed: u64, worker: usize, steps: u64) -> (Vec<u64>, u64) {
        let mut content = vec![0; PROFILES[worker].initial_size() as usize / 8];
        for (number, step) in (0..steps).zip(Plan::new(seed, worker)) {
            match step.change {
                Change::Write(pieces) => {
                    for place in pieces.iter().flat_map(places) {
                        if content.len() <= place as usize {
                            content.resize(place as usize + 1, 0);
                        }
                        content[place as usize] = encode(worker, number, place);
                    }
                }
                Change::Truncate(size) => content.truncate(size as usize / 8),
            }
        }
        let size = content.len() as u64 * WORD;
        (content, size)
    }

    fn last_sync(seed: u64, worker: usize, before: u64) -> u64 {
        let steps = (0..before).zip(Plan::new(seed, worker));
        let syncs = steps.filter(|(_, step)| step.sync != Sync::None);
        syncs.map(|(number, _)| number).last().unwrap_or(0)
    }

    #[test]
    fn a_disk_that_lost_nothing_is_legal() {
        for worker in 0..PROFILES.len() {
            let acked = last_sync(1, worker, 300);
            let (content, size) = everything(1, worker, acked + 1);
            assert_eq!(
                History::new(1, worker, Some(acked)).judge(&content, size),
                []
            );
        }
    }

    #[test]
    fn an_acknowledged_step_that_is_missing_is_wrong() {
        for worker in 0..PROFILES.len() {
            let acked = last_sync(1, worker, 300);
            let earlier = last_sync(1, worker, acked.saturating_sub(20));
            let (content, size) = everything(1, worker, earlier + 1);
            assert_ne!(
                History::new(1, worker, Some(acked)).judge(&content, size),
                []
            );
        }
    }

    #[test]
    fn what_was_not_acknowledged_may_be_there_or_not() {
        for worker in 0..PROFILES.len() {
            let acked = last_sync(1, worker, 300);
            let next = last_sync(1, worker, acked + 1).max(acked) + 1;
            let (content, size) = everything(1, worker, next + 1);
            let history = History::new(1, worker, Some(acked));
            assert_eq!(history.judge(&content, size), []);
        }
    }

    #[test]
    fn what_nobody_wrote_is_wrong() {
        let acked = last_sync(1, APPENDER, 300);
        let (mut content, size) = everything(1, APPENDER, acked + 1);
        content.extend([crate::image::BLANK_WORD]);
        let wrong = History::new(1, APPENDER, Some(acked)).judge(&content, size + WORD);
        assert!(wrong.iter().any(|wrong| wrong.0.contains("nobody")));
    }
}
