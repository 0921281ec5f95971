// SPDX-License-Identifier: GPL-2.0
//! What a disk with a volatile cache holds after its power failed.
//!
//! All that was written before the last completed flush is there. Of what was written since, the disk
//! had brought to its medium what it liked, in any order; a write that is longer than a physical block
//! may have been cut in between. The blank disk is full of a pattern, so that blocks which come into a
//! file without ever having been written show.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::log::{Entry, Log};
use crate::rng::Rng;
use crate::word::words;

/// What a blank disk is full of.
pub const BLANK_WORD: u64 = 0x5dee_5dee_5dee_5dee;
const BLOCK: usize = 4096;
const SECTOR: usize = 512;

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

/// A disk, and for each sector by which write it came to what it holds.
pub struct Image {
    bytes: Vec<u8>,
    /// What each sector held before its last write.
    before: Vec<u8>,
    /// The place in the log of each sector's last write.
    writers: Vec<Option<usize>>,
}

impl Image {
    /// A disk of so many bytes that nothing was written to.
    pub fn blank(size: u64) -> Self {
        let bytes = BLANK_WORD.to_le_bytes().repeat(size as usize / 8);
        Self {
            before: bytes.clone(),
            writers: vec![None; bytes.len() / SECTOR],
            bytes,
        }
    }

    /// The first `size` bytes of the disk as they are after a cut before entry `cut`.
    pub fn replay(log: &Log, cut: usize, cache: Cache, rng: &mut Rng, size: u64) -> Result<Self> {
        let mut image = Self::blank(size);
        let durable_before = durable_before(log, cut);
        for (index, entry) in log.entries[..cut].iter().enumerate() {
            if entry.end() > size {
                continue;
            }
            let data = log.data(entry)?;
            let durable = index < durable_before || entry.is_fua();
            for (n, block) in data.chunks(BLOCK).enumerate() {
                if durable || survives(cache, rng) {
                    image.put(index, entry.offset as usize + n * BLOCK, block);
                }
            }
        }
        Ok(image)
    }

    /// Whole sectors of the write at a place of the log.
    pub fn put(&mut self, writer: usize, offset: usize, data: &[u8]) {
        let range = offset..offset + data.len();
        let sectors = offset / SECTOR..range.end / SECTOR;
        self.before[range.clone()].copy_from_slice(&self.bytes[range.clone()]);
        self.bytes[range].copy_from_slice(data);
        self.writers[sectors].fill(Some(writer));
    }

    /// The sectors that each write gave their content, by its place in the log.
    pub fn sectors(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut sectors = BTreeMap::<usize, Vec<usize>>::new();
        for (sector, writer) in self.writers.iter().enumerate() {
            if let Some(writer) = writer {
                sectors.entry(*writer).or_default().push(sector);
            }
        }
        sectors
    }

    /// The words of a sector: what each was before the sector's last write, and what it is.
    pub fn words(&self, sector: usize) -> impl Iterator<Item = (u64, u64)> {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        words(&self.before[range.clone()]).zip(words(&self.bytes[range]))
    }

    /// Takes a sector's last write back, as if the disk had never done it.
    pub fn undo(&mut self, sector: usize) {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        self.bytes[range.clone()].copy_from_slice(&self.before[range]);
        self.writers[sector] = None;
    }

    /// Writes it to a new file.
    pub fn write(&self, to: &Path) -> Result<()> {
        let file = File::create_new(to);
        let file = file.with_context(|| format!("cannot create {}", to.display()))?;
        Ok(file.write_all_at(&self.bytes, 0)?)
    }
}

/// The place in the log before which everything is durable at a cut: the last flush before it.
///
/// What a flush covers is what had been answered when it was submitted. The log does not know that: it
/// has a write where it had been done, before its answer, and a flush where it was taken up.
pub fn durable_before(log: &Log, cut: usize) -> usize {
    let past = &log.entries[..cut];
    past.iter().rposition(Entry::is_flush).unwrap_or(0)
}

fn survives(cache: Cache, rng: &mut Rng) -> bool {
    match cache {
        Cache::Lost => false,
        Cache::Kept(chance) => rng.percent(chance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_is_undone_leaves_what_was_there() {
        let mut image = Image::blank(8 * SECTOR as u64);
        image.put(0, 0, &[1; 4 * SECTOR]);
        image.put(1, 2 * SECTOR, &[2; 4 * SECTOR]);
        assert_eq!(
            image.sectors(),
            BTreeMap::from([(0, vec![0, 1]), (1, vec![2, 3, 4, 5])])
        );
        for sector in 2..6 {
            image.undo(sector);
        }
        assert_eq!(image.bytes[..4 * SECTOR], [1; 4 * SECTOR]);
        assert!(words(&image.bytes[4 * SECTOR..]).all(|word| word == BLANK_WORD));
    }
}
