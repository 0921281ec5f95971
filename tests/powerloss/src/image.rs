// SPDX-License-Identifier: GPL-2.0
//! What a disk with a volatile cache holds after its power failed.
//!
//! All that was written before the last completed flush is there. Of what was written since, the disk
//! had brought to its medium what it liked, in any order; a write that is longer than a physical block
//! may have been cut in between. The blank disk is full of a pattern, so that blocks which come into a
//! file without ever having been written show.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::log::{Entry, Log};
use crate::rng::Rng;

/// What a blank disk is full of.
pub const BLANK_WORD: u64 = 0x5dee_5dee_5dee_5dee;
const BLOCK: usize = 4096;

/// How much of what had not been flushed the disk had brought to its medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Nothing: all of it is lost.
    Lost,
    /// Each physical block with this chance, in hundredths.
    Kept(u64),
}

impl Cache {
    /// Each kind of loss in turn.
    pub const ALL: [Cache; 4] = [
        Cache::Kept(50),
        Cache::Kept(90),
        Cache::Lost,
        Cache::Kept(100),
    ];

    /// What it is called.
    pub fn name(self) -> String {
        match self {
            Cache::Lost => "no unflushed block kept".to_string(),
            Cache::Kept(chance) => format!("{chance} % of unflushed blocks kept"),
        }
    }
}

/// Writes the first `size` bytes of the disk as they are after a cut before entry `cut`.
pub fn write(
    log: &Log,
    cut: usize,
    cache: Cache,
    rng: &mut Rng,
    size: u64,
    to: &Path,
) -> Result<()> {
    let file = File::create_new(to).with_context(|| format!("cannot create {}", to.display()))?;
    let blank: Vec<u8> = BLANK_WORD.to_le_bytes().repeat((1 << 20) / 8);
    for at in (0..size).step_by(blank.len()) {
        file.write_all_at(&blank[..blank.len().min((size - at) as usize)], at)?;
    }
    let past = &log.entries[..cut];
    let durable_before = past.iter().rposition(Entry::is_flush).unwrap_or(0);
    for (index, entry) in past
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.end() <= size)
    {
        let data = log.data(entry)?;
        let durable = index < durable_before || entry.is_fua();
        for (n, block) in data.chunks(BLOCK).enumerate() {
            if durable || survives(cache, rng) {
                file.write_all_at(block, entry.offset + (n * BLOCK) as u64)?;
            }
        }
    }
    Ok(())
}

fn survives(cache: Cache, rng: &mut Rng) -> bool {
    match cache {
        Cache::Lost => false,
        Cache::Kept(chance) => rng.percent(chance),
    }
}
