// SPDX-License-Identifier: GPL-2.0
//! A finding put in words.

use oracle::{Finding, OpView, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::timeline::{Event, events};

/// A finding, explained.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FindingReport {
    /// What kind of wrong.
    pub class: String,
    /// "violation", "collision" or "warning".
    pub severity: String,
    /// The file.
    pub file: String,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Who saw it.
    pub seen_by: String,
    /// What was seen.
    pub seen: String,
    /// The write that it came from.
    pub value: Option<String>,
    /// The acknowledged write that should have hidden it.
    pub superseded_by: Option<String>,
    /// What would have been legal.
    pub legal: Vec<String>,
    /// Writes under way during the read.
    pub overlapping: Vec<String>,
    /// When the read began and ended, in the ordinals that the writes carry.
    pub read: Option<(u64, u64)>,
    /// What a second look in each mode showed.
    pub second_look: Vec<Look>,
    /// "transient", "sticky" (in every mode) or "mixed"; empty without a second look.
    pub persistence: String,
    /// The writes named above, in numbers and in the order in which they began.
    #[serde(default)]
    pub timeline: Vec<Event>,
}

/// A second look in one mode.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Look {
    /// The mode.
    pub mode: String,
    /// "legal", "wrong" or an error.
    pub verdict: String,
    /// The first word, or what took its place.
    pub seen: String,
}

/// Names the engine of each writer, counted from one.
pub type Writers = [String];

impl FindingReport {
    /// Puts a finding in words. `seen_by` describes the read.
    pub fn new(finding: &Finding, file: &str, seen_by: String, writers: &Writers) -> Self {
        let name = |op: &OpView| {
            let engine = usize::from(op.writer)
                .checked_sub(1)
                .and_then(|nth| writers.get(nth));
            match engine {
                Some(engine) => format!("{engine} {op}"),
                None => op.to_string(),
            }
        };
        let severity = match finding.severity {
            Severity::Violation => "violation",
            Severity::Collision => "collision",
            Severity::Warning => "warning",
        };
        Self {
            class: finding.class.name().to_owned(),
            severity: severity.to_owned(),
            file: file.to_owned(),
            offset: finding.offset,
            len: finding.len,
            seen_by,
            seen: finding.seen.to_string(),
            value: finding.value.as_ref().map(name),
            superseded_by: finding.superseded_by.as_ref().map(name),
            legal: finding.legal.iter().map(name).collect(),
            overlapping: finding.overlapping.iter().map(name).collect(),
            read: finding.read.map(|read| (read.start, read.end)),
            second_look: Vec::new(),
            persistence: String::new(),
            timeline: events(finding, writers),
        }
    }

    /// A finding that is not about a word.
    pub fn plain(class: &str, file: &str, seen_by: &str, seen: String) -> Self {
        Self {
            class: class.to_owned(),
            severity: "violation".to_owned(),
            file: file.to_owned(),
            offset: 0,
            len: 0,
            seen_by: seen_by.to_owned(),
            seen,
            value: None,
            superseded_by: None,
            legal: Vec::new(),
            overlapping: Vec::new(),
            read: None,
            second_look: Vec::new(),
            persistence: String::new(),
            timeline: Vec::new(),
        }
    }

    /// Adds the second look.
    pub fn look_again(&mut self, looks: Vec<Look>) {
        let wrong = looks.iter().filter(|look| look.verdict == "wrong").count();
        self.persistence = match wrong {
            0 => "transient",
            n if n == looks.len() => "sticky",
            _ => "mixed",
        }
        .to_owned();
        self.second_look = looks;
    }
}
