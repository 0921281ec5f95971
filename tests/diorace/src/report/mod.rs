// SPDX-License-Identifier: GPL-2.0
//! The result of a run, as it is written to JSON.
//!
//! Readers go by `schema` and `version`. A field is never given another meaning under the same
//! version; new fields may appear.

pub mod compare;
pub mod finding;
pub mod html;
pub mod junit;
pub mod rates;
#[cfg(test)]
pub mod samples;
pub mod table;
pub mod timeline;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use oracle::{Class, Profile, Severity, Tally};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cli::{Choices, Until};
use crate::crew::pulse::{Pulse, Role};
use crate::klog::KernelLog;
use crate::place::Place;
use crate::report::finding::FindingReport;
use crate::report::rates::Rates;
use crate::report::table::list;
use crate::status::Status;

/// Names the format.
pub const SCHEMA: &str = "diorace.report";

/// Its version.
pub const VERSION: u32 = 1;

/// Lines of the kernel that a scenario repeats.
const HEARD: usize = 5;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// Version of the program.
    pub program: String,
    /// Where it ran.
    pub place: Place,
    /// "bare" or "strict".
    pub profile: String,
    /// The seed.
    pub seed: u64,
    /// A number in the key of every word that was written, another one in each run: what an earlier run
    /// left on the disk is told apart by it, also if it had the same seed.
    #[serde(default)]
    pub run: u64,
    /// The command line that makes the same choices again.
    #[serde(default)]
    pub command: String,
    /// The choices.
    #[serde(default)]
    pub choices: Option<Choices>,
    /// When the run began, in seconds since 1970.
    #[serde(default)]
    pub started: u64,
    /// The verdict.
    pub status: Status,
    /// Whether a signal cut the run short.
    pub interrupted: bool,
    /// The scenarios whose turn did not come: a signal, a hang or what `--until` names came first.
    #[serde(default)]
    pub not_begun: Vec<String>,
    /// What the kernel said meanwhile.
    #[serde(default)]
    pub kernel_log: Option<KernelLog>,
    /// Each scenario.
    pub scenarios: Vec<ScenarioReport>,
}

/// One scenario.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// The verdict.
    pub status: Status,
    /// What there is to say about it, if anything.
    pub notes: Vec<String>,
    /// What kept the tool from going through with it.
    #[serde(default)]
    pub failures: Vec<String>,
    /// Whether the environment lacked something on the way; the notes say what.
    #[serde(skip)]
    lacking: bool,
    /// How long it raced.
    pub seconds: f64,
    /// Size of the file in bytes.
    pub file_size: u64,
    /// What each engine did.
    pub engines: Vec<EngineReport>,
    /// Successful operations of all engines.
    pub operations: u64,
    /// Bytes they moved.
    pub bytes: u64,
    /// 8-byte words judged.
    pub words_checked: u64,
    /// Share of the threads' time that went into judging.
    pub checking_share: f64,
    /// Processor time of the process that raced, in seconds; not that of worker processes, nor of the
    /// kernel's own threads.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// Processor time of it that went into judging.
    #[serde(default)]
    pub checking_seconds: f64,
    /// Failed operations by error.
    pub errors: BTreeMap<String, u64>,
    /// Requests that the filesystem refused with EIO.
    pub refused: u64,
    /// Under "strict": requests that failed with another error, or were short writes, though nothing in
    /// the scenario explains it.
    #[serde(default)]
    pub unexplained: u64,
    /// Violations by class; absent classes have none.
    pub violations: BTreeMap<String, u64>,
    /// Collisions by class; "fsync" is one reported by fsync.
    pub collisions: BTreeMap<String, u64>,
    /// Warnings by class.
    pub warnings: BTreeMap<String, u64>,
    /// The first findings, explained.
    pub findings: Vec<FindingReport>,
    /// Seconds until the first violation, if there is one.
    #[serde(default)]
    pub first_violation: Option<f64>,
    /// Seconds until the first collision, if there is one; until the end if requests were refused and
    /// nothing else was found.
    #[serde(default)]
    pub first_collision: Option<f64>,
    /// What had been counted at which time.
    #[serde(default)]
    pub rates: Rates,
    /// Of each direct engine whether it passes the page cache by here.
    #[serde(default)]
    pub direct: BTreeMap<String, DirectReport>,
}

/// Whether an engine opened with O_DIRECT passes the page cache by: "direct", "cached" or "unknown".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DirectReport {
    /// Its reads.
    pub reads: String,
    /// Its writes.
    pub writes: String,
}

/// One engine in one role.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EngineReport {
    /// Name of the engine.
    pub engine: String,
    /// What it did.
    pub role: Role,
    /// Threads.
    pub threads: u64,
    /// Successful operations.
    pub operations: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Failed operations.
    pub errors: u64,
}

/// What tells whether the rest can be understood.
#[derive(Deserialize)]
struct Format {
    schema: String,
    version: u32,
}

impl Report {
    /// Reads a result. `path` is what errors call it.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let no_result = || format!("{path} is no result of diorace run");
        let Format { schema, version } = serde_json::from_str(text).with_context(no_result)?;
        if schema != SCHEMA || version > VERSION {
            bail!(
                "{path} was written in format {schema} {version}; this diorace reads {SCHEMA} up to \
                 {VERSION}"
            );
        }
        serde_json::from_str(text).with_context(no_result)
    }

    /// Draws the conclusion from the scenarios.
    pub fn conclude(&mut self) {
        let all: Vec<_> = self
            .scenarios
            .iter()
            .map(|scenario| scenario.status)
            .collect();
        self.status = Status::combine(&all);
        if let Some(log) = &self.kernel_log {
            let status = log.status(&self.profile);
            if status != Status::Legal {
                self.status = Status::combine(&[self.status, status]);
            }
        }
    }

    /// Whether what was to end the run has been found.
    pub fn is_enough(&self, until: Until) -> bool {
        self.scenarios.iter().any(|s| s.is_enough(until))
    }
}

/// Whether a failure is one by which a filesystem says that direct and cached I/O met.
fn is_refusal(failure: &str) -> bool {
    failure.ends_with(" EIO") || failure.ends_with(" EFAULT")
}

impl ScenarioReport {
    /// Nothing known yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            status: Status::Legal,
            notes: Vec::new(),
            failures: Vec::new(),
            lacking: false,
            seconds: 0.0,
            file_size: 0,
            engines: Vec::new(),
            operations: 0,
            bytes: 0,
            words_checked: 0,
            checking_share: 0.0,
            cpu_seconds: 0.0,
            checking_seconds: 0.0,
            errors: BTreeMap::new(),
            refused: 0,
            unexplained: 0,
            violations: BTreeMap::new(),
            collisions: BTreeMap::new(),
            warnings: BTreeMap::new(),
            direct: BTreeMap::new(),
            findings: Vec::new(),
            first_violation: None,
            first_collision: None,
            rates: Rates::default(),
        }
    }

    /// Whether it has found what was to end the run.
    pub fn is_enough(&self, until: Until) -> bool {
        match until {
            Until::End => false,
            Until::Violation => self.first_violation.is_some(),
            Until::Collision => self.first_violation.or(self.first_collision).is_some(),
        }
    }

    /// A scenario that could not run.
    pub fn skipped(name: &str, why: String) -> Self {
        let mut report = Self::new(name);
        report.status = Status::Lacking;
        report.notes.push(why);
        report
    }

    /// A scenario that the tool could not go through with.
    pub fn failed(name: &str, why: String) -> Self {
        let mut report = Self::new(name);
        report.status = Status::Tool;
        report.failures.push(why);
        report
    }

    /// Threads did not come back; what they are doing, each.
    pub fn hang(&mut self, file: &str, threads: Vec<String>) {
        for thread in threads {
            *self.violations.entry("hang".to_owned()).or_default() += 1;
            let finding = FindingReport::plain("hang", file, "the watchdog", thread);
            self.findings.push(finding);
        }
    }

    /// So many reads, of what had been acknowledged, failed when nobody was at work any more.
    pub fn unreadable(&mut self, reads: u64) {
        if reads > 0 {
            *self.violations.entry("unreadable".to_owned()).or_default() += reads;
        }
    }

    /// The tool broke on the way, or the environment lacked what it needs. What was found before still
    /// counts. But that a request completed twice is the kernel's fault.
    pub fn broken(&mut self, error: &anyhow::Error) {
        if matches!(error.downcast_ref(), Some(engines::Error::Twice)) {
            *self.violations.entry("twice".to_owned()).or_default() += 1;
            return;
        }
        let lack = Status::lack(error);
        self.lacking |= lack.is_some();
        let (list, what) = match lack {
            Some(why) => (&mut self.notes, why),
            None => (&mut self.failures, format!("{error:#}")),
        };
        if !list.contains(&what) {
            list.push(what);
        }
    }

    /// Adds what the kernel said while it ran, as far as that is a violation. A collision that it reports
    /// counts for the verdict of the run only: it reports no more than ten a day.
    pub fn heard(&mut self, log: KernelLog, profile: Profile) {
        let violations = match profile {
            Profile::Strict => log.grave() + log.met(),
            Profile::Bare => log.grave(),
        };
        if violations == 0 {
            return;
        }
        *self.violations.entry("kernel".to_owned()).or_default() += violations;
        self.notes.extend(
            log.lines
                .into_iter()
                .take(HEARD)
                .map(|line| format!("kernel: {line}")),
        );
        self.conclude();
    }

    /// Adds what the threads counted.
    pub fn count<'a>(&mut self, pulses: impl IntoIterator<Item = &'a Pulse>, seconds: f64) {
        self.seconds = seconds;
        let mut engines: BTreeMap<(String, Role), EngineReport> = BTreeMap::new();
        let (mut checking, mut threads) = (0.0, 0);
        for pulse in pulses {
            let key = (pulse.engine.clone(), pulse.role);
            let engine = engines.entry(key).or_insert_with(|| EngineReport {
                engine: pulse.engine.clone(),
                role: pulse.role,
                threads: 0,
                operations: 0,
                bytes: 0,
                errors: 0,
            });
            engine.threads += 1;
            engine.operations += pulse.operations();
            engine.bytes += pulse.bytes();
            engine.errors += pulse.errors();
            checking += pulse.checking().as_secs_f64();
            threads += 1;
        }
        self.engines = engines.into_values().collect();
        let racing = || {
            self.engines
                .iter()
                .filter(|engine| engine.role != Role::Disturb)
        };
        self.operations = racing().map(|engine| engine.operations).sum();
        self.bytes = racing().map(|engine| engine.bytes).sum();
        self.checking_seconds = checking;
        if threads > 0 && seconds > 0.0 {
            self.checking_share = checking / (seconds * f64::from(threads));
        }
    }

    /// Adds what the oracle counted.
    pub fn judge(&mut self, tally: &Tally) {
        self.words_checked += tally.words();
        for (severity, counts) in [
            (Severity::Violation, &mut self.violations),
            (Severity::Collision, &mut self.collisions),
            (Severity::Warning, &mut self.warnings),
        ] {
            for class in Class::ALL {
                let events = tally.events(severity, class);
                if events > 0 {
                    *counts.entry(class.name().to_owned()).or_default() += events;
                }
            }
        }
    }

    /// Share of the processor time that went into judging, in per cent.
    pub fn judging(&self) -> f64 {
        match self.cpu_seconds > 0.0 {
            true => self.checking_seconds / self.cpu_seconds * 100.0,
            false => 0.0,
        }
    }

    /// Adds failures that nothing in the scenario explains. Where everything is promised to work they
    /// are no legal result, whatever the error.
    pub fn wonder(&mut self, profile: Profile, surprises: &BTreeMap<String, u64>) {
        let other = surprises.iter().filter(|(name, _)| !is_refusal(name));
        let other: BTreeMap<_, _> = other.map(|(name, n)| (name.clone(), *n)).collect();
        if profile == Profile::Strict && !other.is_empty() {
            self.unexplained += other.values().sum::<u64>();
            let note = format!("nothing explains these errors: {}", list(&other));
            self.notes.push(note);
        }
    }

    /// Whether there is a violation or a collision to look into.
    pub fn found(&self) -> bool {
        !(self.findings.is_empty() && self.violations.is_empty() && self.collisions.is_empty())
    }

    /// Draws the conclusion.
    pub fn conclude(&mut self) {
        let refused = self.errors.iter().filter(|(name, _)| is_refusal(name));
        self.refused = refused.map(|(_, n)| n).sum();
        // What only the last check, or fsync, brought to light.
        if !self.violations.is_empty() {
            self.first_violation.get_or_insert(self.seconds);
        }
        if !self.collisions.is_empty() {
            self.first_collision.get_or_insert(self.seconds);
        }
        self.status = if !self.violations.is_empty() {
            Status::Violation
        } else if !self.failures.is_empty() {
            Status::Tool
        } else if !self.collisions.is_empty() || self.refused + self.unexplained > 0 {
            Status::Collision
        } else if self.lacking {
            Status::Lacking
        } else if self.operations == 0 {
            self.notes.push("not one operation succeeded".into());
            Status::Lacking
        } else if let Some(engine) = self
            .engines
            .iter()
            .find(|e| e.operations == 0 && e.errors > 0)
        {
            let (engine, role) = (&engine.engine, engine.role.name());
            self.notes.push(format!(
                "nothing is proved: no {role} by {engine} ever succeeded"
            ));
            Status::Lacking
        } else {
            Status::Legal
        };
        if self.status == Status::Collision {
            self.first_collision.get_or_insert(self.seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use engines::Errno;

    #[test]
    fn a_format_from_elsewhere_is_named() {
        let error = |text| Report::parse(text, "x.json").unwrap_err().to_string();
        assert_eq!(
            error(r#"{"schema": "diorace.report", "version": 9}"#),
            "x.json was written in format diorace.report 9; this diorace reads diorace.report up to 1"
        );
        assert!(error("{}").contains("no result of diorace run"));
        assert!(error(r#"{"schema": "diorace.report", "version": 1}"#).contains("no result"));
    }

    #[test]
    fn what_the_environment_lacks_is_no_failure_of_the_tool() {
        let status = |errors: &[Errno], collisions: u64| {
            let mut report = samples::legal("test");
            for errno in errors {
                report.broken(&anyhow::Error::new(*errno).context("cannot fill a file"));
            }
            if collisions > 0 {
                report.collisions.insert("stale".to_owned(), collisions);
            }
            report.conclude();
            report.status
        };
        assert_eq!(status(&[], 0), Status::Legal);
        assert_eq!(status(&[Errno::ENOSPC], 0), Status::Lacking);
        assert_eq!(status(&[Errno::ENOSPC], 1), Status::Collision);
        assert_eq!(status(&[Errno::EIO], 1), Status::Tool);
        assert_eq!(status(&[Errno::ENOSPC, Errno::EIO], 0), Status::Tool);
    }

    #[test]
    fn what_ends_a_run_is_whatever_makes_its_verdict() {
        let log = KernelLog {
            collisions: 1,
            ..KernelLog::default()
        };
        for (profile, enough) in [(Profile::Strict, true), (Profile::Bare, false)] {
            let mut report = samples::legal("test");
            report.heard(log.clone(), profile);
            assert_eq!(report.is_enough(Until::Violation), enough);
        }
        let mut refused = samples::legal("test");
        refused.errors.insert("direct EIO".to_owned(), 1);
        refused.conclude();
        assert!(refused.is_enough(Until::Collision) && !refused.is_enough(Until::Violation));
        let mut unreadable = samples::legal("test");
        unreadable.unreadable(1);
        unreadable.conclude();
        assert!(unreadable.is_enough(Until::Violation));
    }

    #[test]
    fn what_nothing_explains_is_legal_only_where_nothing_is_promised() {
        let status = |profile, failure: &str| {
            let mut report = ScenarioReport::new("test");
            report.operations = 1;
            let failures = BTreeMap::from([(failure.to_owned(), 2)]);
            report.errors = failures.clone();
            report.wonder(profile, &failures);
            report.conclude();
            (report.status, report.refused, report.unexplained)
        };
        let (legal, collision) = (Status::Legal, Status::Collision);
        for failure in ["uring EAGAIN", "libaio short write", "direct ENOMEM"] {
            assert_eq!(status(Profile::Strict, failure), (collision, 0, 2));
            assert_eq!(status(Profile::Bare, failure), (legal, 0, 0));
        }
        for profile in [Profile::Strict, Profile::Bare] {
            assert_eq!(status(profile, "direct EIO"), (collision, 2, 0));
        }
    }
}
