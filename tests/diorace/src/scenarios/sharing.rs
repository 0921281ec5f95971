// SPDX-License-Identifier: GPL-2.0
//! False sharing at one distance: each writer has places of its own, side by side.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::aim::{Aim, Grid};
use crate::race::plan::{Plan, WorkerPlan};
use crate::scenarios::cast::{adversary, anywhere, more_readers, readers};
use crate::scenarios::{Kind, Scenario};

/// Bytes that a large folio may have, and a page on some machines.
const FOLIO: u64 = 64 << 10;

macro_rules! scenario {
    ($constant:ident, $name:literal, $title:literal, $about:literal, $unit:expr) => {
        pub static $constant: Scenario = Scenario {
            name: $name,
            title: $title,
            about: $about,
            kind: Kind::Race(|bench| {
                let unit: fn(&Bench<'_>) -> u64 = $unit;
                plan(bench, unit(bench))
            }),
        };
    };
}

scenario!(
    SECTOR,
    "sharing-sector",
    "neighbouring sectors of one block, direct beside cached",
    "\
Each writer owns every sixth unit of direct I/O (usually 512 bytes), so that several share a block of the
filesystem and a page of the cache. Writers: libaio, io_uring and pwrite with O_DIRECT; pwrite, io_uring
and stores through the cache.

A direct write smaller than a block must not rewrite the rest of the block from stale memory (xfstests
generic/538 and 551, an ext4 bug of 2019); and a page that is written back as a whole takes old content of
its other bytes with it. The latter is a collision where nobody promises otherwise.",
    |bench| bench.geometry.align
);

scenario!(
    BLOCK,
    "sharing-block",
    "neighbouring blocks of the filesystem, direct beside cached",
    "\
As sharing-sector, with a block of the filesystem (st_blksize) for each writer. Where a block is as
large as a page, the page cache writes nothing back that it was not given, unless it uses larger folios.",
    |bench| bench.geometry.block
);

scenario!(
    PAGE,
    "sharing-page",
    "neighbouring pages, direct beside cached",
    "\
As sharing-sector, with a page for each writer. Writers share nothing but large folios and readahead.
Invalidation works on whole folios, so a direct write beside a dirty page of the same folio can fail to
drop its own pages: then a read through the cache returns old content.",
    |bench| bench.geometry.page.max(bench.geometry.align)
);

scenario!(
    LARGE,
    "sharing-folio",
    "neighbouring 64 KiB, direct beside cached",
    "\
As sharing-sector, with 64 KiB for each writer: the size of a page on some arm64 and ppc64 machines, and
of folios that readahead makes on others. Requests are any part of the 64 KiB that direct I/O takes.",
    |_| FOLIO
);

scenario!(
    TWO_MIB,
    "sharing-2m",
    "neighbouring 2 MiB, direct beside cached",
    "\
As sharing-sector, with 2 MiB for each writer, at multiples of 2 MiB (128 MiB where a page has 64 KiB). No
folio is larger, so the writers share nothing, and nothing excuses an old value: whatever is found is a violation on every filesystem.",
    |bench| bench.geometry.granule()
);

/// Writers side by side.
const SHARERS: u64 = 6;

fn plan(bench: &Bench<'_>, unit: u64) -> Plan {
    let round = SHARERS * unit;
    let len = bench.size(round.max(384 << 10), round, round);
    let depth = bench.depth(8);
    // Where they share nothing, nobody may go through the cache who is not expected to.
    let align = match unit >= bench.geometry.granule() {
        true => bench.geometry.bypass,
        false => bench.geometry.align,
    };
    let own = |nth: u64, grain: u64| Aim::Slots {
        grids: vec![Grid {
            base: nth * unit,
            stride: round,
            count: len / round,
            len: unit.min(FOLIO),
        }],
        grain: Some(grain),
    };
    let page = bench.geometry.page.max(align);
    let look = anywhere(&[page, FOLIO.min(len)], len);
    let mut plan = Plan::new(len, align.clamp(512, 4096));
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, own(0, align), depth),
        WorkerPlan::write(Engine::BUFFERED, own(1, 8), 1).pausing(50),
        WorkerPlan::write(Engine::URING, own(2, align), depth),
        WorkerPlan::write(Engine::MMAP, own(3, 8), 1).pausing(200),
        WorkerPlan::write(Engine::DIRECT, own(4, align), 1),
        WorkerPlan::write(Engine::URING_BUFFERED, own(5, 8), depth).pausing(50),
    ];
    plan.workers.extend(readers(&look, depth));
    plan.extras = more_readers(&look, depth);
    plan.disturbers = adversary(len);
    plan
}
