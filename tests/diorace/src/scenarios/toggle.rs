// SPDX-License-Identifier: GPL-2.0
//! O_DIRECT set and cleared on a descriptor in use.

use engines::Kind as Engine;

use crate::bench::Bench;
use crate::race::plan::{Plan, WorkerPlan};
use crate::scenarios::cast::{adversary, anywhere, more_readers, readers, small_sizes};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "fcntl-toggle",
    title: "O_DIRECT set and cleared by fcntl while requests are submitted",
    about: "\
Two libaio writers set and clear O_DIRECT on their descriptor between and during requests, so that nobody
can tell which way a request takes; readers in every mode look at the same bytes.

CVE-2014-8086: ext4 decided twice whether a request was direct, and crashed when the flag changed in
between (xfstests generic/036, which looks for a crash only). Where direct and cached writers may collide
an old value is a collision.",
    kind: Kind::Race(plan),
};

fn plan(bench: &Bench<'_>) -> Plan {
    let len = bench.size(1 << 20, 128 << 10, 64 << 10);
    let depth = bench.depth(4);
    let aim = anywhere(&small_sizes(&bench.geometry), len);
    let mut plan = Plan::new(len, 4096);
    plan.workers = vec![
        WorkerPlan::write(Engine::TOGGLE, aim.clone(), depth),
        WorkerPlan::write(Engine::TOGGLE, aim.clone(), depth),
    ];
    plan.workers.extend(readers(&aim, depth));
    plan.extras = more_readers(&aim, depth);
    plan.disturbers = adversary(len);
    plan
}
