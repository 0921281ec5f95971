// SPDX-License-Identifier: GPL-2.0
//! Processes that die or fork with requests in flight.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::place::Place;
use crate::race::plan::{Plan, Process, WorkerPlan};
use crate::scenarios::cast::{adversary, anywhere, more_readers, readers, small_sizes};
use crate::scenarios::{Kind, Scenario};

pub static KILLED: Scenario = Scenario {
    name: "killed-in-flight",
    title: "writers and readers killed with requests in flight",
    about: "\
Direct writers and readers run in processes of their own, by libaio and pwrite; each is killed within a
fraction of a second with requests in flight, and replaced. Its requests hold the last reference to
its open file and to its memory. What a dead writer was writing may have been written or not, but nothing
else may be in the file, nothing that was acknowledged may be gone, and nobody may hang.

The kernel waits for the requests of libaio when a process ends, so it is known when the last of them has
had its effect; those of io_uring may go on, and are left out here; so are those of pwrite on NFS.

xfstests generic/323 (the last reference to the context is put by a completion: hang, 2010).",
    kind: Kind::Race(|bench| {
        let place = Place::find(bench.arena.dir());
        killed(bench, place.is_ok_and(|place| place.is_nfs()))
    }),
};

pub static FORKED: Scenario = Scenario {
    name: "fork-in-flight",
    title: "processes that fork with direct reads and writes in flight",
    about: "\
As killed-in-flight, but the processes live, and fork every few milliseconds while the device reads into
and writes from their private memory; the children end at once. fork shares that memory copy-on-write: a
page that is copied at the wrong moment leaves the data of a direct read with the other process, and the
buffer keeps its old words.

LTP dma_thread_diotest (2009). open(2) warns against it; since kernels pin the pages of direct I/O and copy
pinned pages for the child at fork, the parent's data must be right.",
    kind: Kind::Race(|bench| plan(bench, Process::Forking(3), Engine::URING)),
};

fn killed(bench: &Bench<'_>, on_nfs: bool) -> Plan {
    let fate = Process::Killed(200);
    let mut plan = plan(bench, fate, Engine::LIBAIO_VECTOR);
    if on_nfs {
        // It waits for the server only as long as nobody kills it (nfs_direct_wait); the server may still
        // get what the buffer holds by then.
        let goes_on = |worker: &WorkerPlan| worker.process == fate && worker.kind == Engine::DIRECT;
        plan.workers.retain(|worker| !goes_on(worker));
        let note = "left out: direct writes whose process is killed: on NFS they go on";
        plan.notes.push(note.to_owned());
    }
    plan
}

fn plan(bench: &Bench<'_>, process: Process, other: Engine) -> Plan {
    let len = bench.size(1 << 20, 128 << 10, 64 << 10);
    let depth = bench.depth(8);
    let aim = anywhere(&small_sizes(&bench.geometry), len);
    let write = |kind| WorkerPlan::write(kind, aim.clone(), depth).in_process(process);
    let read = |kind| WorkerPlan::read(kind, aim.clone(), depth).in_process(process);
    let mut plan = Plan::new(len, 4096);
    plan.workers = vec![
        write(Engine::LIBAIO),
        write(other),
        write(Engine::DIRECT),
        read(Engine::LIBAIO),
        read(other),
    ];
    plan.workers.extend(readers(&aim, 4));
    plan.extras = more_readers(&aim, 4);
    plan.disturbers = adversary(len);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::arena::{Arena, Geometry};
    use crate::report::samples;

    #[test]
    fn nobody_is_killed_whose_requests_would_go_on() {
        let choices = samples::choices(7);
        let settings = choices.settings(&samples::place(), false).unwrap();
        let arena = Arena::new(&std::env::temp_dir()).unwrap();
        let bench = Bench::new(&settings, &arena, Geometry::USUAL, KILLED.name);
        let direct = |on_nfs| {
            let plan = killed(&bench, on_nfs);
            let doomed = plan.workers.iter().filter(|w| w.process.fate().is_some());
            let direct = doomed.filter(|worker| worker.kind == Engine::DIRECT);
            (direct.count(), plan.notes.len())
        };
        assert_eq!(direct(false), (1, 0));
        assert_eq!(direct(true), (0, 1));
    }
}
