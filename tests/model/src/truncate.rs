// SPDX-License-Identifier: GPL-2.0

//! Truncation and growth: `rust/fs/page_cache.rs`, `rust/vfs/cache.rs`.
//!
//! The file is cut and grown again at once. What was cut off must then read as zeros: that is the
//! version that the truncation writes.

use crate::{
    machine::{Context, Ran},
    mutant::Mutant,
    property::Property,
    step::Step,
    world::words_of,
};

impl Context<'_> {
    pub(crate) fn truncate_lock(&mut self) -> Ran {
        self.begin();
        let attempt = self.world.inode_lock.take(self.me, true);
        self.locked(attempt, Step::TruncateLock)
            .err()
            .unwrap_or(Ran::Done)
    }

    pub(crate) fn wait_direct(&mut self) -> Ran {
        if self.world.dio_count > 0 && !self.is(Mutant::TruncateDoesNotWait) {
            return Ran::Blocked;
        }
        // To empty a file is too common to write all its data first.
        let (first, last) = self.pages();
        if first == 0 {
            return Ran::Done;
        }
        self.then(&[Step::Flush(first, last)])
    }

    pub(crate) fn cut_size(&mut self) -> Ran {
        let (first, last) = self.pages();
        self.world.size = 2 * first;
        self.world.zeros = self.version();
        self.say(|| format!("the size is {} words", 2 * first));
        let waits: Vec<Step> = (first..=last).map(Step::WaitWriteback).collect();
        self.then(&waits)
    }

    pub(crate) fn cut_lock(&mut self) -> Ran {
        let attempt = self.world.invalidate_lock.take(self.me, true);
        self.locked(attempt, Step::CutLock)
            .err()
            .unwrap_or(Ran::Done)
    }

    pub(crate) fn cut(&mut self, from: u8, to: u8) -> Ran {
        let Some(number) = self.world.cached(from) else {
            return self.cut_next(from, to);
        };
        if self.is_locked(number) {
            return Ran::Blocked;
        }
        self.lock(number);
        if self.folio(number).writeback {
            return self.then(&[Step::CutLocked(from, to)]);
        }
        self.cut_locked(from, to)
    }

    pub(crate) fn cut_locked(&mut self, from: u8, to: u8) -> Ran {
        let number = self.world.cached(from).expect("a locked folio stays");
        if self.folio(number).writeback {
            return Ran::Blocked;
        }
        self.world.unmap(number);
        let folio = self.folio(number);
        (folio.cached, folio.dirty, folio.lock) = (false, false, None);
        self.say(|| format!("page {from} is cut off"));
        self.cut_next(from, to)
    }

    fn cut_next(&mut self, page: u8, to: u8) -> Ran {
        if page < to {
            return self.then(&[Step::Cut(page + 1, to)]);
        }
        if !self.is(Mutant::ShrinkUnderInvalidateLock) {
            self.world.invalidate_lock.release(self.me);
        }
        Ran::Done
    }

    /// The lower file shrinks: what it had there reads as zeros from now on, should it grow.
    pub(crate) fn lower_shrink(&mut self) -> Ran {
        let attempt = self.world.lower_lock.pass(self.me, true);
        if let Err(ran) = self.locked(attempt, Step::LowerShrink) {
            return ran;
        }
        let version = self.version();
        for word in words_of(self.words()) {
            self.world.lower[word] = version;
        }
        self.world.lower_size = self.world.size;
        self.world.invalidate_lock.release(self.me);
        self.say(|| "the lower file is shrunk".into());
        Ran::Done
    }

    pub(crate) fn grow(&mut self) -> Ran {
        let attempt = self.world.lower_lock.pass(self.me, true);
        if let Err(ran) = self.locked(attempt, Step::Grow) {
            return ran;
        }
        if self.world.lower_size > self.world.size {
            self.break_promise(Property::Truncation);
        }
        self.world.lower_size = self.system.config.size;
        self.world.size = self.system.config.size;
        self.say(|| format!("both sizes are {} words again", self.system.config.size));
        Ran::Done
    }
}
