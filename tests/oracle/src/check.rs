// SPDX-License-Identifier: GPL-2.0
//! Judges what a read returned.

use std::ops::Range;

use crate::cell::{Cell, subtract};
use crate::clock::Ordinal;
use crate::entry::Entry;
use crate::finding::{Class, Finding, OpView, Seen, Severity, Tally};
use crate::history::{History, Read};
use crate::record::{Mode, Record, overlap};
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
        // Held until the end, so that nothing moves meanwhile.
        let layout = self.layout();
        let moving = layout.disturbs(read);
        for nth in self.cells_of(&inside) {
            let piece = overlap(&self.cell_words(nth), &inside);
            let slice = &words[(piece.start - first) as usize..(piece.end - first) as usize];
            let cell = self.lock(nth);
            let mut judge = Judge {
                history: self,
                cell: &cell,
                read,
                tally,
                moved: layout.moved,
            };
            if moving {
                judge.anywhere(piece, slice);
            } else {
                judge.piece(piece, slice);
            }
        }
    }
}

impl History {
    /// What the filesystem is held to.
    pub fn profile(&self) -> Profile {
        self.config.profile
    }

    /// How much an old or a torn value weighs at a place: it may be a collision on a filesystem that
    /// does not promise otherwise.
    pub fn severity_at(&self, offset: u64) -> Severity {
        let bare = self.config.profile == Profile::Bare;
        if bare && self.zones.mixed(offset) {
            Severity::Collision
        } else {
            Severity::Violation
        }
    }

    /// Whether a word is what this write, or whatever it was, put in its place.
    pub fn is_of(&self, raw: u64, op: &OpView) -> bool {
        let tag = match raw {
            0 => Tag::HOLE,
            _ => self.key.decode(raw).0,
        };
        match (op.change, op.writer) {
            (Some(_), _) => tag == Tag::HOLE,
            (None, 0) => tag.writer() == 0,
            (None, writer) => tag == Tag::new(writer, op.sequence),
        }
    }

    /// Whether both words come from direct writes of this place, of which neither had ended before the
    /// other began.
    pub fn met_directly(&self, offset: u64, one: u64, other: u64) -> bool {
        let at = offset / WORD;
        let Ok(words) = self.words(offset, WORD) else {
            return false;
        };
        let _layout = self.layout();
        self.cells_of(&words).any(|nth| {
            let cell = self.lock(nth);
            let of = |raw: u64| {
                cell.known().filter(move |w| {
                    let direct = w.record.mode.bit() & Mode::Direct.bit() != 0;
                    let covers = w.range.contains(&at);
                    direct && covers && self.key.encode(w.record.tag, w.origin(at)) == raw
                })
            };
            let met = |a: &Record, b: &Record| a.start < b.end() && b.start < a.end();
            of(one).any(|a| of(other).any(|b| met(&a.record, &b.record)))
        })
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

impl History {
    /// The writes that were under way between two ordinals in a part of the file, as far as they are
    /// remembered, those through the page cache first: what shares a page with a word that went wrong.
    pub fn meanwhile(&self, bytes: Range<u64>, from: Ordinal, to: Ordinal) -> Vec<OpView> {
        let words = bytes.start / WORD..bytes.end.min(self.len_bytes()).div_ceil(WORD);
        let _layout = self.layout();
        let mut found: Vec<OpView> = Vec::new();
        for nth in self.cells_of(&words) {
            let cell = self.lock(nth);
            let then = |w: &&Entry| w.record.start <= to && w.record.end() >= from;
            let here = |w: &&Entry| !overlap(&w.range, &words).is_empty();
            let writes = cell.known().filter(|w| w.record.tag.writer() != 0);
            for w in writes.filter(then).filter(here) {
                let op = OpView::from(w.record.as_ref());
                if !found.contains(&op) {
                    found.push(op);
                }
            }
        }
        found.sort_by_key(|op| (op.mode == Mode::Direct, op.start));
        found.truncate(LISTED);
        found
    }
}

/// Everything needed to judge the words of one cell.
struct Judge<'a> {
    history: &'a History,
    cell: &'a Cell,
    read: &'a Read,
    tally: &'a mut Tally,
    /// Whether words may be elsewhere than where they were written.
    moved: bool,
}

impl Judge<'_> {
    /// Cuts the words into runs that belong to one write each.
    fn piece(&mut self, piece: Range<u64>, words: &[u64]) {
        let key = self.history.key;
        let mut at = piece.start;
        while at < piece.end {
            let rest = &words[(at - piece.start) as usize..];
            match self.owner(rest[0], at) {
                Some((tag, by)) => {
                    let origin = at.saturating_add_signed(-by);
                    let len = key.run(tag, origin, rest).max(1) as u64;
                    self.owned(tag, by, at..at + len, rest[0]);
                    at += len;
                }
                None => {
                    self.stray(rest[0], at);
                    at += 1;
                }
            }
        }
    }

    /// The write that a word belongs to and how far it was moved, if it may be here.
    fn owner(&self, raw: u64, at: u64) -> Option<(Tag, i64)> {
        if raw == 0 {
            return Some((Tag::HOLE, 0));
        }
        let (tag, place) = self.history.key.decode(raw);
        if tag == Tag::HOLE {
            return None;
        }
        if place == at as u32 {
            return Some((tag, 0));
        }
        let by = at as i64 - i64::from(place);
        let known = || self.cell.matching(tag, by, at..at + 1).next().is_some();
        (self.moved && known()).then_some((tag, by))
    }

    /// Words read while all words were on the move: they must be words of this file.
    fn anywhere(&mut self, piece: Range<u64>, words: &[u64]) {
        for (at, raw) in piece.zip(words) {
            let (tag, place) = self.history.key.decode(*raw);
            let inside = u64::from(place) * WORD < self.history.len_bytes();
            let known = tag != Tag::HOLE && inside && self.history.issued(tag);
            if *raw != 0 && !known {
                self.stray(*raw, at);
            }
        }
    }

    /// Words in their right place: legal unless superseded.
    fn owned(&mut self, tag: Tag, by: i64, run: Range<u64>, raw: u64) {
        let read = self.read;
        let mut wrong = vec![run.clone()];
        for w in self.cell.matching(tag, by, run.clone()) {
            if w.record.start >= read.end {
                continue;
            }
            for part in self.cell.legal_parts(w, read.start, &run) {
                subtract(&mut wrong, &part);
            }
            if wrong.is_empty() {
                return;
            }
        }
        let origin = |at: u64| at.saturating_add_signed(-by);
        for part in wrong {
            let mut at = part.start;
            while at < part.end {
                let raw = if at == run.start {
                    raw
                } else {
                    self.history.key.encode(tag, origin(at))
                };
                at = self.wrong(tag, by, at..part.end, raw);
            }
        }
    }

    /// Reports the first of these words, which are all illegal, and those that are wrong in the same
    /// way; says where they end.
    fn wrong(&mut self, tag: Tag, by: i64, run: Range<u64>, raw: u64) -> u64 {
        let cell = self.cell;
        let here = || {
            let all = cell.matching(tag, by, run.clone());
            all.filter(|w| w.range.contains(&run.start))
        };
        // Zeroes all look the same: rather one that was there than one whose time had not come.
        let begun = here().find(|w| w.record.start < self.read.end);
        let Some(w) = begun.or_else(|| here().next()) else {
            // No live write put this here; the next one that covers more ends the run.
            let next = cell.matching(tag, by, run.clone()).map(|w| w.range.start);
            let end = next.min().unwrap_or(run.end);
            self.unknown(tag, by, run.start..end, raw);
            return end;
        };
        let covered = overlap(&w.range, &run);
        if w.record.start >= self.read.end {
            let end = covered.end;
            if tag == Tag::HOLE && self.was_holed() {
                self.pruned(tag, by, covered, raw);
            } else {
                self.report(Class::Exposed, covered, raw, Some(&w.record), None);
            }
            return end;
        }
        let end = w.record.end();
        let Some(x) = cell.superseder(end, self.read.start, run.start) else {
            return covered.end;
        };
        let hidden = x.supersedes(end, self.read.start, &covered);
        let class = match x.record.change {
            Some(_) if tag != Tag::HOLE => Class::Resurrected,
            _ => Class::Stale,
        };
        self.report(class, hidden.clone(), raw, Some(&w.record), Some(&x.record));
        hidden.end
    }

    /// Words that name this place, but of no write on record.
    fn unknown(&mut self, tag: Tag, by: i64, run: Range<u64>, raw: u64) {
        let issued = self.history.issued(tag);
        // A word names its place: a write that is on record here, but not for these words, never
        // put them here, and neither did one whose time has not come.
        let elsewhere = || self.cell.live().iter().any(|w| w.record.tag == tag);
        match tag {
            Tag::HOLE if self.was_holed() => self.pruned(tag, by, run, raw),
            Tag::HOLE => self.report(Class::Lost, run, raw, None, None),
            _ if !issued || (elsewhere() && !self.moved) => {
                self.report(Class::Exposed, run, raw, None, None);
            }
            _ => self.pruned(tag, by, run, raw),
        }
    }

    /// Whether zeroes were right about here once, of which nothing is on record any more.
    fn was_holed(&self) -> bool {
        match self.moved {
            true => self.history.issued(Tag::HOLE),
            false => self.cell.was_holed(),
        }
    }

    /// Words of a write so old that it is no longer on record.
    fn pruned(&mut self, tag: Tag, by: i64, run: Range<u64>, raw: u64) {
        let past = |w: &&Entry| {
            let same = w.record.tag == tag && w.by == by && w.record.start < self.read.end;
            same && !overlap(&w.range, &run).is_empty()
        };
        let record = self.cell.known().filter(past).last().map(|w| &w.record);
        let end = record.map_or(0, |record| record.end());
        let by = self.cell.superseder(end, self.read.start, run.start);
        let cut = by.filter(|_| record.is_some() && tag != Tag::HOLE);
        let class = match cut.and_then(|by| by.record.change) {
            Some(_) => Class::Resurrected,
            None => Class::Stale,
        };
        let by = by.map(|by| by.record.as_ref());
        self.report(class, run, raw, record.map(AsRef::as_ref), by);
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
            if !w.range.contains(&at) {
                continue;
            }
            let word = self.history.key.encode(w.record.tag, w.origin(at));
            let same = equal_bytes(raw, word);
            of_known |= same;
            if w.record.start < self.read.end && self.cell.is_legal(w, self.read.start, at) {
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
            Class::Stale | Class::Torn | Class::Resurrected => {
                self.history.severity_at(run.start * WORD)
            }
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
            let of_word = || cell.known().filter(|w| w.range.contains(&at));
            let list = |keep: &dyn Fn(&Entry) -> bool| -> Vec<OpView> {
                let kept = of_word().filter(|w| keep(w));
                kept.take(LISTED)
                    .map(|w| OpView::from(w.record.as_ref()))
                    .collect()
            };
            Finding {
                class,
                severity,
                offset: run.start * WORD,
                len: (run.end - run.start) * WORD,
                seen: history.describe(raw),
                value: value.map(OpView::from),
                legal: list(&|w| w.record.start < read.end && cell.is_legal(w, read.start, at)),
                superseded_by: by.map(OpView::from),
                overlapping: list(&|w| w.record.start < read.end && read.start < w.record.end()),
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
