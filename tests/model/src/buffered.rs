// SPDX-License-Identifier: GPL-2.0

//! Buffered writes: `rust/vfs/buffered.rs`, `rust/fs/file.rs`.

use crate::{
    machine::{Context, Ran},
    mutant::Mutant,
    registry::Gate,
    step::Step,
    world::{page_words, words_of},
};

impl Context<'_> {
    pub(crate) fn write_lock(&mut self) -> Ran {
        self.begin();
        let attempt = self.world.inode_lock.take(self.me, true);
        self.locked(attempt, Step::WriteLock)
            .err()
            .unwrap_or(Ran::Done)
    }

    /// Locks the folio of the page that is written, or adds one, locked.
    pub(crate) fn get_folio(&mut self) -> Ran {
        let (page, _) = self.pages();
        match self.world.cached(page) {
            Some(number) if self.is_locked(number) => return Ran::Blocked,
            Some(number) => {
                self.lock(number);
                self.say(|| format!("locks the folio of page {page}"));
            }
            None => {
                let hidden = self.is(Mutant::NoBarrierInGate);
                self.world.add_folio(page, self.me, hidden);
                self.say(|| format!("adds a locked folio for page {page}"));
            }
        }
        self.task().batch = 1 << page;
        self.then(&[Step::WriteGate])
    }

    /// The gate that a buffered write asks for.
    fn write_gate_stands(&mut self) -> Gate {
        let (page, _) = self.pages();
        match () {
            () if self.is(Mutant::WriteBeginIgnores) => Gate::Open,
            () if self.is(Mutant::WriteGateBeforeLock) => Gate::Open,
            () if self.is(Mutant::GateOfBytes) => self.world.registry.gate(self.words(), u8::MAX),
            () if self.is(Mutant::WriteGateBeforeFolio) => self.task().seen,
            () => self.gate(page),
        }
    }

    /// Asks the registry with no lock held (mutant only).
    fn early_write_gate(&mut self, page: u8) -> Ran {
        self.begin();
        let gate = self.gate(page);
        self.say(|| format!("asks the registry, with no lock yet: the gate is {gate:?}"));
        if gate == Gate::Open {
            return Ran::Done;
        }
        self.task().waits_for = self.world.registry.members();
        self.then(&[Step::WriteWait])
    }

    pub(crate) fn write_gate(&mut self) -> Ran {
        let (page, _) = self.pages();
        if self.is(Mutant::WriteGateBeforeLock) && self.task().batch == 0 {
            return self.early_write_gate(page);
        }
        if self.is(Mutant::WriteGateBeforeFolio) && self.task().batch == 0 {
            self.task().seen = self.gate(page);
            self.say(|| "asks the registry, with no folio yet".into());
            return self.then(&[Step::GetFolio]);
        }
        let gate = self.write_gate_stands();
        if gate == Gate::Open {
            self.say(|| "the gate is open".into());
            return self.go_on(page);
        }
        self.say(|| format!("the gate is {gate:?}: unlocks the folio and waits"));
        let number = self.world.cached(page).expect("a locked folio stays");
        if !self.is(Mutant::WriteWaitsLocked) {
            self.unlock(number);
            self.task().batch = 0;
        }
        self.task().waits_for = self.world.registry.members();
        self.then(&[Step::WriteWait])
    }

    fn go_on(&mut self, page: u8) -> Ran {
        let mut steps = Vec::new();
        steps.extend(self.is(Mutant::NoBarrierInGate).then_some(Step::Drain));
        let whole = self.words() & page_words(page) == page_words(page);
        let number = self.world.cached(page).expect("a locked folio stays");
        if !whole && !self.folio(number).uptodate {
            steps.push(Step::WriteFill);
        }
        steps.push(Step::WriteCopy);
        self.then(&steps)
    }

    /// The wait has no limit: nobody who waits here holds a lock of the lower file.
    pub(crate) fn write_wait(&mut self) -> Ran {
        let (page, _) = self.pages();
        let waits_for = self.task().waits_for;
        if self.world.registry.gate(page_words(page), waits_for) >= Gate::Closing {
            return Ran::Blocked;
        }
        self.task().waits_for = 0;
        let asks_first = self.is(Mutant::WriteWaitsLocked)
            || self.is(Mutant::WriteGateBeforeFolio)
            || self.is(Mutant::WriteGateBeforeLock);
        let next = match asks_first {
            true => Step::WriteGate,
            false => Step::GetFolio,
        };
        self.then(&[next])
    }

    pub(crate) fn write_fill(&mut self) -> Ran {
        if let Err(ran) = self.read_lower(Step::WriteFill) {
            return ran;
        }
        let (page, _) = self.pages();
        self.fill_page(page);
        Ran::Done
    }

    pub(crate) fn write_copy(&mut self) -> Ran {
        let (page, _) = self.pages();
        let (version, words) = (self.version(), self.words());
        let number = self.world.cached(page).expect("a locked folio stays");
        for word in words_of(words) {
            self.folio(number).data[word % 2] = version;
        }
        let folio = self.folio(number);
        (folio.uptodate, folio.dirty, folio.lock) = (true, true, None);
        let task = self.task();
        (task.batch, task.seen) = (0, Gate::Open);
        self.say(|| format!("page {page} gets version {version} and is dirty"));
        Ran::Done
    }
}
