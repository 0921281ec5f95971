// SPDX-License-Identifier: GPL-2.0
//! Several threads append to one file at once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, anyhow};
use engines::{Advice, Buffer, Errno, File, Kind as Engine, Op};
use oracle::word::mix;

use crate::bench::{BOTH_APPEND, Bench};
use crate::race::shared::SHORT;
use crate::report::ScenarioReport;
use crate::scenarios::solo::{self, Task};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "append-flag",
    title: "appending by RWF_APPEND from several threads, direct and buffered",
    about: "\
Four threads append records to one file with RWF_APPEND: where they go is the kernel's choice. The records
have the least size that direct I/O takes, or that of a block, in turns. Three files
at a time: one is appended to with O_DIRECT, one through the cache, one both ways. Readers fetch the end
of the file into the cache meanwhile. After some records each of the threads stops, and the file is read in
both ways: every acknowledged record must be there once and whole, nothing else may be, and the size must
be that of all of them.

A log that is appended to by several processes relies on it: write(2) promises that going to the end and
writing there are one step. On XFS direct appends of whole blocks overwrite each other (Linux 6.18 and 7.3).",
    kind: Kind::Own(run),
};

/// Threads that append, and records of each in a round.
const APPENDERS: u64 = 4;
const RECORDS: u64 = 24;

fn run(bench: &Bench<'_>) -> Result<ScenarioReport> {
    let least = bench.geometry.align.max(512);
    let whole = bench.geometry.block.max(bench.geometry.page).max(least);
    let (dir, salt) = (bench.arena.dir().to_owned(), mix(bench.settings.run));
    let named = |kind: Engine| (kind.name(), kind);
    let kinds = [
        named(Engine::DIRECT_APPEND),
        named(Engine::BUFFERED_APPEND),
        // No engine stands for both ways at once: this one is only not one of the others.
        (BOTH_APPEND, Engine::URING_BUFFERED),
    ];
    let mut report = solo::run_named(bench, &kinds, APPENDERS as usize, move |task| {
        let path = dir.join(format!("append-{}", task.nth));
        let mut round = 0;
        while !task.stopped() {
            round += 1;
            // Filesystems lock otherwise for whole blocks than for parts of them.
            let unit = if round % 2 == 0 { least } else { whole };
            Round { unit, round, salt }.play(task, &path)?;
        }
        let _ = fs::remove_file(&path);
        Ok(())
    })?;
    report.file_size = APPENDERS * RECORDS * whole;
    Ok(report)
}

/// One file's life.
struct Round {
    unit: u64,
    round: u64,
    /// Of each run another one.
    salt: u64,
}

impl Round {
    /// The words of a record say whose it is, which one, and where they stand in it.
    fn word(&self, who: u64, which: u64, nth: u64) -> u64 {
        let tag =
            ((self.round & 0xFFFF) << 48) | (who << 40) | (which << 24) | ((nth & 0xFFFF) << 8);
        (tag | (mix(tag) & 0xFF)) ^ self.salt
    }

    /// Whose record a word is of, and which one, if it is one of this run.
    fn record(&self, word: u64) -> (u64, u64) {
        let tag = word ^ self.salt;
        ((tag >> 40) & 0xFF, (tag >> 24) & 0xFFFF)
    }

    fn play(&self, task: &mut Task, path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => drop(File::create(path)?),
        }
        let acked = Mutex::new(HashMap::new());
        let errors = Mutex::new(Vec::new());
        let over = AtomicBool::new(false);
        let watcher: &Task = task;
        let results: Vec<Result<()>> = thread::scope(|scope| {
            let appenders: Vec<_> = (0..APPENDERS)
                .map(|who| {
                    let direct = match task.kind {
                        Engine::DIRECT_APPEND => true,
                        Engine::BUFFERED_APPEND => false,
                        _ => who % 2 == 0,
                    };
                    let (acked, errors) = (&acked, &errors);
                    scope.spawn(move || self.append(watcher, path, who, direct, acked, errors))
                })
                .collect();
            let reader = scope.spawn(|| self.disturb(path, &over));
            let mut results: Vec<_> = appenders
                .into_iter()
                .map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("panicked"))))
                .collect();
            over.store(true, Ordering::SeqCst);
            results.push(reader.join().unwrap_or_else(|_| Err(anyhow!("panicked"))));
            results
        });
        results.into_iter().collect::<Result<()>>()?;
        let acked = acked.into_inner().unwrap_or_default();
        for errno in errors.into_inner().unwrap_or_default() {
            task.failed(errno);
        }
        self.look(task, path, &acked)
    }

    fn append(
        &self,
        task: &Task,
        path: &Path,
        who: u64,
        direct: bool,
        acked: &Mutex<HashMap<(u64, u64), usize>>,
        errors: &Mutex<Vec<Errno>>,
    ) -> Result<()> {
        let file = File::open(path, direct)?;
        let words = self.unit / 8;
        let mut buffer = Buffer::new(self.unit as usize, 4096)?;
        for which in 0..RECORDS {
            for (word, nth) in buffer.words_mut().iter_mut().zip(0..words) {
                *word = self.word(who, which, nth);
            }
            // Where it goes is not known before.
            let what = (Op::Write, 0, self.unit);
            let record = &buffer.words()[..words as usize];
            match task.watched(who as usize, what, || file.append(record)) {
                Ok(got) => {
                    if let Ok(mut acked) = acked.lock() {
                        acked.insert((who, which), got);
                    }
                    if let (true, Ok(mut errors)) = ((got as u64) < self.unit, errors.lock()) {
                        errors.push(SHORT);
                    }
                }
                Err(errno) => {
                    if let Ok(mut errors) = errors.lock() {
                        errors.push(errno);
                    }
                }
            }
        }
        Ok(())
    }

    /// Fetches the end of the file into the cache, where the next record will come.
    fn disturb(&self, path: &Path, over: &AtomicBool) -> Result<()> {
        let file = File::open(path, false)?;
        let mut words = vec![0u64; (self.unit / 8) as usize * 8];
        while !over.load(Ordering::SeqCst) {
            let end = file.size()?;
            // What is read while others append is nobody's promise.
            let _ = file.pread(&mut words, end.saturating_sub(self.unit) / 8 * 8);
            let _ = file.advise(Advice::WillNeed, 0, end + self.unit);
            thread::yield_now();
        }
        Ok(())
    }

    /// Every acknowledged record is there once, and nothing else.
    fn look(&self, task: &mut Task, path: &Path, acked: &HashMap<(u64, u64), usize>) -> Result<()> {
        let whole: u64 = acked.values().map(|got| *got as u64).sum();
        let all =
            acked.len() as u64 == APPENDERS * RECORDS && whole == acked.len() as u64 * self.unit;
        for (direct, how) in [(false, "cached"), (true, "direct")] {
            let file = File::open(path, direct)?;
            let size = file.size()?;
            let wrong = size < whole || (all && size != whole);
            if wrong {
                let what = format!("{size} bytes, after {whole} bytes were acknowledged");
                task.wrong("size", "append", what);
            }
            if !all {
                // After an error or a short one nobody knows where the records lie.
                return Ok(());
            }
            let mut buffer = Buffer::new(size.next_multiple_of(4096) as usize, 4096)?;
            let got = match task.read(&file, "append", buffer.words_mut(), 0) {
                Ok(got) if (got as u64) < size => {
                    let what = format!("a {how} read of {size} bytes returns {got}");
                    task.wrong("short", "append", what);
                    continue;
                }
                Ok(_) => size as usize,
                Err(errno) => {
                    task.failed(errno);
                    continue;
                }
            };
            task.judged(got as u64 / 8);
            self.compare(task, how, &buffer.words()[..got / 8], acked);
        }
        Ok(())
    }

    fn compare(
        &self,
        task: &mut Task,
        how: &str,
        words: &[u64],
        acked: &HashMap<(u64, u64), usize>,
    ) {
        let mut left: HashMap<_, _> = acked.clone();
        for (record, nth) in words.chunks((self.unit / 8) as usize).zip(0u64..) {
            let at = nth * self.unit;
            let (who, which) = self.record(record[0]);
            let odd = (0..)
                .zip(record)
                .find(|(n, word)| self.word(who, which, *n) != **word);
            let class = match odd {
                Some((_, 0)) => Some("lost"),
                Some(_) => Some("torn"),
                None if left.remove(&(who, which)).is_none() => Some("misplaced"),
                None => None,
            };
            if let Some(class) = class {
                let (nth, seen) = odd.unwrap_or((0, &record[0]));
                let what = format!(
                    "a {how} read at {}: {seen:#018x} where record {which} of thread {who} should go on, \
                     or is there twice",
                    at + nth * 8
                );
                task.wrong(class, "append", what);
                return;
            }
        }
        if let Some((who, which)) = left.into_keys().next() {
            let what =
                format!("a {how} read: record {which} of thread {who} is nowhere in the file");
            task.wrong("lost", "append", what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_run_is_none_of_this_one() {
        let round = |salt| Round {
            unit: 512,
            round: 1,
            salt,
        };
        let acked = HashMap::from([((2, 3), 512)]);
        let torn = |left: Round| {
            let words: Vec<u64> = (0..64).map(|nth| left.word(2, 3, nth)).collect();
            let mut task = Task::alone(Engine::DIRECT_APPEND);
            round(mix(1)).compare(&mut task, "direct", &words, &acked);
            task.count("torn")
        };
        assert_eq!(torn(round(mix(1))), 0);
        assert_eq!(torn(round(mix(2))), 1);
    }
}
