// SPDX-License-Identifier: GPL-2.0
//! What scenarios with a loop of their own have in common: one thread for each engine, watched.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engines::{Buffer, Completion, Errno, File, Kind, Op, Queue, Request};
use oracle::Profile;

use crate::again::{Got, read_all};
use crate::bench::Bench;
use crate::crew::pulse::{Pulse, Role};
use crate::crew::{Crew, and_save};
use crate::live::Live;
use crate::race::shared::failure;
use crate::report::ScenarioReport;
use crate::report::finding::FindingReport;
use crate::status::Lacking;

/// Findings that a thread explains; more are counted.
const EXPLAINED: usize = 20;

/// What a thread has to work with.
pub struct Task {
    /// What reports call it.
    name: &'static str,
    /// Its engine.
    pub kind: Kind,
    /// Its number.
    pub nth: u64,
    pulse: Arc<Pulse>,
    stop: Arc<AtomicBool>,
    /// Violations of all threads.
    found: Arc<AtomicU64>,
    profile: Profile,
    /// What offsets of direct I/O are multiples of.
    align: usize,
    result: TaskResult,
}

/// What a thread found.
#[derive(Debug, Default)]
pub struct TaskResult {
    violations: BTreeMap<&'static str, u64>,
    findings: Vec<FindingReport>,
    errors: BTreeMap<String, u64>,
    words: u64,
}

impl Task {
    /// A thread that is none, of no race.
    #[cfg(test)]
    pub fn alone(kind: Kind) -> Self {
        Self {
            name: kind.name(),
            kind,
            nth: 0,
            pulse: Crew::<()>::new().pulse(kind.name(), Role::Both, 1),
            stop: Arc::default(),
            found: Arc::default(),
            profile: Profile::Bare,
            align: 512,
            result: TaskResult::default(),
        }
    }

    /// Violations of a class so far.
    #[cfg(test)]
    pub fn count(&self, class: &str) -> u64 {
        self.result.violations.get(class).copied().unwrap_or(0)
    }

    /// Whether it is time to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Words were compared.
    pub fn judged(&mut self, words: u64) {
        self.result.words += words;
    }

    /// Something is wrong.
    pub fn wrong(&mut self, class: &'static str, file: &str, what: String) {
        *self.result.violations.entry(class).or_default() += 1;
        self.found.fetch_add(1, Ordering::Relaxed);
        if self.result.findings.len() < EXPLAINED {
            let report = FindingReport::plain(class, file, self.name, what);
            self.result.findings.push(report);
        }
    }

    /// An operation failed, or a write was short.
    pub fn failed(&mut self, errno: Errno) {
        let name = failure(self.name, errno);
        *self.result.errors.entry(name).or_default() += 1;
    }

    /// What is not a request of an engine, from beginning to end, on a slot of the pulse.
    pub fn watched<E>(
        &self,
        slot: usize,
        (op, offset, len): (Op, u64, u64),
        call: impl FnOnce() -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.pulse.begin(slot, op, offset, len);
        let result = call();
        let counted = result.as_ref().map(|n| *n as u64).map_err(|_| ());
        self.pulse.end(slot, counted);
        result
    }

    /// Reads a range of a file, and asks again for what a short read has left out.
    pub fn read(
        &mut self,
        file: &File,
        label: &str,
        words: &mut [u64],
        at: u64,
    ) -> Result<usize, Errno> {
        let got = read_all(words, self.align, |part, from| file.pread(part, at + from))?;
        self.came(label, got);
        Ok(got.all)
    }

    /// The same with what it does on a slot of the pulse.
    pub fn watched_read(
        &mut self,
        slot: usize,
        file: &File,
        label: &str,
        words: &mut [u64],
        at: u64,
    ) -> Result<usize, Errno> {
        let mut got = Got::default();
        let what = (Op::Read, at, size_of_val(words) as u64);
        let result = self.watched(slot, what, || -> Result<usize, Errno> {
            got = read_all(words, self.align, |part, from| file.pread(part, at + from))?;
            Ok(got.all)
        });
        self.came(label, got);
        result
    }

    /// Where all that the file has is promised at once it must not come in parts.
    fn came(&mut self, label: &str, got: Got) {
        if got.first < got.all && self.profile == Profile::Strict {
            let Got { first, all } = got;
            let what = format!("a read returns {first} bytes, and {all} when it is asked again");
            self.wrong("short", label, what);
        }
    }

    /// Submits a request on a slot of the pulse; gives the completion if the kernel refused it.
    pub fn submit(&self, queue: &mut dyn Queue, request: Request) -> Option<Completion> {
        let Request {
            id,
            op,
            offset,
            len,
            ..
        } = request;
        self.pulse.begin(id, op, offset, len as u64);
        let rejected = queue.submit(request).err()?;
        Some(self.ended(Completion {
            id,
            result: Err(rejected.errno),
            buffer: rejected.request.buffer,
        }))
    }

    /// Waits for completions.
    pub fn reap(&self, queue: &mut dyn Queue) -> Result<Vec<Completion>> {
        let mut done = Vec::new();
        while queue.in_flight() > 0 && done.is_empty() {
            queue.reap(Duration::from_secs(1), &mut done)?;
        }
        Ok(done
            .into_iter()
            .map(|completion| self.ended(completion))
            .collect())
    }

    fn ended(&self, completion: Completion) -> Completion {
        let result = completion.result.map(|n| n as u64).map_err(|_| ());
        self.pulse.end(completion.id, result);
        completion
    }

    /// One request from beginning to end.
    pub fn one(
        &self,
        queue: &mut dyn Queue,
        op: Op,
        offset: u64,
        len: usize,
        buffer: Buffer,
    ) -> Result<Completion> {
        let request = Request {
            id: 0,
            op,
            offset,
            len,
            buffer,
        };
        if let Some(refused) = self.submit(queue, request) {
            return Ok(refused);
        }
        self.reap(queue)?.pop().context("a completion got lost")
    }
}

/// Writes a file from its beginning. After a short write the next one says why it was short.
pub fn fill(file: &File, words: &[u64]) -> Result<()> {
    let what = || format!("cannot fill a file of {} bytes", size_of_val(words));
    let mut done = 0;
    while done < words.len() {
        let got = file.pwrite(&words[done..], done as u64 * 8);
        let got = got.and_then(|got| if got < 8 { Err(Errno::ENOSPC) } else { Ok(got) });
        done += got.with_context(what)? / 8;
    }
    Ok(())
}

/// Runs one thread for each engine that there is, until the time is up, and reports.
pub fn run<F>(bench: &Bench<'_>, kinds: &[Kind], slots: usize, work: F) -> Result<ScenarioReport>
where
    F: Fn(&mut Task) -> Result<()> + Clone + Send + 'static,
{
    let named: Vec<_> = kinds.iter().map(|kind| (kind.name(), *kind)).collect();
    run_named(bench, &named, slots, work)
}

/// The same with threads that reports do not call by their engines.
pub fn run_named<F>(
    bench: &Bench<'_>,
    kinds: &[(&'static str, Kind)],
    slots: usize,
    work: F,
) -> Result<ScenarioReport>
where
    F: Fn(&mut Task) -> Result<()> + Clone + Send + 'static,
{
    let mut report = ScenarioReport::new(bench.scenario);
    let mut crew = Crew::new().on_record(bench);
    let probe = bench.arena.path("engine");
    File::create(&probe)?.set_len(4096)?;
    let wanted = &bench.settings.wanted;
    let found = Arc::new(AtomicU64::new(0));
    for (nth, (name, kind)) in kinds.iter().enumerate() {
        if !wanted.has(name, Role::Both) {
            continue;
        }
        if let Err(error @ engines::Error::Unavailable { .. }) =
            engines::open(*kind, &probe, 4096, 1)
        {
            report.notes.push(format!("left out: {error}"));
            continue;
        }
        let pulse = crew.pulse(name, Role::Both, slots);
        let mut task = Task {
            name,
            kind: *kind,
            nth: nth as u64,
            pulse: Arc::clone(&pulse),
            stop: crew.stop(),
            found: Arc::clone(&found),
            profile: bench.settings.profile,
            align: bench.geometry.align.max(8) as usize,
            result: TaskResult::default(),
        };
        let work = work.clone();
        crew.start(pulse, move |found| {
            and_save(&mut task, work, |task| *found = mem::take(&mut task.result))
        })?;
    }
    std::fs::remove_file(&probe)?;
    if crew.pulses().is_empty() {
        let what = format!("{} has none of the threads asked for", bench.scenario);
        return Err(Lacking(what).into());
    }
    let pulses = crew.pulses().to_vec();
    let settings = bench.settings;
    let mut live = Live::new(bench);
    let begin = Instant::now();
    let ending = crew.race(settings.duration, settings.grace, |pulses, elapsed| {
        live.look(pulses, elapsed, (found.load(Ordering::Relaxed), 0))
    });
    live.tell(&mut report);
    report.count(
        pulses.iter().map(AsRef::as_ref),
        begin.elapsed().as_secs_f64(),
    );
    for result in ending.results {
        add(&mut report, result);
    }
    // These loops provoke none.
    let surprises = report.errors.clone();
    report.wonder(settings.profile, &surprises);
    ending.errors.iter().for_each(|error| report.broken(error));
    report.hang("", ending.hung);
    report.conclude();
    if settings.keep && report.found() {
        let what =
            "--keep leaves nothing of this scenario, which makes its files anew all the time";
        report.notes.push(what.to_owned());
    }
    Ok(report)
}

fn add(report: &mut ScenarioReport, result: TaskResult) {
    for (class, n) in result.violations {
        *report.violations.entry(class.to_owned()).or_default() += n;
    }
    for (error, n) in result.errors {
        *report.errors.entry(error).or_default() += n;
    }
    report.words_checked += result.words;
    report.findings.extend(result.findings);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_parts_is_wrong_where_all_is_promised_at_once() {
        for (profile, wrong) in [(Profile::Strict, 1), (Profile::Bare, 0)] {
            let mut task = Task::alone(Kind::DIRECT);
            task.profile = profile;
            task.came("x", Got { first: 8, all: 16 });
            task.came("x", Got { first: 16, all: 16 });
            assert_eq!(task.count("short"), wrong);
        }
    }
}
