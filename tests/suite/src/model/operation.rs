// SPDX-License-Identifier: GPL-2.0

//! What can be done to the file, chosen at random and then done to the file and its image alike.

use super::image::Image;
use super::random::Random;
use super::subject::{LIMIT, SECTOR, Subject};
use crate::coherence::queue::Queue;
use crate::pattern::check_equal;
use crate::sys::file;
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use anyhow::{Context, Result, ensure};

/// What may be chosen.
pub struct Mix {
    /// The file never has more bytes.
    pub limit: usize,
    /// Whether cached writes are made beside direct writes in flight.
    pub beside: bool,
}

/// A range of the file.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    at: usize,
    len: usize,
}

/// How bytes are moved past the cache.
#[derive(Clone, Copy, Debug)]
pub enum Past {
    Direct,
    Aio,
    Uring,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Read(Range),
    Write(Range),
    DirectRead(Past, Range),
    DirectWrite(Past, Range),
    MapRead(Range),
    MapWrite(Range),
    NewMapWrite(Range),
    Truncate(usize),
    Fsync,
    Chill,
    Reopen,
    /// A direct write in flight, and a cached write or a store to other bytes meanwhile.
    Beside {
        direct: Range,
        cached: Range,
        map: bool,
    },
}

/// Any range inside `limit`, short ones and ones near page edges more often than others.
fn any_range(random: &mut Random, limit: usize) -> Range {
    let longest = match random.below(4) {
        0 => 16,
        1 => SECTOR,
        2 => 2 * PAGE,
        _ => limit / 2,
    };
    let len = 1 + random.below(longest.min(limit - 1));
    let mut at = random.below(limit - len + 1);
    if random.below(3) == 0 {
        at = (at / PAGE * PAGE).saturating_sub(random.below(3));
    }
    Range { at, len }
}

/// A range of whole sectors inside `limit`.
fn sectors(random: &mut Random, limit: usize) -> Range {
    let all = limit / SECTOR;
    let longest = [1, 2, 8, 16, 128][random.below(5)].min(all);
    let len = 1 + random.below(longest);
    let at = random.below(all - len + 1);
    Range {
        at: at * SECTOR,
        len: len * SECTOR,
    }
}

fn past(random: &mut Random) -> Past {
    [Past::Direct, Past::Aio, Past::Uring][random.below(3)]
}

impl Operation {
    /// Chooses an operation for a file of `size` bytes.
    pub fn random(random: &mut Random, mix: &Mix, size: usize) -> Self {
        // Most operations stay inside what there is, so that the file is not all holes.
        let grow = random.below(6) == 0 || size < 2 * SECTOR;
        let limit = if grow { mix.limit } else { size };
        match random.below(40) {
            0..8 => Self::Read(any_range(random, mix.limit)),
            8..15 => Self::Write(any_range(random, limit)),
            15..20 => Self::DirectRead(past(random), sectors(random, mix.limit)),
            20..27 => Self::DirectWrite(past(random), sectors(random, limit)),
            27..29 if size > 1 => Self::MapRead(any_range(random, size)),
            29..32 if size > 1 => Self::MapWrite(any_range(random, size)),
            32 if size > 1 => Self::NewMapWrite(any_range(random, size)),
            33 => Self::Truncate(random.below(mix.limit)),
            34 => Self::Fsync,
            35 => Self::Chill,
            36 => Self::Reopen,
            _ if mix.beside && size >= 2 * PAGE => Self::beside(random, size),
            _ => Self::Read(any_range(random, mix.limit)),
        }
    }

    /// A direct write, and a cached one right before or behind it, often in the same page.
    fn beside(random: &mut Random, size: usize) -> Self {
        let direct = loop {
            let range = sectors(random, size);
            if range.at > 0 || range.len < size {
                break range;
            }
        };
        let end = direct.at + direct.len;
        let behind = size - end;
        let cached = if behind > 0 && (direct.at == 0 || random.below(2) == 0) {
            let len = 1 + random.below(behind.min(2000));
            let gap = random.below((behind - len + 1).min(1000));
            Range { at: end + gap, len }
        } else {
            let len = 1 + random.below(direct.at.min(2000));
            let gap = random.below((direct.at - len + 1).min(1000));
            Range {
                at: direct.at - len - gap,
                len,
            }
        };
        Self::Beside {
            direct,
            cached,
            map: random.below(2) == 0,
        }
    }

    /// Does it to the file and to the image, and compares.
    pub fn run(self, s: &mut Subject, image: &mut Image, random: &mut Random) -> Result<()> {
        match self {
            Self::Read(r) => {
                let seen = file::pread_vec(&s.cached, r.len, r.at as u64)?;
                check_equal("cached read", &seen, image.read(r.at, r.len), r.at as u64)?;
            }
            Self::Write(r) => {
                let data = random.bytes(r.len);
                let n = file::pwrite(&s.cached, &data, r.at as u64)?;
                ensure!(n == r.len, "a cached write of {} bytes returned {n}", r.len);
                image.write(r.at, &data);
            }
            Self::DirectRead(past, r) => {
                let seen = direct_read(s, past, r)?;
                check_equal("direct read", &seen, image.read(r.at, r.len), r.at as u64)?;
            }
            Self::DirectWrite(past, r) => {
                let data = random.bytes(r.len);
                let n = direct_write(s, past, r, &data)?;
                ensure!(n == r.len, "a direct write of {} bytes returned {n}", r.len);
                image.write(r.at, &data);
            }
            Self::MapRead(r) => {
                let seen = s.map.load(r.at, r.len);
                check_equal("mapping", &seen, image.read(r.at, r.len), r.at as u64)?;
            }
            Self::MapWrite(r) => {
                let data = random.bytes(r.len);
                s.map.store(r.at, &data);
                image.write(r.at, &data);
            }
            Self::NewMapWrite(r) => {
                let data = random.bytes(r.len);
                Region::shared(&s.cached, 0, r.at + r.len, READ_WRITE)?.store(r.at, &data);
                image.write(r.at, &data);
            }
            Self::Truncate(size) => {
                file::ftruncate(&s.cached, size as i64)?;
                image.truncate(size);
            }
            Self::Fsync => file::fsync(&s.cached)?,
            Self::Chill => s.chill()?,
            Self::Reopen => s.reopen()?,
            Self::Beside {
                direct,
                cached,
                map,
            } => beside(s, image, random, direct, cached, map)?,
        }
        s.check_size(image)
    }
}

fn direct_read(s: &mut Subject, past: Past, r: Range) -> Result<Vec<u8>> {
    let buffer = Slice::zeroed(r.len)?;
    let n = match past {
        Past::Direct => file::pread_mem(&s.direct, &buffer, r.at as u64)?,
        Past::Aio => {
            s.queue.read(&s.direct, &buffer, r.at as u64)?;
            one(&mut s.queue)?
        }
        Past::Uring => {
            s.ring.read(&s.direct, &buffer, r.at as u64)?;
            one(&mut s.ring)?
        }
    };
    Ok(buffer.bytes(n))
}

fn direct_write(s: &mut Subject, past: Past, r: Range, data: &[u8]) -> Result<usize> {
    let buffer = Slice::of(data)?;
    match past {
        Past::Direct => Ok(file::pwrite_mem(&s.direct, &buffer, r.at as u64)?),
        Past::Aio => {
            s.queue.write(&s.direct, &buffer, r.at as u64)?;
            one(&mut s.queue)
        }
        Past::Uring => {
            s.ring.write(&s.direct, &buffer, r.at as u64)?;
            one(&mut s.ring)
        }
    }
}

fn one(queue: &mut Queue) -> Result<usize> {
    let done = queue.reap(1, LIMIT).context("waiting for a completion")?;
    Ok(done[0].result?)
}

fn beside(
    s: &mut Subject,
    image: &mut Image,
    random: &mut Random,
    direct: Range,
    cached: Range,
    map: bool,
) -> Result<()> {
    let (past, data) = (random.bytes(direct.len), random.bytes(cached.len));
    s.queue
        .write(&s.direct, &Slice::of(&past)?, direct.at as u64)?;
    if map {
        s.map.store(cached.at, &data);
    } else {
        let n = file::pwrite(&s.cached, &data, cached.at as u64)?;
        ensure!(
            n == cached.len,
            "a cached write of {} bytes returned {n}",
            cached.len
        );
    }
    image.write(cached.at, &data);
    let seen = file::pread_vec(&s.cached, cached.len, cached.at as u64)?;
    check_equal("what was just written", &seen, &data, cached.at as u64)?;
    let n = one(&mut s.queue)?;
    ensure!(
        n == direct.len,
        "a direct write of {} bytes returned {n}",
        direct.len
    );
    image.write(direct.at, &past);
    for r in [direct, cached] {
        let seen = file::pread_vec(&s.cached, r.len, r.at as u64)?;
        check_equal("after both", &seen, image.read(r.at, r.len), r.at as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_ranges_are_legal() {
        let mut random = Random::new(3);
        for size in [0, 600, 5000, 9000, 20_000] {
            let mix = Mix {
                limit: 20_000,
                beside: true,
            };
            for _ in 0..5000 {
                let inside = |r: Range| r.len > 0 && r.at + r.len <= mix.limit;
                match Operation::random(&mut random, &mix, size) {
                    Operation::Read(r) | Operation::Write(r) => assert!(inside(r)),
                    Operation::DirectRead(_, r) | Operation::DirectWrite(_, r) => {
                        assert!(inside(r) && r.at % SECTOR == 0 && r.len % SECTOR == 0);
                    }
                    Operation::MapRead(r) | Operation::MapWrite(r) | Operation::NewMapWrite(r) => {
                        assert!(r.at + r.len <= size);
                    }
                    Operation::Beside { direct, cached, .. } => {
                        let apart = direct.at + direct.len <= cached.at
                            || cached.at + cached.len <= direct.at;
                        assert!(apart && cached.at + cached.len <= size && cached.len > 0);
                    }
                    _ => {}
                }
            }
        }
    }
}
