// SPDX-License-Identifier: GPL-2.0

//! A task that has opened the *lower* file itself, and reads or writes it with a buffer that is
//! mapped from the upper file: it faults there with the lower inode's lock held.

use crate::{
    machine::{Context, Ran},
    step::Step,
};

impl Context<'_> {
    pub(crate) fn lower_lock(&mut self) -> Ran {
        let attempt = self.world.lower_lock.take(self.me, true);
        self.locked(attempt, Step::LowerLock)
            .err()
            .unwrap_or(Ran::Done)
    }

    pub(crate) fn lower_unlock(&mut self) -> Ran {
        self.world.lower_lock.release(self.me);
        Ran::Done
    }
}
