// SPDX-License-Identifier: GPL-2.0
//! Files that have no blocks yet, or blocks without content.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::plan::{Plan, Start, Way, WorkerPlan};
use crate::scenarios::cast::{
    anywhere, changer, direct_writers, more_readers, readers, small_sizes,
};
use crate::scenarios::{Kind, Scenario};

pub static HOLES: Scenario = Scenario {
    name: "hole-filling",
    title: "direct writes that fill holes while others read there",
    about: "\
The file begins as a hole; direct writes, synchronous and asynchronous, smaller and larger than a block,
fill it, and somebody punches it again. A reader in any mode must find zeroes or what was written: never
what the blocks held in a former life (which is known here, because a file of known content was removed
just before), and no zeroes any more once a write was acknowledged.

xfstests generic/198 and 240 (asynchronous direct writes into holes left zeroes or wrote at the wrong
place, Red Hat bug 217098), generic/239 (a read after the completion, before the block counts as written),
LTP aiodio_sparse and dio_sparse (blocks of others exposed).",
    kind: Kind::Race(|bench| plan(bench, Start::Hole, &[Way::Punch])),
};

pub static UNWRITTEN: Scenario = Scenario {
    name: "unwritten",
    title: "direct writes into blocks that fallocate reserved",
    about: "\
As hole-filling, but the blocks are reserved and marked unwritten. The mark must go with the completion of
the write: earlier it exposes what the block held before, later the reader finds zeroes. Somebody zeroes
and punches ranges, which makes them unwritten anew.

xfstests generic/214 (reads of unwritten extents), 239 (conversion after the completion), 250 and 252
(content that must not show).",
    kind: Kind::Race(|bench| plan(bench, Start::Unwritten, &[Way::Zero, Way::Punch, Way::Allocate])),
};

pub static SUB_BLOCK: Scenario = Scenario {
    name: "sub-block",
    title: "direct writes smaller than a block, several at once in one block",
    about: "\
Asynchronous direct writes of the least size that direct I/O takes (usually 512 bytes), many outstanding
and therefore several in one block, into holes and into blocks just zeroed. Each of them makes the file
system zero the rest of a new block; if two do so at once, one wipes out the other.

xfstests generic/538 and 551 (unaligned asynchronous direct writes lost on ext4, 2019), generic/114 (writes
smaller than a block behind the end of the file, 2015).",
    kind: Kind::Race(sub_block),
};

pub static STORES: Scenario = Scenario {
    name: "mmap-hole",
    title: "stores into holes beside direct reads and writes of the same pages",
    about: "\
Each of three threads stores to its own words of every page of a file that begins as a hole; others read
it with O_DIRECT, through the cache and by mapping, and a direct writer fills other pages. Somebody
punches.

xfstests generic/340, 344, 345, 346 and 354 (stores of several threads in a page, lost), generic/446 (direct
read against a store into a hole).",
    kind: Kind::Race(stores),
};

fn plan(bench: &Bench<'_>, start: Start, ways: &[Way]) -> Plan {
    let len = bench.size(4 << 20, 512 << 10, 64 << 10);
    let depth = bench.depth(8);
    let mut sizes = small_sizes(&bench.geometry);
    sizes.push(64 << 10);
    let aim = anywhere(&sizes, len);
    let mut plan = direct_writers(&aim, depth, len);
    plan.start = start;
    plan.changers = changer(ways, len, bench.geometry.block, 2000);
    plan
}

fn sub_block(bench: &Bench<'_>) -> Plan {
    let len = bench.size(512 << 10, 128 << 10, 64 << 10);
    let depth = bench.depth(16);
    let (align, page) = (bench.geometry.align, bench.geometry.page);
    let least = anywhere(&[align], len);
    let look = anywhere(&[page.max(align)], len);
    let mut plan = Plan::new(len, align.clamp(512, 4096));
    plan.start = Start::Hole;
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, least.clone(), depth),
        WorkerPlan::write(Engine::URING, least.clone(), depth),
        WorkerPlan::write(Engine::DIRECT, least, 1),
    ];
    plan.workers.extend(readers(&look, 4));
    plan.extras = more_readers(&look, 4);
    plan.changers = changer(&[Way::Punch, Way::Zero], len, bench.geometry.block, 1000);
    plan
}

fn stores(bench: &Bench<'_>) -> Plan {
    use crate::race::aim::{Aim, Grid};
    let page = bench.geometry.page.max(bench.geometry.align);
    let len = bench.size(1 << 20, 32 * page, 4 * page);
    let depth = bench.depth(4);
    let own = |nth: u64| Aim::Slots {
        grids: vec![Grid {
            base: nth * 64,
            stride: page,
            count: len / page / 2,
            len: 64,
        }],
        grain: Some(8),
    };
    let other_half = Aim::Blocks {
        sizes: vec![page, 4 * page],
        within: len / 2..len,
    };
    let look = anywhere(&[page, 4 * page], len);
    let mut plan = Plan::new(len, 4096);
    plan.start = Start::Hole;
    plan.workers = vec![
        WorkerPlan::write(Engine::MMAP, own(0), 1).pausing(100),
        WorkerPlan::write(Engine::MMAP, own(1), 1).pausing(100),
        WorkerPlan::write(Engine::MMAP_SYNC, own(2), 1).pausing(100),
        WorkerPlan::write(Engine::LIBAIO, other_half, depth),
    ];
    plan.workers.extend(readers(&look, depth));
    plan.extras = more_readers(&look, depth);
    plan.changers = changer(&[Way::Punch], len, page, 2000);
    plan
}
