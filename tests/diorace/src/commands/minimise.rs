// SPDX-License-Identifier: GPL-2.0
//! `diorace run --minimise`

use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use engines::signals;

use crate::bench::Wanted;
use crate::cli::{Choices, RunArgs, Until};
use crate::commands::session::fresh_seed;
use crate::commands::trial::Trials;
use crate::place::Place;
use crate::report::{Report, ScenarioReport};
use crate::stats::share;
use crate::status::{Status, say};

/// Runs of a candidate before it counts as one that does not fail.
const TRIES: u64 = 3;

/// Runs of the result, to say how often it fails.
const PROOF: u64 = 10;

/// A candidate runs this many times as long as the last failure took.
const PATIENCE: f64 = 6.0;

/// Files are not made smaller once they have no more than this.
const SMALL: u64 = 64 << 10;

/// Sizes are multiples of this, which hardly any direct I/O asks more than.
const UNIT: u64 = 4096;

/// Shrinks a failing configuration and prints the smallest that still fails.
pub fn minimise(args: &RunArgs) -> Result<Status> {
    let place = Place::find(&args.dir)?;
    let trials = Trials::new(&args.dir)?;
    let mut shrinker = Shrinker {
        run: |choices: &Choices| trials.run(choices),
        deadline: Instant::now() + Duration::from_secs_f64(args.budget),
        best: args.choices.clone(),
        until: match args.choices.until {
            Until::Violation => Until::Violation,
            _ => Until::Collision,
        },
        ended: Vec::new(),
        failure: None,
        quiet: args.quiet,
    };
    shrinker.best.seed.get_or_insert_with(fresh_seed);
    let Some(first) = shrinker.first()? else {
        let status = Status::combine(&shrinker.ended);
        let advice = match status {
            Status::Legal => "give it more time with --duration",
            _ => "see without --minimise why",
        };
        say(&format!(
            "nothing was found in {} runs ({}), so there is nothing to make smaller; {advice}\n",
            shrinker.ended.len(),
            status.name()
        ));
        return Ok(status);
    };
    shrinker.shrink(&first);
    shrinker.prove(&place)?;
    Ok(first.status)
}

struct Shrinker<R> {
    /// Runs once. What a candidate asks for may not be possible: then there is no report.
    run: R,
    deadline: Instant,
    /// The smallest so far that fails.
    best: Choices,
    /// What counts as failing.
    until: Until,
    /// The verdicts of the runs with a report.
    ended: Vec<Status>,
    /// Why the last run without a report has none.
    failure: Option<Error>,
    quiet: bool,
}

impl<R: FnMut(&Choices) -> Result<Report>> Shrinker<R> {
    /// Whether it fails as it is. If that cannot even be run it is an error.
    fn first(&mut self) -> Result<Option<Report>> {
        let mut choices = self.best.clone();
        choices.until = self.until;
        let found = self.fails(&choices);
        if let (0, Some(error)) = (self.ended.len(), self.failure.take()) {
            return Err(error);
        }
        if let Some(report) = &found {
            if report.status == Status::Violation {
                self.until = Until::Violation;
            }
            self.tell("fails", &choices);
        }
        Ok(found)
    }

    /// Makes smaller whatever can be, one after the other.
    fn shrink(&mut self, first: &Report) {
        self.scenario(first);
        self.threads();
        self.engines(first);
        self.depth();
        self.size();
    }

    /// Only the scenario that failed, for a time in which it should fail again.
    fn scenario(&mut self, first: &Report) {
        self.best.until = self.until;
        if let Some(name) = failing(first, self.until) {
            self.best.scenario = vec![name.to_owned()];
        }
        self.shorten(first);
    }

    fn shorten(&mut self, report: &Report) {
        let name = self.best.scenario.first();
        let scenario = report.scenarios.iter().find(|s| Some(&s.name) == name);
        let first = scenario.and_then(|s| match self.until {
            Until::Violation => s.first_violation,
            _ => s.first_violation.or(s.first_collision),
        });
        if let Some(at) = first {
            let wish = (at * PATIENCE).clamp(1.0, self.best.duration.max(1.0));
            self.best.duration = (wish * 2.0).ceil() / 2.0;
        }
    }

    /// Fewer threads than the scenario has cannot be asked for: either as many, or some engines only.
    fn threads(&mut self) {
        if self.best.threads.is_some() {
            let candidate = Choices {
                threads: None,
                ..self.best.clone()
            };
            self.keep_if_failing(candidate);
        }
    }

    /// Leaves out threads, by halves and then one by one, until none can be spared.
    fn engines(&mut self, first: &Report) {
        let name = self.best.scenario.first();
        let scenario = first.scenarios.iter().find(|s| Some(&s.name) == name);
        let mut left = scenario.map(choosable).unwrap_or_default();
        let mut chunk = left.len().div_ceil(2);
        while chunk > 0 && left.len() > 1 {
            let mut at = 0;
            while at < left.len() && left.len() > 1 {
                let mut fewer = left.clone();
                fewer.drain(at..(at + chunk).min(left.len()));
                let candidate = Choices {
                    engines: fewer.clone(),
                    ..self.best.clone()
                };
                if !fewer.is_empty() && self.keep_if_failing(candidate) {
                    left = fewer;
                } else {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn depth(&mut self) {
        for depth in [1, 2, 4, 8, 16, 32, 64, 128] {
            if self.best.depth.is_some_and(|now| now <= depth)
                || (self.best.depth.is_none() && depth > 4)
            {
                break;
            }
            let candidate = Choices {
                depth: Some(depth),
                ..self.best.clone()
            };
            if self.keep_if_failing(candidate) {
                break;
            }
        }
    }

    /// Halves the file as long as it still fails and the scenario takes so small a file.
    fn size(&mut self) {
        let mut size = self.best.size.unwrap_or(1 << 20);
        while let Some(half) = half(size) {
            let candidate = Choices {
                size: Some(half),
                ..self.best.clone()
            };
            let Some(report) = self.fails(&candidate) else {
                break;
            };
            let taken = report.scenarios.first().map_or(0, |s| s.file_size);
            if !(8..size).contains(&taken) {
                break;
            }
            size = taken;
            self.best.size = Some(taken);
            self.tell("still fails", &self.best);
        }
    }

    fn keep_if_failing(&mut self, candidate: Choices) -> bool {
        let fails = self.fails(&candidate).is_some();
        let what = if fails { "still fails" } else { "legal" };
        self.tell(what, &candidate);
        if fails {
            self.best = candidate;
        }
        fails
    }

    /// Runs a candidate until it fails, a few times with different seeds. Without time left, or asked
    /// to stop, nothing fails any more.
    fn fails(&mut self, candidate: &Choices) -> Option<Report> {
        for nth in 0..TRIES {
            if !self.ended.is_empty() && (signals::stop_asked() || Instant::now() > self.deadline) {
                return None;
            }
            match self.once(candidate, nth) {
                Some(report) if report.is_enough(self.until) => return Some(report),
                None if self.ended.is_empty() => return None,
                _ => {}
            }
        }
        None
    }

    /// Runs once, with the `nth` seed from that of the candidate on. What could not be done is no failure
    /// that could be made smaller.
    fn once(&mut self, candidate: &Choices, nth: u64) -> Option<Report> {
        let mut choices = candidate.clone();
        choices.seed = candidate.seed.map(|seed| seed.wrapping_add(nth));
        match (self.run)(&choices) {
            Ok(report) => {
                self.ended.push(report.status);
                Some(report)
            }
            Err(error) => {
                // What keeps the very first one from running ends the search, and is told then.
                if !self.ended.is_empty() {
                    self.tell("no result", &choices);
                    eprintln!("diorace: {error:#}");
                }
                self.failure = Some(error);
                None
            }
        }
    }

    fn tell(&self, what: &str, choices: &Choices) {
        if !self.quiet {
            say(&format!("{what:<12} {choices}\n"));
        }
    }

    /// Says how often the result fails.
    fn prove(&mut self, place: &Place) -> Result<()> {
        let in_time = Instant::now() < self.deadline;
        let (runs, best) = (self.ended.len(), self.best.clone());
        let (mut failed, mut all) = (0, 0);
        for nth in 0..PROOF {
            if signals::stop_asked() {
                break;
            }
            if let Some(report) = self.once(&best, nth) {
                failed += u64::from(report.is_enough(self.until));
                all += 1;
            }
        }
        let (low, high) = share(failed, all)?;
        let kind = match self.until {
            Until::Violation => "a violation",
            _ => "a collision",
        };
        say(&format!(
            "\nthe smallest command line that still finds {kind} ({} runs tried{}):\n  {}\n\
             it does in {failed} of {all} runs with as many seeds: {:.0} % (95 %: {:.0} to {:.0} %, Clopper-Pearson)\n",
            runs,
            if in_time {
                ""
            } else {
                "; out of --budget, so perhaps there is a smaller one"
            },
            best.command(&place.path),
            failed as f64 * 100.0 / all.max(1) as f64,
            low * 100.0,
            high * 100.0,
        ));
        Ok(())
    }
}

/// Half a size, which direct I/O can address to its end; none where it is small enough.
fn half(size: u64) -> Option<u64> {
    (size > SMALL).then(|| size / 2 / UNIT * UNIT)
}

/// The threads of a scenario that can be chosen, as words of the command line.
fn choosable(scenario: &ScenarioReport) -> Vec<String> {
    let engines = scenario.engines.iter();
    let words = engines.map(|e| format!("{}:{}", e.engine, e.role.name()));
    words.filter(|word| Wanted::takes(word)).collect()
}

/// The scenario that found something.
fn failing(report: &Report, until: Until) -> Option<&str> {
    let found = report.scenarios.iter().find(|s| s.is_enough(until));
    found.map(|s| s.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    use anyhow::bail;

    use crate::crew::pulse::Role;
    use crate::report::{EngineReport, samples};

    const THREADS: [(&str, Role); 6] = [
        ("changes", Role::Disturb),
        ("clone", Role::Disturb),
        ("both-append", Role::Both),
        ("libaio", Role::Write),
        ("mmap", Role::Read),
        ("advice", Role::Disturb),
    ];

    /// A run that refuses what the program refuses, and fails if its first thread takes part.
    fn one(choices: &Choices) -> Result<Report> {
        let wanted = Wanted::parse(&choices.engines)?;
        let size = choices.size.unwrap_or(1 << 20);
        if size % 512 != 0 {
            bail!("--size {size} cannot be aligned");
        }
        let mut scenario = samples::legal("x");
        scenario.file_size = size.max(128 << 10);
        scenario.engines = THREADS.map(|(name, role)| engine(name, role)).into();
        if wanted.has("libaio", Role::Write) {
            scenario.collisions.insert("stale".to_owned(), 1);
        }
        scenario.conclude();
        Ok(samples::report("bare", vec![scenario]))
    }

    fn engine(name: &str, role: Role) -> EngineReport {
        EngineReport {
            engine: name.to_owned(),
            role,
            threads: 1,
            operations: 1,
            bytes: 8,
            errors: 0,
        }
    }

    fn shrinker<R: FnMut(&Choices) -> Result<Report>>(run: R) -> Shrinker<R> {
        Shrinker {
            run,
            deadline: Instant::now() + Duration::from_secs(600),
            best: samples::choices(1),
            until: Until::Collision,
            ended: Vec::new(),
            failure: None,
            quiet: true,
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_not_tried() {
        let mut shrinker = shrinker(one);
        shrinker.best.size = Some(131584 * 2);
        let first = shrinker.first().unwrap().unwrap();
        shrinker.shrink(&first);
        assert!(shrinker.failure.is_none(), "{:?}", shrinker.failure);
        assert_eq!(shrinker.best.engines, ["libaio:write"]);
        assert_eq!(shrinker.best.size, Some(128 << 10));
        assert_eq!(half(131584), Some(64 << 10));
    }

    #[test]
    fn a_run_without_a_result_is_no_failure() {
        let mut nth = 0;
        let mut shrinker = shrinker(|choices: &Choices| {
            nth += 1;
            match nth {
                2..=4 => bail!("killed"),
                _ => one(choices),
            }
        });
        let first = shrinker.first().unwrap().unwrap();
        shrinker.shrink(&first);
        assert_eq!(shrinker.best.engines, ["libaio:write"]);
    }

    #[test]
    fn a_collision_is_no_failure_where_a_violation_is_looked_for() {
        let mut shrinker = shrinker(one);
        shrinker.until = Until::Violation;
        assert!(shrinker.first().unwrap().is_none());
        assert_eq!(Status::combine(&shrinker.ended), Status::Collision);
    }

    #[test]
    fn what_was_skipped_is_not_legal() {
        let mut shrinker = shrinker(|_: &Choices| {
            let skipped = ScenarioReport::skipped("x", "no FICLONE".to_owned());
            let mut report = samples::report("bare", vec![skipped]);
            report.conclude();
            Ok(report)
        });
        assert!(shrinker.first().unwrap().is_none());
        assert_eq!(Status::combine(&shrinker.ended), Status::Lacking);
    }

    #[test]
    fn a_tool_that_never_runs_ends_with_an_error() {
        let mut shrinker = shrinker(|_: &Choices| bail!("killed"));
        assert!(shrinker.first().is_err());
    }
}
