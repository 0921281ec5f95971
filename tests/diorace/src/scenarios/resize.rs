// SPDX-License-Identifier: GPL-2.0
//! Files whose size changes under the feet of those who read and write.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::aim::Aim;
use crate::race::plan::{Plan, Start, Way, WorkerPlan};
use crate::scenarios::cast::{
    anywhere, changer, direct_writers, more_readers, readers, small_sizes,
};
use crate::scenarios::{Kind, Scenario};

pub static TRUNCATE: Scenario = Scenario {
    name: "truncate-race",
    title: "truncation to any length against reads and direct writes",
    about: "\
Somebody cuts the file anywhere, not only between blocks, and makes it long again; direct writers, one of
them beyond the end, and readers in every mode go on. While a truncation is under way old content, new
content and zeroes are all legal; afterwards what was cut must never come back, the size must be one that
the acknowledged operations explain, and a read must return as many bytes as the file had.

LTP dio_truncate (direct reads across truncation saw other blocks), xfstests generic/299 (random
asynchronous direct writes against truncation).",
    kind: Kind::Race(|bench| plan(bench, &[Way::Truncate, Way::Grow], 8)),
};

pub static PUNCH: Scenario = Scenario {
    name: "punch-race",
    title: "holes punched and ranges zeroed under reads and direct writes",
    about: "\
Somebody punches holes and zeroes ranges, not only whole blocks. What was there before must never come
back, neither from the cache nor from the disk, and a direct write that was submitted afterwards and
acknowledged must stay.

xfstests generic/300 (asynchronous direct writes against punching).",
    kind: Kind::Race(|bench| plan(bench, &[Way::Punch, Way::Zero], 8)),
};

pub static PUNCH_EDGE: Scenario = Scenario {
    name: "punch-edge",
    title: "holes punched and ranges zeroed beside what others read through mappings",
    about: "\
Somebody punches holes and zeroes ranges that begin and end within a page, while others write through the
cache, in pieces that get large folios, and read through mappings. What lies beside a hole, in the same
page, must stay as it is at any time. Nobody asks for direct I/O, so nothing excuses a wrong value: it is
a violation on every filesystem.

XFS of Linux 7.3 shows zeroes there for a moment.",
    kind: Kind::Race(punch_edge),
};

pub static ALLOCATE: Scenario = Scenario {
    name: "fallocate-race",
    title: "fallocate against asynchronous direct writes that extend the file",
    about: "\
Asynchronous direct writes extend the file while somebody reserves blocks, within the size and beyond it,
and truncates it to nothing now and then. The size must never fall behind a completed write, and never
exceed what somebody asked for.

xfstests generic/586: the completion of an appending write and a fallocate to a smaller size both set the
size, and the smaller one won (2019).",
    kind: Kind::Race(allocate),
};

pub static APPEND: Scenario = Scenario {
    name: "append-race",
    title: "asynchronous direct writes that extend a file against reads at its end",
    about: "\
Several direct writers extend the file block after block, some smaller than a block of the filesystem;
readers in every mode are right behind them. Whatever a read returns must have been written, or be zeroes
where no write was acknowledged yet; it must be as much as the file had. When the file is full it is
truncated to nothing and grows again.

xfstests generic/465 (direct reads against appending writes saw wrong content or length), LTP aiodio_append
and dio_append (other content at the end), xfstests generic/114 and 427 (writes smaller than a block behind
the end).",
    kind: Kind::Race(append),
};

pub static SHIFT: Scenario = Scenario {
    name: "shift-race",
    title: "ranges inserted and taken out again under reads and direct writes",
    about: "\
Somebody inserts a range somewhere in the file, which moves everything behind it, and takes another one
out. A request that overlaps such a move may find every word before or after it; later ones must find
every word exactly where the moves have put it. What was taken out must be gone.

No program of the known suites does this under concurrent direct I/O; fsx does it one by one.",
    kind: Kind::Race(shift),
};

fn plan(bench: &Bench<'_>, ways: &[Way], unit: u64) -> Plan {
    let len = bench.size(1 << 20, 256 << 10, 64 << 10);
    let depth = bench.depth(4);
    let aim = anywhere(&small_sizes(&bench.geometry), len);
    let mut plan = direct_writers(&aim, depth, len);
    plan.changers = changer(ways, len, unit, 3000);
    plan.changers[0].most = len / unit / 4;
    plan
}

/// Large folios, and cuts through their pages.
fn punch_edge(bench: &Bench<'_>) -> Plan {
    let len = bench.size(256 << 10, 256 << 10, 64 << 10);
    let page = bench.geometry.page;
    let write = anywhere(&[64 << 10], len);
    let look = anywhere(&[page, 64 << 10], len);
    let mut plan = Plan::new(len, 4096);
    plan.workers = vec![
        WorkerPlan::write(Engine::BUFFERED, write.clone(), 1).pausing(500),
        WorkerPlan::write(Engine::MMAP, write, 1).pausing(2000),
        WorkerPlan::read(Engine::MMAP, look.clone(), 1),
        WorkerPlan::read(Engine::MMAP_ADVICE, look.clone(), 1),
        WorkerPlan::read(Engine::BUFFERED, look, 1).pausing(2000),
    ];
    plan.changers = changer(&[Way::Punch, Way::Zero], len, 8, 300);
    plan.changers[0].most = (64 << 10) / 8;
    plan
}

/// A file that grows from nothing, again and again.
fn growing(bench: &Bench<'_>) -> (Plan, Aim) {
    let (align, block) = (bench.geometry.align, bench.geometry.block);
    // Who marches comes to the end of the file with the end of a step.
    let longest = 4 * block;
    let len = bench.size(1 << 20, 256 << 10, longest.max(64 << 10));
    let depth = bench.depth(4);
    let march = |step: u64| Aim::March {
        block: step,
        len,
        position: Default::default(),
    };
    let look = anywhere(&small_sizes(&bench.geometry), len);
    let mut plan = Plan::new(len, 4096);
    plan.start = Start::Empty;
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, march(align), depth),
        WorkerPlan::write(Engine::URING, march(block), depth),
        WorkerPlan::write(Engine::DIRECT, march(longest), 1),
    ];
    plan.workers.extend(readers(&look, depth));
    plan.extras = more_readers(&look, depth);
    (plan, look)
}

fn append(bench: &Bench<'_>) -> Plan {
    let (mut plan, _) = growing(bench);
    plan.changers = changer(&[Way::Empty], plan.len, bench.geometry.block, 50_000);
    plan
}

fn allocate(bench: &Bench<'_>) -> Plan {
    let (mut plan, _) = growing(bench);
    let (len, block) = (plan.len, bench.geometry.block);
    plan.changers = changer(&[Way::Empty], len, block, 50_000);
    plan.changers
        .extend(changer(&[Way::Allocate], len, block, 500));
    plan
}

fn shift(bench: &Bench<'_>) -> Plan {
    let block = bench.geometry.block.max(bench.geometry.page);
    let len = bench.size(512 << 10, 256 << 10, 64 << 10);
    let depth = bench.depth(4);
    let aim = anywhere(&small_sizes(&bench.geometry), len);
    let mut plan = Plan::new(len + 16 * block, 4096);
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, aim.clone(), depth).pausing(200),
        WorkerPlan::write(Engine::URING, aim.clone(), depth).pausing(200),
        WorkerPlan::write(Engine::DIRECT, aim.clone(), 1),
    ];
    plan.workers.extend(readers(&aim, depth));
    plan.extras = more_readers(&aim, depth);
    plan.changers = changer(&[Way::Shift], len, block, 20_000);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::arena::{Arena, Geometry};
    use crate::race::aim::Aimer;
    use crate::report::samples;
    use crate::rng::Rng;

    #[test]
    fn nobody_marches_beyond_the_end() {
        let mut choices = samples::choices(7);
        choices.size = Some(320 << 10);
        let settings = choices.settings(&samples::place(), false).unwrap();
        let arena = Arena::new(&std::env::temp_dir()).unwrap();
        for block in [512, 4096, 32 << 10, 64 << 10] {
            let geometry = Geometry {
                block,
                ..Geometry::USUAL
            };
            let plan = append(&Bench::new(&settings, &arena, geometry, APPEND.name));
            for worker in &plan.workers {
                let mut aimer = Aimer::new(worker.aim.clone(), Rng::new(1, 0));
                for (at, len) in (0..2000).filter_map(|_| aimer.next()) {
                    assert!(at + len <= plan.len, "{len} bytes at {at} of {}", plan.len);
                }
            }
        }
    }
}
