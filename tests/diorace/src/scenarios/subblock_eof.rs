// SPDX-License-Identifier: GPL-2.0
//! The last bytes of a file whose size is no multiple of anything.

use std::fs;

use anyhow::{Context, Result};
use engines::{Buffer, File, Kind as Engine, Op};
use oracle::{Key, Tag};

use crate::bench::Bench;
use crate::report::ScenarioReport;
use crate::rng::Rng;
use crate::scenarios::solo::{self, Task};
use crate::scenarios::{Kind, Scenario};

pub static SCENARIO: Scenario = Scenario {
    name: "subblock-eof",
    title: "direct reads of the last bytes before the end of the file",
    about: "\
A direct read that begins before the end of a file and reaches beyond it must return exactly the bytes
that exist, in number and content; one that begins at or behind the end returns none. Kernels of 2005
returned a whole block to asynchronous readers.

Each thread makes files of odd sizes, by a buffered write with or without fsync, and reads their last
block by pread, libaio and io_uring, with O_DIRECT and without.",
    kind: Kind::Own(run),
};

fn run(bench: &Bench<'_>) -> Result<ScenarioReport> {
    let geometry = bench.geometry;
    let dir = bench.arena.dir().to_owned();
    let (seed, key) = (bench.settings.seed, bench.key(0));
    let kinds = [
        Engine::DIRECT,
        Engine::LIBAIO,
        Engine::URING,
        Engine::BUFFERED,
        Engine::URING_BUFFERED,
    ];
    solo::run(bench, &kinds, 1, move |task| {
        let path = dir.join(format!("eof-{}", task.nth));
        let mut rng = Rng::new(seed, task.nth);
        let mut buffer = Buffer::new(2 * 65536 + geometry.block as usize, 4096)?;
        let mut round = 0;
        while !task.stopped() {
            round += 1;
            let tag = Tag::new(1 + task.nth as u8, round);
            // Now and then the size that found the bug.
            let size = if rng.once_in(8) {
                300
            } else {
                1 + rng.below(3 * geometry.block.min(65536))
            };
            let _ = fs::remove_file(&path);
            make(&path, key, tag, size, rng.once_in(2))?;
            let align = geometry.align;
            let offset = if rng.once_in(8) {
                size.next_multiple_of(align)
            } else {
                rng.below(size.div_ceil(align)) * align
            };
            let len =
                (size.saturating_sub(offset) + 1).next_multiple_of(align) + rng.below(4) * align;
            let len = len.min(buffer.len() as u64 / align * align);
            buffer = read(task, &path, key, tag, size, offset, len, buffer)?;
        }
        Ok(())
    })
}

/// Makes a file of `size` bytes through the cache.
fn make(path: &std::path::Path, key: Key, tag: Tag, size: u64, sync: bool) -> Result<()> {
    let mut words = vec![0u64; size.div_ceil(8) as usize];
    key.fill(tag, 0, &mut words);
    let file = File::create(path)?;
    solo::fill(&file, &words)?;
    file.set_len(size)?;
    if sync {
        file.fsync().context("fsync of a small file")?;
    }
    Ok(())
}

#[expect(
    clippy::too_many_arguments,
    reason = "a file, its content, and a range of it"
)]
fn read(
    task: &mut Task,
    path: &std::path::Path,
    key: Key,
    tag: Tag,
    size: u64,
    offset: u64,
    len: u64,
    buffer: Buffer,
) -> Result<Buffer> {
    let mut queue = engines::open(task.kind, path, 0, 1)?;
    let done = task.one(queue.as_mut(), Op::Read, offset, len as usize, buffer)?;
    let exist = size.saturating_sub(offset).min(len);
    let read = format!("a read of {len} bytes at {offset} of {size}");
    match done.result {
        Err(errno) => task.failed(errno),
        Ok(got) if got as u64 != exist => {
            task.wrong(
                "short",
                "eof",
                format!("{read} returned {got} bytes, not {exist}"),
            );
        }
        Ok(_) => {
            task.judged(exist.div_ceil(8));
            if let Some(at) = differs(done.buffer.words(), key, tag, offset, exist) {
                let raw = done.buffer.words()[(at / 8) as usize];
                let what = format!("{read}: byte {at} is wrong, in the word {raw:#018x}");
                task.wrong("exposed", "eof", what);
            }
        }
    }
    Ok(done.buffer)
}

/// The first of `count` bytes that is not what the file was filled with.
fn differs(words: &[u64], key: Key, tag: Tag, offset: u64, count: u64) -> Option<u64> {
    (0..count).find(|at| {
        let expect = key.encode(tag, (offset + at) / 8).to_ne_bytes();
        let got = words[(at / 8) as usize].to_ne_bytes();
        expect[(at % 8) as usize] != got[(at % 8) as usize]
    })
}
