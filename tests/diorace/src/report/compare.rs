// SPDX-License-Identifier: GPL-2.0
//! Several results side by side.

use std::fmt::Write;

use crate::report::table::{list, per_second};
use crate::report::{Report, ScenarioReport};
use crate::status::Status;

/// A heading and a result.
pub type Column = (String, Report);

/// Width of the names of the rows.
const NAME: usize = 22;

/// The results as text.
pub fn render(columns: &[Column]) -> String {
    let mut out = String::new();
    let width = columns
        .iter()
        .map(|(label, _)| label.len())
        .max()
        .unwrap_or(0)
        .max(18)
        + 2;
    row(
        &mut out,
        width,
        "",
        columns.iter().map(|(label, _)| label.clone()),
    );
    let facts: [(&str, Fact); 4] = [
        ("filesystem", |r| r.place.fstype.clone()),
        ("held to", |r| r.profile.clone()),
        ("kernel", |r| r.place.kernel.clone()),
        ("seed", |r| r.seed.to_string()),
    ];
    for (name, fact) in facts {
        row(
            &mut out,
            width,
            name,
            columns.iter().map(|(_, report)| fact(report)),
        );
    }
    for name in names(columns) {
        let _ = writeln!(out, "\n{name}");
        let pick = |report: &Report| report.scenarios.iter().find(|s| s.name == name).cloned();
        let found: Vec<_> = columns.iter().map(|(_, report)| pick(report)).collect();
        for (title, cell) in CELLS {
            let cells = found
                .iter()
                .map(|s| s.as_ref().map_or("-".to_owned(), cell));
            row(&mut out, width, title, cells);
        }
    }
    let each = columns
        .iter()
        .map(|(label, r)| format!("{label} {}", summary(r)));
    let _ = writeln!(out, "\nverdict: {}", each.collect::<Vec<_>>().join("; "));
    out
}

type Fact = fn(&Report) -> String;
type Cell = fn(&ScenarioReport) -> String;

const CELLS: [(&str, Cell); 10] = [
    ("  seconds", |s| format!("{:.1}", s.seconds)),
    ("  operations", |s| s.operations.to_string()),
    ("  operations/s", |s| {
        format!("{:.0}", per_second(s.operations as f64, s.seconds))
    }),
    ("  MiB/s", |s| {
        format!("{:.1}", per_second(s.bytes as f64 / 1048576.0, s.seconds))
    }),
    ("  words judged", |s| s.words_checked.to_string()),
    ("  errors", |s| s.errors.values().sum::<u64>().to_string()),
    ("  collisions", |s| {
        s.collisions.values().sum::<u64>().to_string()
    }),
    ("  violations", |s| {
        s.violations.values().sum::<u64>().to_string()
    }),
    ("  of which", |s| {
        if s.violations.is_empty() {
            "-".into()
        } else {
            list(&s.violations)
        }
    }),
    ("  verdict", |s| s.status.name().to_owned()),
];

/// The scenarios of all columns, in order of appearance.
fn names(columns: &[Column]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for scenario in columns.iter().flat_map(|(_, report)| &report.scenarios) {
        if !names.contains(&scenario.name) {
            names.push(scenario.name.clone());
        }
    }
    names
}

/// The status of all columns together.
pub fn status(columns: &[Column]) -> Status {
    let all: Vec<_> = columns.iter().map(|(_, report)| report.status).collect();
    Status::combine(&all)
}

fn summary(report: &Report) -> String {
    let sum = |pick: fn(&ScenarioReport) -> u64| report.scenarios.iter().map(pick).sum::<u64>();
    let violations = sum(|s| s.violations.values().sum());
    let collisions = sum(|s| s.collisions.values().sum());
    let mut text = report.status.name().to_owned();
    let _ = write!(text, " ({violations} violations, {collisions} collisions)");
    text
}

fn row(out: &mut String, width: usize, name: &str, cells: impl Iterator<Item = String>) {
    let _ = write!(out, "{name:<NAME$}");
    for cell in cells {
        let _ = write!(out, "{cell:>width$}");
    }
    out.push('\n');
}
