// SPDX-License-Identifier: GPL-2.0

//! Loads and stores through mappings: `rust/vfs/fault.rs`.

use crate::{
    machine::{Context, Ran},
    mutant::Mutant,
    property::Property,
    registry::Gate,
    step::Step,
    world::{page_words, words_of},
};

impl Context<'_> {
    /// A load; without a mapped page, a fault comes first.
    pub(crate) fn load(&mut self) -> Ran {
        self.begin();
        let Some(pte) = self.task().pte else {
            return self.then(&[Step::SizeCheck, Step::Load]);
        };
        let folio = *self.folio(pte.folio);
        for (half, version) in folio.data.into_iter().enumerate() {
            let word = 2 * usize::from(folio.page) + half;
            self.check_read(word, version, Property::CachedRead);
        }
        Ran::Done
    }

    /// A store; without a page that may be stored to, faults come first.
    pub(crate) fn store(&mut self) -> Ran {
        self.begin();
        let number = match self.writable(Step::Store) {
            Ok(number) => number,
            Err(ran) => return ran,
        };
        for word in words_of(self.words()) {
            self.store_word(number, word);
        }
        self.acknowledge();
        Ran::Done
    }

    /// The folio that the task's mapping may store to; without one, the step is taken `again` after
    /// the faults that bring it.
    pub(crate) fn writable(&mut self, again: Step) -> Result<u8, Ran> {
        match self.task().pte {
            None => Err(self.then(&[Step::SizeCheck, again])),
            Some(pte) if !pte.writable => Err(self.then(&[Step::Mkwrite, again])),
            Some(pte) => Ok(pte.folio),
        }
    }

    /// A store to `word`, which folio `number` holds.
    pub(crate) fn store_word(&mut self, number: u8, word: usize) {
        let version = self.version();
        self.folio(number).data[word % 2] = version;
        self.say(|| format!("stores version {version} to word {word}"));
    }

    /// Locks the folio and asks the registry: the gate may stand as badly as `worst`.
    pub(crate) fn mkwrite(&mut self, worst: Gate) -> Ran {
        // Unmapped meanwhile: the fault is repeated.
        let Some(pte) = self.task().pte else {
            return Ran::Done;
        };
        if self.is_locked(pte.folio) {
            return Ran::Blocked;
        }
        let page = self.folio(pte.folio).page;
        let gate = if self.is(Mutant::MkwriteIgnores) {
            Gate::Open
        } else {
            self.gate(page)
        };
        if gate <= worst {
            self.lock(pte.folio);
            self.say(|| format!("locks page {page}; the gate is {gate:?}"));
            return self.then(&[Step::MkwriteDirty]);
        }
        self.say(|| format!("the gate is {gate:?}: unlocks the folio and waits"));
        if self.is(Mutant::MkwriteWaitsLocked) {
            self.lock(pte.folio);
        }
        let members = self.world.registry.members();
        self.task().seen = gate;
        self.task().waits_for = members;
        self.task().batch = 1 << page;
        self.then(&[Step::MkwriteWait])
    }

    pub(crate) fn mkwrite_dirty(&mut self) -> Ran {
        let me = Some(self.me as u8);
        let locked = self
            .world
            .folios
            .iter()
            .position(|f| f.is_some_and(|f| f.lock == me));
        let number = locked.expect("locked by the step before") as u8;
        self.folio(number).dirty = true;
        self.unlock(number);
        if let Some(pte) = &mut self.task().pte {
            pte.writable = true;
        }
        self.say(|| "the page is dirty and mapped for writing".into());
        Ran::Done
    }

    pub(crate) fn mkwrite_wait(&mut self) -> Ran {
        let page = self.task().batch.trailing_zeros() as u8;
        let (seen, waits_for) = (self.task().seen, self.task().waits_for);
        if self.way == 1 {
            if !self.system.config.limits {
                return Ran::Blocked;
            }
            self.end_wait();
            self.say(|| "the time is up".into());
            return match seen {
                Gate::Closed => self.bus_error(),
                _ => self.mkwrite(Gate::Closing),
            };
        }
        if self.world.registry.gate(page_words(page), waits_for) >= seen {
            return Ran::Blocked;
        }
        self.end_wait();
        self.say(|| "the fault is repeated".into());
        Ran::Done
    }

    fn end_wait(&mut self) {
        let me = Some(self.me as u8);
        for folio in self.world.folios.iter_mut().flatten() {
            folio.lock = folio.lock.filter(|owner| Some(*owner) != me);
        }
        let task = self.task();
        (task.seen, task.waits_for, task.batch) = (Gate::Open, 0, 0);
    }

    fn bus_error(&mut self) -> Ran {
        self.say(|| "SIGBUS".into());
        self.abandon();
        self.task().todo.clear();
        Ran::Done
    }
}
