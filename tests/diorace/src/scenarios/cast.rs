// SPDX-License-Identifier: GPL-2.0
//! What many plans have in common.

use engines::{Advice, Kind as Engine};

use crate::arena::Geometry;
use crate::race::aim::{Aim, Grid};
use crate::race::plan::{ChangePlan, DisturbPlan, Plan, Way, WorkerPlan};

/// Random places of a file, of any of these sizes.
pub fn anywhere(sizes: &[u64], len: u64) -> Aim {
    Aim::Blocks {
        sizes: sizes.to_vec(),
        within: 0..len,
    }
}

/// For `copy-range`: parts of these places that never begin with a block. What does, the kernel may share
/// with the other file, and then direct writes of less than a block may go through the cache for ever, in
/// whatever part of the file.
pub fn beside_blocks(grids: impl Iterator<Item = Grid>) -> Aim {
    let grids = grids.map(|grid| Grid {
        base: grid.base + 8,
        len: grid.len - 16,
        ..grid
    });
    Aim::Slots {
        grids: grids.collect(),
        grain: Some(16),
    }
}

/// Sizes from the least that direct I/O takes to some pages.
pub fn small_sizes(geometry: &Geometry) -> Vec<u64> {
    let Geometry {
        align, block, page, ..
    } = *geometry;
    let mut sizes = vec![align, block, page.max(align), 4 * page.max(align)];
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// A reader in each mode, and an asynchronous one. They rest a little, so that writers get on.
pub fn readers(aim: &Aim, depth: usize) -> Vec<WorkerPlan> {
    vec![
        WorkerPlan::read(Engine::BUFFERED, aim.clone(), 1).pausing(200),
        WorkerPlan::read(Engine::DIRECT, aim.clone(), 1).pausing(500),
        WorkerPlan::read(Engine::MMAP, aim.clone(), 1).pausing(500),
        WorkerPlan::read(Engine::URING, aim.clone(), depth).pausing(500),
    ]
}

/// More readers, for those who want more threads.
pub fn more_readers(aim: &Aim, depth: usize) -> Vec<WorkerPlan> {
    vec![
        WorkerPlan::read(Engine::LIBAIO, aim.clone(), depth),
        WorkerPlan::read(Engine::URING_BUFFERED, aim.clone(), depth),
        WorkerPlan::read(Engine::DONTCACHE, aim.clone(), 1),
    ]
}

/// Somebody who drops, fetches and writes back the cache in a file.
pub fn adversary(len: u64) -> Vec<DisturbPlan> {
    vec![DisturbPlan {
        within: 0..len,
        block: (256 << 10).min(len),
        pause: 2000,
        advices: Advice::RANGE.to_vec(),
        together: false,
    }]
}

/// Direct writers by libaio, by io_uring and one at a time, all readers, and the adversary: what a scenario
/// about direct writes begins with.
pub fn direct_writers(aim: &Aim, depth: usize, len: u64) -> Plan {
    let mut plan = Plan::new(len, 4096);
    plan.workers = vec![
        WorkerPlan::write(Engine::LIBAIO, aim.clone(), depth),
        WorkerPlan::write(Engine::URING, aim.clone(), depth),
        WorkerPlan::write(Engine::DIRECT, aim.clone(), 1),
    ];
    plan.workers.extend(readers(aim, depth));
    plan.extras = more_readers(aim, depth);
    plan.disturbers = adversary(len);
    plan
}

/// Somebody who changes a file, by ranges of up to sixteen units.
pub fn changer(ways: &[Way], len: u64, unit: u64, pause: u64) -> Vec<ChangePlan> {
    vec![ChangePlan {
        ways: ways.to_vec(),
        within: 0..len,
        unit,
        most: (len / unit / 2).clamp(1, 16),
        pause,
        optional: false,
    }]
}
