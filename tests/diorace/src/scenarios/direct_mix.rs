// SPDX-License-Identifier: GPL-2.0
//! Nothing but direct I/O, as fast as it goes.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::aim::Aim;
use crate::race::plan::{Mix, Plan, Start, WorkerPlan};
use crate::scenarios::{Kind, Scenario};

const ABOUT: &str = "\
One thread with one direct engine and 32 requests outstanding, half of them reads and half writes, one
block each at random places. Nobody uses the page cache, so every word is in the strict zone on every
filesystem; and as the load is the one that fio makes with --rw=randrw --direct=1 --iodepth=32, the
operations a second beside fio's show what writing and judging each word costs.";

pub static LIBAIO: Scenario = Scenario {
    name: "direct-mix-libaio",
    title: "random direct reads and writes, 32 outstanding, by libaio",
    about: ABOUT,
    kind: Kind::Race(|bench| plan(bench, Engine::LIBAIO)),
};

pub static URING: Scenario = Scenario {
    name: "direct-mix-uring",
    title: "random direct reads and writes, 32 outstanding, by io_uring",
    about: ABOUT,
    kind: Kind::Race(|bench| plan(bench, Engine::URING)),
};

fn plan(bench: &Bench<'_>, engine: Engine) -> Plan {
    let block = bench.geometry.align.max(4096);
    let len = bench.size(64 << 20, 1 << 20, block);
    let aim = Aim::Blocks {
        sizes: vec![block],
        within: 0..len,
    };
    let worker = WorkerPlan::both(engine, aim, bench.depth(32), Mix::Random).in_plain_memory();
    Plan {
        len,
        cell: block,
        workers: vec![worker.clone()],
        extras: vec![worker],
        disturbers: Vec::new(),
        start: Start::Filled,
        changers: Vec::new(),
        cloners: 0,
        all_needed: false,
        notes: Vec::new(),
    }
}
