// SPDX-License-Identifier: GPL-2.0
//! `diorace run --minimise`

use std::time::{Duration, Instant};

use anyhow::Result;
use engines::signals;

use crate::cli::Choices;
use crate::cli::{RunArgs, Until};
use crate::commands::session::fresh_seed;
use crate::commands::trial::Trials;
use crate::place::Place;
use crate::report::Report;
use crate::stats::share;
use crate::status::{Status, say};

/// Runs of a candidate before it counts as one that does not fail.
const TRIES: u64 = 3;

/// Runs of the result, to say how often it fails.
const PROOF: u64 = 10;

/// A candidate runs this many times as long as the last failure took.
const PATIENCE: f64 = 6.0;

/// Shrinks a failing configuration and prints the smallest that still fails.
pub fn minimise(args: &RunArgs) -> Result<Status> {
    let place = Place::find(&args.dir)?;
    let mut shrinker = Shrinker {
        trials: Trials::new(&args.dir)?,
        deadline: Instant::now() + Duration::from_secs_f64(args.budget),
        best: args.choices.clone(),
        until: Until::Collision,
        runs: 0,
        quiet: args.quiet,
    };
    shrinker.best.seed.get_or_insert_with(fresh_seed);
    let Some(first) = shrinker.first()? else {
        say(&format!(
            "nothing was found in {} runs, so there is nothing to make smaller; give it more time with --duration\n",
            shrinker.runs
        ));
        return Ok(Status::Legal);
    };
    shrinker.scenario(&first);
    shrinker.threads()?;
    shrinker.engines(&first)?;
    shrinker.depth()?;
    shrinker.size()?;
    shrinker.prove(&place, first.status)
}

struct Shrinker {
    trials: Trials,
    deadline: Instant,
    /// The smallest so far that fails.
    best: Choices,
    /// What counts as failing.
    until: Until,
    runs: u64,
    quiet: bool,
}

impl Shrinker {
    /// Whether it fails as it is.
    fn first(&mut self) -> Result<Option<Report>> {
        let mut choices = self.best.clone();
        choices.until = Until::Collision;
        let found = self.fails(&choices)?;
        if let Some(report) = &found {
            if report.status == Status::Violation {
                self.until = Until::Violation;
            }
            self.tell("fails", &choices);
        }
        Ok(found)
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
    fn threads(&mut self) -> Result<()> {
        if self.best.threads.is_some() {
            let candidate = Choices {
                threads: None,
                ..self.best.clone()
            };
            self.keep_if_failing(candidate)?;
        }
        Ok(())
    }

    /// Leaves out threads, by halves and then one by one, until none can be spared.
    fn engines(&mut self, first: &Report) -> Result<()> {
        let name = self.best.scenario.first();
        let scenario = first.scenarios.iter().find(|s| Some(&s.name) == name);
        let Some(scenario) = scenario else {
            return Ok(());
        };
        let all = scenario
            .engines
            .iter()
            .map(|e| format!("{}:{}", e.engine, e.role.name()));
        let mut left: Vec<String> = all.collect();
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
                if !fewer.is_empty() && self.keep_if_failing(candidate)? {
                    left = fewer;
                } else {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
        Ok(())
    }

    fn depth(&mut self) -> Result<()> {
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
            if self.keep_if_failing(candidate)? {
                break;
            }
        }
        Ok(())
    }

    /// Halves the file as long as it still fails and the scenario takes so small a file.
    fn size(&mut self) -> Result<()> {
        let mut size = self.best.size.unwrap_or(1 << 20);
        while size > 64 << 10 {
            size /= 2;
            let candidate = Choices {
                size: Some(size),
                ..self.best.clone()
            };
            let Some(report) = self.fails(&candidate)? else {
                break;
            };
            let taken = report.scenarios.first().map_or(0, |s| s.file_size);
            self.best.size = Some(taken.max(8)).filter(|_| taken > 0);
            self.tell("still fails", &self.best);
            if taken > size {
                break;
            }
        }
        Ok(())
    }

    fn keep_if_failing(&mut self, candidate: Choices) -> Result<bool> {
        let found = self.fails(&candidate)?;
        self.tell(
            if found.is_some() {
                "still fails"
            } else {
                "legal"
            },
            &candidate,
        );
        if found.is_some() {
            self.best = candidate;
        }
        Ok(found.is_some())
    }

    /// Runs a candidate until it fails, a few times with different seeds. Without time left, or asked
    /// to stop, nothing fails any more.
    fn fails(&mut self, candidate: &Choices) -> Result<Option<Report>> {
        for nth in 0..TRIES {
            if self.runs > 0 && (signals::stop_asked() || Instant::now() > self.deadline) {
                return Ok(None);
            }
            let mut choices = candidate.clone();
            choices.seed = candidate.seed.map(|seed| seed + nth);
            self.runs += 1;
            let report = self.trials.run(&choices)?;
            if report.is_enough(self.until) {
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    fn tell(&self, what: &str, choices: &Choices) {
        if !self.quiet {
            say(&format!("{what:<12} {choices}\n"));
        }
    }

    /// Says how often the result fails.
    fn prove(&mut self, place: &Place, status: Status) -> Result<Status> {
        let in_time = Instant::now() < self.deadline;
        let (mut failed, mut all) = (0, 0);
        while all < PROOF && !signals::stop_asked() {
            let mut choices = self.best.clone();
            choices.seed = self.best.seed.map(|seed| seed + all);
            failed += u64::from(self.trials.run(&choices)?.is_enough(self.until));
            all += 1;
        }
        let (low, high) = share(failed, all)?;
        let kind = match self.until {
            Until::Violation => "a violation",
            _ => "a collision",
        };
        say(&format!(
            "\nthe smallest command line that still finds {kind} ({} runs tried{}):\n  {}\n\
             it does in {failed} of {all} runs with as many seeds: {:.0} % (95 %: {:.0} to {:.0} %, Clopper-Pearson)\n",
            self.runs,
            if in_time {
                ""
            } else {
                "; out of --budget, so perhaps there is a smaller one"
            },
            self.best.command(&place.path),
            failed as f64 * 100.0 / all.max(1) as f64,
            low * 100.0,
            high * 100.0,
        ));
        Ok(status)
    }
}

/// The scenario that found something.
fn failing(report: &Report, until: Until) -> Option<&str> {
    let found = report.scenarios.iter().find(|s| match until {
        Until::Violation => !s.violations.is_empty(),
        _ => !s.violations.is_empty() || !s.collisions.is_empty(),
    });
    found.map(|s| s.name.as_str())
}
