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
        self.0.first_overlap(range).is_some()
    }

    /// Waits until none is, and counts the wait.
    pub fn wait(
        &self,
        stats: &Stats,
        range: ByteRange,
        signals: Signals,
        limit: Option<Jiffies>,
    ) -> Wake {
        let start = Instant::<Monotonic>::now();
        let wake = self.0.wait_clear(range, signals, limit);
        stats.waited(start.elapsed());
        if wake == Wake::TimedOut {
            stats.waits_given_up.inc();
        }
        wake
    }
}
