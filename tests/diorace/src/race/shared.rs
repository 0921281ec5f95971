// SPDX-License-Identifier: GPL-2.0
//! What the threads of a race have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use engines::Errno;
use oracle::{Finding, History, OpView, Severity, Tally};

use crate::arena::Geometry;
use crate::race::recheck::Rechecker;
use crate::race::store::Store;
use crate::report::finding::FindingReport;

/// Findings explained in a report, of each severity.
const EXPLAINED: usize = 100;

/// Notes in a report; each wrong count is one, and tens of thousands would bury the findings.
const NOTES: usize = 20;

/// What is said where a mirror excuses that reads differ.
pub const MIRRORED: &str = "warned: reads differ where direct writes overlapped in time; the devices of the \
                            mirror below may have got them in different order";

/// Stands for a write that wrote less than it should.
pub const SHORT: Errno = Errno(0);

/// What to call a failed operation.
pub fn failure(engine: &str, errno: Errno) -> String {
    match errno {
        SHORT => format!("{engine} short write"),
        errno => format!("{engine} {errno}"),
    }
}

/// The file under test, its history, and what was found.
pub struct Shared {
    /// What was written when.
    pub history: History,
    /// The file.
    pub store: Arc<dyn Store>,
    /// What it asks for.
    pub geometry: Geometry,
    /// The engines of the writers.
    pub writers: Vec<String>,
    /// Set when it is time to stop.
    pub stop: Arc<AtomicBool>,
    /// Whether the plan has signals interrupt system calls.
    pub signals: bool,
    /// Whether what is written lands on several devices.
    pub mirrored: bool,
    begin: Instant,
    violations: AtomicU64,
    collisions: AtomicU64,
    found: Mutex<Found>,
}

/// What is collected as it happens.
#[derive(Debug, Default)]
pub struct Found {
    /// Failed operations by engine and error.
    pub errors: BTreeMap<String, u64>,
    /// Those of them that nothing in the plan explains.
    pub surprises: BTreeMap<String, u64>,
    /// The first findings, explained.
    pub reports: Vec<FindingReport>,
    /// What there is to say besides.
    pub notes: BTreeSet<String>,
    /// How often there was more to say.
    pub unsaid: u64,
}

impl Shared {
    /// For a test: of a file that nobody writes into, on the usual geometry.
    #[cfg(test)]
    pub fn of(history: History, store: Arc<dyn Store>, stop: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self::new(history, store, Geometry::USUAL, Vec::new(), stop))
    }

    /// Nothing found yet.
    pub fn new(
        history: History,
        store: Arc<dyn Store>,
        geometry: Geometry,
        writers: Vec<String>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            history,
            store,
            geometry,
            writers,
            stop,
            signals: false,
            mirrored: false,
            begin: Instant::now(),
            violations: AtomicU64::new(0),
            collisions: AtomicU64::new(0),
            found: Mutex::default(),
        }
    }

    /// Whether it is time to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Violations and collisions so far.
    pub fn counts(&self) -> (u64, u64) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (load(&self.violations), load(&self.collisions))
    }

    /// Takes what was collected.
    pub fn take_found(&self) -> Found {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes something for the report, once, as long as there is room.
    pub fn note(&self, what: String) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.notes.len() < NOTES || found.notes.contains(&what) {
            found.notes.insert(what);
        } else {
            found.unsaid += 1;
        }
    }

    /// Whether a word may be now this and now that although nobody writes: nothing above a mirror puts
    /// direct writes in order that overlap in time, and each of its devices may have got them in another
    /// one.
    pub fn may_differ(&self, offset: u64, one: u64, other: u64) -> bool {
        let excused = self.mirrored && self.history.met_directly(offset, one, other);
        if excused {
            self.note(MIRRORED.to_owned());
        }
        excused
    }

    /// Counts a failed operation, and wonders why unless signals may be the reason.
    pub fn failed(&self, engine: &str, errno: Errno) {
        if !(self.signals && matches!(errno, Errno::EINTR | SHORT)) {
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            *found.surprises.entry(failure(engine, errno)).or_default() += 1;
        }
        self.excused(engine, errno);
    }

    /// Counts an operation whose failure was to be expected.
    pub fn excused(&self, engine: &str, errno: Errno) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        *found.errors.entry(failure(engine, errno)).or_default() += 1;
    }

    /// Explains what a check has found, with a second look in every mode, and corrects the class
    /// where the second look says so.
    pub fn explain(&self, tally: &mut Tally, again: &mut Rechecker, seen_by: impl Fn() -> String) {
        for finding in tally.take_findings() {
            let counter = match finding.severity {
                Severity::Violation => Some(&self.violations),
                Severity::Collision => Some(&self.collisions),
                Severity::Warning => None,
            };
            let nth = counter.map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed));
            if nth < EXPLAINED as u64 {
                self.explain_one(finding, tally, again, &seen_by);
            }
        }
    }

    /// Reports what a check has found in another file, where a second look would be at the wrong one.
    pub fn tell(&self, tally: &mut Tally, seen_by: &str) {
        for finding in tally.take_findings() {
            let counter = match finding.severity {
                Severity::Violation => &self.violations,
                Severity::Collision => &self.collisions,
                Severity::Warning => continue,
            };
            if counter.fetch_add(1, Ordering::Relaxed) < EXPLAINED as u64 {
                let (label, by) = (self.store.label(), seen_by.to_owned());
                let mut report = FindingReport::new(&finding, &label, by, &self.writers);
                report.seconds = self.begin.elapsed().as_secs_f64();
                report.add_beside(&self.beside(&finding), &self.writers);
                report.look_again(Vec::new());
                let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                found.reports.push(report);
            }
        }
    }

    /// Who wrote other bytes of the same page between the write that should have been seen and the
    /// read: they are the suspects.
    fn beside(&self, finding: &Finding) -> Vec<OpView> {
        let (Some(by), Some(read)) = (&finding.superseded_by, finding.read) else {
            return Vec::new();
        };
        let page = self.geometry.page;
        let first = finding.offset / page * page;
        let end = (finding.offset + finding.len.max(1)).next_multiple_of(page);
        let mut all = self.history.meanwhile(first..end, by.start, read.end);
        let word = finding.offset..finding.offset + 8;
        let elsewhere = |op: &OpView| op.offset >= word.end || op.offset + op.len <= word.start;
        all.retain(elsewhere);
        all
    }

    fn explain_one(
        &self,
        finding: Finding,
        tally: &mut Tally,
        again: &mut Rechecker,
        seen_by: &impl Fn() -> String,
    ) {
        let label = self.store.label();
        let mut report = FindingReport::new(&finding, &label, seen_by(), &self.writers);
        report.seconds = self.begin.elapsed().as_secs_f64();
        report.add_beside(&self.beside(&finding), &self.writers);
        let (looks, class) = again.look(self, &finding, tally);
        if class != finding.class {
            tally.reclassify(finding.severity, finding.class, class);
            report.class = class.name().to_owned();
        }
        report.look_again(looks);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let same = found
            .reports
            .iter()
            .filter(|other| other.severity == report.severity);
        if same.count() < EXPLAINED {
            found.reports.push(report);
        }
    }
}
