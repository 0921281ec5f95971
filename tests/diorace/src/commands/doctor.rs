// SPDX-License-Identifier: GPL-2.0
//! `diorace doctor`

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;

use crate::cli::{Choices, DoctorArgs, ProfileArg, Until, quote};
use crate::commands::session::{Session, fresh_seed};
use crate::report::table::{explain, list};
use crate::report::{Report, ScenarioReport};
use crate::scenarios::pairs::{self, PAIRS, Trouble};
use crate::status::Status;

/// Tries every pairing of a direct and a cached access, one after the other, and says in plain words
/// what came of it.
pub fn doctor(args: &DoctorArgs) -> Result<Status> {
    let each = args.duration / PAIRS.len() as f64;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let session = Session {
        command: Some(format!(
            "diorace doctor {} --duration {} --seed {seed}",
            quote(&args.dir.to_string_lossy()),
            args.duration
        )),
        dir: args.dir.clone(),
        choices: Choices {
            scenario: PAIRS.iter().map(|pair| pair.name.to_owned()).collect(),
            duration: each,
            seed: Some(seed),
            engines: Vec::new(),
            profile: ProfileArg::Bare,
            size: None,
            threads: None,
            depth: None,
            operations: None,
            processes: false,
            grace: 60.0,
            until: Until::End,
        },
        outputs: args.outputs.clone(),
        keep: false,
        live: !args.quiet,
        record: None,
        script: None,
    };
    let scenarios = pairs::scenarios();
    session.race(&scenarios.iter().collect::<Vec<_>>(), render)
}

/// The report in plain words.
fn render(report: &Report) -> String {
    let place = &report.place;
    let mut out = format!(
        "{} is {} on {} ({}), kernel {}.\n",
        place.path, place.fstype, place.source, place.options, place.kernel
    );
    let of = |status: Status| report.scenarios.iter().filter(move |s| s.status == status);
    let _ = writeln!(out, "\n{}", verdict(report));
    for (status, heading) in [
        (
            Status::Violation,
            "What went wrong and is excused by nothing:",
        ),
        (
            Status::Collision,
            "What went wrong when both were used at once:",
        ),
    ] {
        if of(status).next().is_some() {
            let _ = writeln!(out, "\n{heading}");
        }
        of(status).for_each(|s| wrong(&mut out, s));
    }
    let fine: Vec<_> = of(Status::Legal).collect();
    if !fine.is_empty() {
        let seconds = fine.iter().map(|s| s.seconds).sum::<f64>() / fine.len() as f64;
        let _ = writeln!(
            out,
            "\nNothing went wrong in {seconds:.1} s each (rare races need longer: diorace run --repeat):"
        );
        for s in fine {
            let _ = writeln!(out, "  {} ({} operations)", s.name, s.operations);
        }
    }
    untested(&mut out, report);
    advice(&mut out, report);
    evidence(&mut out, report);
    out
}

fn verdict(report: &Report) -> &'static str {
    let cut = report.interrupted;
    match report.status {
        Status::Violation => "AFFECTED, badly: what follows is excused by no mixing of modes.",
        Status::Collision if report.scenarios.iter().all(|s| unharmed(&s.collisions)) => {
            "AFFECTED: when direct and cached I/O meet in the same pages, requests were refused or fsync reported \
             errors. No wrong content was seen."
        }
        Status::Collision => {
            "AFFECTED: when direct and cached I/O meet in the same pages, data that were acknowledged got lost, \
             or were hidden by old ones."
        }
        Status::Legal if cut => "Not seen to be affected; but the examination was cut short.",
        Status::Legal => "Not seen to be affected.",
        Status::Lacking => "Nothing could be tested.",
        Status::Tool => "The examination itself failed.",
    }
}

/// Whether nothing but errors of fsync was counted.
fn unharmed(collisions: &BTreeMap<String, u64>) -> bool {
    collisions.keys().all(|class| class == "fsync")
}

fn wrong(out: &mut String, s: &ScenarioReport) {
    let _ = writeln!(out, "  {}", s.name);
    let writes: u64 = s
        .engines
        .iter()
        .filter(|e| e.role.writes())
        .map(|e| e.operations)
        .sum();
    for counts in [&s.violations, &s.collisions] {
        for (class, n) in counts {
            let _ = writeln!(out, "    {n} x {}", meaning(class));
        }
    }
    if s.violations.is_empty() && s.collisions.is_empty() {
        let _ = writeln!(out, "    requests were refused: {}", list(&s.errors));
    }
    if let Some(at) = s.first_violation.or(s.first_collision) {
        let _ = writeln!(out, "    among {writes} writes; the first after {at:.1} s");
    }
}

/// A class of finding for people who have not read the manual.
fn meaning(class: &str) -> String {
    match class {
        "lost" => "an acknowledged write was gone, in every way of reading",
        "stale" => "a read showed old content after newer had been acknowledged",
        "torn" => "eight bytes were a mixture of several writes",
        "foreign" => "content of another file appeared",
        "misplaced" => "content of another place of the file appeared",
        "exposed" => "content appeared that nobody had written",
        "resurrected" => "content came back that had been removed",
        "short" => "a read returned less than the file has",
        "size" => "the file had a size that no write explains",
        "fsync" => "fsync reported an error: the page cache could not be kept in step",
        "hang" => "a request did not come back",
        "twice" => "a request completed twice",
        "unreadable" => "a read failed when nobody was at work any more",
        "kernel" => "the kernel complained (see its log)",
        other => return other.to_owned(),
    }
    .to_owned()
}

fn untested(out: &mut String, report: &Report) {
    let mut lines: Vec<String> = Vec::new();
    for s in &report.scenarios {
        let skipped = s.status == Status::Lacking;
        let notes = s
            .notes
            .iter()
            .filter(|note| skipped || note.starts_with("left out"));
        let why = s.failures.iter().chain(notes);
        lines.extend(why.map(|why| format!("{}: {why}", s.name)));
    }
    let tried = report.scenarios.len();
    if tried < PAIRS.len() {
        lines.push(format!(
            "{} pairings that there was no time for",
            PAIRS.len() - tried
        ));
    }
    match &report.kernel_log {
        Some(log) if log.unreadable.is_none() => {
            let _ = writeln!(out, "\nThe kernel log: {}.", log.summary());
        }
        Some(log) => lines.push(format!("the kernel log {}", log.summary())),
        None => {}
    }
    lines.push(
        "power failure, disk errors, other machines, and races rarer than a minute shows"
            .to_owned(),
    );
    let _ = writeln!(out, "\nNot tested:");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

fn advice(out: &mut String, report: &Report) {
    let wrong = |trouble: Trouble| {
        let mut hit = report
            .scenarios
            .iter()
            .filter(|s| !s.violations.is_empty() || !s.collisions.is_empty());
        hit.any(|s| pairs::find(&s.name).is_some_and(|pair| pair.trouble == trouble))
    };
    let mut lines = Vec::new();
    if wrong(Trouble::SamePage) {
        lines.push(
            "Let no two programs write one file at the same time if one uses O_DIRECT and the other does not, \
             not even to different bytes (a database and a backup, an image file with two users).",
        );
    }
    if wrong(Trouble::SameBytes) {
        lines.push("Do not overwrite the same range with and without O_DIRECT at the same time.");
    }
    if wrong(Trouble::CachedReader) {
        lines.push("A reader without O_DIRECT, or with a mapping, may see old content: let it read with O_DIRECT.");
    }
    if wrong(Trouble::DirectReader) {
        lines.push(
            "A reader with O_DIRECT may miss what is still in the cache: fsync before it reads.",
        );
    }
    if !lines.is_empty() {
        let _ = writeln!(out, "\nWhat to do:");
    }
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

/// The worst finding, as it is explained elsewhere.
fn evidence(out: &mut String, report: &Report) {
    let rank =
        |severity: &str, class: &str| (severity != "violation", class != "lost", class != "stale");
    let all = report
        .scenarios
        .iter()
        .flat_map(|s| s.findings.iter().map(move |f| (s, f)));
    let worst = all.min_by_key(|(_, f)| rank(&f.severity, &f.class));
    if let Some((s, finding)) = worst {
        let _ = writeln!(out, "\nEvidence, one of them ({}):", s.name);
        explain(out, finding);
        let _ = writeln!(
            out,
            "Every time is an ordinal: of two, the smaller came first."
        );
    }
    let _ = writeln!(out, "\nverdict: {}", report.status.name());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_class_has_a_meaning() {
        let page = include_str!("../../../../Documentation/diorace.rst");
        let table = page.split("Class           Meaning").nth(1).unwrap();
        let classes: Vec<&str> = table
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with("==="))
            .filter_map(|line| line.strip_prefix("``")?.split("``").next())
            .collect();
        assert!(classes.len() > 10, "{classes:?}");
        for class in classes {
            assert_ne!(meaning(class), class);
        }
    }
}
