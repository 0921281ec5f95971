// SPDX-License-Identifier: GPL-2.0
//! Direct writers of the same bytes, nobody else writing.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::plan::{Plan, WorkerPlan};
use crate::scenarios::cast::{anywhere, direct_writers, more_readers, readers, small_sizes};
use crate::scenarios::{Kind, Scenario};

pub static DIRECT: Scenario = Scenario {
    name: "direct-overlap",
    title: "direct writers of the same bytes with readers in every mode",
    about: "\
Several writers with O_DIRECT, synchronous and asynchronous, at random places that overlap; readers
through the cache, around it and through mappings. Overlapping writes may end in any order, so each word
may come from any of them; but it must come from one that is not superseded. Nobody writes through the
cache, so nothing excuses an old value on any filesystem.

It stands for stale cached pages after direct writes: the completion of an asynchronous direct write did
not invalidate the cache until 332391a9935d (2017, xfstests generic/451), and iomap did not at all until
c771c14baa33 (2017, generic/418).",
    kind: Kind::Race(direct),
};

pub static SELF: Scenario = Scenario {
    name: "self-overlap",
    title: "one writer whose own outstanding requests overlap each other",
    about: "\
One thread with libaio and one with io_uring, each in a part of its own, keep many direct writes
outstanding that overlap each other, of different sizes: what overlaps may end in any order, but each word
must come from one of them, and the last one acknowledged before the next was submitted must show.

xfstests generic/463 submits overlapping writes this way to provoke racing completions (it looks for a
crash only).",
    kind: Kind::Race(own),
};

fn direct(bench: &Bench<'_>) -> Plan {
    let len = bench.size(1 << 20, 128 << 10, 64 << 10);
    let depth = bench.depth(8);
    let aim = anywhere(&small_sizes(&bench.geometry), len);
    direct_writers(&aim, depth, len)
}

fn own(bench: &Bench<'_>) -> Plan {
    let len = bench.size(256 << 10, 128 << 10, 128 << 10);
    let depth = bench.depth(32);
    let sizes = small_sizes(&bench.geometry);
    let part = |nth: u64| crate::race::aim::Aim::Blocks {
        sizes: sizes.clone(),
        within: nth * len / 2..(nth + 1) * len / 2,
    };
    let mut plan = Plan::new(len, 4096);
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, part(0), depth),
        WorkerPlan::write(Engine::URING, part(1), depth),
    ];
    let look = anywhere(&sizes, len);
    plan.workers.extend(readers(&look, 4));
    plan.extras = more_readers(&look, 4);
    plan
}
