// SPDX-License-Identifier: GPL-2.0

//! Statistics of a mount, which a person can read while it runs.

use kernel::{
    seq_file::SeqFile,
    seq_print,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
    time::Delta, //
};

/// One counter. Its updates are atomic; that is all its readers may rely on.
pub struct Counter(Atomic<i64>);

impl Counter {
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Counts `n` more.
    pub fn add(&self, n: i64) {
        self.0.add(n, Relaxed);
    }

    /// Counts one more.
    pub fn inc(&self) {
        self.add(1);
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a mount.
        pub struct Stats {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Stats {
            /// All zero.
            pub const fn zero() -> Self {
                Self { $($name: Counter::new(),)* }
            }

            /// Prints one line for each counter.
            pub fn show(&self, m: &SeqFile) {
                $(seq_print!(m, "\t{}: {}\n", stringify!($name), self.$name.0.load(Relaxed));)*
            }
        }
    };
}

stats! {
    /// Direct reads.
    dio_reads,
    /// Direct writes.
    dio_writes,
    /// Direct reads and writes that the lower file queued.
    dio_async,
    /// Direct reads and writes that had to write dirty pages back first.
    flushed_before,
    /// Direct writes that had to invalidate cached pages first.
    invalidated_before,
    /// Direct writes whose first invalidation did not succeed.
    invalidate_failures,
    /// Folios with data in them that the second invalidation found. Each is a fault of diofs,
    /// unless `waits_given_up` counts something.
    found_after,
    /// Second invalidations that did not succeed. Each is a fault of diofs.
    after_failures,
    /// Times that a cached access waited for a direct write in flight.
    waits,
    /// The time those waits took, in nanoseconds.
    wait_ns,
    /// Reads and stores that gave up waiting: after a minute, lest they be part of a deadlock, or
    /// overtaken by other direct writes again and again.
    waits_given_up,
    /// Direct writes that went through the cache: those of `dio_busy=sync`, all on a lower file that
    /// has no direct I/O, and splices.
    fallbacks,
}

impl Stats {
    /// Counts one wait and its time.
    pub fn waited(&self, time: Delta) {
        self.waits.inc();
        self.wait_ns.add(time.as_nanos());
    }
}
