// SPDX-License-Identifier: GPL-2.0
//! Several writers, one page, different bytes.

use engines::{Advice, Kind as Engine};

use crate::arena::Geometry;
use crate::bench::Bench;
use crate::race::aim::{Aim, Grid};
use crate::race::plan::{DisturbPlan, Plan, Start, WorkerPlan};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "false-sharing",
    title: "direct writes beside buffered writes and mmap stores to other bytes of the same pages",
    about: "\
Every byte of the file belongs to one writer, so no write may ever be lost; but the page cache knows
only pages. A buffered write or store makes a page dirty as a whole, and when the page is written back
it puts the old content of its other bytes over what a direct write has put there meanwhile. The direct
write was acknowledged, and is gone.

In the first half of the file the places are as small as direct I/O allows (usually 512 bytes, eight
places a page, of which six are written), in the second half they are blocks of the filesystem, which share a page or a folio.
Writers: libaio, io_uring and pwrite with O_DIRECT; pwrite, io_uring and stores through the cache. Readers
in every mode look at whole pages, and the cache is dropped, fetched and written back all the time.

This is what happens to a database beside a backup reader, or to an image file with two users. XFS and
others lose writes here; it is reported as collisions. Where it is promised not to happen it is a
violation.",
    kind: Kind::Race(plan),
};

/// Writers that share the bytes of a page.
const SHARERS: u64 = 8;

fn plan(bench: &Bench<'_>) -> Plan {
    let len = bench.size(256 << 10, 128 << 10, 128 << 10);
    layout(len, bench.depth(8), &bench.geometry)
}

/// The plan for a file of this length.
pub fn layout(len: u64, depth: usize, geometry: &Geometry) -> Plan {
    let Geometry {
        align, block, page, ..
    } = *geometry;
    let half = len / 2;
    let own = |nth: u64| {
        let small = grid(0, half, align, nth);
        let large = grid(half, len - half, block, nth);
        [small, large]
            .into_iter()
            .filter(|grid| grid.count > 0)
            .collect::<Vec<_>>()
    };
    let whole = |nth| Aim::Slots {
        grids: own(nth),
        grain: None,
    };
    let parts = |nth| Aim::Slots {
        grids: own(nth),
        grain: Some(8),
    };
    let pages = Aim::Blocks {
        sizes: vec![page.max(align), 4 * page.max(align)],
        within: 0..len,
    };
    Plan {
        len,
        cell: align.min(4096),
        workers: vec![
            WorkerPlan::write(Engine::LIBAIO, whole(0), depth),
            WorkerPlan::write(Engine::BUFFERED, whole(1), 1).pausing(50),
            WorkerPlan::write(Engine::URING, whole(2), depth),
            WorkerPlan::write(Engine::MMAP, parts(3), 1)
                .pausing(200)
                .in_slice(0, 3),
            WorkerPlan::write(Engine::DIRECT, whole(4), 1),
            WorkerPlan::write(Engine::URING_BUFFERED, parts(5), depth).in_slice(1, 3),
            WorkerPlan::read(Engine::BUFFERED, pages.clone(), 1).pausing(500),
            WorkerPlan::read(Engine::DIRECT, pages.clone(), 1).pausing(2000),
            WorkerPlan::read(Engine::MMAP, pages.clone(), 1).pausing(1000),
        ],
        extras: vec![
            WorkerPlan::write(Engine::LIBAIO, whole(6), depth),
            WorkerPlan::write(Engine::BUFFERED, parts(7), 1),
            WorkerPlan::read(Engine::URING, pages.clone(), depth),
            WorkerPlan::read(Engine::LIBAIO, pages, depth),
        ],
        disturbers: vec![DisturbPlan {
            within: 0..len,
            block: (64 << 10).min(half),
            pause: 20_000,
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

/// Every eighth place of size `unit` in a part of the file.
fn grid(base: u64, len: u64, unit: u64, nth: u64) -> Grid {
    Grid {
        base: base + nth * unit,
        stride: SHARERS * unit,
        count: len / (SHARERS * unit),
        len: unit,
    }
}
