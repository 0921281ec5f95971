// SPDX-License-Identifier: GPL-2.0

//! Write-back and invalidation: `rust/vfs/writeback.rs`, `rust/vfs/cache.rs`.

use crate::{
    config::Op,
    machine::{Context, Ran},
    mutant::Mutant,
    property::Property,
    step::Step,
};

impl Context<'_> {
    /// Collects the dirty folios of pages `from..=to`, locking each for that. Integrity write-back
    /// waits for write-back that is under way first; write-back in the background leaves it alone.
    pub(crate) fn flush(&mut self, from: u8, to: u8) -> Ran {
        let background = matches!(self.op(), Op::WriteBack { .. });
        let Some(number) = self.world.cached(from) else {
            return self.flush_next(from, to);
        };
        let folio = *self.folio(number);
        if !folio.dirty {
            if folio.writeback && !background {
                return self.then(&[Step::WaitWriteback(from), Step::Flush(from, to)]);
            }
            return self.flush_next(from, to);
        }
        if folio.lock.is_some() {
            return Ran::Blocked;
        }
        match (folio.writeback, self.way) {
            (false, 0) => self.collect(number, from, to),
            (true, 0) if background => self.flush_next(from, to),
            // Not dirty again when `wait_for_earlier` looked, but when the iterator did.
            (true, 1) if !background => {
                self.lock(number);
                self.say(|| format!("locks page {from}, to wait for its write-back"));
                self.then(&[Step::FlushLocked(from, to)])
            }
            _ => Ran::Blocked,
        }
    }

    pub(crate) fn flush_locked(&mut self, from: u8, to: u8) -> Ran {
        let number = self.world.cached(from).expect("a locked folio stays");
        if self.folio(number).writeback {
            return Ran::Blocked;
        }
        self.collect(number, from, to)
    }

    fn collect(&mut self, number: u8, page: u8, to: u8) -> Ran {
        let me = self.me as u8;
        let keep_locked = self.is(Mutant::WritebackUnderFolioLock);
        let beyond = 2 * page >= self.world.size;
        let folio = self.folio(number);
        folio.dirty = false;
        folio.writeback = !beyond;
        folio.lock = keep_locked.then_some(me);
        self.task().batch |= u8::from(!beyond) << page;
        for task in &mut self.world.tasks {
            if let Some(pte) = task.pte.as_mut().filter(|pte| pte.folio == number) {
                pte.writable = false;
            }
        }
        self.say(|| format!("page {page} is clean, write-protected and under write-back"));
        self.flush_next(page, to)
    }

    fn flush_next(&mut self, page: u8, to: u8) -> Ran {
        if page < to {
            return self.then(&[Step::Flush(page + 1, to)]);
        }
        if self.task().batch != 0 {
            return self.then(&[Step::WriteLower(to)]);
        }
        Ran::Done
    }

    /// Writes what was collected, under the lower inode's lock, and ends its write-back. Pages are
    /// not stable under write-back: what they hold now is what is written.
    pub(crate) fn write_lower(&mut self, to: u8) -> Ran {
        let attempt = self.world.lower_lock.pass(self.me, true);
        if let Err(ran) = self.locked(attempt, Step::WriteLower(to)) {
            return ran;
        }
        let batch = std::mem::take(&mut self.task().batch);
        for page in (0..=to).filter(|page| batch & (1 << page) != 0) {
            let number = self.world.cached(page).expect("write-back keeps a folio");
            let folio = self.folio(number);
            folio.writeback = false;
            let data = folio.data;
            self.write_page(page, data);
            if self.is(Mutant::WritebackUnderFolioLock) {
                self.unlock(number);
            }
        }
        Ran::Done
    }

    fn write_page(&mut self, page: u8, data: [u8; 2]) {
        let whole_blocks = self.is(Mutant::LowerGrows);
        for (half, version) in data.into_iter().enumerate() {
            let word = 2 * page + half as u8;
            if word >= self.world.size && !whole_blocks {
                continue;
            }
            if word >= self.world.lower_size && whole_blocks {
                self.world.lower_size = word + 1;
                self.say(|| format!("the lower file grows to {} words", word + 1));
            } else if word >= self.world.lower_size {
                self.break_promise(Property::Truncation);
            }
            self.world.lower[usize::from(word)] = version;
            self.say(|| format!("lower word {word} becomes version {version}"));
        }
    }

    pub(crate) fn wait_writeback(&mut self, page: u8) -> Ran {
        if self.world.cached_folio(page).is_some_and(|f| f.writeback) {
            return Ran::Blocked;
        }
        Ran::Done
    }

    /// Unmaps and removes the folios of pages `from..=to`; those that are dirty stay.
    pub(crate) fn invalidate(&mut self, from: u8, to: u8) -> Ran {
        let found = self.world.cached_folio(from).filter(|f| !f.hidden);
        let Some(folio) = found.copied() else {
            return self.invalidate_next(from, to);
        };
        if folio.lock.is_some() {
            return Ran::Blocked;
        }
        let number = self.world.cached(from).expect("found above");
        self.lock(number);
        if folio.writeback {
            self.say(|| format!("locks page {from}, to wait for its write-back"));
            return self.then(&[Step::InvalidateLocked(from, to)]);
        }
        self.invalidate_locked(from, to)
    }

    pub(crate) fn invalidate_locked(&mut self, from: u8, to: u8) -> Ran {
        let number = self.world.cached(from).expect("a locked folio stays");
        if self.folio(number).writeback {
            return Ran::Blocked;
        }
        self.world.unmap(number);
        self.unlock(number);
        if self.folio(number).dirty {
            self.task().busy = true;
            self.say(|| format!("page {from} is dirty and stays"));
        } else {
            self.folio(number).cached = false;
            self.say(|| format!("page {from} is unmapped and removed"));
        }
        self.invalidate_next(from, to)
    }

    fn invalidate_next(&mut self, page: u8, to: u8) -> Ran {
        if page < to {
            return self.then(&[Step::Invalidate(page + 1, to)]);
        }
        Ran::Done
    }

    /// Whether the cache has no folio in pages `from..=to`, as far as a lockless look can tell.
    pub(crate) fn is_empty(&self, from: u8, to: u8) -> bool {
        (from..=to).all(|page| self.world.cached_folio(page).is_none_or(|f| f.hidden))
    }

    /// Whether some folio of the pages holds data that a reader may be given.
    pub(crate) fn finds_data(&self, from: u8, to: u8) -> bool {
        (from..=to).any(|page| self.world.cached_folio(page).is_some_and(|f| f.uptodate))
    }
}
