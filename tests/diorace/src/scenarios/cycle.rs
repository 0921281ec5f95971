// SPDX-License-Identifier: GPL-2.0
//! A file that is rewritten round and round under buffered readers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::aim::Aim;
use crate::race::plan::{Plan, WorkerPlan};
use crate::scenarios::cast::{adversary, anywhere};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "cycle-write",
    title: "a whole file rewritten by asynchronous direct I/O while many read it through the cache",
    about: "\
One thread rewrites the file from beginning to end, over and over, with several libaio requests
outstanding; four buffered readers and a mapped one read it at random and bring the old content back into
the cache at the worst moment.

Until 332391a9935d (2017) the completion of an asynchronous direct write did not invalidate what a reader
had cached meanwhile, and the old content stayed (xfstests generic/451, aio-dio-cycle-write). Nobody
writes through the cache: an old value is a violation everywhere.",
    kind: Kind::Race(plan),
};

fn plan(bench: &Bench<'_>) -> Plan {
    let len = bench.size(640 << 10, 128 << 10, 64 << 10);
    let depth = bench.depth(4);
    let march = Aim::March {
        block: 64 << 10,
        len,
        position: Arc::new(AtomicU64::new(0)),
    };
    let page = bench.geometry.page;
    let look = anywhere(&[page, 64 << 10], len);
    let mut plan = Plan::new(len, 16 << 10);
    plan.workers = vec![WorkerPlan::write(Engine::LIBAIO, march, depth)];
    for _ in 0..4 {
        plan.workers
            .push(WorkerPlan::read(Engine::BUFFERED, look.clone(), 1).pausing(50));
    }
    plan.workers
        .push(WorkerPlan::read(Engine::MMAP, look.clone(), 1).pausing(200));
    plan.extras = vec![
        WorkerPlan::read(Engine::BUFFERED, look.clone(), 1),
        WorkerPlan::read(Engine::URING_BUFFERED, look, depth),
    ];
    plan.disturbers = adversary(len);
    plan
}
