// SPDX-License-Identifier: GPL-2.0
//! `powerloss verify`: whether everything acknowledged is there, and nothing else that is not legal.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::acks::Acked;
use crate::hands::Aligned;
use crate::history::{History, Wrong};
use crate::names;
use crate::plan::PROFILES;
use crate::word::words;

const SHOWN: usize = 5;
const CHUNK: usize = 64 << 10;

/// Compares; says what is wrong, and in a last line how much was compared.
pub fn run(dir: &Path, acks: &Path, direct: bool) -> Result<bool> {
    let text =
        fs::read_to_string(acks).with_context(|| format!("cannot read {}", acks.display()))?;
    let acked = Acked::parse(&text)?;
    let (mut vouched, mut lost) = (0, 0);
    for (profile, history) in PROFILES.iter().zip(History::all(&acked)) {
        let (content, size) = read(&dir.join(profile.file), direct)?;
        let wrong = history.judge(&content, size);
        say(&verdict(profile.name, &wrong));
        lost += wrong.len();
        vouched += history.vouched();
    }
    let last = acked.last.get(&(names::WORKER as u64)).copied();
    let wrong = names::judge(dir, acked.seed, last)?;
    say(&verdict("names", &wrong));
    lost += wrong.len();
    println!("{}", summary(acked.notes, vouched, lost));
    Ok(lost == 0)
}

/// The lines about what is wrong with what a worker wrote.
pub fn verdict(worker: &str, wrong: &[Wrong]) -> Vec<String> {
    let shown = wrong.iter().take(SHOWN);
    let mut lines: Vec<_> = shown
        .map(|Wrong(what)| format!("{worker}: {what}"))
        .collect();
    if wrong.len() > SHOWN {
        lines.push(format!("{worker}: ... and {} more", wrong.len() - SHOWN));
    }
    lines
}

fn say(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

/// The last line.
pub fn summary(notes: u64, vouched: usize, lost: usize) -> String {
    format!("{notes} acknowledged operations, {vouched} words vouched for, {lost} wrong")
}

/// A file's words and its size.
fn read(path: &Path, direct: bool) -> Result<(Vec<u64>, u64)> {
    let flags = if direct { libc::O_DIRECT } else { 0 };
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    let mut chunk = Aligned::new(CHUNK);
    loop {
        let count = file.read_at(chunk.bytes(), bytes.len() as u64);
        let count = count.with_context(|| format!("cannot read {}", path.display()))?;
        bytes.extend_from_slice(&chunk.bytes()[..count]);
        if count < CHUNK {
            break;
        }
    }
    ensure!(
        bytes.len() as u64 == size,
        "{}: {} of {size} bytes",
        path.display(),
        bytes.len()
    );
    Ok((words(&bytes).collect(), size))
}
