// SPDX-License-Identifier: GPL-2.0

//! A direct read returns what was cached (C6), and the size is there with the completion (C7).

use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, OLD, Scene, direct_read, write_all};
use crate::harness::{Ctx, Test, test};
use crate::patience;
use crate::pattern::{check, check_zero, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{file, stat};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("c6.after_buffered_write", after_buffered_write),
    test("c6.after_mapped_store", after_mapped_store),
    test("c6.end_of_file", end_of_file),
    test("c6.asynchronous", asynchronous),
    test("c6.stored_while_reading", stored_while_reading),
    test("c7.extending", extending),
    test("c7.extending_in_parallel", extending_in_parallel),
    test("c7.appending", appending),
    test("c7.lower_is_never_longer", lower_is_never_longer),
];

const LEN: usize = 16 * PAGE;
const CACHED: u8 = 0x33;

fn after_buffered_write(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    for (i, (at, len)) in [
        (0, 1),
        (511, 2),
        (4095, 2),
        (2 * PAGE + 100, 3000),
        (5 * PAGE, PAGE),
        (6 * PAGE + 1, 4 * PAGE),
        (LEN - 1, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let tag = CACHED + i as u8;
        write_all(&scene.cached, &pattern(tag, at as u64, len), at as u64)?;
        check(
            "a direct read",
            &direct_read(&scene.direct, at, len)?,
            tag,
            at as u64,
        )?;
    }
    Ok(())
}

/// The mapping stays, its pages become dirty again and again, and nobody syncs.
fn after_mapped_store(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let map = scene.map()?;
    for round in 0..100usize {
        let tag = CACHED + (round % 100) as u8;
        let at = (round * 5 % 15) * PAGE + round * 40 % 4000;
        map.store(at, &pattern(tag, at as u64, 64));
        check(
            "a direct read",
            &direct_read(&scene.direct, at, 64)?,
            tag,
            at as u64,
        )?;
    }
    Ok(())
}

/// A direct read of the last, partial block returns exactly the bytes that exist.
fn end_of_file(ctx: &Ctx) -> Result<()> {
    for size in [
        1,
        300,
        511,
        512,
        513,
        1023,
        4095,
        4096,
        4097,
        3 * PAGE + 100,
    ] {
        for synced in [false, true] {
            let fd = file::create(&ctx.at("tail"))?;
            file::ftruncate(&fd, 0)?;
            write_all(&fd, &pattern(OLD, 0, size), 0)?;
            if synced {
                file::fsync(&fd)?;
            }
            let direct = file::open_direct(&ctx.at("tail"))?;
            let buffer = Slice::of(&vec![0xee; 4 * PAGE])?;
            let mut queue = Queue::new(Engine::Aio, 1)?;
            queue.read(&direct, &buffer, 0)?;
            let n = queue.reap(1, LIMIT)?[0].result?;
            ensure!(
                n == size,
                "a direct read of a file of {size} bytes returned {n}"
            );
            check("its bytes", &buffer.bytes(n), OLD, 0)?;
            let last = (size - 1) / 512 * 512;
            let n = file::pread_mem(&direct, &buffer, last as u64)?;
            ensure!(
                n == size - last,
                "of the last {} bytes a read returned {n}",
                size - last
            );
            let behind = size.next_multiple_of(512) as u64;
            let n = file::pread_mem(&direct, &buffer, behind)?;
            ensure!(n == 0, "a direct read behind the end returned {n}");
        }
    }
    Ok(())
}

fn asynchronous(ctx: &Ctx) -> Result<()> {
    const COUNT: usize = 16;
    let scene = Scene::new(ctx, LEN)?;
    for engine in Engine::BOTH {
        for page in 0..COUNT {
            let at = page * PAGE + 7;
            write_all(&scene.cached, &pattern(CACHED, at as u64, 1000), at as u64)?;
        }
        let mut queue = Queue::new(engine, COUNT as u32)?;
        let buffers: Vec<Slice> = (0..COUNT)
            .map(|_| Slice::zeroed(PAGE))
            .collect::<Result<_, _>>()?;
        for (page, buffer) in buffers.iter().enumerate() {
            queue.read(&scene.direct, buffer, (page * PAGE) as u64)?;
        }
        for done in queue.reap(COUNT, LIMIT)? {
            ensure!(
                done.result == Ok(PAGE),
                "a direct read returned {:?}",
                done.result
            );
        }
        for (page, buffer) in buffers.iter().enumerate() {
            let at = (page * PAGE) as u64;
            check(
                "what was cached",
                &buffer.bytes(PAGE)[7..1007],
                CACHED,
                at + 7,
            )?;
        }
        file::pwrite(&scene.cached, &pattern(OLD, 0, LEN), 0)?;
    }
    Ok(())
}

/// Stores never stop; each direct read must have all that was stored before it began.
fn stored_while_reading(ctx: &Ctx) -> Result<()> {
    let scene = Scene::hole(ctx, LEN)?;
    let map = scene.map()?;
    let stop = Arc::new(AtomicBool::new(false));
    let storer = {
        let (map, stop) = (scene.map()?, Arc::clone(&stop));
        Racer::start(move || {
            let mut count = 0u64;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                map.store(64, &[count as u8; 8]);
                map.store(PAGE + 64, &[count as u8; 8]);
            }
        })
    };
    for round in 1..=150u64 {
        map.store(0, &round.to_le_bytes());
        let seen = direct_read(&scene.direct, 0, 8)?;
        let seen = u64::from_le_bytes(seen.try_into().unwrap_or_default());
        if seen != round {
            stop.store(true, Ordering::Relaxed);
        }
        ensure!(
            seen == round,
            "stored {round}, then a direct read returned {seen}"
        );
    }
    stop.store(true, Ordering::Relaxed);
    storer.join()
}

/// As soon as the completion of an extending write is there, so is the size.
fn extending(ctx: &Ctx) -> Result<()> {
    for engine in Engine::BOTH {
        let path = ctx.at("grow");
        let fd = file::create(&path)?;
        file::ftruncate(&fd, 0)?;
        let direct = file::open_direct(&path)?;
        let mut queue = Queue::new(engine, 1)?;
        let mut end = 0u64;
        for round in 0..60usize {
            let len = [512, 1024, PAGE, 3 * PAGE, 16 * PAGE][round % 5];
            queue.write(&direct, &Slice::of(&pattern(NEW, end, len))?, end)?;
            let n = queue.reap(1, LIMIT)?[0]
                .result
                .context("an extending write")?;
            end += n as u64;
            let seen = [stat::fstat(&direct)?.size, stat::stat(&path)?.size];
            ensure!(
                seen == [end; 2],
                "after a write up to {end} the size is {seen:?}"
            );
            let last = file::pread_vec(&fd, 512, end - 512)?;
            check("the new end", &last, NEW, end - 512)?;
        }
    }
    Ok(())
}

/// Several extending writes in flight: whichever completes, the file reaches to its end.
fn extending_in_parallel(ctx: &Ctx) -> Result<()> {
    const DEPTH: u64 = 8;
    for engine in Engine::BOTH {
        let path = ctx.at("grow");
        let fd = file::create(&path)?;
        file::ftruncate(&fd, 0)?;
        let direct = file::open_direct(&path)?;
        let mut queue = Queue::new(engine, DEPTH as u32)?;
        let mut base = 0;
        for _ in 0..10 {
            let mut ends = std::collections::BTreeMap::new();
            for i in 0..DEPTH {
                let at = base + i * PAGE as u64;
                let id = queue.write(&direct, &Slice::of(&pattern(NEW, at, PAGE))?, at)?;
                ends.insert(id, at + PAGE as u64);
            }
            for _ in 0..DEPTH {
                let done = queue.reap(1, LIMIT)?[0];
                let size = stat::fstat(&fd)?.size;
                ensure!(
                    done.result == Ok(PAGE),
                    "an extending write returned {:?}",
                    done.result
                );
                let end = ends.get(&done.id).copied().unwrap_or(u64::MAX);
                ensure!(
                    size >= end,
                    "a write up to {end} is complete, the size is {size}"
                );
            }
            base += DEPTH * PAGE as u64;
        }
        let all = file::pread_vec(&fd, base as usize + 1, 0)?;
        ensure!(
            all.len() as u64 == base,
            "expected {base} bytes, saw {}",
            all.len()
        );
        check("all that was written", &all, NEW, 0)?;
    }
    Ok(())
}

/// Direct appends and cached appends in turns: none is lost, none on another's place.
fn appending(ctx: &Ctx) -> Result<()> {
    let path = ctx.at("append");
    let cached = file::open(&path, libc::O_RDWR | libc::O_CREAT | libc::O_APPEND, 0o644)?;
    let flags = libc::O_RDWR | libc::O_APPEND | libc::O_DIRECT;
    let direct = file::open(&path, flags, 0)?;
    let mut end = 0u64;
    for round in 0..40u8 {
        let tag = 0x40 + round;
        if round % 2 == 0 {
            let data = Slice::of(&pattern(tag, end, 512))?;
            file::pwrite_mem(&direct, &data, 0).context("a direct append")?;
        } else {
            file::write(&cached, &pattern(tag, end, 512))?;
        }
        end += 512;
        let size = stat::fstat(&cached)?.size;
        ensure!(
            size == end,
            "after append {round}: expected size {end}, saw {size}"
        );
    }
    for round in 0..40u64 {
        let seen = file::pread_vec(&cached, 512, round * 512)?;
        check("an append", &seen, 0x40 + round as u8, round * 512)?;
    }
    Ok(())
}

/// At no time has the lower file more bytes than were written, whatever is being written back.
fn lower_is_never_longer(ctx: &Ctx) -> Result<()> {
    let path = ctx.at("odd");
    let fd = file::create(&path)?;
    let under = ctx.under.join("odd");
    let stop = Arc::new(AtomicBool::new(false));
    let looks = Arc::new(AtomicU32::new(0));
    let watcher = {
        let (stop, path, under) = (Arc::clone(&stop), path.clone(), under.clone());
        let looks = Arc::clone(&looks);
        Racer::start(move || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                looks.fetch_add(1, Ordering::Relaxed);
                let lower = stat::stat(&under)?.size;
                let upper = stat::stat(&path)?.size;
                ensure!(
                    lower <= upper,
                    "the lower has {lower} bytes, the file {upper}"
                );
            }
            Ok(())
        })
    };
    let mut end = 0u64;
    let start = Instant::now();
    // As long as it takes for somebody to look.
    let enough = |round| {
        round >= 60 && (looks.load(Ordering::Relaxed) > 10 || watcher.has_returned())
            || start.elapsed() > patience::at_most(Duration::from_secs(10))
    };
    for round in (0..).take_while(|&round: &usize| !enough(round)) {
        let len = [1, 700, 4095, 5000][round % 4];
        file::pwrite(&fd, &pattern(OLD, end, len), end)?;
        end += len as u64;
        if round % 3 == 0 {
            let map = Region::shared(&fd, 0, (end as usize).next_multiple_of(PAGE), READ_WRITE)?;
            map.store(end as usize - 1, &pattern(OLD, end - 1, 1));
        }
        match round % 5 {
            0 => file::fsync(&fd)?,
            1 => file::syncfs(&fd)?,
            _ => {}
        }
    }
    stop.store(true, Ordering::Relaxed);
    watcher.join()??;
    let looks = looks.load(Ordering::Relaxed);
    ensure!(
        looks > 10,
        "nobody looked while it was written ({looks} times)"
    );
    file::fsync(&fd)?;
    let lower = stat::stat(&under)?.size;
    ensure!(
        lower == end,
        "after fsync the lower has {lower} bytes of {end}"
    );
    file::ftruncate(&fd, end as i64 + 100)?;
    let tail = file::pread_vec(&fd, 200, end)?;
    ensure!(tail.len() == 100, "expected 100 bytes, saw {}", tail.len());
    check_zero("behind the old end", &tail, end)
}
