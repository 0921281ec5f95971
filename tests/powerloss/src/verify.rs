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

const SHOWN: usize = 5;
const CHUNK: usize = 64 << 10;

/// Compares; says what is wrong, and in a last line how much was compared.
pub fn run(dir: &Path, acks: &Path, direct: bool) -> Result<bool> {
    let text =
        fs::read_to_string(acks).with_context(|| format!("cannot read {}", acks.display()))?;
    let acked = Acked::parse(&text)?;
    let (mut vouched, mut lost) = (0, 0);
    for (worker, profile) in PROFILES.iter().enumerate() {
        let history = History::new(
            acked.seed,
            worker,
            acked.last.get(&(worker as u64)).copied(),
        );
        let (content, size) = read(&dir.join(profile.file), direct)?;
        lost += tell(profile.name, &history.judge(&content, size));
        vouched += history.vouched();
    }
    let last = acked.last.get(&(names::WORKER as u64)).copied();
    lost += tell("names", &names::judge(dir, acked.seed, last)?);
    println!(
        "{} acknowledged operations, {vouched} words vouched for, {lost} wrong",
        acked.notes
    );
    Ok(lost == 0)
}

fn tell(worker: &str, wrong: &[Wrong]) -> usize {
    for Wrong(what) in wrong.iter().take(SHOWN) {
        println!("{worker}: {what}");
    }
    if wrong.len() > SHOWN {
        println!("{worker}: ... and {} more", wrong.len() - SHOWN);
    }
    wrong.len()
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
    let words = bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
    Ok((words.collect(), size))
}
