// SPDX-License-Identifier: GPL-2.0
//! Opens the engines and starts the threads.

use std::sync::Arc;

use anyhow::Result;
use engines::{Error, Queue};
use oracle::{Mode, Tally};

use crate::bench::{Bench, DISTURBER};
use crate::crew::Crew;
use crate::crew::pulse::{Pulse, Role};
use crate::race::aim::Aim;
use crate::race::change::Changer;
use crate::race::clone::Cloner;
use crate::race::disturb;
use crate::race::plan::{Plan, Rest, WorkerPlan};
use crate::race::shared::Shared;
use crate::race::worker::{Post, Worker};
use crate::report::ScenarioReport;
use crate::rng::Rng;
use crate::status::Lacking;

/// Starts those who write and read, and says who they are. An engine that the kernel lacks is left out
/// and noted; what it is not this race without is an error that says what is lacking.
///
/// Processes are forked before there is any thread, and before anything is open that they would
/// inherit.
pub fn workers(
    bench: &Bench<'_>,
    plan: &Plan,
    members: &[WorkerPlan],
    shared: &Arc<Shared>,
    crew: &mut Crew<Tally>,
    report: &mut ScenarioReport,
) -> Result<Vec<WorkerPlan>> {
    let (apart, here): (Vec<_>, Vec<_>) = posts(members)
        .into_iter()
        .partition(|(member, _)| member.process.fate().is_some());
    let mut ready: Vec<(Arc<Pulse>, Worker)> = Vec::new();
    let (mut hired, mut left_out) = (Vec::new(), Vec::new());
    for (member, post) in apart.into_iter().chain(here) {
        match hire(bench, member, &post, shared, crew) {
            Ok(one) => {
                ready.push(one);
                hired.push(member.clone());
            }
            Err(error @ Error::Unavailable { .. }) => {
                let why = error.to_string();
                if !left_out.contains(&why) {
                    left_out.push(why);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(what) = lacking(plan, members, &hired) {
        return Err(Lacking(format!("{what}: {}", left_out.join(", "))).into());
    }
    let notes = left_out.iter().map(|why| format!("left out: {why}"));
    report.notes.extend(notes);
    for (pulse, worker) in ready {
        crew.start(pulse, move |found| worker.run(found))?;
    }
    Ok(hired)
}

/// Why the race would prove nothing with those of its members that could be had, if so: what nobody does
/// cannot go wrong.
fn lacking(plan: &Plan, members: &[WorkerPlan], hired: &[WorkerPlan]) -> Option<&'static str> {
    let writes = |member: &WorkerPlan| member.role.writes();
    let direct = |member: &WorkerPlan| {
        writes(member) && matches!(member.mode(), Mode::Direct | Mode::Either)
    };
    if plan.all_needed && hired.len() < members.len() {
        Some("it is about an engine that is left out")
    } else if members.iter().any(writes) && !hired.iter().any(writes) {
        Some("nobody is left who writes")
    } else if members.iter().any(direct) && !hired.iter().any(direct) {
        Some("nobody is left who writes with O_DIRECT")
    } else {
        None
    }
}

/// The numbers of each worker.
fn posts(members: &[WorkerPlan]) -> Vec<(&WorkerPlan, Post)> {
    let (mut slot, mut writer) = (0, 0);
    let mut posts = Vec::new();
    for (nth, member) in members.iter().enumerate() {
        writer += u8::from(member.role.writes());
        let first_slot = slot;
        slot += member.depth + 1;
        posts.push((
            member,
            Post {
                nth: nth as u64,
                writer,
                first_slot,
            },
        ));
    }
    posts
}

/// A worker with its engine open and its buffers ready.
fn hire(
    bench: &Bench<'_>,
    member: &WorkerPlan,
    post: &Post,
    shared: &Arc<Shared>,
    crew: &Crew<Tally>,
) -> Result<(Arc<Pulse>, Worker), Error> {
    let queue: Box<dyn Queue> = match member.process.fate() {
        None if member.together => shared.store.open_together(member.kind, member.depth)?,
        None => shared.store.open(member.kind, member.depth)?,
        Some(fate) => {
            let longest = member.aim.longest() as usize;
            shared
                .store
                .open_apart(member.kind, member.depth, longest, fate)?
        }
    };
    let pulse = crew.pulse(member.kind.name(), member.role, queue.depth());
    if let Some(process) = queue.worker() {
        pulse.works_in(process);
    }
    let rng = Rng::new(bench.settings.seed, post.nth);
    let mut member = member.clone();
    if let Some(part) = pulse.part() {
        member.aim = Aim::Script(part);
        // The order alone says when.
        member.rest = Rest::default();
    }
    let worker = Worker::new(&member, post, shared, queue, &pulse, rng)?;
    Ok((pulse, worker))
}

/// Starts those who only disturb.
pub fn disturbers(
    bench: &Bench<'_>,
    plan: &Plan,
    shared: &Arc<Shared>,
    crew: &mut Crew<Tally>,
) -> Result<()> {
    if !bench.settings.wanted.has(DISTURBER, Role::Disturb) {
        return Ok(());
    }
    for (nth, disturber) in plan.disturbers.iter().enumerate() {
        let pulse = crew.pulse(DISTURBER, Role::Disturb, 1);
        let rng = Rng::new(bench.settings.seed, 1000 + nth as u64);
        let (shared, plan, mine) = (Arc::clone(shared), disturber.clone(), Arc::clone(&pulse));
        crew.start(pulse, move |_| {
            disturb::run(&plan, &shared, &mine, rng);
            Ok(())
        })?;
    }
    Ok(())
}

/// Starts those who change the file. The first of their readers' slots is `first_slot`; each has two.
pub fn changers(
    bench: &Bench<'_>,
    plan: &Plan,
    first_slot: usize,
    shared: &Arc<Shared>,
    crew: &mut Crew<Tally>,
) -> Result<()> {
    for (nth, changer) in plan.changers.iter().enumerate() {
        let pulse = crew.pulse("changes", Role::Disturb, 1);
        let rng = Rng::new(bench.settings.seed, 2000 + nth as u64);
        let slot = first_slot + 2 * nth;
        let changer = Changer::new(changer, shared, &pulse, slot, rng);
        crew.start(pulse, move |found| changer.run(found))?;
    }
    Ok(())
}

/// Starts those who clone the file, each with a reader's slot from `first_slot` on.
pub fn cloners(
    bench: &Bench<'_>,
    plan: &Plan,
    first_slot: usize,
    shared: &Arc<Shared>,
    crew: &mut Crew<Tally>,
) -> Result<()> {
    for nth in 0..plan.cloners {
        let pulse = crew.pulse("clone", Role::Disturb, 1);
        let rng = Rng::new(bench.settings.seed, 3000 + nth as u64);
        let cloner = Cloner::new(shared, &pulse, first_slot + nth, rng);
        crew.start(pulse, move |found| cloner.run(found))?;
    }
    Ok(())
}
