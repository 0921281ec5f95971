// SPDX-License-Identifier: GPL-2.0

//! The disks that the suite may overwrite, and the parts it cuts them into.

use crate::sys::{file, fscall};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// A run of sectors of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub disk: PathBuf,
    pub start: u64,
    pub sectors: u64,
}

impl Span {
    /// All of the disk at `path`. Refuses a disk that something else uses.
    fn whole(path: &Path) -> Result<Self> {
        let fd = file::open(path, libc::O_RDWR | libc::O_EXCL, 0)
            .with_context(|| format!("{} cannot be used as a test disk", path.display()))?;
        let sectors = fscall::device_size(&fd)? / SECTOR;
        Ok(Self {
            disk: path.to_path_buf(),
            start: 0,
            sectors,
        })
    }

    /// The first `mib` MiB, or all of it when it is smaller.
    pub fn limited(&self, mib: u64) -> Self {
        Self {
            sectors: self.sectors.min(mib * MIB / SECTOR),
            ..self.clone()
        }
    }

    fn halves(&self) -> (Self, Self) {
        let half = self.sectors / 2 / 8 * 8;
        let first = Self {
            sectors: half,
            ..self.clone()
        };
        let second = Self {
            start: self.start + half,
            sectors: self.sectors - half,
            ..self.clone()
        };
        (first, second)
    }

    fn mib(&self) -> u64 {
        self.sectors * SECTOR / MIB
    }
}

/// Room for the filesystem that a group of tests shares, and for one that a test breaks.
pub struct Room {
    pub group: Span,
    pub private: Span,
}

impl Room {
    pub fn on(disks: &[PathBuf]) -> Result<Self> {
        let spans = disks
            .iter()
            .map(|d| Span::whole(d))
            .collect::<Result<Vec<_>>>()?;
        let room = match &spans[..] {
            [] => bail!("no disk to test on: give --disk or set DIOFS_DISK0"),
            [one] => {
                let (group, private) = one.halves();
                Self { group, private }
            }
            [one, two, ..] => Self {
                group: one.clone(),
                private: two.clone(),
            },
        };
        if room.group.mib() < 128 || room.private.mib() < 64 {
            bail!("the disks are too small: one of 256 MiB, or one of 128 and one of 64, will do");
        }
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_do_not_overlap_and_cover_everything() {
        let span = Span {
            disk: PathBuf::from("/dev/x"),
            start: 0,
            sectors: 1_000_001,
        };
        let (a, b) = span.halves();
        assert_eq!(a.start + a.sectors, b.start);
        assert_eq!(b.start + b.sectors, span.sectors);
        assert_eq!(a.limited(1).sectors, 2048);
    }
}
