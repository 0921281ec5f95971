// SPDX-License-Identifier: GPL-2.0
//! What was wrong, in words and numbers.

use std::fmt;

use crate::change::Change;
use crate::clock::{NEVER, Ordinal};
use crate::history::Read;
use crate::record::{Mode, Record};
use crate::word::{Tag, WORD};

/// The ways in which a file can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// An old value after a newer write of the word was acknowledged.
    Stale,
    /// An acknowledged write that no mode shows any more; also content that turned into zeroes.
    Lost,
    /// Bytes of several writes within one word.
    Torn,
    /// A word of another file.
    Foreign,
    /// A word of another place of the same file.
    Misplaced,
    /// Something from before the range was cut away, punched or zeroed.
    Resurrected,
    /// Something that no write of this run put anywhere.
    Exposed,
    /// Fewer bytes than the file has.
    Short,
    /// A size that no completed write explains.
    Size,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 9] = [
        Class::Stale,
        Class::Lost,
        Class::Torn,
        Class::Foreign,
        Class::Misplaced,
        Class::Resurrected,
        Class::Exposed,
        Class::Short,
        Class::Size,
    ];

    /// A word for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Foreign => "foreign",
            Self::Misplaced => "misplaced",
            Self::Resurrected => "resurrected",
            Self::Exposed => "exposed",
            Self::Short => "short",
            Self::Size => "size",
        }
    }
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Unusual, and nowhere forbidden.
    Warning,
    /// Direct and cached writers of one folio got in each other's way, which the filesystem does
    /// not promise to prevent.
    Collision,
    /// Forbidden.
    Violation,
}

impl Severity {
    /// Every severity.
    pub const ALL: [Severity; 3] = [Severity::Warning, Severity::Collision, Severity::Violation];
}

/// What is known about one write, copied for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpView {
    /// The writer's number; zero for the initial content.
    pub writer: u8,
    /// The writer's count of its writes.
    pub sequence: u64,
    /// Its mode.
    pub mode: Mode,
    /// What it was, if it was no write.
    pub change: Option<Change>,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Ordinal before it was submitted.
    pub start: Ordinal,
    /// Ordinal after its completion was seen, if it was.
    pub end: Option<Ordinal>,
    /// Bytes acknowledged so far.
    pub acknowledged: u64,
}

impl From<&Record> for OpView {
    fn from(record: &Record) -> Self {
        let end = record.end();
        let good = record.acknowledged();
        Self {
            writer: record.tag.writer(),
            sequence: record.sequence,
            mode: record.mode,
            change: record.change,
            offset: record.words.start * WORD,
            len: (record.words.end - record.words.start) * WORD,
            start: record.start,
            end: (end != NEVER).then_some(end),
            acknowledged: (good.end - good.start) * WORD,
        }
    }
}

impl fmt::Display for OpView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(change) = self.change {
            return self.fmt_change(change, f);
        }
        if self.writer == 0 {
            return f.write_str("initial content");
        }
        let Self {
            writer,
            sequence,
            offset,
            len,
            start,
            ..
        } = self;
        let mode = self.mode.name();
        write!(
            f,
            "writer {writer} #{sequence} ({mode}, {len} bytes at {offset}, "
        )?;
        match self.end {
            Some(end) if self.acknowledged == *len => write!(f, "{start}..{end})"),
            Some(end) => write!(
                f,
                "{start}..{end}, {} bytes acknowledged)",
                self.acknowledged
            ),
            None => write!(f, "{start}.., under way)"),
        }
    }
}

impl OpView {
    fn fmt_change(&self, change: Change, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, range, start) = (change.name(), change.range(), self.start);
        match change {
            Change::Truncate { len } => write!(f, "{name} to {len} bytes ({start}..")?,
            _ => {
                let len = range.end - range.start;
                write!(f, "{name} of {len} bytes at {} ({start}..", range.start)?;
            }
        }
        match self.end {
            Some(end) => write!(f, "{end})"),
            None => f.write_str(", under way)"),
        }
    }
}

/// What was seen in place of something legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A word, taken apart under the file's key.
    Word {
        /// As read.
        raw: u64,
        /// The write it names, if it belongs to this file.
        tag: Option<Tag>,
        /// The offset in bytes that it names, if it belongs to this file.
        place: Option<u64>,
    },
    /// A number of bytes.
    Bytes(u64),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(n) => write!(f, "{n} bytes"),
            Self::Word { raw: 0, .. } => f.write_str("zero"),
            Self::Word { raw, tag, place } => {
                write!(f, "{raw:#018x}")?;
                match (tag, place) {
                    (Some(Tag::INITIAL), Some(at)) => write!(f, " (initial content of {at})"),
                    (Some(tag), Some(at)) => {
                        write!(f, " (writer {} #{} for {at})", tag.writer(), tag.sequence())
                    }
                    _ => f.write_str(" (not a word of this file)"),
                }
            }
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of wrong.
    pub class: Class,
    /// How wrong.
    pub severity: Severity,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// What the first word was, or the count or size returned.
    pub seen: Seen,
    /// The write that was seen, if the history still has it.
    pub value: Option<OpView>,
    /// Writes whose value would have been legal in the first word.
    pub legal: Vec<OpView>,
    /// The acknowledged write that should have hidden what was seen.
    pub superseded_by: Option<OpView>,
    /// Writes of the first word that overlapped the read in time.
    pub overlapping: Vec<OpView>,
    /// When the read took place.
    pub read: Option<Read>,
}

/// Counts findings and keeps the first of each kind.
///
/// An acknowledged write that has disappeared is seen again and again until its words are written
/// anew; it counts as one finding, and as many observations.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    words: u64,
    events: [[u64; Class::ALL.len()]; 3],
    observations: [[u64; Class::ALL.len()]; 3],
    findings: Vec<Finding>,
}

impl Tally {
    /// Findings kept in full; more are only counted.
    pub const KEEP: usize = 64;

    pub(crate) fn add_words(&mut self, words: u64) {
        self.words += words;
    }

    /// Counts one observation; `fresh` makes it a finding of its own.
    pub(crate) fn observe(
        &mut self,
        class: Class,
        severity: Severity,
        fresh: bool,
        detail: impl FnOnce() -> Finding,
    ) {
        self.observations[severity as usize][class as usize] += 1;
        if !fresh {
            return;
        }
        self.events[severity as usize][class as usize] += 1;
        if self.findings.len() < Self::KEEP {
            self.findings.push(detail());
        }
    }

    /// Adds a finding that did not come from reading words.
    pub fn add(&mut self, finding: Finding) {
        self.observe(finding.class, finding.severity, true, || finding);
    }

    /// Counts a finding as belonging to another class, when a second look showed that it does.
    pub fn reclassify(&mut self, severity: Severity, from: Class, to: Class) {
        let row = &mut self.events[severity as usize];
        if row[from as usize] > 0 {
            row[from as usize] -= 1;
            row[to as usize] += 1;
        }
    }

    /// Words checked.
    pub fn words(&self) -> u64 {
        self.words
    }

    /// Findings of a class.
    pub fn events(&self, severity: Severity, class: Class) -> u64 {
        self.events[severity as usize][class as usize]
    }

    /// Findings of all classes.
    pub fn total(&self, severity: Severity) -> u64 {
        self.events[severity as usize].iter().sum()
    }

    /// How often wrong content was seen, repetitions included.
    pub fn observations(&self, severity: Severity) -> u64 {
        self.observations[severity as usize].iter().sum()
    }

    /// Whether nothing was found, not even a warning.
    pub fn is_clean(&self) -> bool {
        self.observations.iter().flatten().all(|n| *n == 0)
    }

    /// The findings kept.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Takes the findings kept, leaving the counts.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: Tally) {
        self.words += other.words;
        for (mine, theirs) in [
            (&mut self.events, &other.events),
            (&mut self.observations, &other.observations),
        ] {
            for (a, b) in mine.iter_mut().flatten().zip(theirs.iter().flatten()) {
                *a += b;
            }
        }
        let room = Self::KEEP.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.into_iter().take(room));
    }
}
