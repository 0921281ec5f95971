// SPDX-License-Identifier: GPL-2.0
//! Whoever sees a write complete must see the size it made.

use std::fs;

use anyhow::Result;
use engines::{Buffer, File, Kind as Engine, Op, Request};
use oracle::SizeTracker;

use crate::bench::Bench;
use crate::race::shared::SHORT;
use crate::report::ScenarioReport;
use crate::scenarios::solo::{self, Task};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "extend-stat",
    title: "asynchronous direct writes that extend a file, and fstat after each",
    about: "\
When the completion of a write that extends the file has been seen, fstat must show a size that covers
it. Kernels of 2006 published the size after the completion.

One thread each for libaio, io_uring and pwrite with O_DIRECT, each on a file of its own: several
extending writes outstanding, fstat after each completion. The file starts anew when it has grown to
its size.",
    kind: Kind::Own(run),
};

fn run(bench: &Bench<'_>) -> Result<ScenarioReport> {
    let limit = bench.size(8 << 20, 1 << 20, 64 << 10);
    let depth = bench.depth(4);
    let block = bench.geometry.block.max(bench.geometry.align);
    let dir = bench.arena.dir().to_owned();
    let kinds = [Engine::LIBAIO, Engine::URING, Engine::DIRECT];
    let mut report = solo::run(bench, &kinds, depth, move |task| {
        let path = dir.join(format!("extend-{}", task.nth));
        while !task.stopped() {
            let _ = fs::remove_file(&path);
            let file = File::create(&path)?;
            let mut queue = engines::open(task.kind, &path, 0, depth)?;
            grow(task, &file, queue.as_mut(), block, limit)?;
        }
        Ok(())
    })?;
    report.file_size = limit;
    Ok(report)
}

/// Extends a file from nothing to its limit.
fn grow(
    task: &mut Task,
    file: &File,
    queue: &mut dyn engines::Queue,
    block: u64,
    limit: u64,
) -> Result<()> {
    let size = SizeTracker::new(0);
    let depth = queue.depth();
    let buffers: Result<Vec<_>, _> = (0..depth)
        .map(|_| Buffer::new(block as usize, 4096))
        .collect();
    let mut free: Vec<(usize, Buffer)> = buffers?.into_iter().enumerate().collect();
    let mut ends = vec![0u64; depth];
    let mut at = 0;
    loop {
        while at < limit && !task.stopped() {
            let Some((id, mut buffer)) = free.pop() else {
                break;
            };
            buffer.words_mut().fill(at + 1);
            ends[id] = at + block;
            size.begin_write(at + block);
            let (op, offset, len) = (Op::Write, at, block as usize);
            let request = Request {
                id,
                op,
                offset,
                len,
                buffer,
            };
            at += block;
            if let Some(refused) = task.submit(queue, request) {
                note(task, &refused.result, block);
                free.push((id, refused.buffer));
            }
        }
        let done = task.reap(queue)?;
        if done.is_empty() {
            return Ok(());
        }
        for completion in done {
            note(task, &completion.result, block);
            let id = completion.id;
            if let Ok(n) = completion.result {
                let n = n as u64;
                size.end_write(ends[id] - block + n.min(block));
                if n > block {
                    let what = format!("a write of {block} bytes has ended with {n}");
                    task.wrong("size", "extend", what);
                }
            }
            free.push((id, completion.buffer));
            let least = size.least();
            let found = file.size()?;
            task.judged(1);
            if !size.is_legal(least, found) {
                let what = format!("fstat says {found} bytes, but {least} were acknowledged");
                task.wrong("size", "extend", what);
            }
        }
    }
}

fn note(task: &mut Task, result: &Result<usize, engines::Errno>, len: u64) {
    match result {
        Ok(n) if (*n as u64) < len => task.failed(SHORT),
        Ok(_) => {}
        Err(errno) => task.failed(*errno),
    }
}
