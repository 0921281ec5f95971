// SPDX-License-Identifier: GPL-2.0
//! A finding put in words.

use oracle::{Finding, OpView, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::timeline::{self, Event, events};

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
    /// Writes of other bytes of the same page, between the write that should have been seen and the
    /// read.
    #[serde(default)]
    pub beside: Vec<String>,
    /// Seconds from the beginning of the race.
    #[serde(default)]
    pub seconds: f64,
    /// The same in a sentence or two.
    #[serde(default)]
    pub story: String,
    /// When the read began and ended, in the ordinals that the writes carry.
    pub read: Option<(u64, u64)>,
    /// What a second look in each mode showed.
    pub second_look: Vec<Look>,
    /// "sticky": every mode shows something wrong; "transient": some show what should have been seen
    /// at first, and none anything wrong; "mixed": some the one and some the other. Empty if nothing of
    /// that can be said, because there was no second look, it failed, or the place was written again.
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
    /// "right" (what should have been seen at first), "legal" (something else that is right by now),
    /// "wrong" or an error.
    pub verdict: String,
    /// The first word, or what took its place.
    pub seen: String,
}

/// Names the engine of each writer, counted from one.
pub type Writers = [String];

impl FindingReport {
    /// Puts a finding in words. `seen_by` describes the read.
    pub fn new(finding: &Finding, file: &str, seen_by: String, writers: &Writers) -> Self {
        let name = |op: &OpView| named(op, writers);
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
            beside: Vec::new(),
            seconds: 0.0,
            story: String::new(),
            read: finding.read.map(|read| (read.start, read.end)),
            second_look: Vec::new(),
            persistence: String::new(),
            timeline: events(finding, writers),
        }
    }

    /// Adds the writes of other bytes of the same page.
    pub fn add_beside(&mut self, beside: &[OpView], writers: &Writers) {
        self.beside = beside.iter().map(|op| named(op, writers)).collect();
        timeline::add_beside(&mut self.timeline, beside, writers);
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
            beside: Vec::new(),
            seconds: 0.0,
            story: String::new(),
            read: None,
            second_look: Vec::new(),
            persistence: String::new(),
            timeline: Vec::new(),
        }
    }

    /// Adds the second look.
    pub fn look_again(&mut self, looks: Vec<Look>) {
        let count = |verdict| looks.iter().filter(|look| look.verdict == verdict).count();
        let (right, wrong) = (count("right"), count("wrong"));
        self.persistence = if wrong > 0 && wrong == looks.len() {
            "sticky"
        } else if right > 0 && wrong > 0 {
            "mixed"
        } else if right > 0 {
            "transient"
        } else {
            ""
        }
        .to_owned();
        self.second_look = looks;
        self.story = self.tell().unwrap_or_default();
    }

    /// What happened, in words.
    fn tell(&self) -> Option<String> {
        let (begin, _) = self.read?;
        let by = self.timeline.iter().find(|event| event.superseding)?;
        let seen = self.timeline.iter().find(|event| event.seen);
        let old = seen.map_or("an older value".to_owned(), |event| match event.writer {
            _ if event.change.is_some() => "the zeroes from before".to_owned(),
            0 => "the initial content".to_owned(),
            _ => format!("the older value of {}", event.who()),
        });
        let (who, ended) = (by.who(), by.end?);
        let mut story = format!(
            "{who} was acknowledged at {ended}, before the read began at {begin}; yet the read \
             returned {old}."
        );
        story += match self.persistence.as_str() {
            "sticky" => " No way of reading shows the acknowledged data any more: they are lost.",
            "transient" => {
                " A moment later the right data were seen: an old page was shown for a while."
            }
            "mixed" => " Ways of reading differ: cache and disk hold different data.",
            _ => "",
        };
        let cached = |event: &&Event| event.beside && event.mode != by.mode;
        // Rather one that was under way at the same time than one that came later.
        let met = |event: &Event| event.start < ended && event.end.is_none_or(|end| end > by.start);
        let suspects = self.timeline.iter().filter(cached);
        if let Some(beside) = suspects.min_by_key(|event| !met(event)) {
            let how = &beside.mode;
            story += &format!(
                " Meanwhile {} wrote other bytes of the same page ({how}).",
                beside.who()
            );
        }
        Some(story)
    }
}

/// A write with the name of its engine.
fn named(op: &OpView, writers: &Writers) -> String {
    let engine = usize::from(op.writer)
        .checked_sub(1)
        .and_then(|nth| writers.get(nth));
    match engine {
        Some(engine) => format!("{engine} {op}"),
        None => op.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persistence(verdicts: [&str; 3]) -> String {
        let mut report = FindingReport::plain("stale", "f", "a read", String::new());
        let look = |verdict: &str| Look {
            mode: "direct".to_owned(),
            verdict: verdict.to_owned(),
            seen: String::new(),
        };
        report.look_again(verdicts.map(look).into());
        report.persistence
    }

    #[test]
    fn a_second_look_tells_no_more_than_it_saw() {
        for (verdicts, told) in [
            (["wrong", "wrong", "wrong"], "sticky"),
            (["right", "right", "right"], "transient"),
            (["right", "legal", "EAGAIN"], "transient"),
            (["wrong", "right", "EAGAIN"], "mixed"),
            (["EIO", "EIO", "EIO"], ""),
            (["legal", "legal", "legal"], ""),
            (["wrong", "wrong", "EAGAIN"], ""),
        ] {
            assert_eq!(persistence(verdicts), told, "{verdicts:?}");
        }
    }
}
