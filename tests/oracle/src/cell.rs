// SPDX-License-Identifier: GPL-2.0
//! The writes that still matter for one piece of the file.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::clock::{NEVER, Ordinal};
use crate::entry::Entry;
use crate::record::{Record, overlap};
use crate::word::Tag;

/// How many superseded writes a cell remembers, so that it can say what an old value was.
const PAST: usize = 12;

/// The least number of records that makes looking for superfluous ones worth while.
const CROWD: usize = 8;

/// A piece of the file and its writes, in the order in which they were announced.
#[derive(Debug)]
pub(crate) struct Cell {
    live: Vec<Entry>,
    past: VecDeque<Entry>,
    crowd: usize,
    /// Something that had made words of it zero was dropped.
    holed: bool,
}

impl Cell {
    pub(crate) fn new(initial: [&Arc<Record>; 2], words: &Range<u64>) -> Self {
        let entries = initial.map(|record| Entry::new(record, words));
        Self {
            live: entries
                .into_iter()
                .filter(|w| !w.range.is_empty())
                .collect(),
            past: VecDeque::new(),
            crowd: CROWD,
            holed: false,
        }
    }

    /// Adds a write that is about to be submitted. `words` is the cell's own range.
    pub(crate) fn add(
        &mut self,
        record: &Arc<Record>,
        words: &Range<u64>,
        horizon: impl FnOnce() -> Ordinal,
    ) {
        if self.live.len() >= self.crowd {
            self.prune(horizon());
            self.crowd = CROWD.max(self.live.len() * 2);
        }
        self.live.push(Entry::new(record, words));
    }

    /// Whether there were zeroes somewhere in it of which nothing is on record any more. That was before
    /// any read that is under way.
    pub(crate) fn was_holed(&self) -> bool {
        self.holed
    }

    /// Drops what can never be legal again: a write is superfluous when, for every read under way
    /// or to come, a single later one supersedes all of it that lies in this cell.
    fn prune(&mut self, horizon: Ordinal) {
        let keep: Vec<bool> = self
            .live
            .iter()
            .map(|w| {
                let end = w.record.end();
                end == NEVER
                    || !self
                        .live
                        .iter()
                        .any(|x| x.supersedes(end, horizon, &w.range) == w.range)
            })
            .collect();
        let mut keep = keep.into_iter();
        let (past, holed) = (&mut self.past, &mut self.holed);
        self.live.retain(|w| {
            let stays = keep.next().unwrap_or(true);
            if !stays {
                *holed |= w.record.tag == Tag::HOLE;
                if past.len() == PAST {
                    past.pop_front();
                }
                past.push_back(w.clone());
            }
            stays
        });
    }

    /// Forgets something that did not happen after all.
    pub(crate) fn forget(&mut self, record: &Arc<Record>) {
        self.live.retain(|w| !Arc::ptr_eq(&w.record, record));
    }

    /// Takes everything out, because the words are about to move.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        self.past.clear();
        std::mem::take(&mut self.live)
    }

    /// Puts an entry in that has been moved here.
    pub(crate) fn put(&mut self, entry: Entry) {
        if !self.live.iter_mut().any(|known| known.join(&entry)) {
            self.live.push(entry);
        }
    }

    /// The live writes, oldest announcement first.
    pub(crate) fn live(&self) -> &[Entry] {
        &self.live
    }

    /// Live and remembered writes.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Entry> {
        self.past.iter().chain(&self.live)
    }

    /// The live writes with this tag that have words in `run` and were moved so far, newest first.
    /// How far zeroes were moved cannot be seen.
    pub(crate) fn matching(
        &self,
        tag: Tag,
        by: i64,
        run: Range<u64>,
    ) -> impl Iterator<Item = &Entry> {
        self.live.iter().rev().filter(move |w| {
            w.record.tag == tag
                && (w.by == by || tag == Tag::HOLE)
                && !overlap(&w.range, &run).is_empty()
        })
    }

    /// What makes a write that ended at `end` illegal at a place for a read starting at `read`: a cut
    /// if there is one, else the newest write.
    pub(crate) fn superseder(&self, end: Ordinal, read: Ordinal, place: u64) -> Option<&Entry> {
        let run = place..place + 1;
        let hits = self
            .known()
            .filter(|x| !x.supersedes(end, read, &run).is_empty());
        hits.max_by_key(|x| (x.record.change.is_some(), x.record.start))
    }

    /// The parts of `run` in which a write is legal by rule (b).
    pub(crate) fn legal_parts(
        &self,
        w: &Entry,
        read: Ordinal,
        run: &Range<u64>,
    ) -> Vec<Range<u64>> {
        let end = w.record.end();
        let mut parts = vec![overlap(&w.range, run)];
        for x in &self.live {
            let hidden = x.supersedes(end, read, run);
            if !hidden.is_empty() {
                subtract(&mut parts, &hidden);
            }
        }
        parts
    }

    /// Rule (b) for a single word.
    pub(crate) fn is_legal(&self, w: &Entry, read: Ordinal, place: u64) -> bool {
        let run = place..place + 1;
        let end = w.record.end();
        w.range.contains(&place)
            && !self
                .live
                .iter()
                .any(|x| !x.supersedes(end, read, &run).is_empty())
    }
}

/// Takes a range away from a list of ranges.
pub(crate) fn subtract(parts: &mut Vec<Range<u64>>, hidden: &Range<u64>) {
    let mut rest = Vec::new();
    for part in parts.drain(..) {
        let before = part.start..part.end.min(hidden.start);
        let after = part.start.max(hidden.end)..part.end;
        rest.extend(
            [before, after]
                .into_iter()
                .filter(|piece| !piece.is_empty()),
        );
    }
    *parts = rest;
}
