// SPDX-License-Identifier: GPL-2.0
//! Files that share blocks.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::plan::{Plan, WorkerPlan};
use crate::scenarios::cast::{adversary, anywhere, more_readers, readers, small_sizes};
use crate::scenarios::{Kind, Scenario};

pub static WHOLE: Scenario = Scenario {
    name: "cow-race",
    title: "a file cloned again and again (FICLONE) under direct writes and reads of whole blocks",
    about: "\
Asynchronous and synchronous direct writers overwrite whole blocks of a file while somebody clones it, so
that their blocks are shared from one moment to the next and have to be copied on write. A clone must hold
for each word what was legal while it was made, and must never change afterwards; the file itself is held
to the usual rules. Cached writers stay away, so nothing is excused.

xfstests generic/463 (overlapping asynchronous writes to shared blocks), generic/165 to 170 (cloning
against direct I/O), without comparing any content there. Filesystems that cannot share blocks are skipped.",
    kind: Kind::Race(|bench| {
        let unit = bench.geometry.block.max(bench.geometry.page);
        plan(bench, &[unit, 4 * unit], false)
    }),
};

pub static PARTS: Scenario = Scenario {
    name: "cow-sub-block",
    title: "the same with direct writes smaller than a block",
    about: "\
As cow-race, with writes down to the least that direct I/O takes. A part of a shared block cannot be
overwritten in place: the rest of it has to be copied. A filesystem may turn such a write into one through
the cache, without a word; then there are cached writers beside direct ones although everybody asked for
O_DIRECT, and what follows is a collision where nobody promises otherwise. XFS does so: of the writes of
this scenario, with O_DIRECT all of them, some get lost within a second.",
    kind: Kind::Race(|bench| plan(bench, &small_sizes(&bench.geometry), true)),
};

fn plan(bench: &Bench<'_>, sizes: &[u64], may_fall_back: bool) -> Plan {
    let len = bench.size(512 << 10, 64 << 10, 64 << 10);
    let depth = bench.depth(8);
    let aim = anywhere(sizes, len);
    let mut plan = Plan::new(len, 4096);
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, aim.clone(), depth),
        WorkerPlan::write(Engine::URING, aim.clone(), depth),
        WorkerPlan::write(Engine::DIRECT, aim.clone(), 1),
    ];
    for worker in &mut plan.workers {
        worker.may_fall_back = may_fall_back;
    }
    plan.workers.extend(readers(&aim, depth));
    plan.extras = more_readers(&aim, depth);
    plan.disturbers = adversary(len);
    plan.cloners = 1;
    plan
}
