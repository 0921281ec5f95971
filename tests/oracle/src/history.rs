// SPDX-License-Identifier: GPL-2.0
//! The history of one file: what was written, when, and what is still under way.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::cell::Cell;
use crate::change::{Change, Changed};
use crate::clock::{Clock, NEVER, Ordinal, Readers};
use crate::error::Error;
use crate::layout::{self, Layout};
use crate::record::{Mode, Outcome, Record, Write, overlap};
use crate::sizes::Sizes;
use crate::word::{Key, Tag, WORD};
use crate::zone::{GRANULE, Profile, Zones};

/// What the file holds before the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// Nothing: every word reads as zero.
    Hole,
    /// The words that [`History::initial_word`] tells.
    Pattern,
}

/// What a history needs to know in advance.
#[derive(Clone, Debug)]
pub struct Config {
    /// Greatest length of the file in bytes.
    pub len: u64,
    /// Bytes that share one lock and one list of writes. About the size of a small write is best.
    pub cell: u64,
    /// Writers are numbered from 1 to this.
    pub writers: u8,
    /// Reads that may be under way at once, over all threads.
    pub readers: usize,
    /// Content at the beginning.
    pub initial: Initial,
    /// Size at the beginning if it will change; content beyond it reads as zero once the file has
    /// grown. Without it the file has its greatest length for ever.
    pub size: Option<u64>,
    /// What the filesystem promises.
    pub profile: Profile,
    /// What lies in different parts of this size shares no folio; see [`crate::granule`].
    pub granule: u64,
    /// Distinguishes this run.
    pub run: u64,
    /// Distinguishes this file within the run.
    pub file: u64,
    /// Number and length of other files of this run whose words must not appear here.
    pub others: Vec<(u64, u64)>,
}

impl Config {
    /// A strict history of a file with a pattern in it, for few readers.
    pub fn new(len: u64) -> Self {
        Self {
            len,
            cell: 4096,
            writers: 254,
            readers: 64,
            initial: Initial::Pattern,
            size: None,
            profile: Profile::Strict,
            granule: GRANULE,
            run: 0,
            file: 0,
            others: Vec::new(),
        }
    }
}

/// A read that has been announced and has not returned.
#[derive(Clone, Copy, Debug)]
pub struct ReadStart {
    slot: usize,
    start: Ordinal,
}

/// A read that has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    slot: usize,
    /// Ordinal taken before the request was submitted.
    pub start: Ordinal,
    /// Ordinal taken after the data had arrived.
    pub end: Ordinal,
}

/// A change that has been announced to the history.
#[derive(Clone, Debug)]
pub struct Changing {
    record: Arc<Record>,
    change: Change,
}

/// Everything known about one file.
///
/// All methods may be called by any thread. The order in which one thread calls them around an
/// operation is what makes the verdicts sound: `begin_*`, the operation, `end_*`, and for reads
/// [`check`](History::check) and [`release`](History::release).
#[derive(Debug)]
pub struct History {
    pub(crate) key: Key,
    pub(crate) config: Config,
    pub(crate) zones: Zones,
    pub(crate) foreign: Vec<(Key, u64)>,
    pub(crate) clock: Clock,
    pub(crate) readers: Readers,
    pub(crate) sizes: Option<Sizes>,
    /// Taken before any cell: shared to use what is on record, exclusively to move it.
    layout: RwLock<Layout>,
    /// Whether anything was ever cut.
    cut: AtomicBool,
    sequences: Vec<AtomicU64>,
    cells: Vec<Mutex<Cell>>,
}

impl History {
    /// A history in which nothing has happened.
    ///
    /// # Errors
    /// If the length cannot be covered, or length or cell is no multiple of a word.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { len, cell, .. } = config;
        if len % WORD != 0 || cell % WORD != 0 || cell == 0 {
            return Err(Error::Unaligned { offset: 0, len });
        }
        if len == 0 || len / WORD > u64::from(u32::MAX) {
            return Err(Error::Geometry(len));
        }
        let tag = match config.initial {
            Initial::Hole => Tag::HOLE,
            Initial::Pattern => Tag::INITIAL,
        };
        let filled = config.size.unwrap_or(len).min(len) / WORD * WORD;
        let initial = Record::new(tag, 0, Mode::Buffered, 0..filled / WORD, 0);
        initial.finish(Outcome::Done(filled), 0);
        let beyond = Record::new(Tag::HOLE, 0, Mode::Buffered, filled / WORD..len / WORD, 0);
        beyond.finish(Outcome::Done(len - filled), 0);
        let (initial, beyond) = (Arc::new(initial), Arc::new(beyond));
        let count = len.div_ceil(cell);
        Ok(Self {
            key: Key::new(config.run, config.file),
            zones: Zones::new(len, config.granule.max(WORD)),
            foreign: config
                .others
                .iter()
                .map(|(file, len)| (Key::new(config.run, *file), *len))
                .collect(),
            clock: Clock::default(),
            readers: Readers::new(config.readers),
            sizes: config.size.map(Sizes::new),
            layout: RwLock::default(),
            cut: AtomicBool::new(false),
            sequences: (0..=config.writers).map(|_| AtomicU64::new(0)).collect(),
            cells: (0..count)
                .map(|nth| {
                    let words = cell_words(&config, nth as usize);
                    Mutex::new(Cell::new([&initial, &beyond], &words))
                })
                .collect(),
            config,
        })
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.config.len
    }

    /// Its length before the race.
    pub fn initial_size(&self) -> u64 {
        self.config.size.unwrap_or(self.config.len)
    }

    /// The word that the file holds at a place before the race.
    pub fn initial_word(&self, place: u64) -> u64 {
        match self.config.initial {
            Initial::Hole => 0,
            Initial::Pattern => self.key.encode(Tag::INITIAL, place),
        }
    }

    /// Produces the content at the beginning, from `offset` on.
    pub fn fill_initial(&self, offset: u64, out: &mut [u64]) {
        match self.config.initial {
            Initial::Hole => out.fill(0),
            Initial::Pattern => self.key.fill(Tag::INITIAL, offset / WORD, out),
        }
    }

    /// Announces a write, before it is handed to the kernel.
    ///
    /// # Errors
    /// If the range or the writer's number is outside what the history was made for.
    pub fn begin_write(
        &self,
        writer: u8,
        mode: Mode,
        offset: u64,
        len: u64,
    ) -> Result<Write, Error> {
        let words = self.words(offset, len)?;
        if writer == 0 || writer > self.config.writers {
            return Err(Error::Writer(writer));
        }
        let sequence = self.sequences[usize::from(writer)].fetch_add(1, Ordering::SeqCst) + 1;
        let tag = Tag::new(writer, sequence);
        self.zones.touch(mode, offset, len);
        let layout = self.layout();
        let start = self.clock.tick();
        // A store never makes a file longer.
        if let Some(sizes) = self.sizes.as_ref().filter(|_| mode != Mode::Mmap) {
            self.zones.touch_edge(offset + len);
            sizes.begin_write(start, offset + len, || self.readers.horizon(&self.clock));
        }
        let record = Arc::new(Record::new(tag, sequence, mode, words, start));
        self.add(&record, &layout);
        drop(layout);
        let key = self.key;
        Ok(Write { record, key })
    }

    /// Puts a new record into the cells that it touches.
    fn add(&self, record: &Arc<Record>, layout: &Layout) {
        let mut horizon = None;
        for nth in self.cells_of(&record.words) {
            self.lock(nth).add(record, &self.cell_words(nth), || {
                let now = || layout.horizon(self.readers.horizon(&self.clock));
                *horizon.get_or_insert_with(now)
            });
        }
    }

    /// Records how a write ended, after its completion was seen.
    pub fn end_write(&self, write: &Write, outcome: Outcome) {
        let end = self.clock.tick();
        let record = &write.record;
        match &self.sizes {
            // A store behind the end of the file disappears without a word.
            Some(sizes)
                if record.mode == Mode::Mmap
                    && sizes.least(record.start, end) < record.words.end * WORD =>
            {
                record.finish(Outcome::Failed, end);
            }
            Some(sizes) => {
                record.finish(outcome, end);
                let good = record.acknowledged();
                let floor = if good.is_empty() { 0 } else { good.end * WORD };
                sizes.end_write(record.start, end, floor);
            }
            None => record.finish(outcome, end),
        }
    }

    /// Announces a change, before it is handed to the kernel. While a collapse or an insertion is
    /// under way there must be no other change.
    ///
    /// # Errors
    /// If its range does not consist of words.
    pub fn begin_change(&self, change: Change) -> Result<Changing, Error> {
        let range = change.range();
        let len = range.end - range.start;
        if range.start % WORD != 0 || (range.end != u64::MAX && len % WORD != 0) {
            let offset = range.start;
            return Err(Error::Unaligned { offset, len });
        }
        let limit = self.config.len / WORD;
        let moves = change.shift(limit).is_some();
        let mut layout = self.layout.write().unwrap_or_else(PoisonError::into_inner);
        let start = self.clock.tick();
        if moves {
            layout.begin(start);
            self.zones.spread();
        }
        self.zones.touch_edge(range.start);
        self.zones.touch_edge(range.end);
        if let Some(sizes) = &self.sizes {
            sizes.begin_change(change, start, || self.readers.horizon(&self.clock));
        }
        self.cut.store(true, Ordering::Relaxed);
        let record = Arc::new(Record::cut(change, change.cut(limit), start));
        self.add(&record, &layout);
        Ok(Changing { record, change })
    }

    /// Records how a change ended.
    pub fn end_change(&self, changing: &Changing, how: Changed) {
        let Changing { record, change } = changing;
        let mut layout = self.layout.write().unwrap_or_else(PoisonError::into_inner);
        let end = self.clock.tick();
        if how == Changed::Refused {
            for nth in self.cells_of(&record.words) {
                self.lock(nth).forget(record);
            }
        }
        record.finish(
            match how {
                Changed::Done => Outcome::Done(self.config.len),
                Changed::Refused | Changed::Failed => Outcome::Failed,
            },
            end,
        );
        if let Some(sizes) = &self.sizes {
            sizes.end_change(*change, record.start, end, how);
        }
        let Some(shift) = change.shift(self.config.len / WORD) else {
            return;
        };
        if how == Changed::Done {
            let mut cells: Vec<_> = (0..self.cells.len()).map(|nth| self.lock(nth)).collect();
            layout::shift(&mut cells, &shift, record, |nth| self.cell_words(nth));
        }
        layout.end(end, how == Changed::Failed);
    }

    /// Announces a read, before it is handed to the kernel. `slot` is the caller's until it calls
    /// [`release`](History::release); it must be below [`Config::readers`].
    pub fn begin_read(&self, slot: usize) -> ReadStart {
        let start = self.readers.enter(slot, &self.clock);
        ReadStart { slot, start }
    }

    /// Records that a read has returned.
    pub fn end_read(&self, read: ReadStart) -> Read {
        Read {
            slot: read.slot,
            start: read.start,
            end: self.clock.tick(),
        }
    }

    /// The read has been checked; what it might have seen need not be kept any longer.
    pub fn release(&self, read: &Read) {
        self.readers.leave(read.slot);
    }

    /// The last ordinal handed out.
    pub fn now(&self) -> Ordinal {
        self.clock.now()
    }

    /// Whether all modes must agree on these words once nothing is under way: not where a failed or
    /// short write left them undefined.
    pub fn is_settled(&self, offset: u64, len: u64) -> bool {
        let Ok(words) = self.words(offset, len) else {
            return false;
        };
        let _layout = self.layout();
        self.cells_of(&words).all(|nth| {
            let cell = self.lock(nth);
            !cell
                .live()
                .iter()
                .any(|w| w.record.end() == NEVER || w.is_undefined_in(&words))
        })
    }

    /// Whether there were ever zeroes in the file.
    fn has_holes(&self) -> bool {
        self.sizes.is_some() || self.cut.load(Ordering::Relaxed)
    }

    /// Whether a writer has begun a write with this tag.
    pub(crate) fn issued(&self, tag: Tag) -> bool {
        if tag.writer() == 0 {
            return match self.config.initial {
                Initial::Hole => tag == Tag::HOLE,
                Initial::Pattern => tag == Tag::INITIAL || (tag == Tag::HOLE && self.has_holes()),
            };
        }
        let Some(last) = self.sequences.get(usize::from(tag.writer())) else {
            return false;
        };
        let last = last.load(Ordering::SeqCst);
        last >> Tag::SEQUENCE_BITS != 0
            || (tag.sequence() != 0 && u64::from(tag.sequence()) <= last)
    }

    /// Word range of a byte range.
    pub(crate) fn words(&self, offset: u64, len: u64) -> Result<Range<u64>, Error> {
        if offset % WORD != 0 || len % WORD != 0 || len == 0 {
            return Err(Error::Unaligned { offset, len });
        }
        let limit = self.config.len;
        match offset.checked_add(len) {
            Some(end) if end <= limit => Ok(offset / WORD..end / WORD),
            _ => Err(Error::OutOfRange {
                end: offset.saturating_add(len),
                limit,
            }),
        }
    }

    /// The cells that a range of words touches.
    pub(crate) fn cells_of(&self, words: &Range<u64>) -> Range<usize> {
        let per_cell = self.config.cell / WORD;
        (words.start / per_cell) as usize..words.end.div_ceil(per_cell) as usize
    }

    /// The words of a cell.
    pub(crate) fn cell_words(&self, nth: usize) -> Range<u64> {
        cell_words(&self.config, nth)
    }

    pub(crate) fn layout(&self) -> RwLockReadGuard<'_, Layout> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic elsewhere does not make a list of records wrong.
    pub(crate) fn lock(&self, nth: usize) -> MutexGuard<'_, Cell> {
        self.cells[nth]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn cell_words(config: &Config, nth: usize) -> Range<u64> {
    let per_cell = config.cell / WORD;
    let whole = nth as u64 * per_cell..(nth as u64 + 1) * per_cell;
    overlap(&whole, &(0..config.len / WORD))
}
