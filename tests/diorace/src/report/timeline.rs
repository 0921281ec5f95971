// SPDX-License-Identifier: GPL-2.0
//! The writes that a finding is about, in numbers.

use oracle::{Finding, OpView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::finding::Writers;

/// One write of the word in question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Engine of the writer; "initial" for the content before the race.
    pub engine: String,
    /// The writer's number.
    pub writer: u8,
    /// The writer's count of its writes.
    pub sequence: u64,
    /// "buffered", "direct" or "mmap".
    pub mode: String,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Ordinal before it was submitted.
    pub start: u64,
    /// Ordinal after its completion was seen, if it was.
    pub end: Option<u64>,
    /// Bytes acknowledged.
    pub acknowledged: u64,
    /// The read returned its value.
    pub seen: bool,
    /// It should have hidden the value that the read returned.
    pub superseding: bool,
    /// Its value would have been legal.
    pub legal: bool,
    /// It wrote other bytes of the same page.
    #[serde(default)]
    pub beside: bool,
    /// What it was, if it was no write: a truncation, a punch.
    #[serde(default)]
    pub change: Option<String>,
}

/// All writes that a finding names, in the order in which they began.
pub fn events(finding: &Finding, writers: &Writers) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut add = |op: &OpView, mark: fn(&mut Event)| {
        let same =
            |e: &Event| (e.writer, e.sequence, e.start) == (op.writer, op.sequence, op.start);
        let at = events.iter().position(same).unwrap_or_else(|| {
            events.push(event(op, writers));
            events.len() - 1
        });
        mark(&mut events[at]);
    };
    finding
        .value
        .iter()
        .for_each(|op| add(op, |e| e.seen = true));
    finding
        .superseded_by
        .iter()
        .for_each(|op| add(op, |e| e.superseding = true));
    finding
        .legal
        .iter()
        .for_each(|op| add(op, |e| e.legal = true));
    finding.overlapping.iter().for_each(|op| add(op, |_| {}));
    events.sort_by_key(|event| event.start);
    events
}

fn event(op: &OpView, writers: &Writers) -> Event {
    let engine = usize::from(op.writer).checked_sub(1);
    let engine = engine.map_or(Some("initial"), |nth| writers.get(nth).map(String::as_str));
    Event {
        engine: engine.unwrap_or("writer").to_owned(),
        writer: op.writer,
        sequence: op.sequence,
        mode: op.mode.name().to_owned(),
        offset: op.offset,
        len: op.len,
        start: op.start,
        end: op.end,
        acknowledged: op.acknowledged,
        seen: false,
        superseding: false,
        legal: false,
        beside: false,
        change: op.change.map(|change| change.name().to_owned()),
    }
}

impl Event {
    /// Who it was, in a few words.
    pub fn who(&self) -> String {
        match (&self.change, self.writer) {
            (Some(change), _) => change.clone(),
            (None, 0) => "the initial content".to_owned(),
            (None, writer) => format!("{} writer {writer} #{}", self.engine, self.sequence),
        }
    }
}

/// Adds writes of other bytes of the same page, which no finding names.
pub fn add_beside(events: &mut Vec<Event>, beside: &[OpView], writers: &Writers) {
    for op in beside {
        let mut new = event(op, writers);
        new.beside = true;
        let same =
            |e: &Event| (e.writer, e.sequence, e.start) == (new.writer, new.sequence, new.start);
        if !events.iter().any(same) {
            events.push(new);
        }
    }
    events.sort_by_key(|event| event.start);
}
