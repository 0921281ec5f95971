// SPDX-License-Identifier: GPL-2.0
//! The writes that still matter for one piece of the file.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::clock::{NEVER, Ordinal};
use crate::record::{Record, overlap};
use crate::word::Tag;

/// How many superseded writes a cell remembers, so that it can say what an old value was.
const PAST: usize = 12;

/// The least number of records that makes looking for superfluous ones worth while.
const CROWD: usize = 8;

/// A piece of the file and its writes, in the order in which they were announced.
#[derive(Debug)]
pub(crate) struct Cell {
    live: Vec<Arc<Record>>,
    past: VecDeque<Arc<Record>>,
    crowd: usize,
}

impl Cell {
    pub(crate) fn new(initial: &Arc<Record>) -> Self {
        Self {
            live: vec![Arc::clone(initial)],
            past: VecDeque::new(),
            crowd: CROWD,
        }
    }

    /// Adds a write that is about to be submitted. `words` is the cell's own range.
    pub(crate) fn add(
        &mut self,
        record: Arc<Record>,
        words: &Range<u64>,
        horizon: impl FnOnce() -> Ordinal,
    ) {
        if self.live.len() >= self.crowd {
            self.prune(words, horizon());
            self.crowd = CROWD.max(self.live.len() * 2);
        }
        self.live.push(record);
    }

    /// Drops what can never be legal again: a write is superfluous when, for every read under way
    /// or to come, a single later one supersedes all of it that lies in this cell.
    fn prune(&mut self, words: &Range<u64>, horizon: Ordinal) {
        let keep: Vec<bool> = self
            .live
            .iter()
            .map(|w| {
                let mine = overlap(&w.words, words);
                let end = w.end();
                end == NEVER
                    || !self
                        .live
                        .iter()
                        .any(|x| x.supersedes(end, horizon, &mine) == mine)
            })
            .collect();
        let mut keep = keep.into_iter();
        let past = &mut self.past;
        self.live.retain(|w| {
            let stays = keep.next().unwrap_or(true);
            if !stays {
                if past.len() == PAST {
                    past.pop_front();
                }
                past.push_back(Arc::clone(w));
            }
            stays
        });
    }

    /// The live writes, oldest announcement first.
    pub(crate) fn live(&self) -> &[Arc<Record>] {
        &self.live
    }

    /// Live and remembered writes.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.past.iter().chain(&self.live)
    }

    /// The live write with this tag that has words in `run`.
    pub(crate) fn find(&self, tag: Tag, run: &Range<u64>) -> Option<&Arc<Record>> {
        let mut newest_first = self.live.iter().rev();
        newest_first.find(|w| w.tag == tag && !overlap(&w.words, run).is_empty())
    }

    /// The newest write that makes one which ended at `end` illegal for a read starting at `read`,
    /// and the words of `run` for which it does.
    pub(crate) fn superseder(
        &self,
        end: Ordinal,
        read: Ordinal,
        run: &Range<u64>,
    ) -> Option<(&Arc<Record>, Range<u64>)> {
        self.live
            .iter()
            .map(|x| (x, x.supersedes(end, read, run)))
            .filter(|(_, words)| !words.is_empty())
            .max_by_key(|(x, _)| x.start)
    }

    /// Rule (b) for a single word.
    pub(crate) fn is_legal(&self, w: &Record, read: Ordinal, word: u64) -> bool {
        let run = word..word + 1;
        let end = w.end();
        !overlap(&w.words, &run).is_empty()
            && !self
                .live
                .iter()
                .any(|x| !x.supersedes(end, read, &run).is_empty())
    }
}
