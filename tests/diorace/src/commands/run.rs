// SPDX-License-Identifier: GPL-2.0
//! `diorace run`

use std::fs;
use std::path::Path;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use engines::{signals, supervise};
use oracle::Profile;
use oracle::word::mix;

use crate::arena::{Arena, Geometry};
use crate::bench::{Bench, Settings};
use crate::cli::RunArgs;
use crate::place::Place;
use crate::report::table::render;
use crate::report::{Report, SCHEMA, ScenarioReport, VERSION};
use crate::scenarios::{self, Scenario};
use crate::status::{Status, say};

/// Races on files in a directory.
pub fn run(args: &RunArgs) -> Result<Status> {
    let chosen = scenarios::select(&args.scenario)?;
    let place = Place::find(&args.dir)?;
    let settings = settings(args, &place)?;
    if let Some(path) = &args.json {
        // Better to learn now than after the race that the result cannot be kept.
        fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
    }
    // From here on something may get stuck in the kernel.
    supervise::in_child()?;
    signals::catch_stop();
    let arena = Arena::new(&args.dir)?;
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        place,
        profile: match settings.profile {
            Profile::Bare => "bare".to_owned(),
            Profile::Strict => "strict".to_owned(),
        },
        seed: settings.seed,
        status: Status::Legal,
        interrupted: false,
        scenarios: Vec::new(),
    };
    let geometry = arena.geometry()?;
    for scenario in chosen {
        let result = one(scenario, &settings, &arena, geometry)?;
        let hung = result.violations.contains_key("hang");
        report.scenarios.push(result);
        if hung {
            // Threads are stuck in the kernel: nothing more can be learnt, and nothing joined.
            finish(&mut report, args.json.as_deref())?;
            abandon(arena, report.status);
        }
        if signals::stop_asked() {
            report.interrupted = true;
            break;
        }
    }
    finish(&mut report, args.json.as_deref())?;
    Ok(report.status)
}

fn settings(args: &RunArgs, place: &Place) -> Result<Settings> {
    let seconds = |value: f64, name: &str| match Duration::try_from_secs_f64(value) {
        Ok(time) if !time.is_zero() && value < 1e7 => Ok(time),
        _ => bail!("--{name} {value} is no length of time"),
    };
    Ok(Settings {
        duration: seconds(args.duration, "duration")?,
        grace: seconds(args.grace, "grace")?,
        seed: args.seed.unwrap_or_else(fresh_seed),
        size: args.size,
        threads: args.threads.map(usize::from),
        depth: args.depth.map(usize::from),
        profile: place.profile(args.profile),
        live: !args.quiet,
    })
}

/// Short enough to be typed again.
fn fresh_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    mix(now.as_nanos() as u64 ^ u64::from(process::id())) % 1_000_000
}

/// Runs a scenario; what the environment lacks for it is a result.
fn one(
    scenario: &Scenario,
    settings: &Settings,
    arena: &Arena,
    geometry: Geometry,
) -> Result<ScenarioReport> {
    let bench = Bench {
        settings,
        arena,
        geometry,
        scenario: scenario.name,
    };
    match scenario.run(&bench) {
        Err(error) if Status::of_error(&error) == Status::Lacking => {
            Ok(ScenarioReport::skipped(scenario.name, format!("{error:#}")))
        }
        other => other.with_context(|| format!("scenario {}", scenario.name)),
    }
}

fn finish(report: &mut Report, json: Option<&Path>) -> Result<()> {
    let all: Vec<_> = report
        .scenarios
        .iter()
        .map(|scenario| scenario.status)
        .collect();
    report.status = Status::combine(&all);
    say(&render(report));
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(report)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Ends without waiting for threads that will never return. Removing the files may get stuck as well.
fn abandon(arena: Arena, status: Status) -> ! {
    supervise::give_up(status.code().into());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        drop(arena);
        let _ = tell.send(());
    });
    let _ = told.recv_timeout(Duration::from_secs(5));
    signals::exit_now(status.code().into())
}
