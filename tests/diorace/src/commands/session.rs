// SPDX-License-Identifier: GPL-2.0
//! One run: scenarios one after the other in a directory, watched, judged and reported.

use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
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

/// A replay may take longer than the record by this factor: then it is ended.
const SLOWER: u32 = 10;

impl Session {
    /// Races and reports.
    pub fn race(mut self, chosen: &[&Scenario], text: Text) -> Result<Status> {
        let place = Place::find(&self.dir)?;
        self.choices.seed.get_or_insert_with(fresh_seed);
        let mut settings = self.choices.settings(&place, self.live)?;
        self.on_record(&place, &mut settings)?;
        outputs::prepare(&self.outputs)?;
        // From here on something may get stuck in the kernel.
        supervise::in_child()?;
        signals::catch_stop();
        let report = self.report(place, &settings);
        let done = self.scenarios(chosen, &settings, report, text);
        if done.is_err() {
            outputs::discard(&self.outputs);
        }
        done
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
        let mut klog = Some(Cursor::begin());
        for scenario in chosen {
            let result = one(scenario, settings, &arena, geometry)?;
            let hung = result.violations.contains_key("hang");
            report.scenarios.push(result);
            if hung {
                // Threads are stuck in the kernel: nothing more can be learnt, and nothing joined.
                self.finish(&mut report, settings, klog.take(), text)?;
                abandon(arena, report.status);
            }
            if signals::stop_asked() {
                report.interrupted = true;
                break;
            }
            if report.is_enough(settings.until) {
                break;
            }
        }
        self.finish(&mut report, settings, klog.take(), text)?;
        Ok(report.status)
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
            command: match &self.command {
                Some(command) => command.clone(),
                None => self.choices.command(&place.path),
            },
            choices: Some(self.choices.clone()),
            started: now().as_secs(),
            place,
            status: Status::Legal,
            interrupted: false,
            kernel_log: None,
            scenarios: Vec::new(),
        }
    }

    fn finish(
        &self,
        report: &mut Report,
        settings: &Settings,
        klog: Option<Cursor>,
        text: Text,
    ) -> Result<()> {
        report.kernel_log = klog.map(Cursor::end);
        report.conclude();
        if let Some(log) = &settings.log {
            log.finish()?;
        }
        outputs::write(&self.outputs, report, &text(report))
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
    mix(now().as_nanos() as u64 ^ u64::from(process::id())) % 1_000_000
}

/// Runs a scenario; what the environment lacks for it is a result.
fn one(
    scenario: &Scenario,
    settings: &Settings,
    arena: &Arena,
    geometry: Geometry,
) -> Result<ScenarioReport> {
    let mut settings = settings.clone();
    if settings
        .script
        .as_ref()
        .is_some_and(|script| script.has(scenario.name))
    {
        settings.duration = settings.duration.saturating_mul(SLOWER);
    }
    let bench = Bench {
        settings: &settings,
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
