// SPDX-License-Identifier: GPL-2.0

//! Bringing data into the cache: reads, readahead and faults, `rust/vfs/fill.rs`.

use crate::{
    config::Op,
    machine::{Context, Ran},
    mutant::Mutant,
    property::Property,
    registry::Gate,
    rwsem::Attempt,
    step::Step,
    world::{Pte, WORDS},
};

impl Context<'_> {
    /// The page that is read, or faulted on.
    fn wanted(&self) -> u8 {
        match self.op() {
            Op::DirectWrite { buffer, .. } | Op::DirectRead { buffer, .. } => {
                buffer.unwrap_or_default()
            }
            _ => self.pages().0,
        }
    }

    fn is_read(&self) -> bool {
        matches!(self.op(), Op::Read { .. })
    }

    /// A read or fault begins, unless it is beyond the end of the file. The size can be another
    /// one when it takes a lock; where it cannot, the two are one step.
    pub(crate) fn size_check(&mut self) -> Ran {
        self.begin();
        if 2 * self.wanted() >= self.world.size {
            return self.beyond_end();
        }
        if self.system.config.truncates() {
            return self.then(&[Step::Lookup]);
        }
        self.lookup()
    }

    /// Looks for the folio. One that is up to date is read or mapped; one that is not is locked; if
    /// there is none, one is added, locked. The two latter hold the `invalidate_lock`.
    pub(crate) fn lookup(&mut self) -> Ran {
        let page = self.wanted();
        match self.world.cached(page) {
            Some(number) if self.folio(number).uptodate => self.use_folio(number),
            Some(number) if self.is_locked(number) => Ran::Blocked,
            found => self.look_in_earnest(page, found),
        }
    }

    fn beyond_end(&mut self) -> Ran {
        self.say(|| "beyond the end of the file".into());
        let holds = self.world.lower_lock.is_mine(self.me);
        self.task().todo.clear();
        self.abandon();
        if holds {
            return self.then(&[Step::LowerUnlock]);
        }
        Ran::Done
    }

    fn use_folio(&mut self, number: u8) -> Ran {
        if self.is_read() {
            return self.copy_out(number);
        }
        if self.is_locked(number) {
            return Ran::Blocked;
        }
        if 2 * self.wanted() >= self.world.size {
            return self.beyond_end();
        }
        self.task().pte = Some(Pte {
            folio: number,
            writable: false,
        });
        self.say(|| "the page is mapped, read-only".into());
        Ran::Done
    }

    fn copy_out(&mut self, number: u8) -> Ran {
        let folio = *self.folio(number);
        for (half, version) in folio.data.into_iter().enumerate() {
            let word = 2 * usize::from(folio.page) + half;
            self.check_read(word, version, Property::CachedRead);
        }
        Ran::Done
    }

    fn look_in_earnest(&mut self, page: u8, found: Option<u8>) -> Ran {
        if self.world.invalidate_lock.take(self.me, false) != Attempt::Taken {
            return Ran::Blocked;
        }
        let ahead = found.is_none() && !self.task().read_ahead && self.op().reads_ahead();
        let ask = if ahead {
            Step::ReadaheadGate
        } else {
            Step::ReadFolioGate
        };
        if self.is(Mutant::GateBeforeFolio) {
            self.task().seen = self.gate(page);
            self.say(|| "asks the registry, with no folio yet".into());
            return self.then(&[Step::AddFolio, ask]);
        }
        self.lock_pages(page, found, ahead);
        self.then(&[ask])
    }

    /// The folio is added after the look at the registry (mutant only).
    pub(crate) fn add_folio(&mut self) -> Ran {
        let page = self.wanted();
        let found = self.world.cached(page);
        if let Some(number) = found {
            if self.is_locked(number) {
                return Ran::Blocked;
            }
            if self.folio(number).uptodate {
                self.task().todo.pop();
                return self.look_anew();
            }
        }
        let ahead = self.task().todo.top() == Some(Step::ReadaheadGate);
        self.lock_pages(page, found, ahead);
        Ran::Done
    }

    /// Locks the folio that was found, or adds those that are wanted.
    fn lock_pages(&mut self, page: u8, found: Option<u8>, ahead: bool) {
        let hidden = self.is(Mutant::NoBarrierInGate);
        if let Some(number) = found {
            self.lock(number);
            self.say(|| format!("locks the empty folio of page {page}"));
            self.task().batch = 1 << page;
            return;
        }
        let end = self.world.size.div_ceil(2).max(page + 1);
        let last = if ahead { end } else { page + 1 };
        for page in page..last {
            if self.world.cached(page).is_some() {
                break;
            }
            self.world.add_folio(page, self.me, hidden);
            self.task().batch |= 1 << page;
            self.say(|| format!("adds a locked folio for page {page}"));
        }
        self.task().read_ahead |= ahead;
    }

    fn batch_pages(&mut self) -> impl Iterator<Item = u8> + use<> {
        let batch = self.task().batch;
        (0..WORDS as u8 / 2).filter(move |page| batch & (1 << page) != 0)
    }

    /// How the gate stands over all pages of the batch.
    fn batch_gate(&mut self, ignored: Mutant) -> Gate {
        if self.is(ignored) {
            return Gate::Open;
        }
        if self.is(Mutant::GateBeforeFolio) {
            return self.task().seen;
        }
        let pages: Vec<u8> = self.batch_pages().collect();
        pages
            .into_iter()
            .map(|page| self.gate(page))
            .max()
            .unwrap_or_default()
    }

    fn pass_gate(&mut self) -> Ran {
        self.say(|| "the gate is open".into());
        if self.is(Mutant::NoBarrierInGate) {
            return self.then(&[Step::Drain, Step::Fill, Step::FillDone]);
        }
        self.then(&[Step::Fill, Step::FillDone])
    }

    /// At a gate that is not open, the folios are taken out again.
    pub(crate) fn readahead_gate(&mut self) -> Ran {
        if self.batch_gate(Mutant::ReadaheadIgnores) == Gate::Open {
            return self.pass_gate();
        }
        self.say(|| "the gate is not open: the folios are taken out again".into());
        for page in self.batch_pages() {
            if let Some(number) = self.world.cached(page) {
                self.unlock(number);
                self.folio(number).cached = false;
            }
        }
        self.task().batch = 0;
        self.world.invalidate_lock.release(self.me);
        self.then(&[Step::Lookup])
    }

    /// At a gate that is not open, the folio is unlocked, and the task waits.
    pub(crate) fn read_folio_gate(&mut self) -> Ran {
        let gate = self.batch_gate(Mutant::ReadFolioIgnores);
        if gate == Gate::Open {
            return self.pass_gate();
        }
        self.say(|| format!("the gate is {gate:?}: unlocks the folio and waits"));
        let members = self.world.registry.members();
        let page = self.wanted();
        self.task().seen = gate;
        self.task().waits_for = members;
        self.task().batch = 0;
        let number = self.world.cached(page);
        if let Some(number) = number.filter(|_| !self.is(Mutant::ReadWaitsLocked)) {
            self.unlock(number);
        }
        self.task().held = number.filter(|_| self.system.config.limits);
        self.then(&[Step::ReadWait])
    }

    /// The wait ends when those who were in flight at its beginning are out of the way, or, where a
    /// configuration has limits, when the time is up. Such a limit is much longer than an interrupt.
    pub(crate) fn read_wait(&mut self) -> Ran {
        let page = self.wanted();
        let seen = self.task().seen;
        if self.way == 1 {
            let interrupt = self.world.tasks.iter().any(|task| task.interrupt);
            if !self.system.config.limits || (seen == Gate::Closed && interrupt) {
                return Ran::Blocked;
            }
            self.say(|| "the time is up".into());
            return self.then(&[Step::AfterWait]);
        }
        let waits_for = self.task().waits_for;
        let words = crate::world::page_words(page);
        if self.world.registry.gate(words, waits_for) >= seen {
            return Ran::Blocked;
        }
        if seen == Gate::Closed && self.gate(page) == Gate::Closed {
            self.say(|| "others have closed the gate meanwhile".into());
            if self.system.config.limits {
                return self.then(&[Step::AfterWait]);
            }
            self.task().waits_for = self.world.registry.members();
            return self.then(&[Step::ReadWait]);
        }
        if self.is(Mutant::ReadWaitsLocked) {
            if let Some(number) = self.world.cached(page) {
                self.unlock(number);
            }
        }
        self.look_anew()
    }

    fn look_anew(&mut self) -> Ran {
        self.task().held = None;
        self.task().seen = Gate::Open;
        self.task().waits_for = 0;
        self.world.invalidate_lock.release(self.me);
        self.say(|| "looks anew".into());
        self.then(&[Step::Lookup])
    }

    /// A gate that was closing is passed while it is; one that was closed is passed all the same.
    pub(crate) fn after_wait(&mut self) -> Ran {
        let number = self.task().held.expect("a reference was kept");
        if self.is_locked(number) {
            return Ran::Blocked;
        }
        let folio = *self.folio(number);
        let gate = self.gate(folio.page);
        if !folio.cached || folio.uptodate || gate > self.task().seen {
            return self.look_anew();
        }
        self.lock(number);
        self.world.given_up |= gate == Gate::Closed;
        self.task().batch = 1 << folio.page;
        self.task().held = None;
        self.say(|| format!("locks the folio and fills it though the gate is {gate:?}"));
        self.then(&[Step::Fill, Step::FillDone])
    }

    /// A buffered read of the lower file, under the folio locks.
    pub(crate) fn fill(&mut self) -> Ran {
        if let Err(ran) = self.read_lower(Step::Fill) {
            return ran;
        }
        for page in self.batch_pages() {
            self.fill_page(page);
        }
        Ran::Done
    }

    /// Some lower filesystems read under their inode lock, shared.
    pub(crate) fn read_lower(&mut self, again: Step) -> Result<(), Ran> {
        if !self.system.config.lower_reads_lock {
            return Ok(());
        }
        let attempt = self.world.lower_lock.pass(self.me, false);
        self.locked(attempt, again)
    }

    /// What lies past the end of the file is zeros, whatever the lower file has there still
    /// (`iomap_block_needs_zeroing()`).
    pub(crate) fn fill_page(&mut self, page: u8) {
        let size = match self.is(Mutant::FillsPastEnd) {
            true => u8::MAX,
            false => self.world.size,
        };
        let word = |half: u8| match 2 * page + half {
            word if word < size => self.world.lower[usize::from(word)],
            _ => self.world.zeros,
        };
        let data = [word(0), word(1)];
        let number = self.world.cached(page).expect("a locked folio stays");
        self.folio(number).data = data;
        self.say(|| format!("page {page} is filled with versions {data:?}"));
    }

    pub(crate) fn fill_done(&mut self) -> Ran {
        for page in self.batch_pages() {
            let number = self.world.cached(page).expect("a locked folio stays");
            self.folio(number).uptodate = true;
            self.unlock(number);
            self.say(|| format!("page {page} is up to date and unlocked"));
        }
        self.task().batch = 0;
        self.task().seen = Gate::Open;
        self.task().waits_for = 0;
        self.world.invalidate_lock.release(self.me);
        if self.is_read() {
            let number = self.world.cached(self.wanted()).expect("filled just now");
            return self.copy_out(number);
        }
        self.then(&[Step::Lookup])
    }
}
