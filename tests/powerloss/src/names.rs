// SPDX-License-Identifier: GPL-2.0
//! The worker on names: replaces files by renaming, removes them, and syncs the directory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::history::Wrong;
use crate::plan::PROFILES;
use crate::rng::Rng;
use crate::word::encode;

/// The worker's number; those on files come before.
pub const WORKER: usize = PROFILES.len();
/// The directory that it works in.
pub const DIR: &str = "names";

const SLOTS: usize = 6;
const TEMPORARY: &str = "new";

/// What becomes of a name: a file of so many words, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    slot: usize,
    words: Option<u64>,
}

/// A name's file: who wrote it and how long it is.
type Content = Option<(u64, u64)>;

struct Plan {
    rng: Rng,
    there: [bool; SLOTS],
}

impl Plan {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, WORKER as u64),
            there: [false; SLOTS],
        }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let slot = self.rng.below(SLOTS as u64) as usize;
        let remove = self.there[slot] && self.rng.percent(30);
        let words = (!remove).then(|| 1 + self.rng.below(1500));
        self.there[slot] = !remove;
        Some(Step { slot, words })
    }
}

/// Works until `go_on` says no; `note` is told each step that was acknowledged.
pub fn work(
    dir: &Path,
    seed: u64,
    go_on: &dyn Fn() -> bool,
    note: &dyn Fn(u64) -> Result<()>,
) -> Result<()> {
    let dir = dir.join(DIR);
    for (number, step) in (0..).zip(Plan::new(seed)) {
        if !go_on() {
            break;
        }
        perform(&dir, number, step).with_context(|| format!("step {number} on names"))?;
        note(number)?;
    }
    Ok(())
}

fn perform(dir: &Path, number: u64, step: Step) -> Result<()> {
    let name = dir.join(step.slot.to_string());
    match step.words {
        Some(words) => {
            let temporary = dir.join(TEMPORARY);
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes(number, words))?;
            file.sync_all()?;
            fs::rename(&temporary, &name)?;
        }
        None => fs::remove_file(&name)?,
    }
    Ok(File::open(dir)?.sync_all()?)
}

fn bytes(number: u64, words: u64) -> Vec<u8> {
    (0..words)
        .flat_map(|place| encode(WORKER, number, place).to_le_bytes())
        .collect()
}

/// Each name: it has the content of its last acknowledged step, or that of the step after.
pub fn judge(dir: &Path, seed: u64, acked: Option<u64>) -> Result<Vec<Wrong>> {
    let dir = dir.join(DIR);
    let mut state: [Content; SLOTS] = [None; SLOTS];
    let mut plan = (0..).zip(Plan::new(seed));
    let done = acked.map_or(0, |acked| acked as usize + 1);
    for (number, step) in plan.by_ref().take(done) {
        state[step.slot] = step.words.map(|words| (number, words));
    }
    let begun = plan.next();
    let mut wrong = strangers(&dir)?;
    for (slot, &settled) in state.iter().enumerate() {
        let mine = begun.filter(|(_, step)| step.slot == slot);
        let next = mine.map(|(number, step)| step.words.map(|words| (number, words)));
        let found = read(&dir.join(slot.to_string()))?;
        if !is(&found, settled) && !next.is_some_and(|next| is(&found, next)) {
            let found = found.map_or("no file".to_string(), |bytes| {
                format!("{} other bytes", bytes.len())
            });
            wrong.push(Wrong(format!(
                "name {slot}: {found}; acknowledged was {}",
                show(settled)
            )));
        }
    }
    Ok(wrong)
}

fn is(found: &Option<Vec<u8>>, content: Content) -> bool {
    *found == content.map(|(number, words)| bytes(number, words))
}

fn show(content: Content) -> String {
    content.map_or("none".to_string(), |(number, words)| {
        format!("{} bytes of step {number}", words * 8)
    })
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn strangers(dir: &Path) -> Result<Vec<Wrong>> {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let slot = name.parse::<usize>().is_ok_and(|slot| slot < SLOTS);
        if !slot && name != TEMPORARY {
            wrong.push(Wrong(format!("the name {name:?}, which nobody made")));
        }
    }
    Ok(wrong)
}
