// SPDX-License-Identifier: GPL-2.0
//! Every engine at once.

use engines::{Advice, Kind as Engine};
use oracle::Mode;

use crate::bench::Bench;
use crate::race::aim::{Aim, Grid};
use crate::race::plan::{DisturbPlan, Mix, Plan, Process, Start, WorkerPlan, mode};
use crate::scenarios::cast::beside_blocks;
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "every-path",
    title: "every way there is to read and write a file, on one file",
    about: "\
Every engine writes and every engine reads: system calls with each flag, libaio, io_uring with fixed
buffers, polling threads, links and punts, mappings with msync, madvise and mremap, splice, sendfile,
copy_file_range, and O_DIRECT set and cleared on an open descriptor. Every fourth of them runs in a
process of its own; some of these are killed with requests in flight, or fork.

The file has three parts, so far apart that they share no folio. In the first only direct engines
write, in the second only cached ones, in the third all. Within a part the engines' places lie side by
side, as small as direct I/O allows, or RWF_ATOMIC for those that ask for it, so that pages are shared. Engines
take turns, eight groups of them; meanwhile the cache is fetched, dropped and written back in every way,
and fsync, fdatasync and syncfs called. (The page cache of the whole machine is dropped about once a second, if you are root.)

What the machine or the filesystem lacks is left out and named. Old values in the third part are
collisions on an ordinary filesystem; everything else is a violation.",
    kind: Kind::Race(plan),
};

/// Groups of engines that take turns.
const TURNS: u32 = 8;

fn plan(bench: &Bench<'_>) -> Plan {
    let page = bench.geometry.page;
    let unit = bench.geometry.bypass;
    let granule = bench.geometry.granule();
    let len = bench.size(3 * granule, 3 * granule, 3 * granule);
    let part = len / 3;
    let depth = bench.depth(4);
    let engines: Vec<Engine> = Engine::ALL
        .iter()
        .map(|(_, kind)| *kind)
        .filter(|kind| !kind.appends())
        .collect();
    let count = engines.len() as u64;
    // A place that is large enough for a write to be atomic lies behind those of the others.
    let atomic = bench.geometry.atomic.filter(|size| *size > unit);
    let stride = match atomic {
        Some(size) => (count * unit).next_multiple_of(size) + size,
        None => count * unit,
    };
    let own = |kind: Engine, nth: u64, nth_part: u64| {
        let (at, len) = match atomic {
            Some(size) if kind == Engine::DIRECT_ATOMIC => (stride - size, size),
            _ => (nth * unit, unit),
        };
        Grid {
            base: nth_part * part + at,
            stride,
            count: part / stride,
            len,
        }
    };
    let (short, long) = (page.max(unit), 8 * page.max(unit));
    let all = Aim::Blocks {
        sizes: vec![short, long],
        within: 0..len,
    };
    let everywhere = Grid {
        base: 0,
        stride: long,
        count: len / long,
        len: long,
    };
    let mut workers = Vec::new();
    for (nth, kind) in engines.into_iter().enumerate() {
        let own = |nth_part| own(kind, nth as u64, nth_part);
        let grids = match mode(kind) {
            Mode::Direct => vec![own(0), own(2)],
            Mode::Buffered | Mode::Mmap => vec![own(1), own(2)],
            Mode::Either => vec![own(2)],
        };
        let aim = Aim::Slots { grids, grain: None };
        let turn = nth as u32 % TURNS;
        let writer = match kind {
            Engine::URING_LINKED | Engine::URING_LINKED_BUFFERED => {
                WorkerPlan::both(kind, aim, depth, Mix::Echo)
            }
            _ => WorkerPlan::write(kind, aim, depth),
        };
        let process = match nth % 16 {
            0 => Process::Killed(1000),
            4 => Process::Forking(5),
            8 | 12 => Process::Own,
            _ => Process::Thread,
        };
        let writer = writer.in_process(process);
        workers.push(match process {
            // Always on: a process that is killed needs time to begin anew, and then to do something.
            Process::Killed(_) => writer.pausing(2000),
            _ => writer.pausing(100).in_slice(turn, TURNS),
        });
        let look = match kind {
            Engine::COPY_RANGE => beside_blocks(std::iter::once(everywhere)),
            _ => all.clone(),
        };
        let reader = WorkerPlan::read(kind, look, depth.min(2));
        let turn = (turn + TURNS / 2) % TURNS;
        workers.push(reader.pausing(500).in_slice(turn, TURNS));
    }
    Plan {
        len,
        cell: unit,
        workers,
        extras: Vec::new(),
        disturbers: vec![DisturbPlan {
            within: 0..len,
            block: 64 << 10,
            pause: 20_000,
            // Those that concern more than this file are rare.
            advices: [Advice::RANGE.repeat(6), Advice::ALL.to_vec()].concat(),
            together: false,
        }],
        start: Start::Filled,
        changers: Vec::new(),
        cloners: 0,
        all_needed: false,
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::arena::{Arena, Geometry};
    use crate::race::aim::Aimer;
    use crate::report::samples;
    use crate::rng::Rng;

    /// The threads on a filesystem of this geometry.
    fn workers(geometry: Geometry) -> Vec<WorkerPlan> {
        let choices = samples::choices(7);
        let settings = choices.settings(&samples::place(), false).unwrap();
        let arena = Arena::new(&std::env::temp_dir()).unwrap();
        plan(&Bench::new(&settings, &arena, geometry, SCENARIO.name)).workers
    }

    /// Where a thread may write.
    fn places(worker: &WorkerPlan) -> Vec<(u64, u64)> {
        let Aim::Slots { grids, .. } = &worker.aim else {
            return Vec::new();
        };
        let places = |grid: &Grid| {
            let Grid {
                base,
                stride,
                count,
                len,
            } = *grid;
            (0..count).map(move |nth| (base + nth * stride, len))
        };
        grids.iter().flat_map(places).collect()
    }

    #[test]
    fn places_are_apart_and_those_of_atomic_writes_fit() {
        for atomic in [None, Some(512), Some(4096), Some(65536)] {
            let geometry = Geometry {
                atomic,
                ..Geometry::USUAL
            };
            let mut all = workers(geometry);
            all.retain(|worker| worker.role.writes());
            let size = atomic.unwrap_or(512);
            for worker in all.iter().filter(|w| w.kind == Engine::DIRECT_ATOMIC) {
                let places = places(worker);
                assert!(places.len() > 8);
                let fits = |(at, len): &(u64, u64)| *len == size && at % size == 0;
                assert!(places.iter().all(fits), "{places:?}");
            }
            let mut places: Vec<_> = all.iter().flat_map(places).collect();
            places.sort_unstable();
            assert!(places.is_sorted_by(|a, b| a.0 + a.1 <= b.0));
        }
    }

    #[test]
    fn nobody_has_blocks_shared_that_others_write_directly() {
        let geometry = Geometry::USUAL;
        for worker in workers(geometry) {
            if worker.kind != Engine::COPY_RANGE {
                continue;
            }
            let mut aimer = Aimer::new(worker.aim, Rng::new(1, 0));
            for _ in 0..1000 {
                let (at, len) = aimer.next().unwrap();
                let part = at % geometry.block != 0 || len < geometry.block;
                assert!(part, "{len} bytes at {at}");
            }
        }
    }
}
