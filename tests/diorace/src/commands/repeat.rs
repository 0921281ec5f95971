// SPDX-License-Identifier: GPL-2.0
//! `diorace run --repeat`

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Error, Result};
use engines::signals;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{Choices, RunArgs};
use crate::commands::outputs;
use crate::commands::session::fresh_seed;
use crate::commands::trial::Trials;
use crate::place::Place;
use crate::report::table::list;
use crate::report::{Report, ScenarioReport};
use crate::stats::Estimate;
use crate::status::{Status, say};

/// Names the format of the result.
const SCHEMA: &str = "diorace.repeat";

/// Many runs, as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RepeatReport {
    /// "diorace.repeat".
    schema: String,
    /// 1.
    version: u32,
    /// Version of the program.
    program: String,
    /// Where it ran.
    place: Place,
    /// The command line of the first run; the others have the next seeds.
    command: String,
    /// The verdict of all runs together.
    status: Status,
    /// Why there are fewer runs than were asked for, if one of them left no result.
    failure: Option<String>,
    /// Each run that left a result.
    runs: Vec<Once>,
    /// Runs that found a violation.
    violation: Estimate,
    /// Runs that found a collision.
    collision: Estimate,
}

/// One of the runs.
#[derive(Debug, Serialize, JsonSchema)]
struct Once {
    seed: u64,
    status: Status,
    /// Seconds raced, over all scenarios.
    seconds: f64,
    first_violation: Option<f64>,
    first_collision: Option<f64>,
}

/// Runs many times and says how often and how soon something is found.
pub fn repeat(args: &RunArgs, times: u32) -> Result<Status> {
    let place = Place::find(&args.dir)?;
    outputs::prepare(&args.outputs)?;
    let done = race(args, times, place);
    if done.is_err() {
        outputs::discard(&args.outputs);
    }
    done
}

fn race(args: &RunArgs, times: u32, place: Place) -> Result<Status> {
    let json_to_stdout = args.outputs.json.as_deref() == Some(Path::new("-"));
    let tell = |text: &str| {
        if !args.quiet && !json_to_stdout {
            say(text);
        }
    };
    let mut choices = args.choices.clone();
    choices.seed.get_or_insert_with(fresh_seed);
    let command = choices.command(&place.path);
    let trials = Trials::new(&args.dir)?;
    let series = Series::make(choices, times, tell, |choices| trials.run(choices));
    let report = series.report(place, command)?;
    finish(args, &report, json_to_stdout)?;
    Ok(report.status)
}

/// Runs one after the other.
#[derive(Debug, Default)]
struct Series {
    runs: Vec<Once>,
    /// What kept the last one from leaving a result, if so.
    failure: Option<Error>,
}

impl Series {
    /// Makes them by `run`. One that leaves no result is the last, but takes along nothing that those
    /// before it have found.
    fn make(
        mut choices: Choices,
        times: u32,
        tell: impl Fn(&str),
        mut run: impl FnMut(&Choices) -> Result<Report>,
    ) -> Self {
        let mut series = Self::default();
        let seed = choices.seed.unwrap_or_default();
        for nth in 0..times {
            choices.seed = Some(seed.wrapping_add(nth.into()));
            let report = match run(&choices) {
                Ok(report) => report,
                Err(error) => {
                    series.fail(error.context(format!("run {} of {times}", nth + 1)));
                    break;
                }
            };
            let cut = report.interrupted;
            let once = Once::new(&report);
            tell(&format!("{:>4}/{times}  {}\n", nth + 1, once.line(&report)));
            if !cut || once.status == Status::Violation {
                series.runs.push(once);
            }
            if cut || signals::stop_asked() {
                tell("stopped by a signal: the figures are those of the runs before it\n");
                break;
            }
        }
        series
    }

    fn fail(&mut self, error: Error) {
        eprintln!("diorace: {error:#}");
        self.failure = Some(error);
    }

    fn status(&self) -> Status {
        let runs = self.runs.iter().map(|run| run.status);
        let all: Vec<_> = runs
            .chain(self.failure.as_ref().map(Status::of_error))
            .collect();
        Status::combine(&all)
    }

    fn report(self, place: Place, command: String) -> Result<RepeatReport> {
        let estimate = |first: fn(&Once) -> Option<f64>| {
            // What did not race, or proves nothing, says nothing.
            let raced = |run: &Once| run.status != Status::Lacking && run.seconds > 0.0;
            let runs = self.runs.iter();
            let told = runs.filter(|run| first(run).is_some() || raced(run));
            let seen = told.map(|run| (first(run), run.seconds));
            Estimate::new(&seen.collect::<Vec<_>>())
        };
        Ok(RepeatReport {
            schema: SCHEMA.to_owned(),
            version: 1,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            place,
            command,
            status: self.status(),
            violation: estimate(|run| run.first_violation)?,
            collision: estimate(|run| run.first_collision)?,
            failure: self.failure.map(|error| format!("{error:#}")),
            runs: self.runs,
        })
    }
}

fn finish(args: &RunArgs, report: &RepeatReport, json_to_stdout: bool) -> Result<()> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    if json_to_stdout {
        say(&json);
        return Ok(());
    }
    let mut text = String::new();
    let _ = writeln!(text, "\n{}", report.violation.describe("violations"));
    let _ = writeln!(text, "{}", report.collision.describe("collisions"));
    let _ = writeln!(text, "\nthe first of these runs again: {}", report.command);
    let _ = writeln!(text, "verdict: {}", report.status.name());
    say(&text);
    if let Some(path) = &args.outputs.json {
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Once {
    fn new(report: &Report) -> Self {
        // A scenario begins when those before it have ended.
        let first = |pick: fn(&ScenarioReport) -> Option<f64>| {
            let mut before = 0.0;
            for scenario in &report.scenarios {
                if let Some(at) = pick(scenario) {
                    return Some(before + at);
                }
                before += scenario.seconds;
            }
            None
        };
        Self {
            seed: report.seed,
            status: report.status,
            seconds: report.scenarios.iter().map(|s| s.seconds).sum(),
            first_violation: first(|s| s.first_violation),
            first_collision: first(|s| s.first_collision),
        }
    }

    fn line(&self, report: &Report) -> String {
        let mut line = format!("seed {:<8} {:<10}", self.seed, self.status.name());
        if let Some(at) = self.first_violation.or(self.first_collision) {
            let _ = write!(line, " after {at:.2} s");
        }
        for s in &report.scenarios {
            for counts in [&s.violations, &s.collisions] {
                if !counts.is_empty() {
                    let _ = write!(line, "  {}: {}", s.name, list(counts));
                }
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use anyhow::anyhow;

    use crate::report::samples;
    use crate::status::Lacking;

    /// The report of two runs, the first with a violation, or legal, and the second without a result.
    fn broken(violation: bool, error: Error) -> RepeatReport {
        let mut error = Some(error);
        let mut seeds = Vec::new();
        let series = Series::make(
            samples::choices(7),
            5,
            |_| {},
            |choices| {
                seeds.extend(choices.seed);
                if seeds.len() == 2 {
                    return Err(error.take().unwrap());
                }
                let mut scenario = samples::legal("x");
                if violation {
                    scenario.violations.insert("stale".to_owned(), 1);
                }
                scenario.conclude();
                Ok(samples::report("bare", vec![scenario]))
            },
        );
        assert_eq!(seeds, [7, 8]);
        series.report(samples::place(), "again".to_owned()).unwrap()
    }

    #[test]
    fn a_run_without_a_result_takes_no_violation_along() {
        let report = broken(true, Lacking("no room".into()).into());
        assert_eq!((report.status, report.runs.len()), (Status::Violation, 1));
        assert_eq!(report.violation.found, 1);
        assert_eq!(report.failure.unwrap(), "run 2 of 5: no room");
        let killed = broken(true, anyhow!("killed"));
        assert_eq!(killed.status, Status::Violation);
    }

    #[test]
    fn runs_that_were_skipped_say_nothing_of_how_often() {
        let run = |_: &Choices| {
            let skipped = ScenarioReport::skipped("x", "no FICLONE".to_owned());
            let mut report = samples::report("bare", vec![skipped]);
            report.conclude();
            Ok(report)
        };
        let series = Series::make(samples::choices(7), 5, |_| {}, run);
        let report = series.report(samples::place(), "again".to_owned()).unwrap();
        assert_eq!((report.runs.len(), report.violation.runs), (5, 0));
        assert_eq!(report.status, Status::Lacking);
    }

    #[test]
    fn a_run_without_a_result_counts_as_a_scenario_would() {
        let status = |error| broken(false, error).status;
        assert_eq!(status(anyhow!("killed")), Status::Tool);
        assert_eq!(status(Lacking("no room".into()).into()), Status::Legal);
    }
}
