// SPDX-License-Identifier: GPL-2.0
//! The user's buffer is a mapping of the file itself.

use std::fs;
use std::sync::Arc;

use anyhow::Result;
use engines::{Buffer, File, Kind as Engine, Mapping, Op};
use oracle::word::mix;

use crate::bench::Bench;
use crate::report::ScenarioReport;
use crate::rng::Rng;
use crate::scenarios::solo::{self, Task};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "mmap-self",
    title: "writes from and reads into a mapping of the same file, even of the same range",
    about: "\
A write whose data come from a mapping of the file that is written, and a read whose data go there,
make the kernel fault pages of a file in the midst of I/O on it. Locks taken in the wrong order deadlock;
an invalidation of the pages that are being written from can lose data.

One thread for each of pread/pwrite, libaio and io_uring, with O_DIRECT and without, each on a file of
its own, page-wise: the mapped range is another one or the very same. What the file holds afterwards is
known and compared, by mapping and by read.",
    kind: Kind::Own(run),
};

/// Pages of the file.
const PAGES: u64 = 32;

fn run(bench: &Bench<'_>) -> Result<ScenarioReport> {
    let unit = bench.geometry.page.max(bench.geometry.align);
    let (dir, seed) = (bench.arena.dir().to_owned(), bench.settings.seed);
    let salt = mix(bench.settings.run);
    let kinds = [
        Engine::DIRECT,
        Engine::LIBAIO,
        Engine::URING,
        Engine::BUFFERED,
        Engine::URING_BUFFERED,
    ];
    let mut report = solo::run(bench, &kinds, 1, move |task| {
        let path = dir.join(format!("self-{}", task.nth));
        let mut game = Game::new(&path, unit, salt, Rng::new(seed, task.nth))?;
        while !task.stopped() {
            game.round(task, &path)?;
        }
        let _ = fs::remove_file(&path);
        Ok(())
    })?;
    report.file_size = PAGES * unit;
    Ok(report)
}

/// A file, its mapping, and what it should hold.
struct Game {
    file: File,
    mapping: Arc<Mapping>,
    model: Vec<u64>,
    unit: u64,
    /// Of each run another one, so that no word of an earlier one is right.
    salt: u64,
    rng: Rng,
    round: u64,
}

impl Game {
    fn new(path: &std::path::Path, unit: u64, salt: u64, rng: Rng) -> Result<Self> {
        let file = File::create(path)?;
        let model: Vec<u64> = (0..PAGES * unit / 8).map(|nth| mix(nth ^ salt)).collect();
        solo::fill(&file, &model)?;
        let mapped = File::open(path, false)?;
        let mapping = Arc::new(Mapping::new(mapped, (PAGES * unit) as usize)?);
        Ok(Self {
            file,
            mapping,
            model,
            unit,
            salt,
            rng,
            round: 0,
        })
    }

    /// Changes a range by a store, copies by a write or a read between file and mapping, compares.
    fn round(&mut self, task: &mut Task, path: &std::path::Path) -> Result<()> {
        self.round += 1;
        let pages = 1 + self.rng.below(4);
        let len = (pages * self.unit) as usize;
        let places = PAGES - pages + 1;
        let offset = self.rng.below(places) * self.unit;
        let mapped = if self.rng.once_in(3) {
            offset
        } else {
            self.rng.below(places) * self.unit
        };
        // Where the two overlap in part, the result is anybody's guess.
        if mapped != offset && mapped.abs_diff(offset) < len as u64 {
            return Ok(());
        }
        self.store(mapped);
        let op = if self.rng.once_in(2) {
            Op::Write
        } else {
            Op::Read
        };
        let buffer = Buffer::from_mapping(Arc::clone(&self.mapping), mapped as usize, len)?;
        let mut queue = engines::open(task.kind, path, 0, 1)?;
        let done = task.one(queue.as_mut(), op, offset, len, buffer)?;
        let (from, to) = match op {
            Op::Write => (mapped, offset),
            Op::Read => (offset, mapped),
        };
        let got = done.result.unwrap_or(0);
        let words = |at: u64, n: usize| (at / 8) as usize..(at / 8) as usize + n / 8;
        self.model.copy_within(words(from, got), (to / 8) as usize);
        if let Err(errno) = done.result {
            task.failed(errno);
        }
        if got < len {
            // Whatever was not acknowledged may have been copied or not.
            self.adopt(to, len)?;
        }
        let how = match op {
            Op::Write => format!("a write of {len} bytes at {offset} from the mapping of {mapped}"),
            Op::Read => format!("a read of {len} bytes at {offset} into the mapping of {mapped}"),
        };
        self.compare(task, from, len, &how)?;
        self.compare(task, to, len, &how)
    }

    fn store(&mut self, at: u64) {
        let word = mix(self.round ^ (at << 32) ^ self.salt);
        if self.mapping.store(at, &[word]).is_ok() {
            self.model[(at / 8) as usize] = word;
        }
    }

    /// Takes what the file holds for what it should hold.
    fn adopt(&mut self, at: u64, len: usize) -> Result<()> {
        let (first, count) = ((at / 8) as usize, len / 8);
        let mut done = 0;
        while done < count {
            let rest = &mut self.model[first + done..first + count];
            let got = self.file.pread(rest, at + done as u64 * 8)?;
            anyhow::ensure!(got >= 8, "nothing can be read at {}", at + done as u64 * 8);
            done += got / 8;
        }
        Ok(())
    }

    fn compare(&mut self, task: &mut Task, at: u64, len: usize, how: &str) -> Result<()> {
        let range = (at / 8) as usize..(at / 8) as usize + len / 8;
        let mut words = vec![0u64; len / 8];
        for by_read in [false, true] {
            let result = if by_read {
                task.read(&self.file, "self", &mut words, at)
            } else {
                self.mapping.load(at, &mut words).map(|()| len)
            };
            let got = match result {
                Ok(got) => got,
                Err(errno) => {
                    task.failed(errno);
                    continue;
                }
            };
            if got < len {
                let what = format!("after {how}, a read of {len} bytes at {at} returns {got}");
                task.wrong("short", "self", what);
            }
            // Behind that are the words of the other mode.
            let seen = &words[..got.min(len) / 8];
            task.judged(seen.len() as u64);
            let expect = &self.model[range.clone()];
            let Some(nth) = seen.iter().zip(expect).position(|(a, b)| a != b) else {
                continue;
            };
            let mode = if by_read { "a read" } else { "a load" };
            let what = format!(
                "after {how}, {mode} at {} returns {:#018x} in place of {:#018x}",
                at + nth as u64 * 8,
                words[nth],
                expect[nth]
            );
            task.wrong("stale", "self", what);
            self.adopt(at, len)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_short_read_did_not_return_is_not_compared() {
        let path = std::env::temp_dir().join(format!("diorace-self-{}", std::process::id()));
        let mut game = Game::new(&path, 4096, 1, Rng::new(1, 0)).unwrap();
        fs::remove_file(&path).unwrap();
        let mut task = Task::alone(Engine::BUFFERED);
        game.compare(&mut task, 0, 8192, "nothing").unwrap();
        assert_eq!((task.count("short"), task.count("stale")), (0, 0));
        game.file.set_len(4096).unwrap();
        game.compare(&mut task, 0, 8192, "a cut").unwrap();
        assert_eq!((task.count("short"), task.count("stale")), (1, 0));
        game.file.pwrite(&[7], 0).unwrap();
        game.file.set_len(8192).unwrap();
        game.compare(&mut task, 0, 8192, "a store").unwrap();
        assert_eq!(task.count("stale"), 1);
        game.compare(&mut task, 0, 8192, "nothing").unwrap();
        assert_eq!((task.count("short"), task.count("stale")), (1, 1));
    }
}
