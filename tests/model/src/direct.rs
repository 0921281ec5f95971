// SPDX-License-Identifier: GPL-2.0

//! Direct requests up to their submission: `rust/fs/direct.rs`, `rust/vfs/pin.rs`.

use crate::{
    config::Op,
    machine::{Context, Ran},
    mutant::Mutant,
    property::Property,
    registry::{Gate, Ticket},
    step::Step,
    world::words_of,
};

/// How often the range is emptied while it is closing, and then while it is closed. The code has 16
/// of each; few while closing make the model get to the second kind.
const OPEN_TRIES: u8 = 1;
const CLOSED_TRIES: u8 = 4;

impl Context<'_> {
    /// Whether the request ends behind the end of the file.
    pub(crate) fn extends(&self) -> bool {
        words_of(self.words()).any(|word| word >= usize::from(self.world.size))
    }

    /// A buffer to write from is faulted in for reading.
    pub(crate) fn pin_source(&mut self) -> Ran {
        self.begin();
        let Some(pte) = self.task().pte else {
            return self.then(&[Step::SizeCheck, Step::PinSource]);
        };
        self.task().pin = Some(pte.folio);
        Ran::Done
    }

    /// A buffer to read into is faulted in for writing. Its pages are in a cache, so that they are
    /// let go of again.
    pub(crate) fn pin_target(&mut self) -> Ran {
        self.begin();
        let number = match self.writable(Step::PinTarget) {
            Ok(number) => number,
            Err(ran) => return ran,
        };
        self.task().pin = Some(number);
        if self.bounces() {
            self.say(|| "the buffer is in the cache".into());
            return self.then(&[Step::LetGo]);
        }
        self.then(&[Step::MarkPinned])
    }

    /// Whether a direct read goes to pages of its own first: its buffer is mapped from this file.
    pub(crate) fn bounces(&self) -> bool {
        let buffer = match self.op() {
            Op::DirectRead { buffer, .. } => buffer,
            _ => None,
        };
        buffer.is_some() && !self.is(Mutant::ReadNotBounced)
    }

    /// The pinned buffer of a read: write-back that cleaned it may have taken old content along.
    pub(crate) fn let_go(&mut self) -> Ran {
        let Some(number) = self.task().pin else {
            return Ran::Done;
        };
        if !self.folio(number).dirty {
            if self.is_locked(number) {
                return Ran::Blocked;
            }
            self.folio(number).dirty = true;
            self.say(|| "the buffer is dirty again".into());
        }
        self.task().pin = None;
        Ran::Done
    }

    /// Data that were read go to the mapping: a store like any other, with no lock held.
    pub(crate) fn copy_to(&mut self, half: u8) -> Ran {
        let number = match self.writable(Step::CopyTo(half)) {
            Ok(number) => number,
            Err(ran) => return ran,
        };
        let word = 2 * self.folio(number).page + half;
        self.store_word(number, usize::from(word));
        Ran::Done
    }

    /// Dirties the pinned folio, under its lock and without a look at the registry.
    pub(crate) fn mark_pinned(&mut self) -> Ran {
        let number = self.task().pin.expect("pinned just now");
        if self.is_locked(number) {
            return Ran::Blocked;
        }
        self.folio(number).dirty = true;
        self.say(|| "the buffer is dirty".into());
        Ran::Done
    }

    /// Shared inside the file, exclusive to extend it.
    pub(crate) fn lock_for_write(&mut self) -> Ran {
        self.begin();
        let attempt = self.world.inode_lock.take(self.me, false);
        if let Err(ran) = self.locked(attempt, Step::LockForWrite) {
            return ran;
        }
        if self.extends() {
            self.world.inode_lock.release(self.me);
            self.say(|| "shared does not do".into());
            return self.then(&[Step::LockAlone]);
        }
        self.say(|| "shared".into());
        Ran::Done
    }

    pub(crate) fn lock_alone(&mut self) -> Ran {
        let attempt = self.world.inode_lock.take(self.me, true);
        self.locked(attempt, Step::LockAlone)
            .err()
            .unwrap_or(Ran::Done)
    }

    pub(crate) fn lock_for_read(&mut self) -> Ran {
        self.begin();
        let attempt = self.world.inode_lock.take(self.me, false);
        self.locked(attempt, Step::LockForRead)
            .err()
            .unwrap_or(Ran::Done)
    }

    /// The range becomes a member, closed; a full barrier follows.
    pub(crate) fn enter(&mut self) -> Ran {
        let words = self.words();
        let actor = self.actor();
        let delayed = self.is(Mutant::NoBarrierInEnter);
        self.world.registry.tickets[actor] = Ticket {
            gate: Gate::Closed,
            seen_as: delayed.then_some(Gate::Open),
            words,
            settled: false,
        };
        self.say(|| "the range is closed".into());
        if delayed {
            self.say(|| "no other processor sees it yet".into());
        }
        Ran::Done
    }

    pub(crate) fn drain(&mut self) -> Ran {
        let actor = self.actor();
        self.world.registry.tickets[actor].seen_as = None;
        let me = Some(self.me as u8);
        for folio in self.world.folios.iter_mut().flatten() {
            folio.hidden &= folio.lock != me;
        }
        self.say(|| "the store becomes visible".into());
        Ran::Done
    }

    fn settle(&mut self) -> Ran {
        let actor = self.actor();
        self.world.registry.tickets[actor].settled = true;
        self.task().busy = false;
        self.task().tries = 0;
        self.say(|| "nothing is cached in the range".into());
        Ran::Done
    }

    /// The pages that are flushed and invalidated before.
    fn way(&self) -> (u8, u8) {
        let (first, last) = self.pages();
        match () {
            () if self.is(Mutant::FirstPageOff) => (first + 1, last),
            () if self.is(Mutant::LastPageOff) => (first, last.saturating_sub(1)),
            () => (first, last),
        }
    }

    pub(crate) fn look(&mut self) -> Ran {
        let (first, last) = self.pages();
        if self.is_empty(first, last) {
            return self.settle();
        }
        self.say(|| "there is something in the range".into());
        self.make_way()
    }

    fn make_way(&mut self) -> Ran {
        let (first, last) = self.way();
        let steps = [
            Step::Reopen,
            Step::Flush(first, last),
            Step::Invalidate(first, last),
            Step::WaitLower,
            Step::Close,
            Step::LookAgain,
        ];
        self.then_unless_broken(&steps)
    }

    fn then_unless_broken(&mut self, steps: &[Step]) -> Ran {
        let left_out = |step: &&Step| match step {
            Step::Flush(..) => self.is(Mutant::NoFlushBefore),
            Step::Invalidate(..) => self.is(Mutant::NoInvalidationBefore),
            Step::Close => self.is(Mutant::RangeStaysHalfOpen),
            Step::LookAgain => {
                self.is(Mutant::NoLookAgain) || self.is(Mutant::NoInvalidationBefore)
            }
            _ => false,
        };
        let steps: Vec<Step> = steps
            .iter()
            .filter(|step| !left_out(step))
            .copied()
            .collect();
        self.then(&steps)
    }

    pub(crate) fn reopen(&mut self) -> Ran {
        self.task().busy = false;
        self.set_gate(Gate::Closing)
    }

    pub(crate) fn close(&mut self) -> Ran {
        self.set_gate(Gate::Closed)
    }

    fn set_gate(&mut self, gate: Gate) -> Ran {
        let actor = self.actor();
        self.world.registry.tickets[actor].gate = gate;
        self.say(|| format!("the range is {gate:?}"));
        Ran::Done
    }

    pub(crate) fn wait_lower(&mut self) -> Ran {
        let exclusive = self.extends();
        let attempt = self.world.lower_lock.pass(self.me, exclusive);
        self.locked(attempt, Step::WaitLower)
            .err()
            .unwrap_or(Ran::Done)
    }

    pub(crate) fn look_again(&mut self) -> Ran {
        let (first, last) = self.way();
        let empty = self.is_empty(first, last) || self.is(Mutant::RangeStaysHalfOpen);
        if !self.task().busy && empty {
            return self.settle();
        }
        self.task().tries += 1;
        if self.task().tries < OPEN_TRIES {
            return self.make_way();
        }
        self.task().tries = 0;
        self.empty_closed()
    }

    fn empty_closed(&mut self) -> Ran {
        let (first, last) = self.way();
        self.task().busy = false;
        self.then_unless_broken(&[
            Step::Flush(first, last),
            Step::Invalidate(first, last),
            Step::LookClosed,
        ])
    }

    pub(crate) fn look_closed(&mut self) -> Ran {
        if !self.task().busy {
            return self.settle();
        }
        self.task().tries += 1;
        if self.task().tries < CLOSED_TRIES {
            return self.empty_closed();
        }
        // It gives up with EIO, which the number of tries is there to exclude.
        self.break_promise(Property::BoundedTries);
        self.abandon();
        let actor = self.actor();
        self.world.registry.tickets[actor] = Ticket::default();
        self.world.inode_lock.release(self.me);
        self.task().todo.clear();
        Ran::Done
    }

    pub(crate) fn flush_for_read(&mut self) -> Ran {
        let (first, last) = self.pages();
        let pending = |page| {
            self.world
                .cached_folio(page)
                .is_some_and(|f| f.dirty || f.writeback || f.lock.is_some())
        };
        if !(first..=last).any(pending) || self.is(Mutant::NoFlushForRead) {
            return Ran::Done;
        }
        self.then(&[Step::Flush(first, last)])
    }
}
