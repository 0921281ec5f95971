// SPDX-License-Identifier: GPL-2.0

//! The in-flight registry: which ranges of a file have a direct write in flight.
//!
//! A direct write registers its range as *closed*. While it is, no folio that intersects it gets
//! data in the page cache, and none is made dirty. The direct write registers, and only then looks
//! at the cache; whoever brings a folio in, or dirties one, has it in the cache and locked, and only
//! then asks. So either the one sees the registration, or the other sees the folio. Both sides have
//! a full barrier in between ([`crate::vfs::range_set`]).
//!
//! If there is something in the cache, the direct write opens the range halfway, to *closing*, for
//! the time that it takes to write back and to invalidate, closes it again, and looks again. Others
//! step aside at a closing range, but only for a while: the direct write may be waiting for the
//! lower file's `i_rwsem`, and they may hold it, having opened the lower file directly with a buffer
//! mapped from the upper one.

use super::stats::Stats;
use crate::vfs::{
    range_set::{
        ByteRange,
        Gate,
        RangeSet, //
    },
    wait::{
        Signals,
        Wake, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        Instant,
        Jiffies,
        Monotonic, //
    },
};

/// How often one who waits with a limit lets direct writes that came later go first.
const ROUNDS: usize = 64;

/// The registry of one file.
pub struct Registry(Arc<RangeSet>);

impl Registry {
    /// An empty registry.
    pub fn new() -> Result<Self> {
        RangeSet::new().map(Self)
    }

    /// The set that direct writes enter their ranges into.
    pub fn set(&self) -> &Arc<RangeSet> {
        &self.0
    }

    /// Whether a direct write is in flight over some byte of `range`, or about to be.
    pub fn gate(&self, range: ByteRange) -> Gate {
        self.0.gate(range)
    }

    /// Waits until the gate stands better than `gate`, as far as it is up to the direct writes that
    /// are in flight now, and counts the wait.
    ///
    /// One who waits with a limit for a closed gate waits for direct writes that have come in
    /// meanwhile as well, but not for ever.
    pub fn wait(
        &self,
        stats: &Stats,
        gate: Gate,
        range: ByteRange,
        signals: Signals,
        limit: Option<Jiffies>,
    ) -> Wake {
        let start = Instant::<Monotonic>::now();
        let wake = match (gate, limit) {
            (Gate::Closed, Some(limit)) => self.wait_rounds(range, signals, limit),
            _ => self.0.wait_better(gate, range, signals, limit),
        };
        stats.waited(start.elapsed());
        if wake.gave_up(gate) {
            stats.waits_given_up.inc();
        }
        wake
    }

    fn wait_rounds(&self, range: ByteRange, signals: Signals, limit: Jiffies) -> Wake {
        for _ in 0..ROUNDS {
            let wake = self
                .0
                .wait_better(Gate::Closed, range, signals, Some(limit));
            if wake != Wake::Ready || self.gate(range) != Gate::Closed {
                return wake;
            }
        }
        Wake::Overtaken
    }
}
