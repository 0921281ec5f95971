// SPDX-License-Identifier: GPL-2.0
//! Where the next request goes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::record::Part;
use crate::rng::Rng;

/// A rule by which a worker chooses its ranges.
#[derive(Clone, Debug)]
pub enum Aim {
    /// A random one of these sizes, at a random multiple of it.
    Blocks {
        /// The sizes.
        sizes: Vec<u64>,
        /// The part of the file.
        within: Range<u64>,
    },
    /// Places of the worker's own, between those of others.
    Slots {
        /// The places.
        grids: Vec<Grid>,
        /// If given, any part of a place that consists of so many bytes.
        grain: Option<u64>,
    },
    /// One block after the other, round and round; says how far it is.
    March {
        /// Size of a block.
        block: u64,
        /// Bytes of the file.
        len: u64,
        /// Bytes done since the beginning.
        position: Arc<AtomicU64>,
    },
    /// One block after the other, behind somebody who marches.
    Chase {
        /// Size of a block.
        block: u64,
        /// Bytes of the file.
        len: u64,
        /// How far the one ahead is.
        position: Arc<AtomicU64>,
    },
    /// What is on record.
    Script(Arc<Part>),
}

impl Aim {
    /// A size of which all offsets and lengths are multiples that it will choose; the greatest one, except
    /// of a record.
    pub fn unit(&self) -> u64 {
        match self {
            Aim::Blocks { sizes, within } => sizes.iter().copied().fold(within.start, common),
            Aim::Slots { grids, grain } => {
                let grid = |grid: &Grid| {
                    let unit = common(grid.stride, grain.unwrap_or(grid.len));
                    common(grid.base, unit)
                };
                grids.iter().map(grid).fold(0, common)
            }
            Aim::March { block, .. } | Aim::Chase { block, .. } => *block,
            Aim::Script(_) => 8,
        }
    }

    /// The greatest length it will choose.
    pub fn longest(&self) -> u64 {
        match self {
            Aim::Blocks { sizes, .. } => sizes.iter().copied().max().unwrap_or(0),
            Aim::Slots { grids, .. } => grids.iter().map(|grid| grid.len).max().unwrap_or(0),
            Aim::March { block, .. } | Aim::Chase { block, .. } => *block,
            Aim::Script(part) => part.longest(),
        }
    }
}

/// The greatest size of which both are multiples.
fn common(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common(b, a % b) }
}

/// Places at regular distances.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Where the grid begins.
    pub base: u64,
    /// From one place to the next.
    pub stride: u64,
    /// Number of places.
    pub count: u64,
    /// Length of a place.
    pub len: u64,
}

/// A rule and how far it has got.
#[derive(Debug)]
pub struct Aimer {
    aim: Aim,
    cursor: u64,
    /// When the request that is held back was first asked for.
    held: Option<Instant>,
    rng: Rng,
}

impl Aimer {
    /// Begins.
    pub fn new(aim: Aim, rng: Rng) -> Self {
        Self {
            aim,
            cursor: 0,
            held: None,
            rng,
        }
    }

    /// Offset and length of the next request; none if there is nothing to do yet.
    pub fn next(&mut self) -> Option<(u64, u64)> {
        let rng = &mut self.rng;
        match &self.aim {
            Aim::Blocks { sizes, within } => {
                let size = *rng.pick(sizes)?;
                let places = (within.end - within.start) / size;
                (places > 0).then(|| (within.start + rng.below(places) * size, size))
            }
            Aim::Slots { grids, grain } => {
                let grid = rng.pick(grids)?;
                let start = grid.base + rng.below(grid.count) * grid.stride;
                let Some(grain) = grain else {
                    return Some((start, grid.len));
                };
                let grains = grid.len / grain;
                let first = rng.below(grains);
                let count = 1 + rng.below(grains - first);
                Some((start + first * grain, count * grain))
            }
            Aim::March { block, len, .. } => {
                let at = self.cursor % len;
                self.cursor += block;
                Some((at, *block))
            }
            Aim::Chase {
                block,
                len,
                position,
            } => {
                let ahead = position.load(Ordering::Acquire);
                if self.cursor + block > ahead {
                    return None;
                }
                if ahead - self.cursor > len / 2 {
                    // Too far behind: the writer would come round from behind.
                    self.cursor = (ahead - block) / block * block;
                }
                let at = self.cursor % len;
                self.cursor += block;
                Some((at, *block))
            }
            Aim::Script(part) => {
                let step = part.step(self.cursor as usize, &mut self.held)?;
                self.cursor += 1;
                Some(step)
            }
        }
    }

    /// So many bytes were done.
    pub fn done(&self, bytes: u64) {
        if let Aim::March { position, .. } = &self.aim {
            position.fetch_add(bytes, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_chases_stays_behind() {
        let position = Arc::new(AtomicU64::new(0));
        let len = 1 << 16;
        let march = Aim::March {
            block: 4096,
            len,
            position: Arc::clone(&position),
        };
        let chase = Aim::Chase {
            block: 4096,
            len,
            position,
        };
        let mut leader = Aimer::new(march, Rng::new(1, 1));
        let mut follower = Aimer::new(chase, Rng::new(1, 2));
        assert_eq!(follower.next(), None);
        for round in 0..40u64 {
            let (at, n) = leader.next().unwrap();
            assert_eq!(at, round * 4096 % len);
            leader.done(n);
            assert_eq!(follower.next(), Some((at, 4096)));
            assert_eq!(follower.next(), None);
        }
    }

    #[test]
    fn all_requests_are_multiples_of_the_unit() {
        let blocks = |sizes: &[u64], start| Aim::Blocks {
            sizes: sizes.to_vec(),
            within: start..1 << 20,
        };
        assert_eq!(blocks(&[4096, 512, 12288], 0).unit(), 512);
        assert_eq!(blocks(&[4096, 12288], 0).unit(), 4096);
        assert_eq!(blocks(&[8192], 4096).unit(), 4096);
        let slots = |base, len, grain| Aim::Slots {
            grids: vec![Grid {
                base,
                stride: 8192,
                count: 4,
                len,
            }],
            grain,
        };
        assert_eq!(slots(0, 4096, None).unit(), 4096);
        assert_eq!(slots(512, 4096, None).unit(), 512);
        assert_eq!(slots(4096, 4096, Some(8)).unit(), 8);
    }

    #[test]
    fn parts_of_a_slot_stay_within_it() {
        let grid = Grid {
            base: 512,
            stride: 4096,
            count: 4,
            len: 512,
        };
        let aim = Aim::Slots {
            grids: vec![grid],
            grain: Some(8),
        };
        let mut aimer = Aimer::new(aim, Rng::new(3, 0));
        for _ in 0..1000 {
            let (at, n) = aimer.next().unwrap();
            let within = at % 4096;
            assert!(n > 0 && n % 8 == 0 && within >= 512 && within + n <= 1024 && at < 16384);
        }
    }
}
