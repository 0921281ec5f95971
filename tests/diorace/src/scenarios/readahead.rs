// SPDX-License-Identifier: GPL-2.0
//! A direct writer with cached readers at its heels.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use engines::{Advice, Kind as Engine};

use crate::bench::Bench;
use crate::race::aim::Aim;
use crate::race::plan::{DisturbPlan, Plan, Start, WorkerPlan};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "readahead",
    title: "direct writers with buffered readers right behind them and readahead in between",
    about: "\
The kernel reads ahead of a sequential reader, into the range that a direct write is changing at that
moment. If what was read ahead stays in the page cache when the write is done, the reader finds old
content after the write was acknowledged.

Writers: page by page with pwrite, in larger blocks with libaio and io_uring, all O_DIRECT. Readers:
buffered and mapped, one block after the other, never ahead of the first writer but close behind it; and
a direct one. The cache is dropped and fetched all the time.

Nobody writes through the cache, so nothing excuses an old value: it is a violation on every file
system.",
    kind: Kind::Race(plan),
};

fn plan(bench: &Bench<'_>) -> Plan {
    let len = bench.size(8 << 20, 1 << 20, 256 << 10);
    let depth = bench.depth(4);
    let page = bench.geometry.page.max(bench.geometry.align);
    let (step, slow) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let march = |block, position: &Arc<AtomicU64>| Aim::March {
        block,
        len,
        position: Arc::clone(position),
    };
    let chase = |block, position: &Arc<AtomicU64>| Aim::Chase {
        block,
        len,
        position: Arc::clone(position),
    };
    let anywhere = Aim::Blocks {
        sizes: vec![page, 64 << 10],
        within: 0..len,
    };
    Plan {
        len,
        cell: 16 << 10,
        workers: vec![
            WorkerPlan::write(Engine::DIRECT, march(page, &step), 1),
            WorkerPlan::write(Engine::LIBAIO, march(64 << 10, &slow), depth),
            WorkerPlan::write(Engine::URING, anywhere.clone(), depth),
            WorkerPlan::read(Engine::BUFFERED, chase(page, &step), 1),
            WorkerPlan::read(Engine::BUFFERED, chase(64 << 10, &slow), 1),
            WorkerPlan::read(Engine::MMAP, chase(page, &step), 1),
            WorkerPlan::read(Engine::DIRECT, anywhere.clone(), 1),
        ],
        extras: vec![
            WorkerPlan::read(Engine::URING_BUFFERED, anywhere.clone(), depth),
            WorkerPlan::read(Engine::BUFFERED, chase(page, &slow), 1),
            WorkerPlan::write(Engine::LIBAIO, anywhere.clone(), depth),
            WorkerPlan::read(Engine::LIBAIO, anywhere, depth),
        ],
        disturbers: vec![DisturbPlan {
            within: 0..len,
            block: 256 << 10,
            pause: 1000,
            advices: Advice::RANGE.to_vec(),
            together: false,
        }],
        start: Start::Filled,
        changers: Vec::new(),
        cloners: 0,
        all_needed: false,
        notes: Vec::new(),
    }
}
