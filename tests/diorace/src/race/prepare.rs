// SPDX-License-Identifier: GPL-2.0
//! Makes the file that is raced on.

use std::path::PathBuf;

use anyhow::Result;
use engines::{Allocate, Errno};
use oracle::{Config, History};

use crate::arena::no_room;
use crate::bench::Bench;
use crate::race::plan::Start;
use crate::status::Lacking;

/// The number, within a scenario, of the file whose content must not appear in the one that is raced on.
pub const STRANGER: u64 = 1;

/// Makes a file as a race wants it.
pub fn file(bench: &Bench<'_>, start: Start, history: &History) -> Result<PathBuf> {
    let (arena, name, len) = (bench.arena, bench.scenario, history.len_bytes());
    match start {
        Start::Filled => return arena.fill(name, history),
        Start::Hole | Start::Unwritten | Start::Empty => dirty_free_blocks(bench, len)?,
    }
    arena.make(name, |file| {
        match start {
            Start::Hole => file.set_len(len)?,
            Start::Unwritten => file
                .fallocate(Allocate::Reserve, 0, len)
                .map_err(|errno| unreserved(errno, len))?,
            Start::Filled | Start::Empty => {}
        }
        Ok(())
    })
}

/// Leaves words behind, in blocks that are free afterwards, that are known if they ever show.
fn dirty_free_blocks(bench: &Bench<'_>, len: u64) -> Result<()> {
    let mut config = Config::new(len);
    (config.run, config.file) = (bench.settings.run, bench.file(STRANGER));
    let path = bench.arena.fill("stranger", &History::new(config)?)?;
    std::fs::remove_file(path)?;
    Ok(())
}

fn unreserved(errno: Errno, len: u64) -> anyhow::Error {
    match errno {
        Errno::EOPNOTSUPP => Lacking("this filesystem cannot reserve blocks".into()).into(),
        errno => no_room(errno, len),
    }
}
