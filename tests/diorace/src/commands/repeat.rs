// SPDX-License-Identifier: GPL-2.0
//! `diorace run --repeat`

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use engines::signals;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::RunArgs;
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
    /// Each run.
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
    let json_to_stdout = args.outputs.json.as_deref() == Some(Path::new("-"));
    let tell = |text: &str| {
        if !args.quiet && !json_to_stdout {
            say(text);
        }
    };
    let mut choices = args.choices.clone();
    let seed = choices.seed.unwrap_or_else(fresh_seed);
    choices.seed = Some(seed);
    let command = choices.command(&place.path);
    let trials = Trials::new(&args.dir)?;
    let mut runs = Vec::new();
    for nth in 0..times {
        choices.seed = Some(seed + u64::from(nth));
        let report = trials.run(&choices)?;
        let cut = report.interrupted;
        let run = Once::new(&report);
        tell(&format!("{:>4}/{times}  {}\n", nth + 1, run.line(&report)));
        if !cut || run.status == Status::Violation {
            runs.push(run);
        }
        if cut || signals::stop_asked() {
            tell("stopped by a signal: the figures are those of the runs before it\n");
            break;
        }
    }
    let all: Vec<_> = runs.iter().map(|run| run.status).collect();
    let estimate = |first: fn(&Once) -> Option<f64>| {
        let seen: Vec<_> = runs.iter().map(|run| (first(run), run.seconds)).collect();
        Estimate::new(&seen)
    };
    let report = RepeatReport {
        schema: SCHEMA.to_owned(),
        version: 1,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        place,
        command,
        status: Status::combine(&all),
        violation: estimate(|run| run.first_violation)?,
        collision: estimate(|run| run.first_collision)?,
        runs,
    };
    finish(args, &report, json_to_stdout)?;
    Ok(report.status)
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
