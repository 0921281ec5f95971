// SPDX-License-Identifier: GPL-2.0
//! Requests that outlive the name and the descriptor of their file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use engines::{Buffer, Errno, File, Kind as Engine, Op, Queue, Request};
use oracle::{Key, Tag};

use crate::bench::Bench;
use crate::race::shared::SHORT;
use crate::report::ScenarioReport;
use crate::scenarios::solo::{self, Task};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "last-reference",
    title: "a file unlinked and its queue destroyed while asynchronous writes are in flight",
    about: "\
Each thread opens a file, submits asynchronous writes all over it, removes the name by which it opened it,
and destroys the queue: io_destroy before anything was reaped, so that the requests hold the last reference
to the context. A ring may cancel what it has not begun, so that it is closed when its requests have ended,
however long that takes. A second name of the file then shows whether every write arrived: the kernel took them. What is missing is
written once more and waited for; if that is refused, because the disk is full for example, the kernel has
only had nobody to tell.

xfstests generic/323, aio-last-ref-held-by-io (the completion put the last reference and hung, 2010).",
    kind: Kind::Own(run),
};

/// Requests in flight at once.
const DEPTH: usize = 16;

fn run(bench: &Bench<'_>) -> Result<ScenarioReport> {
    let unit = bench.geometry.page.max(bench.geometry.align);
    let (dir, key) = (bench.arena.dir().to_owned(), bench.key(0));
    let kinds = [
        Engine::LIBAIO,
        Engine::URING,
        Engine::LIBAIO_BUFFERED,
        Engine::URING_BUFFERED,
    ];
    let mut report = solo::run(bench, &kinds, DEPTH, move |task| {
        let name = |what: &str| dir.join(format!("last-{what}-{}", task.nth));
        let (path, other) = (name("gone"), name("stays"));
        let mut round = 0;
        while !task.stopped() {
            round += 1;
            let tag = Tag::new(1 + task.nth as u8, round);
            let refused = submit_and_forget(task, &path, &other, unit, |at, words| {
                key.fill(tag, at / 8, words);
            })?;
            match refused {
                Some(errno) => {
                    // It counts as a request of this engine, of which none may ever succeed.
                    let all = (Op::Write, 0, DEPTH as u64 * unit);
                    let _ = task.watched(0, all, || Err(errno));
                    task.failed(errno);
                }
                None => verify(task, &other, key, tag, unit)?,
            }
            fs::remove_file(&other)?;
        }
        Ok(())
    })?;
    report.file_size = DEPTH as u64 * unit;
    Ok(report)
}

/// Makes a file with two names, submits writes, and drops the queue and the first name. Says why the
/// kernel has not taken one of the writes, if so.
fn submit_and_forget(
    task: &Task,
    path: &Path,
    other: &Path,
    unit: u64,
    fill: impl Fn(u64, &mut [u64]),
) -> Result<Option<Errno>> {
    // With room for all, as far as a filesystem keeps it.
    fs::write(path, vec![0; DEPTH * unit as usize])?;
    fs::hard_link(path, other).context("cannot give a file a second name")?;
    let mut queue = engines::open(task.kind, path, 0, DEPTH)?;
    let mut rejected = None;
    for id in 0..queue.depth().min(DEPTH) {
        let offset = id as u64 * unit;
        let mut buffer = Buffer::new(unit as usize, unit as usize)?;
        fill(offset, buffer.words_mut());
        let request = Request {
            id,
            op: Op::Write,
            offset,
            len: unit as usize,
            buffer,
        };
        if let Err(full) = queue.submit(request) {
            rejected = Some(full.errno);
        }
    }
    queue.flush()?;
    let refused = queue.take_refused();
    let reason = refused.into_iter().find_map(|done| done.result.err());
    fs::remove_file(path)?;
    let failed = match task.kind.path {
        engines::Path::Uring(_) => wait(task, queue.as_mut(), unit)?,
        _ => None,
    };
    drop(queue);
    Ok(reason.or(rejected).or(failed))
}

/// Waits until a ring has nothing in flight any more, watched like a request: its own patience when it is
/// closed is short, and it cancels what has not begun by then. Says why a write has failed, if so.
fn wait(task: &Task, queue: &mut dyn Queue, unit: u64) -> Result<Option<Errno>> {
    let all = (Op::Write, 0, DEPTH as u64 * unit);
    let mut done = Vec::new();
    task.watched(0, all, || -> Result<usize, engines::Error> {
        while queue.in_flight() > 0 {
            queue.reap(Duration::from_secs(1), &mut done)?;
        }
        Ok(done.iter().filter_map(|done| done.result.ok()).sum())
    })?;
    Ok(done.into_iter().find_map(|done| match done.result {
        Ok(got) if (got as u64) < unit => Some(SHORT),
        result => result.err(),
    }))
}

/// Every word must be there, by a cached and by a direct read.
fn verify(task: &mut Task, path: &Path, key: Key, tag: Tag, unit: u64) -> Result<()> {
    for (direct, how) in [(false, "buffered"), (true, "direct")] {
        let file = File::open(path, direct)?;
        let len = DEPTH * unit as usize;
        let mut buffer = Buffer::new(len, unit as usize)?;
        let got = match task.watched_read(0, &file, "last-reference", buffer.words_mut(), 0) {
            Ok(got) => got,
            Err(errno) => {
                task.failed(errno);
                continue;
            }
        };
        let words = &buffer.words()[..got / 8];
        task.judged(words.len() as u64);
        let right = key.run(tag, 0, words);
        if right * 8 < len {
            let at = (right * 8) as u64 / unit * unit;
            if let Some(errno) = refused(task, path, at, unit)? {
                task.failed(errno);
                return Ok(());
            }
            let what = format!(
                "{len} bytes were written and the queue destroyed; a {how} read finds {} of them \
                 right and {} at {}",
                right * 8,
                words
                    .get(right)
                    .map_or_else(|| "the end".to_owned(), |word| format!("{word:#018x}")),
                right * 8
            );
            task.wrong("lost", "last-reference", what);
        }
    }
    Ok(())
}

/// Why a write of what is missing is refused, if it is. Nobody has heard how the first one ended.
fn refused(task: &Task, path: &Path, offset: u64, unit: u64) -> Result<Option<Errno>> {
    let mut queue = engines::open(task.kind, path, 0, 1)?;
    let buffer = Buffer::new(unit as usize, unit as usize)?;
    let done = task.one(queue.as_mut(), Op::Write, offset, unit as usize, buffer)?;
    let synced = File::open(path, false)?.fsync();
    Ok(done.result.err().or(synced.err()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use engines::{Completion, Error, Rejected};

    /// A queue that takes its time.
    struct Slow {
        patience: u32,
        held: Vec<Request>,
        result: Result<usize, Errno>,
    }

    impl Queue for Slow {
        fn depth(&self) -> usize {
            DEPTH
        }

        fn in_flight(&self) -> usize {
            self.held.len()
        }

        fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>> {
            self.held.push(request);
            Ok(())
        }

        fn reap(&mut self, _wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
            self.patience = self.patience.saturating_sub(1);
            if self.patience == 0 {
                out.extend(self.held.pop().map(|request| Completion {
                    id: request.id,
                    result: self.result,
                    buffer: request.buffer,
                }));
            }
            Ok(())
        }
    }

    #[test]
    fn a_ring_is_not_closed_before_its_requests_have_ended() {
        let unit = 4096;
        for (result, told) in [
            (Ok(4096), None),
            (Ok(512), Some(SHORT)),
            (Err(Errno::ENOSPC), Some(Errno::ENOSPC)),
        ] {
            let (patience, held) = (20, Vec::new());
            let mut queue = Slow {
                patience,
                held,
                result,
            };
            for id in 0..2 {
                let (op, offset, len) = (Op::Write, id as u64 * unit, unit as usize);
                let buffer = Buffer::new(len, len).unwrap();
                let request = Request {
                    id,
                    op,
                    offset,
                    len,
                    buffer,
                };
                assert!(queue.submit(request).is_ok());
            }
            let task = Task::alone(Engine::URING_BUFFERED);
            assert_eq!(wait(&task, &mut queue, unit).unwrap(), told);
            assert_eq!(queue.in_flight(), 0);
        }
    }
}
