// SPDX-License-Identifier: GPL-2.0
//! The race itself: takes a plan and a store, and returns a report.

pub mod aim;
mod change;
mod clone;
mod direct;
mod disturb;
pub mod plan;
mod prepare;
mod quiesce;
mod recheck;
pub mod shared;
mod start;
pub mod store;
mod worker;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use engines::{Errno, process_cpu_time};
use oracle::{Config, History, Initial, Mode, Profile};

use crate::bench::Bench;
use crate::crew::pulse::{Pulse, Role};
use crate::crew::{Crew, Ending};
use crate::live::Live;
use crate::race::plan::{Plan, Process, Start, WorkerPlan};
use crate::race::shared::Shared;
use crate::race::store::{FileStore, Store};
use crate::report::ScenarioReport;
use crate::status::Lacking;

pub use prepare::STRANGER;

/// The check at the end may take so long. Whatever it asks of the filesystem is watched besides, and
/// hangs if it takes longer than any request may.
const CHECK: Duration = Duration::from_secs(3600);

/// The number, within a scenario, of the file that is raced on.
const RACED: u64 = 0;

/// Why a violation may have gone unnoticed.
const UNCHECKED: &str = "the file could not be checked at the end";

/// Races on a new file.
pub fn on_file(bench: &Bench<'_>, plan: &Plan) -> Result<ScenarioReport> {
    let team = Team::new(bench, plan)?;
    let history = team.history(bench, plan)?;
    let path = prepare::file(bench, plan.start, &history)?;
    let store = Arc::new(FileStore::new(path.clone(), plan.len)?);
    if plan.cloners > 0 {
        if let Err(errno) = store.twin() {
            let what = format!("files cannot share blocks here (FICLONE): {errno}");
            return Err(Lacking(what).into());
        }
    }
    let kinds: Vec<_> = team.members.iter().map(|member| member.kind).collect();
    let raced = on_store(bench, plan, team, history, store);
    if raced.is_err() {
        // The room may be enough for the next one.
        let _ = std::fs::remove_file(&path);
    }
    let mut report = raced?;
    let keep = bench.settings.keep && report.found();
    if keep {
        bench.arena.keep();
    }
    let hangs = |report: &ScenarioReport| report.violations.contains_key("hang");
    if hangs(&report) {
        return Ok(report);
    }
    direct::tell(bench, kinds.into_iter(), &mut report);
    if hangs(&report) {
        report.conclude();
        return Ok(report);
    }
    if keep {
        return Ok(report);
    }
    if let Err(error) = std::fs::remove_file(&path) {
        report.broken(&anyhow!(
            "the file is gone: {error}; somebody has removed it"
        ));
    }
    Ok(report)
}

/// Races on something else.
pub fn on_any(
    bench: &Bench<'_>,
    plan: &Plan,
    store: impl FnOnce(&History) -> Arc<dyn Store>,
) -> Result<ScenarioReport> {
    let team = Team::new(bench, plan)?;
    let history = team.history(bench, plan)?;
    let store = store(&history);
    on_store(bench, plan, team, history, store)
}

/// The workers of a plan, numbered.
struct Team {
    members: Vec<WorkerPlan>,
    writers: Vec<String>,
    /// Readers' slots of the history: of each worker one for each request and one more, then two of
    /// each changer, one of each cloner, then those of the check at the end.
    slots: usize,
}

impl Team {
    fn new(bench: &Bench<'_>, plan: &Plan) -> Result<Self> {
        let threads = match plan.extras.is_empty() {
            true => None,
            false => bench.threads(),
        };
        let mut members = plan.crew(threads);
        members.retain(|m| bench.settings.wanted.has(m.kind.name(), m.role));
        let writers = members.iter_mut().filter(|member| member.role.writes());
        for member in writers.filter(|member| member.mode() == Mode::Direct) {
            member.may_fall_back = member.aim.unit() % bench.geometry.bypass != 0;
        }
        if bench.settings.processes {
            if members.iter().any(|member| member.together) {
                // Each process would open the file anew.
                let what = "with --processes there is no descriptor that all could share";
                return Err(Lacking(what.to_owned()).into());
            }
            let threads = members.iter_mut();
            let threads = threads.filter(|member| member.process == Process::Thread);
            threads.for_each(|member| member.process = Process::Own);
        }
        if members.is_empty() {
            let what = format!("{} has none of the threads asked for", bench.scenario);
            return Err(Lacking(what).into());
        }
        let writes = members.iter().filter(|member| member.role.writes());
        let writers = writes.map(|member| member.kind.name().to_owned()).collect();
        let slots = members.iter().map(|member| member.depth + 1).sum::<usize>();
        let slots = slots + 2 * plan.changers.len() + plan.cloners + 2;
        Ok(Self {
            members,
            writers,
            slots,
        })
    }

    fn history(&self, bench: &Bench<'_>, plan: &Plan) -> Result<History> {
        let mut config = Config::new(plan.len);
        config.cell = plan.cell;
        config.writers = self.writers.len().clamp(1, 254) as u8;
        config.readers = self.slots;
        config.initial = match plan.start {
            Start::Filled => Initial::Pattern,
            Start::Hole | Start::Unwritten | Start::Empty => Initial::Hole,
        };
        config.size = plan.size();
        config.profile = bench.settings.profile;
        config.granule = bench.geometry.granule();
        (config.run, config.file) = (bench.settings.run, bench.file(RACED));
        // A word of the file beside this one is foreign, wherever it comes from. Those of other scenarios
        // and other runs are nobody's.
        config.others = vec![(bench.file(STRANGER), plan.len)];
        Ok(History::new(config)?)
    }
}

fn on_store(
    bench: &Bench<'_>,
    plan: &Plan,
    team: Team,
    history: History,
    store: Arc<dyn Store>,
) -> Result<ScenarioReport> {
    let mut report = ScenarioReport::new(bench.scenario);
    report.file_size = plan.len;
    report.notes.clone_from(&plan.notes);
    let mut crew = Crew::new().on_record(bench);
    let writers = team.writers.clone();
    let mut shared = Shared::new(history, store, bench.geometry, writers, crew.stop());
    shared.signals = plan.has_signals();
    shared.mirrored = bench.settings.mirrored;
    let shared = Arc::new(shared);
    let hired = start::workers(bench, plan, &team.members, &shared, &mut crew, &mut report)?;
    start::disturbers(bench, plan, &shared, &mut crew)?;
    let cloners = team.slots - 2 - plan.cloners;
    let first_slot = cloners - 2 * plan.changers.len();
    start::changers(bench, plan, first_slot, &shared, &mut crew)?;
    start::cloners(bench, plan, cloners, &shared, &mut crew)?;

    let pulses = crew.pulses().to_vec();
    let settings = bench.settings;
    let mut live = Live::new(bench);
    let (begin, cpu) = (Instant::now(), process_cpu_time());
    let watch = Arc::clone(&shared);
    let ending = crew.race(settings.duration, settings.grace, |pulses, elapsed| {
        live.look(pulses, elapsed, watch.counts())
    });
    live.tell(&mut report);
    report.count(
        pulses.iter().map(AsRef::as_ref),
        begin.elapsed().as_secs_f64(),
    );
    report.cpu_seconds = process_cpu_time().saturating_sub(cpu).as_secs_f64();
    let Ending {
        results,
        errors,
        mut hung,
    } = ending;
    results.iter().for_each(|tally| report.judge(tally));
    errors.iter().for_each(|error| report.broken(error));
    if hung.is_empty() {
        live.say("checking that all modes agree");
        match settle(bench, plan, &hired, &shared, team.slots - 2, &mut report) {
            Ok(threads) => hung = threads,
            Err(error) => report.broken(&error.context(UNCHECKED)),
        }
    }
    finish(bench, &shared, &mut report, hung);
    Ok(report)
}

/// Checks the file when nothing is under way any more, in a thread that is watched like the others.
/// `members` are those who took part.
fn settle(
    bench: &Bench<'_>,
    plan: &Plan,
    members: &[WorkerPlan],
    shared: &Arc<Shared>,
    slot: usize,
    report: &mut ScenarioReport,
) -> Result<Vec<String>> {
    let mut crew = Crew::new();
    let pulse: Arc<Pulse> = crew.pulse("final check", Role::Read, 1);
    let (mine, view) = (Arc::clone(&pulse), Arc::clone(shared));
    crew.start(pulse, move |quiet| {
        quiesce::check(&view, &mine, slot, quiet)
    })?;
    let grace = bench.settings.grace;
    let ending = crew.race(CHECK, grace, |_, _| ControlFlow::Continue(()));
    for error in ending.errors {
        report.broken(&error.context(UNCHECKED));
    }
    for quiet in ending.results {
        report.judge(&quiet.tally);
        report.unreadable(quiet.unreadable);
        if let Some(errno) = quiet.sentinel {
            sentinel(bench, plan, members, errno, shared, report);
        }
    }
    Ok(ending.hung)
}

/// fsync reported an error to the descriptor that was open all the time: the cache could not be
/// invalidated, or something was not written back. That there was no room left may be said so late.
fn sentinel(
    bench: &Bench<'_>,
    plan: &Plan,
    members: &[WorkerPlan],
    errno: Errno,
    shared: &Shared,
    report: &mut ScenarioReport,
) {
    if matches!(errno, Errno::ENOSPC | Errno::EDQUOT) {
        shared.failed("fsync at the end", errno);
        return;
    }
    let writes = members
        .iter()
        .filter(|worker| worker.role.writes())
        .map(WorkerPlan::mode);
    let modes: Vec<_> = writes.collect();
    let either = modes.contains(&Mode::Either);
    let direct = either || modes.contains(&Mode::Direct);
    // Where a part of a page is cut off the kernel writes zeroes through the cache.
    let cut = !plan.changers.is_empty();
    let cached = either || cut || modes.iter().any(|mode| *mode != Mode::Direct);
    let may_collide = direct && cached;
    let counts = if bench.settings.profile == Profile::Bare && may_collide {
        &mut report.collisions
    } else {
        &mut report.violations
    };
    *counts.entry("fsync".to_owned()).or_default() += 1;
    report.notes.push(format!(
        "fsync at the end reported {errno} to a descriptor that was open from the beginning"
    ));
}

fn finish(bench: &Bench<'_>, shared: &Shared, report: &mut ScenarioReport, hung: Vec<String>) {
    let found = shared.take_found();
    for (what, n) in found.errors {
        *report.errors.entry(what).or_default() += n;
    }
    report.wonder(bench.settings.profile, &found.surprises);
    report.findings.extend(found.reports);
    report.notes.extend(found.notes);
    if found.unsaid > 0 {
        report
            .notes
            .push(format!("and {} notes more", found.unsaid));
    }
    report.hang(&shared.store.label(), hung);
    report.conclude();
}

#[cfg(test)]
mod tests {
    use super::*;

    use engines::{Advice, Error, Kind, Queue};
    use oracle::{Change, Class, Outcome, Severity, Tally};

    use crate::arena::{Arena, Geometry};
    use crate::bench::Wanted;
    use crate::liar::{Liar, LiarStore};
    use crate::race::aim::Aim;
    use crate::report::samples;
    use crate::scenarios;
    use crate::status::Status;

    /// The history of a scenario's file, in a run that makes the same choices as any other.
    fn history(scenario: &'static str, run: u64) -> History {
        let choices = samples::choices(7);
        let mut settings = choices.settings(&samples::place(), false).unwrap();
        settings.run = run;
        let arena = Arena::new(&std::env::temp_dir()).unwrap();
        let bench = Bench::new(&settings, &arena, Geometry::USUAL, scenario);
        let plan = scenarios::shared_pages(128 << 10, 1, &Geometry::USUAL);
        let team = Team::new(&bench, &plan).unwrap();
        team.history(&bench, &plan).unwrap()
    }

    /// Writes the first words in a mode and returns them.
    fn write(history: &History, mode: Mode) -> Vec<u64> {
        let mut words = vec![0u64; 64];
        let write = history.begin_write(1, mode, 0, 512).unwrap();
        write.fill(&mut words);
        history.end_write(&write, Outcome::Done(512));
        words
    }

    /// What a read of these words is found to be, where direct and cached writers meet.
    fn judge(history: &History, words: &[u64]) -> Tally {
        let mut tally = Tally::default();
        let read = history.end_read(history.begin_read(0));
        history.check(&read, 0, words, &mut tally);
        tally
    }

    #[test]
    fn what_others_left_on_the_disk_is_no_old_value_of_this_file() {
        let ours = history("x", 1);
        let old = write(&ours, Mode::Direct);
        write(&ours, Mode::Buffered);
        let stale = judge(&ours, &old);
        assert!(stale.events(Severity::Collision, Class::Stale) > 0);
        for other in [history("y", 1), history("x", 2)] {
            let left = write(&other, Mode::Direct);
            let tally = judge(&ours, &left);
            assert_eq!(tally.events(Severity::Collision, Class::Stale), 0);
            assert!(tally.events(Severity::Violation, Class::Exposed) > 0);
        }
    }

    /// A file in memory for which the kernel lacks io_uring and libaio.
    struct Poor(LiarStore);

    impl Store for Poor {
        fn open(&self, kind: Kind, depth: usize) -> Result<Box<dyn Queue>, Error> {
            match kind.is_async() {
                true => Err(Error::Unavailable {
                    engine: kind.name(),
                    errno: Errno::EPERM,
                }),
                false => self.0.open(kind, depth),
            }
        }

        fn fsync(&self) -> Result<(), Errno> {
            self.0.fsync()
        }

        fn advise(&self, advice: Advice, offset: u64, len: u64) -> Result<(), Errno> {
            self.0.advise(advice, offset, len)
        }

        fn change(&self, change: Change) -> Result<(), Errno> {
            self.0.change(change)
        }

        fn size(&self) -> Result<u64, Errno> {
            self.0.size()
        }

        fn label(&self) -> String {
            self.0.label()
        }
    }

    /// Races with these workers, of whom those that are wanted can only have what is not asynchronous.
    fn race_poorly(workers: &[WorkerPlan], wanted: &str, all_needed: bool) -> (Status, String) {
        let mut settings = samples::choices(7)
            .settings(&samples::place(), false)
            .unwrap();
        settings.duration = Duration::from_millis(50);
        settings.wanted = match wanted {
            "" => Wanted::default(),
            word => Wanted::parse(&[word.to_owned()]).unwrap(),
        };
        let arena = Arena::new(&std::env::temp_dir()).unwrap();
        let bench = Bench::new(&settings, &arena, Geometry::USUAL, "poor");
        let mut plan = Plan::new(64 << 10, 4096);
        plan.workers = workers.to_vec();
        plan.all_needed = all_needed;
        let raced = on_any(&bench, &plan, |history| {
            let liar = Arc::new(Liar::new(history, None, 1));
            Arc::new(Poor(LiarStore(liar)))
        });
        match raced {
            Ok(report) => (report.status, report.notes.join("; ")),
            Err(error) => (Status::of_error(&error), error.to_string()),
        }
    }

    #[test]
    fn what_nobody_was_left_to_do_is_not_legal() {
        let aim = Aim::Blocks {
            sizes: vec![4096],
            within: 0..64 << 10,
        };
        let write = |kind| WorkerPlan::write(kind, aim.clone(), 1);
        let read = |kind| WorkerPlan::read(kind, aim.clone(), 1);
        let (cached, look) = (write(Kind::BUFFERED), read(Kind::BUFFERED));
        let lacks = |workers: &[WorkerPlan], wanted, what: &str| {
            let (status, why) = race_poorly(workers, wanted, what.contains("about"));
            assert_eq!(status, Status::Lacking, "{why}");
            assert!(why.contains(what) && why.contains("EPERM"), "{why}");
        };
        lacks(&[write(Kind::LIBAIO), look.clone()], "", "who writes: ");
        lacks(
            &[write(Kind::URING), cached.clone(), look.clone()],
            "",
            "writes with O_DIRECT",
        );
        lacks(
            &[write(Kind::DIRECT), read(Kind::URING)],
            "",
            "it is about an engine",
        );
        let legal = |workers: &[WorkerPlan], wanted, note: &str| {
            let raced = race_poorly(workers, wanted, false);
            assert_eq!(raced.0, Status::Legal, "{}", raced.1);
            assert!(raced.1.contains(note), "{}", raced.1);
        };
        // Others do the same.
        let three = [write(Kind::LIBAIO), write(Kind::DIRECT), look.clone()];
        legal(&three, "", "left out: libaio");
        // Readers were all that was asked for.
        legal(&[write(Kind::LIBAIO), look.clone()], "buffered:read", "");
        legal(&[cached, look, read(Kind::URING)], "", "left out: uring");
    }
}
