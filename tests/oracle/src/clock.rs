// SPDX-License-Identifier: GPL-2.0
//! One global order of events, and how far back anybody still looks.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A point in the global order. Zero is before everything.
pub type Ordinal = u64;

/// The end of something that has not ended.
pub const NEVER: Ordinal = Ordinal::MAX;

/// Hands out ordinals.
///
/// Two events whose ordinals were taken by different threads are ordered as the atomic counter
/// orders them, so `end(x) < start(y)` means that `x` had completed before `y` was submitted.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// The next ordinal; greater than every one handed out before.
    ///
    /// What the caller does next, a store into a mapping for example, nobody sees before the ordinal
    /// is taken: on some processors the counter's new value could otherwise be seen after it.
    pub fn tick(&self) -> Ordinal {
        let ordinal = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        fence(Ordering::SeqCst);
        ordinal
    }

    /// The last ordinal handed out.
    pub fn now(&self) -> Ordinal {
        self.0.load(Ordering::SeqCst)
    }
}

/// The reads that are under way: one slot for each request that may be outstanding.
///
/// The oldest of them is the *horizon*: what was superseded before it can never be legal again,
/// neither for a read under way nor for one to come.
#[derive(Debug)]
pub struct Readers(Vec<AtomicU64>);

impl Readers {
    /// Room for `slots` reads at once.
    pub fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicU64::new(NEVER)).collect())
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.0.len()
    }

    /// Announces a read and takes its start.
    ///
    /// The announcement carries a lower bound and comes before the start is taken: whoever computes
    /// a horizon either sees it, or did so before the start, which is then beyond that horizon.
    pub fn enter(&self, slot: usize, clock: &Clock) -> Ordinal {
        self.0[slot].store(clock.now(), Ordering::SeqCst);
        clock.tick()
    }

    /// The read in `slot` has been checked.
    pub fn leave(&self, slot: usize) {
        self.0[slot].store(NEVER, Ordering::SeqCst);
    }

    /// The horizon: no read under way or to come has a smaller start.
    pub fn horizon(&self, clock: &Clock) -> Ordinal {
        // The clock first: see `enter`.
        let now = clock.now();
        self.0
            .iter()
            .map(|slot| slot.load(Ordering::SeqCst))
            .fold(now, Ordinal::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_horizon_is_the_oldest_read() {
        let clock = Clock::default();
        let readers = Readers::new(2);
        clock.tick();
        assert_eq!(readers.horizon(&clock), 1);
        let first = readers.enter(0, &clock);
        clock.tick();
        readers.enter(1, &clock);
        assert!(readers.horizon(&clock) < first);
        readers.leave(0);
        assert!(readers.horizon(&clock) > first);
        readers.leave(1);
        assert_eq!(readers.horizon(&clock), clock.now());
    }
}
