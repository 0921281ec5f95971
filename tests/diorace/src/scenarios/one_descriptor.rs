// SPDX-License-Identifier: GPL-2.0
//! Many threads, one open file.

use engines::{Advice, Kind as Engine};

use crate::bench::Bench;
use crate::race::plan::{DisturbPlan, Plan, WorkerPlan};
use crate::scenarios::cast::{anywhere, small_sizes};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "one-descriptor",
    title: "writers, readers and fsync on duplicates of one descriptor",
    about: "\
In other scenarios everybody opens the file. Here all direct engines use duplicates (dup(2)) of one open
file, and somebody calls fsync and fdatasync on it all the time; cached readers use duplicates of another.
What belongs to an open file is then shared: its flags, its place in the error sequence, its readahead
window.

xfstests generic/364 (a direct write and fsync on one descriptor locked each other up, or lost the write's
error), without looking at any content there.",
    kind: Kind::Race(plan),
};

fn plan(bench: &Bench<'_>) -> Plan {
    let len = bench.size(1 << 20, 64 << 10, 64 << 10);
    let depth = bench.depth(8);
    let aim = anywhere(&small_sizes(&bench.geometry), len);
    let mut plan = Plan::new(len, 4096);
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, aim.clone(), depth),
        WorkerPlan::write(Engine::URING, aim.clone(), depth),
        WorkerPlan::write(Engine::URING_DEFER, aim.clone(), depth),
        WorkerPlan::write(Engine::DIRECT, aim.clone(), 1),
        WorkerPlan::write(Engine::DIRECT_DSYNC, aim.clone(), 1).pausing(500),
        WorkerPlan::read(Engine::DIRECT, aim.clone(), 1).pausing(200),
        WorkerPlan::read(Engine::BUFFERED, aim.clone(), 1).pausing(200),
        WorkerPlan::read(Engine::URING_BUFFERED, aim.clone(), depth).pausing(500),
        WorkerPlan::read(Engine::MMAP, aim.clone(), 1).pausing(500),
    ];
    for worker in &mut plan.workers {
        worker.together = true;
    }
    plan.extras = vec![WorkerPlan::read(Engine::URING, aim, depth)];
    plan.disturbers = vec![DisturbPlan {
        within: 0..len,
        block: 64 << 10,
        pause: 1000,
        advices: vec![
            Advice::Fsync,
            Advice::Fdatasync,
            Advice::Fsync,
            Advice::DontNeed,
            Advice::WillNeed,
        ],
        together: true,
    }];
    plan
}
