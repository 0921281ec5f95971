// SPDX-License-Identifier: GPL-2.0
//! One run: scenarios one after the other in a directory, watched, judged and reported.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use engines::supervise::End;
use engines::{signals, supervise};
use oracle::Profile;
use oracle::word::mix;

use crate::arena::{Arena, Geometry};
use crate::bench::{Bench, Settings};
use crate::cli::{Choices, Outputs};
use crate::commands::outputs;
use crate::klog::Cursor;
use crate::place::Place;
use crate::record::{Header, Log, Script};
use crate::report::{Report, SCHEMA, ScenarioReport, VERSION};
use crate::scenarios::Scenario;
use crate::status::Status;

/// Puts a result in words.
pub type Text = fn(&Report) -> String;

/// What a run needs to know.
pub struct Session {
    /// Where.
    pub dir: PathBuf,
    /// What.
    pub choices: Choices,
    /// Whether files in which something was found stay.
    pub keep: bool,
    /// Where the result goes.
    pub outputs: Outputs,
    /// Whether progress is shown.
    pub live: bool,
    /// The command line that makes the same choices again, if it is not that of `run`.
    pub command: Option<String>,
    /// Where requests are recorded.
    pub record: Option<PathBuf>,
    /// Requests to make again.
    pub script: Option<Arc<Script>>,
}

/// Exit codes from here on stand for signals.
const HARD: i32 = 128;

/// A replay may take longer than the record by this factor: then it is ended.
const SLOWER: u32 = 10;

impl Session {
    /// Races and reports.
    pub fn race(mut self, chosen: &[&Scenario], text: Text) -> Result<Status> {
        let place = Place::find(&self.dir)?;
        self.choices.seed.get_or_insert_with(fresh_seed);
        let mut settings = self.choices.settings(&place, self.live)?;
        settings.keep = self.keep;
        settings.run = fresh_run();
        self.on_record(&place, &mut settings)?;
        outputs::prepare(&self.outputs)?;
        // Engines need many. Where no more are to be had, what does not fit says so itself.
        let _ = engines::raise_descriptors();
        // From here on something may get stuck in the kernel, or be killed.
        if let Some(end) = supervise::in_child()? {
            return Ok(self.bury(end));
        }
        signals::catch_stop();
        signals::survive_file_limit();
        let report = self.report(place, &settings);
        let done = self.scenarios(chosen, &settings, report, text);
        if done.is_err() {
            outputs::discard(&self.outputs);
        }
        done
    }

    /// What is left to do when the process that raced has ended; does not return if it has ended by
    /// itself, which is the rule.
    fn bury(&self, end: End) -> Status {
        if let Some(dir) = &end.left {
            // Whoever still has its files open needs no names.
            if let Err(error) = fs::remove_dir_all(dir) {
                eprintln!("diorace: cannot remove {}: {error}", dir.display());
            }
        }
        let Some(signal) = end.signal else {
            let code = end.code.unwrap_or(HARD);
            if code >= HARD {
                outputs::discard(&self.outputs);
                eprintln!("diorace: ended by the second signal, without a verdict");
            }
            if code < HARD && Status::of_code(code).is_none() {
                outputs::discard(&self.outputs);
                eprintln!("diorace: the process that raced ended with {code}, without a verdict");
                return Status::Tool;
            }
            signals::exit_now(code);
        };
        outputs::discard(&self.outputs);
        let why = match signal {
            libc::SIGKILL => " (by somebody, or for want of memory)",
            _ => "",
        };
        eprintln!("diorace: the process that raced was killed by signal {signal}{why}");
        Status::Tool
    }

    /// Begins a record, or takes the requests from one.
    fn on_record(&self, place: &Place, settings: &mut Settings) -> Result<()> {
        if let Some(path) = &self.record {
            let header = Header {
                program: env!("CARGO_PKG_VERSION").to_owned(),
                choices: self.choices.clone(),
                dir: place.path.clone(),
                kernel: place.kernel.clone(),
            };
            settings.log = Some(Arc::new(Log::create(path, &header)?));
        }
        if self.script.is_some() {
            settings.script.clone_from(&self.script);
        }
        Ok(())
    }

    fn scenarios(
        &self,
        chosen: &[&Scenario],
        settings: &Settings,
        mut report: Report,
        text: Text,
    ) -> Result<Status> {
        let arena = Arena::new(&self.dir)?;
        let geometry = arena.geometry()?;
        check_size(settings.size, geometry)?;
        let mut klog = Cursor::begin(&report.place, arena.dir());
        for (nth, scenario) in chosen.iter().enumerate() {
            let mut settings = settings.clone();
            settings.turn = (nth + 1, chosen.len());
            let mut result = one(scenario, &settings, &arena, geometry);
            let hung = result.violations.contains_key("hang");
            result.heard(klog.listen(), settings.profile);
            report.scenarios.push(result);
            report.interrupted = signals::stop_asked();
            let enough = hung || report.interrupted || report.is_enough(settings.until);
            let behind = chosen.iter().skip(nth + 1).filter(|_| enough);
            report.not_begun = behind.map(|scenario| scenario.name.to_owned()).collect();
            if hung {
                // Threads are stuck in the kernel: nothing more can be learnt, and nothing joined.
                let status = self.finish(&mut report, &settings, klog, text)?;
                abandon(arena, status);
            }
            if enough {
                break;
            }
        }
        self.finish(&mut report, settings, klog, text)
    }

    /// Nothing has happened yet.
    fn report(&self, place: Place, settings: &Settings) -> Report {
        let profile = match settings.profile {
            Profile::Bare => "bare",
            Profile::Strict => "strict",
        };
        Report {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            profile: profile.to_owned(),
            seed: settings.seed,
            run: settings.run,
            command: match &self.command {
                Some(command) => command.clone(),
                None => self.choices.command(&place.path),
            },
            choices: Some(self.choices.clone()),
            started: now().as_secs(),
            place,
            status: Status::Legal,
            interrupted: false,
            not_begun: Vec::new(),
            kernel_log: None,
            scenarios: Vec::new(),
        }
    }

    /// Writes the result to where it was asked for. What cannot be written there is an error, but does
    /// not take the verdict along.
    fn finish(
        &self,
        report: &mut Report,
        settings: &Settings,
        klog: Cursor,
        text: Text,
    ) -> Result<Status> {
        report.kernel_log = Some(klog.end());
        report.conclude();
        let recorded = settings.log.as_ref().map_or(Ok(()), |log| log.finish());
        let mut status = report.status;
        for done in [
            outputs::write(&self.outputs, report, &text(report)),
            recorded,
        ] {
            if let Err(error) = done {
                eprintln!("diorace: {error:#}");
                status = Status::combine(&[status, Status::Tool]);
            }
        }
        Ok(status)
    }
}

/// A size that direct I/O cannot address to its end is a mistake of whoever gave it.
fn check_size(size: Option<u64>, geometry: Geometry) -> Result<()> {
    let align = geometry.align.max(8);
    match size {
        Some(size) if size % align != 0 => bail!(
            "--size {size} cannot be aligned: direct I/O here needs multiples of {align}; the next is {}",
            size.next_multiple_of(align)
        ),
        _ => Ok(()),
    }
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Short enough to be typed again.
pub fn fresh_seed() -> u64 {
    fresh_run() % 1_000_000
}

/// Another one for each run; of so many bits that every reader of JSON keeps all of them.
fn fresh_run() -> u64 {
    mix(now().as_nanos() as u64 ^ u64::from(process::id())) >> 11
}

/// Runs a scenario. What the environment lacks for it is a result, and so is a failure: it must not
/// take along what others have found.
fn one(
    scenario: &Scenario,
    settings: &Settings,
    arena: &Arena,
    geometry: Geometry,
) -> ScenarioReport {
    let mut settings = settings.clone();
    if settings
        .script
        .as_ref()
        .is_some_and(|script| script.has(scenario.name))
    {
        settings.duration = settings.duration.saturating_mul(SLOWER);
        // The record says where it ends, and is longer: not each of its requests has succeeded.
        settings.operations = None;
    }
    let bench = Bench::new(&settings, arena, geometry, scenario.name);
    let mut report = match scenario.run(&bench) {
        Err(error) => match Status::lack(&error) {
            Some(why) => ScenarioReport::skipped(scenario.name, why),
            None => ScenarioReport::failed(scenario.name, format!("{error:#}")),
        },
        Ok(report) => report,
    };
    report.notes.extend(bench.unheeded());
    for failure in &report.failures {
        eprintln!("diorace: scenario {}: {failure}", scenario.name);
    }
    report
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
    supervise::fall_silent();
    signals::exit_now(status.code().into())
}
