// SPDX-License-Identifier: GPL-2.0

//! No stale read (C4), and the range is dropped again when the write is done (C3).
//!
//! While a direct write is in flight somebody reads the same bytes through the cache, in one of
//! many ways. Meanwhile old and new are right; once the completion was seen only new is.

use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, OLD, Scene};
use crate::harness::{Ctx, Test, test};
use crate::lower::stack::FsKind;
use crate::pattern::{check_any, pattern};
use crate::stats::Stats;
use crate::sys::mem::{PAGE, READ, Region, Slice};
use crate::sys::{Res, file, fscall};
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    test("c3.range_is_dropped_after_write", dropped_after_write),
    test("c4.cached_read", |ctx| during(ctx, cached_read)),
    test("c4.new_mapping", |ctx| during(ctx, new_mapping)),
    test("c4.old_mapping", |ctx| during(ctx, old_mapping)),
    test("c4.readahead", |ctx| during(ctx, readahead)),
    test("c4.read_before_the_range", |ctx| during(ctx, read_before)),
    test("c4.populate", |ctx| during(ctx, populate)),
    test("c4.sendfile", |ctx| during(ctx, sendfile)),
    test("c4.uring_read", |ctx| during(ctx, uring_read)),
    test("c4.nowait_read", nowait_read),
    test("c4.many_readers", |ctx| during(ctx, many_readers)),
    test("c4.fill_in_flight", fill_in_flight),
    test("c4.readahead_in_flight", readahead_in_flight),
    test("c4.one_after_the_other", one_after_the_other),
];

const LEN: usize = 64 * PAGE;

/// Ranges of the direct write: parts of a page, pages, and many pages across their edges.
const RANGES: [(usize, usize); 5] = [
    (16 * PAGE, PAGE),
    (16 * PAGE + 512, 512),
    (17 * PAGE - 512, 1024),
    (20 * PAGE, 16 * PAGE),
    (21 * PAGE + 1024, 9 * PAGE + 512),
];

/// A way to look at the file while the write is in flight. Whatever it brings back begins at the
/// given offset.
type Look = fn(&Arc<OwnedFd>, &Arc<Region>, usize, usize) -> Res<Vec<u8>>;

/// Holds a direct write, looks at its range, lets the write go, and looks in every way.
fn during(ctx: &Ctx, look: Look) -> Result<()> {
    ctx.need_direct()?;
    for (i, (at, len)) in RANGES.into_iter().enumerate() {
        let engine = Engine::BOTH[i % 2];
        // Cold and warm for the first two, in turns for the others.
        let states = [&[false, true][..], &[i % 2 == 1]];
        for warm in states[usize::from(i > 1)].iter().copied() {
            let what = format!("write of {len} at {at} by {engine:?}, warm {warm}");
            one(ctx, look, engine, at, len, warm).context(what)?;
        }
    }
    Ok(())
}

fn one(ctx: &Ctx, look: Look, engine: Engine, at: usize, len: usize, warm: bool) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let map = scene.map()?;
    if warm {
        scene.warm()?;
        map.load(0, LEN);
    }
    let flight = scene.fly(engine, at, len)?;
    let fd = Arc::new(file::open(&scene.path, libc::O_RDWR, 0)?);
    let racer = {
        let (fd, map) = (Arc::clone(&fd), Arc::clone(&map));
        Racer::start(move || look(&fd, &map, at, len))
    };
    racer.give_a_moment();
    let resident = map.mincore()?;
    flight.land()?;
    scene.all_modes(NEW, at, len)?;
    if ctx.fs == FsKind::Diofs {
        let pages = at / PAGE..(at + len).div_ceil(PAGE);
        ensure!(
            !resident[pages].contains(&true),
            "a page of the range was in the cache while the write was in flight"
        );
        let found = Stats::of(&ctx.up)?.get("found_after")?;
        ensure!(found == 0, "{found} folios were found after the write");
    }
    let seen = racer.join()?.context("the read during the write")?;
    check_any("the read during the write", &seen, &[OLD, NEW], at as u64)?;
    check_any(
        "the old mapping afterwards",
        &map.load(at, len),
        &[NEW],
        at as u64,
    )?;
    scene.all_modes(NEW, at, len)?;
    scene.all_modes(OLD, at - 3 * PAGE, 2 * PAGE)?;
    scene.on_disk("after the write", NEW, at, len)
}

fn cached_read(fd: &Arc<OwnedFd>, _: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    file::pread_vec(fd, len, at as u64)
}

fn new_mapping(fd: &Arc<OwnedFd>, _: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    Ok(Region::shared(fd, 0, LEN, READ)?.load(at, len))
}

fn old_mapping(_: &Arc<OwnedFd>, map: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    Ok(map.load(at, len))
}

fn readahead(fd: &Arc<OwnedFd>, _: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    fscall::fadvise(fd, 0, LEN as i64, libc::POSIX_FADV_WILLNEED)?;
    fscall::readahead(fd, 0, LEN)?;
    file::pread_vec(fd, len, at as u64)
}

/// Reads sequentially towards the range, so that the kernel reads ahead into it by itself.
fn read_before(fd: &Arc<OwnedFd>, _: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    for page in 0..at / PAGE {
        file::pread_vec(fd, PAGE, (page * PAGE) as u64)?;
    }
    file::pread_vec(fd, len, at as u64)
}

fn populate(fd: &Arc<OwnedFd>, _: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    const MADV_POPULATE_READ: i32 = 22;
    let map = Region::shared(fd, 0, LEN, READ)?;
    map.madvise(MADV_POPULATE_READ)?;
    Ok(map.load(at, len))
}

fn sendfile(fd: &Arc<OwnedFd>, _: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    let (reader, writer) = fscall::pipe()?;
    let n = fscall::sendfile(&writer, fd, at as i64, len.min(8 * PAGE))?;
    let mut bytes = vec![0; n];
    file::read(&reader, &mut bytes)?;
    Ok(bytes)
}

/// A cached read by io_uring, which first tries without waiting and then waits elsewhere.
fn uring_read(fd: &Arc<OwnedFd>, _: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    let buffer = Slice::zeroed(len)?;
    let mut queue = Queue::new(Engine::Uring, 1)?;
    queue.read(fd, &buffer, at as u64)?;
    let n = queue.reap(1, LIMIT)?[0].result?;
    Ok(buffer.bytes(n))
}

/// Several threads at once, by different ways; what the first of them saw is brought back.
fn many_readers(fd: &Arc<OwnedFd>, map: &Arc<Region>, at: usize, len: usize) -> Res<Vec<u8>> {
    let looks: [Look; 5] = [
        cached_read,
        old_mapping,
        new_mapping,
        readahead,
        cached_read,
    ];
    let threads: Vec<_> = looks
        .into_iter()
        .map(|look| {
            let (fd, map) = (Arc::clone(fd), Arc::clone(map));
            std::thread::spawn(move || look(&fd, &map, at, len))
        })
        .collect();
    let mut all = Vec::new();
    for thread in threads {
        all.push(thread.join().unwrap_or(Ok(Vec::new()))?);
    }
    Ok(all.swap_remove(0))
}

/// Who may not wait gets an answer at once, if only that there is none.
fn nowait_read(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for warm in [false, true] {
        let scene = Scene::new(ctx, LEN)?;
        if warm {
            scene.warm()?;
        }
        let (at, len) = RANGES[0];
        let flight = scene.fly(Engine::Aio, at, len)?;
        let fd = Arc::clone(&scene.cached);
        let racer = Racer::start(move || -> Res<Vec<u8>> {
            let buffer = Slice::zeroed(len)?;
            let n = file::pread_nowait(&fd, &buffer, at as u64)?;
            Ok(buffer.bytes(n))
        });
        // The device would hold it for ever.
        let at_once = (0..40).any(|_| racer.finished_soon());
        flight.land()?;
        ensure!(at_once, "a read that must not wait waited, warm {warm}");
        match racer.join()? {
            Ok(seen) => check_any("the read during the write", &seen, &[OLD, NEW], at as u64)?,
            Err(e) => ensure!(e.0 == libc::EAGAIN, "expected data or EAGAIN, saw {e}"),
        }
        scene.all_modes(NEW, at, len)?;
    }
    Ok(())
}

fn dropped_after_write(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let map = scene.map()?;
    for (i, (at, len)) in RANGES.into_iter().enumerate() {
        scene.warm()?;
        let flight = scene.fly(Engine::BOTH[i % 2], at, len)?;
        flight.land()?;
        let first = at / PAGE * PAGE;
        let span = (at + len).next_multiple_of(PAGE) - first;
        let cache = fscall::cachestat(&scene.cached, first as u64, span as u64)?;
        ensure!(
            cache.cached == 0,
            "after a write of {len} at {at} expected no cached page, saw {}",
            cache.cached
        );
        let resident = map.mincore()?;
        ensure!(
            !resident[first / PAGE..(first + span) / PAGE].contains(&true),
            "after a write of {len} at {at} a page is resident: {resident:?}"
        );
        scene.all_modes(NEW, at, len)?;
    }
    Ok(())
}

/// A cached read waits for its pages from the device when the direct write comes.
fn fill_in_flight(ctx: &Ctx) -> Result<()> {
    overtake(ctx, |fd, at, len| file::pread_vec(fd, len, at as u64))
}

fn readahead_in_flight(ctx: &Ctx) -> Result<()> {
    overtake(ctx, |fd, at, len| {
        fscall::fadvise(fd, 0, LEN as i64, libc::POSIX_FADV_WILLNEED)?;
        file::pread_vec(fd, len, at as u64)
    })
}

fn overtake(ctx: &Ctx, look: fn(&OwnedFd, usize, usize) -> Res<Vec<u8>>) -> Result<()> {
    ctx.need_direct()?;
    for (at, len) in RANGES {
        let scene = Scene::new(ctx, LEN)?;
        let hold = ctx.lower.hold_reads()?;
        let fd = file::open(&scene.path, libc::O_RDONLY, 0)?;
        let reader = Racer::start(move || look(&fd, at, len));
        hold.wait_reads(1)?;
        let direct = file::open_direct(&scene.path)?;
        let data = Slice::of(&pattern(NEW, at as u64, len))?;
        let writer = Racer::start(move || file::pwrite_mem(&direct, &data, at as u64));
        writer.give_a_moment();
        hold.release()?;
        let n = writer.join()?.context("the direct write")?;
        ensure!(n == len, "a direct write of {len} bytes returned {n}");
        scene.all_modes(NEW, at, len)?;
        let seen = reader.join()?.context("the overtaken read")?;
        check_any("the overtaken read", &seen, &[OLD, NEW], at as u64)?;
        scene.all_modes(NEW, at, len)?;
    }
    Ok(())
}

/// Many writes, each read back at once in one way, without holding anything.
fn one_after_the_other(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let map = scene.map()?;
    map.load(0, LEN);
    for round in 0..200usize {
        let tag = 0x30 + (round % 64) as u8;
        let at = (round * 7 % 48) * PAGE + round % 8 * 512;
        let data = Slice::of(&pattern(tag, at as u64, 1536))?;
        file::pwrite_mem(&scene.direct, &data, at as u64)?;
        let seen = match round % 2 {
            0 => map.load(at, 1536),
            _ => file::pread_vec(&scene.cached, 1536, at as u64)?,
        };
        check_any("right after a direct write", &seen, &[tag], at as u64)?;
    }
    Ok(())
}
