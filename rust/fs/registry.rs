// SPDX-License-Identifier: GPL-2.0

//! The in-flight registry: which ranges of a file have a direct write in flight.
//!
//! While a range is registered, no folio that intersects it gets data in the page cache, and none
//! is made dirty; what was there before, the direct write empties out before it submits. It enters
//! its range, and only then flushes and invalidates the cache; whoever brings a folio in, or dirties
//! one, has it in the cache and locked, and only then asks. So either the one sees the registration,
//! or the other finds the folio and waits for its lock. Both sides have a full barrier in between
//! ([`crate::vfs::range_set`]).

use super::stats::Stats;
use crate::vfs::{
    range_set::{
        ByteRange,
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

    /// Whether a direct write is in flight over some byte of `range`.
    pub fn in_flight(&self, range: ByteRange) -> bool {
        self.0.overlaps(range)
    }

    /// Waits until none is of those that are now, and counts the wait.
    ///
    /// With a limit, direct writes that have come in meanwhile are waited for as well, but not for
    /// ever.
    pub fn wait(
        &self,
        stats: &Stats,
        range: ByteRange,
        signals: Signals,
        limit: Option<Jiffies>,
    ) -> Wake {
        let start = Instant::<Monotonic>::now();
        let wake = self.wait_rounds(range, signals, limit);
        stats.waited(start.elapsed());
        if matches!(wake, Wake::TimedOut | Wake::Overtaken) {
            stats.waits_given_up.inc();
        }
        wake
    }

    fn wait_rounds(&self, range: ByteRange, signals: Signals, limit: Option<Jiffies>) -> Wake {
        for _ in 0..ROUNDS {
            let wake = self.0.wait_clear(range, signals, limit);
            if wake != Wake::Ready || limit.is_none() || !self.in_flight(range) {
                return wake;
            }
        }
        Wake::Overtaken
    }
}
