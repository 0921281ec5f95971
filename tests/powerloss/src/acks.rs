// SPDX-License-Identifier: GPL-2.0
//! Notes of what was acknowledged: one sector for each worker on a device beside the filesystem's.
//!
//! The note is written after the sync has returned and before the next step begins. The device is the
//! end of the same logged disk, so a note's place in the log says what was written and flushed before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::hands::Aligned;

const MAGIC: u64 = 0x6b63_615f_7373_6f6c;
/// Bytes of a note.
pub const SECTOR: usize = 512;

/// The worker's number under which the beginning of the run is noted.
pub const BEGIN: u64 = 255;

/// The device for notes.
pub struct Device(File);

impl Device {
    /// Opens it around the page cache, so that a note is with the disk when its write returns.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(path);
        Ok(Self(file.with_context(|| {
            format!("cannot open {}", path.display())
        })?))
    }

    /// Notes that a step of a worker was acknowledged.
    pub fn note(&self, worker: u64, step: u64) -> Result<()> {
        let mut note = Aligned::new(SECTOR);
        for (bytes, value) in note.bytes().chunks_exact_mut(8).zip([MAGIC, worker, step]) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        let sector = worker * SECTOR as u64;
        self.0
            .write_all_at(note.bytes(), sector)
            .context("cannot note what was acknowledged")
    }
}

/// The note in a sector that was logged: worker and step.
pub fn decode(sector: &[u8]) -> Option<(u64, u64)> {
    let field = |n: usize| {
        Some(u64::from_le_bytes(
            sector.get(n * 8..n * 8 + 8)?.try_into().ok()?,
        ))
    };
    (field(0)? == MAGIC).then_some((field(1)?, field(2)?))
}

/// What had been acknowledged at a cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Acked {
    pub seed: u64,
    /// The last acknowledged step of each worker.
    pub last: BTreeMap<u64, u64>,
    /// How many notes there were.
    pub notes: u64,
}

impl Acked {
    /// As lines for `verify`.
    pub fn to_text(&self) -> String {
        let mut text = format!("seed {}\nnotes {}\n", self.seed, self.notes);
        for (worker, step) in &self.last {
            let _ = writeln!(text, "worker {worker} {step}");
        }
        text
    }

    /// What `to_text` wrote.
    pub fn parse(text: &str) -> Result<Self> {
        let mut acked = Self::default();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["seed", seed] => acked.seed = seed.parse()?,
                ["notes", notes] => acked.notes = notes.parse()?,
                ["worker", worker, step] => {
                    acked.last.insert(worker.parse()?, step.parse()?);
                }
                _ => bail!("no line of acknowledgements: {line}"),
            }
        }
        Ok(acked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_survives_its_text() {
        let last = BTreeMap::from([(0, 12), (9, 3)]);
        let acked = Acked {
            seed: 5,
            last,
            notes: 40,
        };
        assert_eq!(Acked::parse(&acked.to_text()).unwrap(), acked);
    }
}
