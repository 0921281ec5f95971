// SPDX-License-Identifier: GPL-2.0
//! What each worker does, step by step: a function of the seed.
//!
//! A worker changes only words of its own, one step after the other, so what a word may hold follows
//! from its worker's steps alone. The sharers own every sixth 512-byte unit of one file: their direct
//! and cached writes meet in the pages, never in the words.

use crate::rng::Rng;
use crate::word::WORD;

/// By which interface a step writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// pwrite(2).
    Buffered,
    /// pwrite(2) with `O_DIRECT`.
    Direct,
    /// Stores in a shared mapping.
    Mmap,
    /// libaio with `O_DIRECT`, all pieces at once.
    Libaio,
    /// io_uring with `O_DIRECT`, all pieces at once.
    Uring,
}

/// What makes a step durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Nothing: it is not acknowledged.
    None,
    /// fsync(2).
    Fsync,
    /// fdatasync(2).
    Fdatasync,
    /// syncfs(2).
    Syncfs,
    /// The write itself, through a descriptor with `O_DSYNC`: only its own range is durable.
    Dsync,
    /// msync(2) of the whole mapping.
    Msync,
}

/// A range of a file in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub offset: u64,
    pub len: u64,
}

/// What a step changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These pieces, which do not overlap.
    Write(Vec<Piece>),
    /// The size.
    Truncate(u64),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub mode: Mode,
    pub change: Change,
    pub sync: Sync,
}

/// Where in its file a worker writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Units whose number leaves this remainder, in the shared file.
    Share(u64),
    /// Anywhere in a file of its own.
    Whole,
    /// At the end of a file of its own, which is cut back at times.
    Append,
}

/// A kind of worker.
pub struct Profile {
    pub name: &'static str,
    pub file: &'static str,
    pub shape: Shape,
    pub modes: &'static [Mode],
    pub syncs: &'static [Sync],
}

const UNIT: u64 = 512;
const SHARERS: u64 = 6;
const SHARED_SIZE: u64 = 384 << 10;
const WHOLE_SIZE: u64 = 512 << 10;
const APPEND_LIMIT: u64 = 256 << 10;

const fn share(
    name: &'static str,
    index: u64,
    mode: &'static [Mode],
    syncs: &'static [Sync],
) -> Profile {
    Profile {
        name,
        file: "shared",
        shape: Shape::Share(index),
        modes: mode,
        syncs,
    }
}

/// Every worker on files. (The one on names is apart, in [`crate::names`].)
pub const PROFILES: [Profile; 9] = [
    share(
        "direct",
        0,
        &[Mode::Direct],
        &[Sync::None, Sync::Fsync, Sync::Fdatasync],
    ),
    share("direct O_DSYNC", 1, &[Mode::Direct], &[Sync::Dsync]),
    share(
        "buffered",
        2,
        &[Mode::Buffered],
        &[Sync::None, Sync::Fsync, Sync::Fdatasync, Sync::Syncfs],
    ),
    share(
        "mmap",
        3,
        &[Mode::Mmap],
        &[Sync::None, Sync::Msync, Sync::Fdatasync],
    ),
    share("libaio", 4, &[Mode::Libaio], &[Sync::None, Sync::Fdatasync]),
    share("io_uring", 5, &[Mode::Uring], &[Sync::None, Sync::Fsync]),
    Profile {
        name: "append buffered",
        file: "append-buffered",
        shape: Shape::Append,
        modes: &[Mode::Buffered],
        syncs: &[
            Sync::None,
            Sync::None,
            Sync::Fsync,
            Sync::Fdatasync,
            Sync::Dsync,
        ],
    },
    Profile {
        name: "append direct",
        file: "append-direct",
        shape: Shape::Append,
        modes: &[Mode::Direct, Mode::Libaio],
        syncs: &[Sync::None, Sync::Fsync, Sync::Fdatasync, Sync::Dsync],
    },
    Profile {
        name: "mixed",
        file: "mixed",
        shape: Shape::Whole,
        modes: &[
            Mode::Buffered,
            Mode::Direct,
            Mode::Mmap,
            Mode::Libaio,
            Mode::Uring,
        ],
        syncs: &[
            Sync::None,
            Sync::None,
            Sync::Fsync,
            Sync::Fdatasync,
            Sync::Syncfs,
            Sync::Dsync,
            Sync::Msync,
        ],
    },
];

impl Profile {
    /// The size that the file is made with.
    pub fn initial_size(&self) -> u64 {
        match self.shape {
            Shape::Share(_) => SHARED_SIZE,
            Shape::Whole => WHOLE_SIZE,
            Shape::Append => 0,
        }
    }

    /// Whether a word, counted in words, belongs to this worker.
    pub fn owns(&self, place: u64) -> bool {
        match self.shape {
            Shape::Share(index) => place * WORD / UNIT % SHARERS == index,
            Shape::Whole | Shape::Append => true,
        }
    }
}

/// The steps of one worker, without end.
pub struct Plan {
    rng: Rng,
    profile: &'static Profile,
    size: u64,
}

impl Plan {
    /// The plan of a worker, by its place in [`PROFILES`].
    pub fn new(seed: u64, worker: usize) -> Self {
        let profile = &PROFILES[worker];
        Self {
            rng: Rng::new(seed, worker as u64),
            profile,
            size: profile.initial_size(),
        }
    }

    /// Bytes to a multiple of which a mode's writes begin and end.
    fn grain(mode: Mode) -> u64 {
        match mode {
            Mode::Buffered | Mode::Mmap => WORD,
            Mode::Direct | Mode::Libaio | Mode::Uring => UNIT,
        }
    }

    /// Up to six different units of its own: whole, or a part where the interface allows.
    fn units(&mut self, mode: Mode, index: u64) -> Vec<Piece> {
        let groups = SHARED_SIZE / UNIT / SHARERS;
        let first = self.rng.below(groups);
        let stride = 1 + self.rng.below(groups / 8);
        let count = 1 + self.rng.below(6);
        let mut piece = |n: u64| {
            let start = ((first + n * stride) % groups * SHARERS + index) * UNIT;
            let grain = Self::grain(mode);
            let skip = self.rng.below(UNIT / grain) * grain;
            let len = (1 + self.rng.below((UNIT - skip) / grain)) * grain;
            Piece {
                offset: start + skip,
                len,
            }
        };
        (0..count).map(&mut piece).collect()
    }

    /// One piece of up to 64 KiB.
    fn anywhere(&mut self, mode: Mode) -> Piece {
        let grain = Self::grain(mode);
        let offset = self.rng.below(WHOLE_SIZE / grain) * grain;
        let most = (WHOLE_SIZE - offset).min(self.rng.pick(&[4 << 10, 16 << 10, 64 << 10]));
        let len = (1 + self.rng.below(most / grain)) * grain;
        Piece { offset, len }
    }

    /// More at the end, or an end cut back to make room, or now and then for its own sake.
    fn at_end(&mut self, mode: Mode) -> Change {
        let grain = Self::grain(mode);
        if self.size > APPEND_LIMIT || (self.size > 0 && self.rng.percent(6)) {
            let keep = self.rng.below(self.size / grain / 2 + 1) * grain;
            self.size = keep;
            return Change::Truncate(keep);
        }
        let len = (1 + self.rng.below((12 << 10) / grain)) * grain;
        let offset = self.size;
        self.size += len;
        Change::Write(vec![Piece { offset, len }])
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let mode = self.rng.pick(self.profile.modes);
        let mut sync = self.rng.pick(self.profile.syncs);
        let change = match self.profile.shape {
            Shape::Share(index) => Change::Write(self.units(mode, index)),
            Shape::Whole => Change::Write(vec![self.anywhere(mode)]),
            Shape::Append => self.at_end(mode),
        };
        let writes = matches!(change, Change::Write(_));
        let plain = matches!(mode, Mode::Buffered | Mode::Direct);
        if (sync == Sync::Dsync && !(plain && writes))
            || (sync == Sync::Msync && mode != Mode::Mmap)
        {
            sync = Sync::Fdatasync;
        }
        Some(Step { mode, change, sync })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_plan() {
        for worker in 0..PROFILES.len() {
            let steps = |seed| Plan::new(seed, worker).take(200).collect::<Vec<_>>();
            assert_eq!(steps(1), steps(1));
            assert_ne!(steps(1), steps(2));
        }
    }

    #[test]
    fn a_worker_writes_only_what_it_owns() {
        for (worker, profile) in PROFILES.iter().enumerate() {
            for step in Plan::new(7, worker).take(2000) {
                let Change::Write(pieces) = step.change else {
                    continue;
                };
                for piece in &pieces {
                    assert_eq!(piece.offset % Plan::grain(step.mode), 0);
                    assert_eq!(piece.len % Plan::grain(step.mode), 0);
                    let words = piece.offset / WORD..(piece.offset + piece.len) / WORD;
                    assert!(words.into_iter().all(|place| profile.owns(place)));
                }
            }
        }
    }

    #[test]
    fn pieces_of_a_step_do_not_overlap() {
        for worker in 0..PROFILES.len() {
            for step in Plan::new(7, worker).take(2000) {
                let Change::Write(mut pieces) = step.change else {
                    continue;
                };
                pieces.sort_by_key(|piece| piece.offset);
                for pair in pieces.windows(2) {
                    assert!(pair[0].offset + pair[0].len <= pair[1].offset);
                }
            }
        }
    }
}
