// SPDX-License-Identifier: GPL-2.0
//! Says of each direct engine of a race whether the page cache is really passed by here.

use std::fs;

use anyhow::Result;
use engines::{Directness, File, Kind, Verdict};

use crate::bench::Bench;
use crate::report::{DirectReport, ScenarioReport};

/// Observes each engine once in a run, on a file of its own, and reports it.
pub fn tell(bench: &Bench<'_>, kinds: impl Iterator<Item = Kind>, report: &mut ScenarioReport) {
    // Writes of the others cannot be aimed, or are direct only now and then.
    for kind in kinds.filter(|kind| kind.direct && !kind.appends()) {
        let known = bench.arena.directness(kind);
        let found = known.unwrap_or_else(|| {
            let found = observe(bench, kind).ok();
            bench.arena.remember(kind, found);
            found
        });
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

fn observe(bench: &Bench<'_>, kind: Kind) -> Result<Directness> {
    let path = bench.arena.path("directness");
    let file = File::create(&path)?;
    let words = vec![1u64; (Directness::LEN / 8) as usize];
    let filled = file.pwrite(&words, 0);
    let found = Directness::observe(kind, &path);
    drop(file);
    fs::remove_file(&path)?;
    filled?;
    Ok(found?)
}
