// SPDX-License-Identifier: GPL-2.0

//! Read-write semaphores as the kernel has them: one who waits to write keeps new readers out.

/// A semaphore; tasks are bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RwSem {
    readers: u8,
    writer: u8,
    waiting: u8,
}

/// What became of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The lock is held.
    Taken,
    /// The task queues to write from now on, which is a step of its own.
    Queued,
    /// Nothing happened: the task waits.
    Blocked,
}

impl RwSem {
    /// Tries to take the lock for `task`.
    pub fn take(&mut self, task: usize, exclusive: bool) -> Attempt {
        let me = 1 << task;
        let free = self.writer == 0 && (!exclusive || self.readers == 0);
        if exclusive && free {
            self.writer = me;
            self.waiting &= !me;
            Attempt::Taken
        } else if exclusive && self.waiting & me == 0 {
            self.waiting |= me;
            Attempt::Queued
        } else if !exclusive && free && self.waiting == 0 {
            self.readers |= me;
            Attempt::Taken
        } else {
            Attempt::Blocked
        }
    }

    /// Takes the lock and gives it back: for what is done under it in one step.
    pub fn pass(&mut self, task: usize, exclusive: bool) -> Attempt {
        let attempt = self.take(task, exclusive);
        if attempt == Attempt::Taken {
            self.release(task);
        }
        attempt
    }

    /// Gives the lock back, however it was held.
    pub fn release(&mut self, task: usize) {
        self.readers &= !(1 << task);
        self.writer &= !(1 << task);
    }

    /// Whether anybody holds the lock exclusively.
    pub fn is_exclusive(&self) -> bool {
        self.writer != 0
    }

    /// Whether `task` holds the lock exclusively.
    pub fn is_mine(&self, task: usize) -> bool {
        self.writer == 1 << task
    }
}
