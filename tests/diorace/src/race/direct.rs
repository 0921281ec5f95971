// SPDX-License-Identifier: GPL-2.0
//! Says of each direct engine of a race whether the page cache is really passed by here.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use engines::{Directness, File, Kind, Verdict};

use crate::bench::Bench;
use crate::crew::Crew;
use crate::crew::pulse::Role;
use crate::report::{DirectReport, ScenarioReport};

/// To observe an engine takes milliseconds. After so long it must end within the time in which any
/// thread must that was told to stop.
const OBSERVE: Duration = Duration::from_secs(60);

/// Observes each engine once in a run, on a file of its own, and reports it.
pub fn tell(bench: &Bench<'_>, kinds: impl Iterator<Item = Kind>, report: &mut ScenarioReport) {
    // Writes of the others cannot be aimed, or are direct only now and then.
    for kind in kinds.filter(|kind| kind.direct && !kind.appends()) {
        let known = bench.arena.directness(kind);
        let found = match known {
            Some(found) => found,
            None => match watched(bench, kind) {
                Ok(found) => {
                    bench.arena.remember(kind, found);
                    found
                }
                Err(hung) => return report.hang("directness", hung),
            },
        };
        let Some(Directness { reads, writes }) = found else {
            // That the engine does not work here at all is said when it is opened.
            continue;
        };
        for (what, verdict) in [("reads", reads), ("writes", writes)] {
            if verdict == Verdict::Cached {
                let note =
                    format!("direct in name only: {what} by {kind} go through the page cache");
                if !report.notes.contains(&note) {
                    report.notes.push(note);
                }
            }
        }
        let (reads, writes) = (reads.name().to_owned(), writes.name().to_owned());
        let told = DirectReport { reads, writes };
        report.direct.insert(kind.name().to_owned(), told);
    }
}

/// Observes an engine in a thread that is watched; none if that failed, an error says where it hangs.
fn watched(bench: &Bench<'_>, kind: Kind) -> Result<Option<Directness>, Vec<String>> {
    let path = bench.arena.path("directness");
    let mut crew = Crew::new();
    let pulse = crew.pulse(kind.name(), Role::Both, 1);
    let observer = crew.start(pulse, move |found| {
        *found = observe(kind, &path).ok();
        Ok(())
    });
    if observer.is_err() {
        return Ok(None);
    }
    let grace = bench.settings.grace;
    let ending = crew.race(OBSERVE, grace, |_, _| ControlFlow::Continue(()));
    match ending.hung.is_empty() {
        true => Ok(ending.results.into_iter().flatten().next()),
        false => Err(ending.hung),
    }
}

fn observe(kind: Kind, path: &Path) -> Result<Directness> {
    let file = File::create(path)?;
    let words = vec![1u64; (Directness::LEN / 8) as usize];
    let filled = file.pwrite(&words, 0);
    let found = Directness::observe(kind, path);
    drop(file);
    fs::remove_file(path)?;
    filled?;
    Ok(found?)
}
