// SPDX-License-Identifier: GPL-2.0
//! One direct and one cached access at a time: what `diorace doctor` tries.

use engines::{Advice, Kind as Engine};

use crate::bench::Bench;
use crate::race::aim::{Aim, Grid};
use crate::race::plan::{DisturbPlan, Plan, Start, WorkerPlan};
use crate::scenarios::{Kind, Scenario};

/// How the two get in each other's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Both write, different bytes of the same pages.
    SamePage,
    /// Both write the same bytes.
    SameBytes,
    /// The direct one writes, the cached one reads.
    CachedReader,
    /// The cached one writes, the direct one reads.
    DirectReader,
}

/// A pairing.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// What to call it.
    pub name: &'static str,
    /// Who goes around the page cache.
    pub direct: Engine,
    /// Who goes through it.
    pub cached: Engine,
    /// What they do.
    pub trouble: Trouble,
}

const fn pair(name: &'static str, direct: Engine, cached: Engine, trouble: Trouble) -> Pair {
    Pair {
        name,
        direct,
        cached,
        trouble,
    }
}

/// Every pairing.
pub static PAIRS: [Pair; 17] = {
    use Trouble::{CachedReader, DirectReader, SameBytes, SamePage};
    const P: Engine = Engine::DIRECT;
    const A: Engine = Engine::LIBAIO;
    const U: Engine = Engine::URING;
    const B: Engine = Engine::BUFFERED;
    const M: Engine = Engine::MMAP;
    [
        pair(
            "direct pwrite beside pwrite to other bytes of the page",
            P,
            B,
            SamePage,
        ),
        pair(
            "direct libaio write beside pwrite to other bytes of the page",
            A,
            B,
            SamePage,
        ),
        pair(
            "direct io_uring write beside pwrite to other bytes of the page",
            U,
            B,
            SamePage,
        ),
        pair(
            "direct pwrite beside mmap stores to other bytes of the page",
            P,
            M,
            SamePage,
        ),
        pair(
            "direct libaio write beside mmap stores to other bytes of the page",
            A,
            M,
            SamePage,
        ),
        pair(
            "direct io_uring write beside mmap stores to other bytes of the page",
            U,
            M,
            SamePage,
        ),
        pair(
            "direct pwrite beside pwrite to the same bytes",
            P,
            B,
            SameBytes,
        ),
        pair(
            "direct libaio write beside pwrite to the same bytes",
            A,
            B,
            SameBytes,
        ),
        pair(
            "direct io_uring write beside pwrite to the same bytes",
            U,
            B,
            SameBytes,
        ),
        pair("read of what a direct pwrite changes", P, B, CachedReader),
        pair(
            "read of what a direct libaio write changes",
            A,
            B,
            CachedReader,
        ),
        pair(
            "read of what a direct io_uring write changes",
            U,
            B,
            CachedReader,
        ),
        pair(
            "mmap load of what a direct pwrite changes",
            P,
            M,
            CachedReader,
        ),
        pair(
            "mmap load of what a direct libaio write changes",
            A,
            M,
            CachedReader,
        ),
        pair(
            "mmap load of what a direct io_uring write changes",
            U,
            M,
            CachedReader,
        ),
        pair("direct read of what pwrite changes", P, B, DirectReader),
        pair("direct read of what mmap stores change", P, M, DirectReader),
    ]
};

/// The pairing of that name.
pub fn find(name: &str) -> Option<&'static Pair> {
    PAIRS.iter().find(|pair| pair.name == name)
}

/// The pairings as scenarios.
pub fn scenarios() -> Vec<Scenario> {
    let all = PAIRS.iter().map(|pair| Scenario {
        name: pair.name,
        title: pair.name,
        about: pair.name,
        kind: Kind::Race(plan),
    });
    all.collect()
}

/// Pages whose bytes the two share.
const LEN: u64 = 256 << 10;

fn plan(bench: &Bench<'_>) -> Plan {
    let Some(pair) = find(bench.scenario) else {
        return plan_of(&PAIRS[0], bench);
    };
    plan_of(pair, bench)
}

fn plan_of(pair: &Pair, bench: &Bench<'_>) -> Plan {
    let unit = bench.geometry.align;
    let page = bench.geometry.page.max(unit);
    let any = Aim::Blocks {
        sizes: vec![page, 4 * page],
        within: 0..LEN,
    };
    let own = |nth| Aim::Slots {
        grids: vec![Grid {
            base: nth * unit,
            stride: 2 * unit,
            count: LEN / (2 * unit),
            len: unit,
        }],
        grain: None,
    };
    let (direct, cached) = (pair.direct, pair.cached);
    let depth = bench.depth(8);
    let read = |engine, pause| WorkerPlan::read(engine, any.clone(), 1).pausing(pause);
    let workers = match pair.trouble {
        Trouble::SamePage => vec![
            WorkerPlan::write(direct, own(0), depth),
            WorkerPlan::write(cached, own(1), 1).pausing(50),
            read(Engine::BUFFERED, 500),
            read(Engine::DIRECT, 1000),
        ],
        Trouble::SameBytes => vec![
            WorkerPlan::write(direct, any.clone(), depth),
            WorkerPlan::write(cached, any.clone(), 1).pausing(50),
            read(Engine::BUFFERED, 500),
            read(Engine::DIRECT, 1000),
        ],
        Trouble::CachedReader => {
            vec![
                WorkerPlan::write(direct, any.clone(), depth),
                read(cached, 50),
                read(cached, 200),
            ]
        }
        Trouble::DirectReader => vec![
            WorkerPlan::write(cached, any.clone(), 1).pausing(50),
            read(direct, 0),
        ],
    };
    Plan {
        len: LEN,
        cell: unit.min(4096),
        workers,
        extras: Vec::new(),
        start: Start::Filled,
        changers: Vec::new(),
        cloners: 0,
        all_needed: true,
        notes: Vec::new(),
        disturbers: vec![DisturbPlan {
            within: 0..LEN,
            block: 64 << 10,
            pause: 5000,
            advices: Advice::RANGE.to_vec(),
            together: false,
        }],
    }
}
