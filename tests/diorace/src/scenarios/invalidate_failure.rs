// SPDX-License-Identifier: GPL-2.0
//! The race of 2007.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::aim::Aim;
use crate::race::plan::{Plan, Start, WorkerPlan};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "invalidate-failure",
    title: "large asynchronous direct writes against buffered writes and stores of the same bytes",
    about: "\
The race of 2007. A direct write invalidates the page cache when it is done. If somebody has dirtied
the pages again meanwhile, by a buffered write or by a store through a mapping, the invalidation fails;
the kernels of that time then put the error in the place of \"queued\", completed the request a second
time, and crashed.

Writers: libaio and io_uring with O_DIRECT, several large requests outstanding, and a buffered writer,
and a writer by mmap with smaller blocks, all at random places of one file. Readers: buffered, direct
and mapped, smaller blocks.

On an ordinary filesystem an old value here is a collision: the kernel does not promise that a direct
write survives a buffered writer of the same pages. Where it is promised it is a violation.",
    kind: Kind::Race(plan),
};

/// The least block: all offsets are multiples of it.
const LEAST: u64 = 64 << 10;

fn plan(bench: &Bench<'_>) -> Plan {
    let len = bench.size(32 << 20, 1 << 20, 1 << 20);
    let depth = bench.depth(4);
    let large: Vec<u64> = (20..=23)
        .map(|shift| 1u64 << shift)
        .filter(|n| *n * 2 <= len)
        .collect();
    let large = if large.is_empty() {
        vec![len / 2]
    } else {
        large
    };
    let writes = Aim::Blocks {
        sizes: large,
        within: 0..len,
    };
    let small = Aim::Blocks {
        sizes: vec![LEAST, 4 * LEAST],
        within: 0..len,
    };
    Plan {
        len,
        cell: LEAST,
        workers: vec![
            WorkerPlan::write(Engine::LIBAIO, writes.clone(), depth),
            WorkerPlan::write(Engine::URING, writes.clone(), depth),
            WorkerPlan::write(Engine::BUFFERED, writes.clone(), 1),
            WorkerPlan::write(Engine::MMAP, small.clone(), 1),
            WorkerPlan::read(Engine::BUFFERED, small.clone(), 1),
            WorkerPlan::read(Engine::DIRECT, small.clone(), 1),
            WorkerPlan::read(Engine::MMAP, small.clone(), 1),
        ],
        extras: vec![
            WorkerPlan::write(Engine::URING_BUFFERED, writes.clone(), depth),
            WorkerPlan::read(Engine::URING, small.clone(), depth),
            WorkerPlan::write(Engine::DIRECT, writes, 1),
            WorkerPlan::read(Engine::LIBAIO, small, depth),
        ],
        disturbers: Vec::new(),
        start: Start::Filled,
        changers: Vec::new(),
        cloners: 0,
        all_needed: false,
        notes: Vec::new(),
    }
}
