// SPDX-License-Identifier: GPL-2.0
//! The result for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::finding::FindingReport;
use crate::report::{Report, ScenarioReport};
use crate::status::Status;

/// Findings explained in the table; the JSON has more.
const EXPLAINED: usize = 3;

/// The whole report as text.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let place = &report.place;
    let _ = writeln!(
        out,
        "{} ({} on {}, {}), kernel {}, profile {}, seed {}",
        place.path,
        place.fstype,
        place.source,
        place.options,
        place.kernel,
        report.profile,
        report.seed
    );
    for scenario in &report.scenarios {
        out.push('\n');
        render_scenario(&mut out, scenario);
    }
    if let Some(log) = &report.kernel_log {
        let _ = writeln!(out, "\nkernel log: {}", log.summary());
        for line in &log.lines {
            let _ = writeln!(out, "  {line}");
        }
    }
    let interrupted = match (report.interrupted, report.not_begun.len()) {
        (false, _) => String::new(),
        (true, 0) => ", cut short by a signal".to_owned(),
        (true, n) => format!(", cut short by a signal: {n} not begun"),
    };
    let _ = writeln!(out, "\nthe same choices again: {}", report.command);
    let _ = writeln!(
        out,
        "verdict: {}{}{interrupted}",
        report.status.name(),
        others(report)
    );
    out
}

/// Of how many scenarios the verdict says nothing.
fn others(report: &Report) -> String {
    let count = |status| {
        let all = report.scenarios.iter();
        all.filter(|scenario| scenario.status == status).count()
    };
    let all = report.scenarios.len();
    let mut out = String::new();
    for (status, what) in [(Status::Lacking, "skipped"), (Status::Tool, "failed")] {
        let n = count(status);
        if n > 0 && status != report.status {
            let _ = write!(out, ", {n} of {all} scenarios {what}");
        }
    }
    out
}

/// One scenario as text.
pub fn scenario_text(scenario: &ScenarioReport) -> String {
    let mut out = String::new();
    render_scenario(&mut out, scenario);
    out
}

fn render_scenario(out: &mut String, s: &ScenarioReport) {
    let _ = writeln!(out, "{}: {}", s.name, s.status.name());
    if s.operations > 0 {
        let _ = writeln!(
            out,
            "  {:<20} {:<8} {:>7} {:>12} {:>10} {:>10} {:>8}",
            "engine", "role", "threads", "operations", "ops/s", "MiB/s", "errors"
        );
    }
    for engine in s
        .engines
        .iter()
        .filter(|engine| engine.operations + engine.errors > 0)
    {
        let _ = writeln!(
            out,
            "  {:<20} {:<8} {:>7} {:>12} {:>10.0} {:>10.1} {:>8}",
            engine.engine,
            engine.role.name(),
            engine.threads,
            engine.operations,
            per_second(engine.operations as f64, s.seconds),
            per_second(engine.bytes as f64 / 1048576.0, s.seconds),
            engine.errors
        );
    }
    if s.operations > 0 {
        let _ = writeln!(
            out,
            "  {:.1} s on {} KiB; {} words judged, {:.1} % of the processor time",
            s.seconds,
            s.file_size / 1024,
            s.words_checked,
            s.judging()
        );
    }
    for line in direct(s) {
        let _ = writeln!(out, "  {line}");
    }
    for (what, counts) in [
        ("violations", &s.violations),
        ("collisions", &s.collisions),
        ("warnings", &s.warnings),
        ("errors", &s.errors),
    ] {
        if !counts.is_empty() {
            let _ = writeln!(out, "  {what}: {}", list(counts));
        }
    }
    for note in s.failures.iter().chain(&s.notes) {
        let _ = writeln!(out, "  {note}");
    }
    // Violations first: they must not hide behind collisions.
    let mut findings: Vec<_> = s.findings.iter().collect();
    findings.sort_by_key(|finding| finding.severity != "violation");
    for finding in findings.iter().take(EXPLAINED) {
        explain(out, finding);
    }
    if findings.len() > EXPLAINED {
        let _ = writeln!(
            out,
            "  ({} more explained in the JSON)",
            findings.len() - EXPLAINED
        );
    }
}

/// Which engines pass the page cache by here, by what was found out; a line for each way.
pub fn direct(s: &ScenarioReport) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (engine, found) in &s.direct {
        let group = groups.entry((&found.reads, &found.writes));
        group.or_default().push(engine);
    }
    let line = |((reads, writes), engines): ((&str, &str), Vec<&str>)| {
        let engines = engines.join(", ");
        format!("O_DIRECT: reads {reads}, writes {writes}: {engines}")
    };
    groups.into_iter().map(line).collect()
}

/// A finding in words.
pub fn explain(out: &mut String, f: &FindingReport) {
    let place = match f.len {
        0 => f.file.clone(),
        len => format!("{len} bytes at {} of {}", f.offset, f.file),
    };
    let after = match f.seconds > 0.0 {
        true => format!(", after {:.2} s", f.seconds),
        false => String::new(),
    };
    let _ = writeln!(
        out,
        "  {} ({}): {place}, seen by {}{after}",
        f.class, f.severity, f.seen_by
    );
    let _ = writeln!(out, "    seen           {}", f.seen);
    if let Some(value) = &f.value {
        let _ = writeln!(out, "    written by     {value}");
    }
    if let Some(by) = &f.superseded_by {
        let _ = writeln!(out, "    superseded by  {by}");
    }
    for legal in &f.legal {
        let _ = writeln!(out, "    legal          {legal}");
    }
    for op in &f.overlapping {
        let _ = writeln!(out, "    at that time   {op}");
    }
    for op in &f.beside {
        let _ = writeln!(out, "    same page      {op}");
    }
    if let Some((start, end)) = f.read {
        let _ = writeln!(out, "    read           {start}..{end}");
    }
    for look in &f.second_look {
        let _ = writeln!(
            out,
            "    again {:<8} {}: {}",
            look.mode, look.verdict, look.seen
        );
    }
    if !f.persistence.is_empty() {
        let _ = writeln!(out, "    {}", f.persistence);
    }
    if !f.story.is_empty() {
        let _ = writeln!(out, "    {}", f.story);
    }
}

/// Counts by name on one line.
pub fn list(counts: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = counts
        .iter()
        .map(|(name, n)| format!("{n} {name}"))
        .collect();
    each.join(", ")
}

/// A rate, zero if no time has passed.
pub fn per_second(amount: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { amount / seconds } else { 0.0 }
}
