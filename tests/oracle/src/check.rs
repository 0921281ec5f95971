// SPDX-License-Identifier: GPL-2.0
//! Judges what a read returned.

use std::ops::Range;

use crate::cell::Cell;
use crate::finding::{Class, Finding, OpView, Seen, Severity, Tally};
use crate::history::{History, Initial, Read};
use crate::record::{Record, overlap};
use crate::word::{Tag, WORD};
use crate::zone::Profile;

/// How many operations of each kind a finding lists.
const LISTED: usize = 8;

impl History {
    /// Judges the words that a read returned from `offset` on.
    ///
    /// Words beyond the history's length count as exposed content.
    pub fn check(&self, read: &Read, offset: u64, words: &[u64], tally: &mut Tally) {
        tally.add_words(words.len() as u64);
        let first = offset / WORD;
        let all = first..first + words.len() as u64;
        let inside = overlap(&all, &(0..self.len_bytes() / WORD));
        for nth in self.cells_of(&inside) {
            let piece = overlap(&self.cell_words(nth), &inside);
            let slice = &words[(piece.start - first) as usize..(piece.end - first) as usize];
            let cell = self.lock(nth);
            let mut judge = Judge {
                history: self,
                cell: &cell,
                read,
                tally,
            };
            judge.piece(piece, slice);
        }
    }
}

impl History {
    /// How much an old or a torn value weighs at a place: it may be a collision on a file system that
    /// does not promise otherwise.
    pub fn severity_at(&self, offset: u64) -> Severity {
        let bare = self.config.profile == Profile::Bare;
        if bare && self.zones.mixed(offset) {
            Severity::Collision
        } else {
            Severity::Violation
        }
    }

    /// A word taken apart.
    pub fn describe(&self, raw: u64) -> Seen {
        let (tag, place) = self.key.decode(raw);
        let place = u64::from(place) * WORD;
        let ours = raw != 0 && place < self.len_bytes() && self.issued(tag);
        Seen::Word {
            raw,
            tag: ours.then_some(tag),
            place: ours.then_some(place),
        }
    }
}

/// Everything needed to judge the words of one cell.
struct Judge<'a> {
    history: &'a History,
    cell: &'a Cell,
    read: &'a Read,
    tally: &'a mut Tally,
}

impl Judge<'_> {
    /// Cuts the words into runs that belong to one write each.
    fn piece(&mut self, piece: Range<u64>, words: &[u64]) {
        let key = self.history.key;
        let mut at = piece.start;
        while at < piece.end {
            let rest = &words[(at - piece.start) as usize..];
            match key.owner(rest[0], at) {
                Some(tag) => {
                    let len = key.run(tag, at, rest).max(1) as u64;
                    self.owned(tag, at..at + len, rest[0]);
                    at += len;
                }
                None => {
                    self.stray(rest[0], at);
                    at += 1;
                }
            }
        }
    }

    /// Words in their right place: legal unless superseded.
    fn owned(&mut self, tag: Tag, run: Range<u64>, raw: u64) {
        match self.cell.find(tag, &run) {
            Some(record) if overlap(&record.words, &run) != run => {
                // A word names its place, so no write put these here.
                self.report(Class::Exposed, run, raw, None, None);
            }
            Some(record) if record.start >= self.read.end => {
                self.report(Class::Exposed, run, raw, Some(record), None);
            }
            Some(record) => self.current(record, run, raw),
            None if tag == Tag::HOLE && self.history.config.initial != Initial::Hole => {
                self.report(Class::Lost, run, raw, None, None);
            }
            None if self.history.issued(tag) => self.pruned(tag, run, raw),
            None => self.report(Class::Exposed, run, raw, None, None),
        }
    }

    /// Words of a write that is on record.
    fn current(&mut self, record: &Record, run: Range<u64>, raw: u64) {
        let hit = self.cell.superseder(record.end(), self.read.start, &run);
        let Some((by, bad)) = hit else {
            return;
        };
        let word = if bad.start == run.start {
            raw
        } else {
            self.history.key.encode(record.tag, bad.start)
        };
        self.report(Class::Stale, bad.clone(), word, Some(record), Some(by));
        // Other parts of the run may be superseded by other writes.
        for part in [run.start..bad.start, bad.end..run.end] {
            if !part.is_empty() {
                let word = self.history.key.encode(record.tag, part.start);
                self.current(record, part, word);
            }
        }
    }

    /// Words of a write so old that it is no longer on record.
    fn pruned(&mut self, tag: Tag, run: Range<u64>, raw: u64) {
        let record = self
            .cell
            .known()
            .filter(|w| w.tag == tag && !overlap(&w.words, &run).is_empty())
            .last();
        let end = record.map_or(0, |w| w.end());
        let by = self.cell.superseder(end, self.read.start, &run);
        let by = by.map(|(by, _)| by.as_ref());
        self.report(Class::Stale, run, raw, record.map(AsRef::as_ref), by);
    }

    /// A word that does not belong where it was found.
    fn stray(&mut self, raw: u64, at: u64) {
        let run = at..at + 1;
        if let Some(legal) = self.torn(raw, at) {
            if legal {
                self.observe(Class::Torn, Severity::Warning, true, run, raw, None, None);
            } else {
                self.report(Class::Torn, run, raw, None, None);
            }
            return;
        }
        let (tag, place) = self.history.key.decode(raw);
        let inside = u64::from(place) * WORD < self.history.len_bytes();
        if tag != Tag::HOLE && inside && self.history.issued(tag) {
            return self.report(Class::Misplaced, run, raw, None, None);
        }
        let foreign = self.history.foreign.iter().any(|(key, len)| {
            let (tag, place) = key.decode(raw);
            tag != Tag::HOLE && u64::from(place) * WORD < *len
        });
        let class = if foreign {
            Class::Foreign
        } else {
            Class::Exposed
        };
        self.report(class, run, raw, None, None);
    }

    /// Whether the word consists of bytes of several writes of this place; and if so, whether each
    /// of them would have been legal.
    fn torn(&self, raw: u64, at: u64) -> Option<bool> {
        let (mut of_known, mut of_legal) = (0u64, 0u64);
        for w in self.cell.known() {
            if !w.words.contains(&at) {
                continue;
            }
            let same = equal_bytes(raw, self.history.key.encode(w.tag, at));
            of_known |= same;
            if self.cell.is_legal(w, self.read.start, at) {
                of_legal |= same;
            }
        }
        (of_known == u64::MAX).then_some(of_legal == u64::MAX)
    }

    fn report(
        &mut self,
        class: Class,
        run: Range<u64>,
        raw: u64,
        value: Option<&Record>,
        by: Option<&Record>,
    ) {
        // Zeroes where no hole ever was are nobody's value, and excused nowhere.
        let severity = match class {
            Class::Stale | Class::Torn => self.history.severity_at(run.start * WORD),
            _ => Severity::Violation,
        };
        let fresh = by.is_none_or(Record::notice);
        self.observe(class, severity, fresh, run, raw, value, by);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a finding")]
    fn observe(
        &mut self,
        class: Class,
        severity: Severity,
        fresh: bool,
        run: Range<u64>,
        raw: u64,
        value: Option<&Record>,
        by: Option<&Record>,
    ) {
        let (history, cell, read) = (self.history, self.cell, self.read);
        self.tally.observe(class, severity, fresh, || {
            let at = run.start;
            let of_word = || cell.known().filter(|w| w.words.contains(&at));
            let list = |keep: &dyn Fn(&Record) -> bool| -> Vec<OpView> {
                let kept = of_word().filter(|w| keep(w));
                kept.take(LISTED)
                    .map(|w| OpView::from(w.as_ref()))
                    .collect()
            };
            Finding {
                class,
                severity,
                offset: run.start * WORD,
                len: (run.end - run.start) * WORD,
                seen: history.describe(raw),
                value: value.map(OpView::from),
                legal: list(&|w| w.start < read.end && cell.is_legal(w, read.start, at)),
                superseded_by: by.map(OpView::from),
                overlapping: list(&|w| w.start < read.end && read.start < w.end()),
                read: Some(*read),
            }
        });
    }
}

/// A mask of the bytes in which two words agree.
fn equal_bytes(a: u64, b: u64) -> u64 {
    let (a, b) = (a.to_ne_bytes(), b.to_ne_bytes());
    let mut mask = [0u8; 8];
    for (i, byte) in mask.iter_mut().enumerate() {
        if a[i] == b[i] {
            *byte = 0xFF;
        }
    }
    u64::from_ne_bytes(mask)
}
