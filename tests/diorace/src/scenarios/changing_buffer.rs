// SPDX-License-Identifier: GPL-2.0
//! Somebody stores to the memory that is being written from.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, anyhow};
use engines::{Advice, Buffer, File, Kind as Engine, Mapping, Op};
use oracle::word::mix;

use crate::bench::Bench;
use crate::race::shared::SHORT;
use crate::report::ScenarioReport;
use crate::rng::Rng;
use crate::scenarios::solo::{self, Task};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "changing-buffer",
    title: "direct writes from memory that somebody changes meanwhile",
    about: "\
A program may change a buffer while it is written from; it does not know then which of the two contents
was written, byte by byte, but it must be one of them, and reading it must not fail. A filesystem that
computes a checksum over memory that changes afterwards stores one that does not fit, and every later read
fails with EIO.

One thread for each of pwrite, libaio and io_uring with O_DIRECT, on a file of its own; the memory is a
mapping of a second file, in which another thread flips between two known contents. Afterwards the range
is read directly, and through the cache after it was dropped.

xfstests generic/761 (btrfs, 2025); OpenZFS dio_write_verify.",
    kind: Kind::Own(run),
};

/// Places of the file.
const PLACES: u64 = 16;

fn run(bench: &Bench<'_>) -> Result<ScenarioReport> {
    let unit = (16 * bench.geometry.page).max(bench.geometry.align);
    let (dir, seed) = (bench.arena.dir().to_owned(), bench.settings.seed);
    // No word of an earlier run is one of this one's contents.
    let first = mix(bench.settings.run) >> 8;
    let kinds = [Engine::DIRECT, Engine::LIBAIO, Engine::URING];
    let mut report = solo::run(bench, &kinds, 1, move |task| {
        let file = dir.join(format!("changing-{}", task.nth));
        let memory = dir.join(format!("memory-{}", task.nth));
        let game = Game::new(&file, &memory, unit)?;
        let rng = Rng::new(seed, task.nth);
        let play = || game.play(task, &file, 2 * first, rng);
        let done = beside(&game.over, || game.flip(), play);
        let _ = fs::remove_file(&file);
        let _ = fs::remove_file(&memory);
        done
    })?;
    report.file_size = PLACES * unit;
    Ok(report)
}

/// Tells others that it is over, whatever the reason.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Plays while somebody flips in a thread of its own, who goes on until `over`.
fn beside(
    over: &AtomicBool,
    flip: impl FnOnce() + Send,
    play: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        // The scope waits for the thread also if this one panics.
        let ending = Over(over);
        let flipper = scope.spawn(flip);
        let played = play();
        drop(ending);
        let flipped = flipper.join();
        played.and(flipped.map_err(|_| anyhow!("the thread that changes the memory panicked")))
    })
}

/// The file, and the memory that changes.
struct Game {
    file: File,
    mapping: Arc<Mapping>,
    unit: u64,
    /// What the two contents are made of at present; odd while nobody may store.
    round: AtomicU64,
    /// Set while a word is being stored.
    busy: AtomicBool,
    over: AtomicBool,
}

/// A word of one of the two contents of a round.
fn word(round: u64, which: u64, nth: u64) -> u64 {
    mix(mix(round * 2 + which) ^ nth)
}

impl Game {
    fn new(path: &Path, memory: &Path, unit: u64) -> Result<Self> {
        let file = File::create(path)?;
        let zeroes = vec![0u64; (PLACES * unit / 8) as usize];
        solo::fill(&file, &zeroes)?;
        let under = File::create(memory)?;
        solo::fill(&under, &zeroes[..(unit / 8) as usize])?;
        Ok(Self {
            file,
            mapping: Arc::new(Mapping::new(under, unit as usize)?),
            unit,
            round: AtomicU64::new(1),
            busy: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    /// Stores the one content, then the other, a few words at a time.
    fn flip(&self) {
        let words = self.unit / 8;
        let mut count = 0u64;
        while !self.over.load(Ordering::SeqCst) {
            // Announced before the round is looked at, so that `rest` waits for it or it sees the rest.
            self.busy.store(true, Ordering::SeqCst);
            let round = self.round.load(Ordering::SeqCst);
            if round % 2 == 0 {
                count += 1;
                let (at, which) = (mix(count) % words, count % 2);
                // Where a page cannot be had nothing is stored.
                let _ = self.mapping.store(at * 8, &[word(round, which, at)]);
            }
            self.busy.store(false, Ordering::SeqCst);
            if round % 2 == 1 {
                thread::yield_now();
            }
        }
    }

    /// Returns when nobody stores any more, until the next round.
    fn rest(&self, round: u64) {
        self.round.store(round + 1, Ordering::SeqCst);
        while self.busy.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    /// Plays rounds from an even number on.
    fn play(&self, task: &mut Task, path: &Path, mut round: u64, mut rng: Rng) -> Result<()> {
        let words = self.unit / 8;
        let mut queue = engines::open(task.kind, path, 0, 1)?;
        let direct = File::open(path, true)?;
        while !task.stopped() {
            round += 2;
            let fresh: Vec<u64> = (0..words).map(|nth| word(round, 0, nth)).collect();
            if self.mapping.store(0, &fresh).is_err() {
                continue;
            }
            self.round.store(round, Ordering::SeqCst);
            let at = rng.below(PLACES) * self.unit;
            let buffer = Buffer::from_mapping(Arc::clone(&self.mapping), 0, self.unit as usize)?;
            let done = task.one(queue.as_mut(), Op::Write, at, self.unit as usize, buffer)?;
            self.rest(round);
            match done.result {
                Ok(got) => {
                    if (got as u64) < self.unit {
                        task.failed(SHORT);
                    }
                    self.look(task, &direct, round, at, got)?;
                }
                Err(errno) => task.failed(errno),
            }
        }
        Ok(())
    }

    /// Reads it directly, and through the cache from the disk.
    fn look(&self, task: &mut Task, direct: &File, round: u64, at: u64, got: usize) -> Result<()> {
        let mut buffer = Buffer::new(self.unit as usize, 4096)?;
        // A refusal only makes the second look less telling.
        let _ = self.file.advise(Advice::DontNeed, at, self.unit);
        for (file, how) in [(direct, "direct"), (&self.file, "cached")] {
            let words = &mut buffer.words_mut()[..(self.unit / 8) as usize];
            let there = match task.read(file, "changing", words, at) {
                Ok(there) => there,
                Err(errno) if !errno.is_damage() => {
                    task.failed(errno);
                    continue;
                }
                Err(errno) => {
                    let what = format!(
                        "a {how} read of {} bytes at {at} fails with {errno} after they were written \
                         from memory that changed",
                        self.unit
                    );
                    task.wrong("lost", "changing", what);
                    continue;
                }
            };
            if (there as u64) < self.unit {
                let what = format!(
                    "a {how} read of {} bytes at {at} returns {there}",
                    self.unit
                );
                task.wrong("short", "changing", what);
            }
            let written = &words[..got.min(there) / 8];
            task.judged(written.len() as u64);
            let wrong = written.iter().zip(0..).find(|(seen, nth)| {
                let (a, b) = (word(round, 0, *nth), word(round, 1, *nth));
                !is_mixed(**seen, a, b)
            });
            if let Some((seen, nth)) = wrong {
                let what = format!(
                    "a {how} read at {} returns {seen:#018x}, of neither content of the buffer",
                    at + nth * 8
                );
                task.wrong("exposed", "changing", what);
            }
        }
        Ok(())
    }
}

/// Whether every byte is that of one of two words.
fn is_mixed(seen: u64, a: u64, b: u64) -> bool {
    let (seen, a, b) = (seen.to_ne_bytes(), a.to_ne_bytes(), b.to_ne_bytes());
    (0..8).all(|i| seen[i] == a[i] || seen[i] == b[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::panic::{AssertUnwindSafe, catch_unwind};

    use engines::Errno;

    /// Waits until it is over.
    fn wait(over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    #[test]
    fn one_who_panics_neither_succeeds_nor_keeps_the_other() {
        let over = AtomicBool::new(false);
        let panics = || -> Result<()> { panic!("on purpose") };
        let played = catch_unwind(AssertUnwindSafe(|| beside(&over, || wait(&over), panics)));
        assert!(played.is_err());
        let error = |flip: fn(), played: Result<()>| {
            let over = AtomicBool::new(false);
            let done = beside(&over, flip, || played);
            done.unwrap_err().to_string()
        };
        let breaks = || panic!("on purpose");
        assert!(error(breaks, Ok(())).contains("panicked"));
        assert_eq!(error(breaks, Err(anyhow!("no more"))), "no more");
        assert_eq!(error(|| (), Err(anyhow!("no more"))), "no more");
    }

    #[test]
    fn only_damage_is_a_loss() {
        let damage = [Errno::EIO, Errno::EUCLEAN, Errno::EBADMSG];
        assert!(damage.into_iter().all(Errno::is_damage));
        for other in [Errno::ENOMEM, Errno::EINTR, Errno::EAGAIN, Errno::EINVAL] {
            assert!(!other.is_damage());
        }
    }

    #[test]
    fn what_a_short_read_did_not_return_is_not_compared() {
        let unit = 4096;
        let name = |what: &str| format!("diorace-{what}-{}", std::process::id());
        let (path, memory) = (
            std::env::temp_dir().join(name("changing")),
            std::env::temp_dir().join(name("memory")),
        );
        let game = Game::new(&path, &memory, unit).unwrap();
        let file = File::open(&path, false).unwrap();
        fs::remove_file(&path).unwrap();
        fs::remove_file(&memory).unwrap();
        let words: Vec<u64> = (0..unit / 8).map(|nth| word(2, nth % 2, nth)).collect();
        let mut task = Task::alone(Engine::DIRECT);
        let look = |task: &mut Task| {
            game.look(task, &file, 2, 0, unit as usize).unwrap();
            (task.count("short"), task.count("exposed"))
        };
        file.pwrite(&words, 0).unwrap();
        assert_eq!(look(&mut task), (0, 0));
        file.set_len(512).unwrap();
        assert_eq!(look(&mut task), (2, 0));
        file.set_len(unit).unwrap();
        assert_eq!(look(&mut task), (2, 2));
    }
}
