// SPDX-License-Identifier: GPL-2.0
//! Processes that die or fork with requests in flight.

use engines::Kind as Engine;

use crate::bench::Bench;
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
had its effect; those of io_uring may go on, and are left out here.

xfstests generic/323 (the last reference to the context is put by a completion: hang, 2010).",
    kind: Kind::Race(|bench| plan(bench, Process::Killed(200), Engine::LIBAIO_VECTOR)),
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
