// SPDX-License-Identifier: GPL-2.0
//! All engines at once.

use engines::{Advice, Kind as Engine};
use oracle::Mode;

use crate::bench::Bench;
use crate::race::aim::{Aim, Grid};
use crate::race::plan::{DisturbPlan, Mix, Plan, Way, WorkerPlan, mode};
use crate::scenarios::cast::{beside_blocks, changer};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "everything",
    title: "every engine in every mode at random on one file, with all adversaries",
    about: "\
One thread for each engine reads and writes at random, of any size from the least that it can to 64 KiB.
The file has four parts, at multiples of the greatest folio (2 MiB where pages have 4 KiB) so that they
share none. To the first only direct writers write, to the second only cached ones; these two must be right
on every filesystem. To the third everybody writes, and to the fourth also somebody who punches and zeroes
whole blocks. Readers of every mode read all of it; others drop, fetch and write back the cache by every
advice the kernel takes, and sync.

In the third and fourth part an old value is a collision on a filesystem that does not promise otherwise.
Where it is promised it is a violation.",
    kind: Kind::Race(plan),
};

/// Parts of the file.
const PARTS: u64 = 4;

/// Bytes of each part that are used: few, so that requests meet.
const HOT: u64 = 128 << 10;

/// The longest request.
const LONGEST: u64 = 64 << 10;

fn plan(bench: &Bench<'_>) -> Plan {
    let granule = bench.geometry.granule();
    let len = PARTS * granule;
    let depth = bench.depth(4);
    let align = bench.geometry.bypass;
    let mut plan = Plan::new(len, 4096);
    for (_, kind) in Engine::ALL {
        // What is appended has no place of its own in a file that does not grow.
        if !kind.appends() {
            plan.workers.push(worker(*kind, granule, align, depth));
        }
    }
    let look = Aim::Slots {
        grids: (0..PARTS).map(|nth| part(nth, granule)).collect(),
        grain: Some(bench.geometry.page.max(align)),
    };
    for kind in [Engine::BUFFERED, Engine::DIRECT, Engine::MMAP] {
        plan.workers
            .push(WorkerPlan::read(kind, look.clone(), 1).pausing(500));
    }
    plan.extras = vec![WorkerPlan::read(Engine::URING, look, depth)];
    let all = 0..len;
    plan.disturbers = vec![
        DisturbPlan {
            within: all.clone(),
            block: granule / 2,
            pause: 2000,
            advices: Advice::RANGE.to_vec(),
            together: false,
        },
        // These cost everybody much.
        DisturbPlan {
            within: all,
            block: len,
            pause: 500_000,
            advices: Advice::ALL.to_vec(),
            together: false,
        },
    ];
    // What lies beside a hole in its page is for `punch-edge`: not every filesystem leaves it alone.
    let unit = bench.geometry.page.max(bench.geometry.block);
    plan.changers = changer(&[Way::Punch, Way::Zero], HOT, unit, 5000);
    for changer in &mut plan.changers {
        changer.within = 3 * granule..3 * granule + HOT;
        changer.most = LONGEST / unit;
        changer.optional = true;
    }
    plan
}

fn part(nth: u64, granule: u64) -> Grid {
    Grid {
        base: nth * granule,
        stride: LONGEST,
        count: HOT / LONGEST,
        len: LONGEST,
    }
}

fn worker(kind: Engine, granule: u64, align: u64, depth: usize) -> WorkerPlan {
    let (own, grain): (&[u64], u64) = match mode(kind) {
        Mode::Direct => (&[0, 2, 3], align),
        Mode::Buffered | Mode::Mmap => (&[1, 2, 3], 8),
        // Nobody can tell whether it was direct.
        Mode::Either => (&[2, 3], align),
    };
    let grids = own.iter().map(|nth| part(*nth, granule));
    let aim = match kind {
        Engine::COPY_RANGE => beside_blocks(grids),
        _ => Aim::Slots {
            grids: grids.collect(),
            grain: Some(grain),
        },
    };
    let depth = if kind.is_async() { depth } else { 1 };
    WorkerPlan::both(kind, aim, depth, Mix::Random).pausing(1000)
}
