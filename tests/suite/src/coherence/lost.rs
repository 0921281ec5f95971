// SPDX-License-Identifier: GPL-2.0

//! No lost write (C5): a direct write and cached writes to other bytes of the same page all
//! survive, however they are timed.

use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, OLD, Scene};
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check_any, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Res, file, stat};
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    test("c5.buffered_write", |ctx| beside(ctx, buffered)),
    test("c5.mapped_store", |ctx| beside(ctx, mapped)),
    test("c5.both_at_once", both_at_once),
    test("c5.dirty_before", dirty_before),
    test("c5.large_folio", large_folio),
    test("c5.append_in_the_last_page", append_in_last_page),
    test("c5.in_a_hole", in_a_hole),
    test("c5.two_direct_writes", two_direct_writes),
    test("c5.overlapping", overlapping),
];

const LEN: usize = 32 * PAGE;
/// Whose bytes a cached write puts there.
const CACHED: u8 = 0x33;
/// Whose bytes a second cached write puts there.
const OTHER: u8 = 0x44;

/// Writes `len` bytes of [`CACHED`] at `at`.
type Write = fn(&OwnedFd, usize, usize) -> Res<()>;

fn buffered(fd: &OwnedFd, at: usize, len: usize) -> Res<()> {
    file::pwrite(fd, &pattern(CACHED, at as u64, len), at as u64).map(|_| ())
}

fn mapped(fd: &OwnedFd, at: usize, len: usize) -> Res<()> {
    Region::shared(fd, 0, LEN, READ_WRITE)?.store(at, &pattern(CACHED, at as u64, len));
    Ok(())
}

/// Where the direct write goes and where in the same pages the cached one does.
const PLACES: [((usize, usize), (usize, usize)); 5] = [
    ((4 * PAGE, 512), (4 * PAGE + 1024, 100)),
    ((4 * PAGE + 512, 512), (4 * PAGE, 512)),
    ((4 * PAGE + 3584, 512), (4 * PAGE + 1, 8)),
    ((4 * PAGE, 2048), (4 * PAGE + 2048, 2048)),
    ((4 * PAGE + 512, 4 * PAGE), (8 * PAGE + 512, 3000)),
];

fn beside(ctx: &Ctx, write: Write) -> Result<()> {
    ctx.need_direct()?;
    for (i, (direct, cached)) in PLACES.into_iter().enumerate() {
        for warm in [false, true] {
            let engine = Engine::BOTH[i % 2];
            let what = format!("direct {direct:?} by {engine:?}, cached {cached:?}, warm {warm}");
            one(ctx, write, engine, direct, cached, warm).context(what)?;
        }
    }
    Ok(())
}

fn one(
    ctx: &Ctx,
    write: Write,
    engine: Engine,
    (at, len): (usize, usize),
    (cached_at, cached_len): (usize, usize),
    warm: bool,
) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    if warm {
        scene.warm()?;
    }
    let flight = scene.fly(engine, at, len)?;
    let fd = file::open(&scene.path, libc::O_RDWR, 0)?;
    let racer = Racer::start(move || write(&fd, cached_at, cached_len));
    racer.give_a_moment();
    flight.land()?;
    racer.join()?.context("the cached write")?;
    scene
        .all_modes(NEW, at, len)
        .context("the direct write is lost")?;
    scene
        .all_modes(CACHED, cached_at, cached_len)
        .context("the cached write is lost")?;
    scene.on_disk("the direct write", NEW, at, len)?;
    scene.on_disk("the cached write", CACHED, cached_at, cached_len)
}

/// A direct write, a buffered write and a store, three parts of one page.
fn both_at_once(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for engine in Engine::BOTH {
        let scene = Scene::new(ctx, LEN)?;
        let map = scene.map()?;
        let flight = scene.fly(engine, 0, 512)?;
        let fd = file::open(&scene.path, libc::O_RDWR, 0)?;
        let writer = Racer::start(move || buffered(&fd, 1024, 100));
        let storer = Racer::start(move || map.store(2048, &pattern(OTHER, 2048, 100)));
        writer.give_a_moment();
        storer.give_a_moment();
        flight.land()?;
        writer.join()?.context("the buffered write")?;
        storer.join()?;
        for (tag, at, len) in [(NEW, 0, 512), (CACHED, 1024, 100), (OTHER, 2048, 100)] {
            scene.all_modes(tag, at, len)?;
            scene.on_disk("each of three writes", tag, at, len)?;
        }
        scene.on_disk("what nobody wrote", OLD, 512, 512)?;
        scene.on_disk("what nobody wrote", OLD, 2148, PAGE - 2148)?;
    }
    Ok(())
}

/// The page is dirty in the cache and writable in a mapping when the direct write comes, and is
/// stored to again while it is in flight.
fn dirty_before(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for engine in Engine::BOTH {
        let scene = Scene::new(ctx, LEN)?;
        let map = scene.map()?;
        scene.settle()?;
        map.store(PAGE + 3000, &pattern(CACHED, PAGE as u64 + 3000, 50));
        let direct = Arc::clone(&scene.direct);
        let data = Slice::of(&pattern(NEW, PAGE as u64, 512))?;
        let mut queue = Queue::new(engine, 1)?;
        let submitter = Racer::start(move || {
            let id = queue.write(&direct, &data, PAGE as u64);
            (id, queue)
        });
        let storer = {
            let map = std::sync::Arc::clone(&map);
            Racer::start(move || {
                for i in 0..50u64 {
                    let at = PAGE as u64 + 1000 + i * 8;
                    map.store(at as usize, &pattern(OTHER, at, 8));
                }
            })
        };
        storer.join()?;
        let (id, mut queue) = submitter.join()?;
        id.context("submitting the direct write")?;
        let n = queue.reap(1, LIMIT)?[0]
            .result
            .context("the direct write")?;
        ensure!(n == 512, "a direct write of 512 bytes returned {n}");
        for (tag, at, len) in [(NEW, 0, 512), (OTHER, 1000, 400), (CACHED, 3000, 50)] {
            scene.all_modes(tag, PAGE + at, len)?;
            scene.on_disk("each of three writes", tag, PAGE + at, len)?;
        }
    }
    Ok(())
}

/// One page of what the cache may keep as one large folio is written directly, the others cached.
fn large_folio(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    scene.warm()?;
    let flight = scene.fly(Engine::Aio, 10 * PAGE, PAGE)?;
    let fd = file::open(&scene.path, libc::O_RDWR, 0)?;
    let racer = Racer::start(move || -> Res<()> {
        for page in (0..32).filter(|p| *p != 10) {
            let at = page * PAGE + page;
            file::pwrite(&fd, &pattern(CACHED, at as u64, 200), at as u64)?;
        }
        Ok(())
    });
    racer.give_a_moment();
    flight.land()?;
    racer.join()?.context("the cached writes")?;
    scene.on_disk("the direct write", NEW, 10 * PAGE, PAGE)?;
    for page in (0..32).filter(|p| *p != 10) {
        scene.on_disk("a cached write", CACHED, page * PAGE + page, 200)?;
        scene.on_disk("beside it", OLD, page * PAGE + 2000, 100)?;
    }
    Ok(())
}

/// A block of the last page is written directly while the file grows within that page.
fn append_in_last_page(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let len = 2 * PAGE + 2048;
    let scene = Scene::new(ctx, len)?;
    let flight = scene.fly(Engine::Aio, 2 * PAGE + 512, 512)?;
    let fd = file::open(&scene.path, libc::O_RDWR | libc::O_APPEND, 0)?;
    let racer = Racer::start(move || file::write(&fd, &pattern(CACHED, len as u64, 777)));
    racer.give_a_moment();
    flight.land()?;
    let n = racer.join()?.context("the append")?;
    ensure!(n == 777, "an append of 777 bytes returned {n}");
    let size = stat::stat(&scene.path)?.size;
    ensure!(
        size == len as u64 + 777,
        "size: expected {}, saw {size}",
        len + 777
    );
    scene.on_disk("the direct write", NEW, 2 * PAGE + 512, 512)?;
    scene.on_disk("before it", OLD, 2 * PAGE, 512)?;
    scene.on_disk("behind it", OLD, 2 * PAGE + 1024, 1024)?;
    scene.on_disk("the append", CACHED, len, 777)
}

/// In a hole the direct write must fill the rest of its block by itself, and not the cached bytes.
fn in_a_hole(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for write in [buffered, mapped] {
        let scene = Scene::hole(ctx, LEN)?;
        let hold = ctx.lower.hold_writes()?;
        let direct = Arc::clone(&scene.direct);
        let data = Slice::of(&pattern(NEW, 512, 512))?;
        let flyer = Racer::start(move || file::pwrite_mem(&direct, &data, 512));
        hold.wait_writes(1)?;
        let fd = file::open(&scene.path, libc::O_RDWR, 0)?;
        let racer = Racer::start(move || write(&fd, 2048, 512));
        racer.give_a_moment();
        hold.release()?;
        let n = flyer.join()?.context("the direct write")?;
        ensure!(n == 512, "a direct write of 512 bytes returned {n}");
        racer.join()?.context("the cached write")?;
        scene.all_modes(NEW, 512, 512)?;
        scene.on_disk("the direct write", NEW, 512, 512)?;
        scene.on_disk("the cached write", CACHED, 2048, 512)?;
        let rest = file::pread_vec(&scene.cached, LEN, 2560)?;
        crate::pattern::check_zero("the rest of the hole", &rest, 2560)?;
    }
    Ok(())
}

/// Two direct writes of one page in flight, a cached write between them.
fn two_direct_writes(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for engine in Engine::BOTH {
        let scene = Scene::new(ctx, LEN)?;
        let hold = ctx.lower.hold_writes()?;
        let mut queue = Queue::new(engine, 4)?;
        for at in [0, 3072] {
            let data = Slice::of(&pattern(NEW, at, 512))?;
            queue.write(&scene.direct, &data, at)?;
        }
        hold.wait_writes(2)?;
        let fd = file::open(&scene.path, libc::O_RDWR, 0)?;
        let racer = Racer::start(move || buffered(&fd, 1000, 1000));
        racer.give_a_moment();
        hold.release()?;
        for done in queue.reap(2, LIMIT)? {
            ensure!(
                done.result == Ok(512),
                "a direct write returned {:?}",
                done.result
            );
        }
        racer.join()?.context("the cached write")?;
        for (tag, at, len) in [(NEW, 0, 512), (NEW, 3072, 512), (CACHED, 1000, 1000)] {
            scene.on_disk("each of three writes", tag, at, len)?;
        }
    }
    Ok(())
}

/// Where both write, either may win, byte by byte; where one writes, it has.
fn overlapping(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for write in [buffered, mapped] {
        let scene = Scene::new(ctx, LEN)?;
        let flight = scene.fly(Engine::Aio, PAGE, 2 * PAGE)?;
        let fd = file::open(&scene.path, libc::O_RDWR, 0)?;
        let racer = Racer::start(move || write(&fd, PAGE - 1000, PAGE + 2000));
        racer.give_a_moment();
        flight.land()?;
        racer.join()?.context("the cached write")?;
        scene.on_disk("the cached write alone", CACHED, PAGE - 1000, 1000)?;
        scene.on_disk("the direct write alone", NEW, 2 * PAGE + 1000, PAGE - 1000)?;
        let modes = scene.read_all_modes(PAGE, PAGE + 1000)?;
        for (name, bytes) in &modes {
            check_any(name, bytes, &[NEW, CACHED], PAGE as u64)?;
            ensure!(*bytes == modes[0].1, "{name} differs from {}", modes[0].0);
        }
    }
    Ok(())
}
