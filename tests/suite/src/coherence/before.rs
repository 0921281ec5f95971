// SPDX-License-Identifier: GPL-2.0

//! What happens before a direct write is submitted (C1), and that it completes once (C2).

use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, OLD, Scene};
use crate::harness::{Ctx, Test, test};
use crate::patience;
use crate::pattern::{check, pattern};
use crate::sys::aio::{Aio, Request};
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{Errno, file, fscall, stat};
use crate::twin::expect_errno;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("c1.dirty_is_written_back", dirty_is_written_back),
    test("c1.clean_is_dropped", clean_is_dropped),
    test("c1.mappings_are_zapped", mappings_are_zapped),
    test("c1.nowait_over_dirty", nowait_over_dirty),
    test("c1.nowait_over_clean", nowait_over_clean),
    test("c1.misaligned_is_refused_whole", misaligned),
    test("c2.each_completes_once", each_completes_once),
    test("c2.refused_completes_once", refused_completes_once),
    test("c2.large_against_buffered", large_against_buffered),
];

const LEN: usize = 16 * PAGE;
const DIRTY: u8 = 0x33;

/// Dirty bytes beside a direct write are written back before the pages that hold them are dropped.
fn dirty_is_written_back(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let map = scene.map()?;
    for (round, at) in [PAGE, 3 * PAGE + 512, 7 * PAGE + 3584]
        .into_iter()
        .enumerate()
    {
        let from = at / PAGE * PAGE;
        file::pwrite(
            &scene.cached,
            &pattern(DIRTY, from as u64, PAGE),
            from as u64,
        )?;
        if round % 2 == 1 {
            map.store(from, &pattern(DIRTY, from as u64, PAGE));
        }
        let data = Slice::of(&pattern(NEW, at as u64, 512))?;
        let n = file::pwrite_mem(&scene.direct, &data, at as u64)?;
        ensure!(n == 512, "a direct write of 512 bytes returned {n}");
        scene.chill()?;
        let page = file::pread_vec(&scene.cached, PAGE, from as u64)?;
        let (inside, end) = (at - from, at - from + 512);
        check(
            "before the direct write",
            &page[..inside],
            DIRTY,
            from as u64,
        )?;
        check("the direct write", &page[inside..end], NEW, at as u64)?;
        check("behind it", &page[end..], DIRTY, at as u64 + 512)?;
        scene.on_disk("the direct write", NEW, at, 512)?;
    }
    Ok(())
}

fn clean_is_dropped(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    scene.warm()?;
    let cached = |at, len| fscall::cachestat(&scene.cached, at, len).map(|c| c.cached);
    ensure!(cached(0, LEN as u64)? > 0, "reading cached nothing");
    let data = Slice::of(&pattern(NEW, 4 * PAGE as u64, 2 * PAGE))?;
    file::pwrite_mem(&scene.direct, &data, 4 * PAGE as u64)?;
    let left = cached(4 * PAGE as u64, 2 * PAGE as u64)?;
    ensure!(
        left == 0,
        "after a direct write of two pages {left} are cached"
    );
    scene.all_modes(NEW, 4 * PAGE, 2 * PAGE)?;
    scene.all_modes(OLD, 6 * PAGE, PAGE)
}

fn mappings_are_zapped(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let maps = [scene.map()?, scene.map()?, scene.map()?];
    for map in &maps {
        check("before", &map.load(0, LEN), OLD, 0)?;
    }
    for (at, len) in [(PAGE, PAGE), (5 * PAGE + 512, 512), (8 * PAGE, 8 * PAGE)] {
        let data = Slice::of(&pattern(NEW, at as u64, len))?;
        file::pwrite_mem(&scene.direct, &data, at as u64)?;
        for map in &maps {
            check("a mapping made before", &map.load(at, len), NEW, at as u64)?;
        }
    }
    Ok(())
}

/// To write dirty pages back one must wait, so who may not wait is sent away, and nothing happened.
fn nowait_over_dirty(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    file::pwrite(&scene.cached, &pattern(DIRTY, 0, 2 * PAGE), 0)?;
    let data = Slice::of(&pattern(NEW, 0, PAGE))?;
    let write = file::pwritev(&scene.direct, &[data], 0, file::RWF_NOWAIT);
    expect_errno("a direct write", write, libc::EAGAIN)?;
    let buffer = Slice::zeroed(PAGE)?;
    let read = file::preadv(&scene.direct, &[buffer], 0, file::RWF_NOWAIT);
    expect_errno("a direct read", read, libc::EAGAIN)?;
    let data = Slice::of(&pattern(NEW, 0, PAGE))?;
    let request = Request::write(&scene.direct, &data, 0).with_flags(file::RWF_NOWAIT);
    let write = Aio::new(1)?.run(request, LIMIT);
    expect_errno("an asynchronous direct write", write, libc::EAGAIN)?;
    scene.all_modes(DIRTY, 0, 2 * PAGE)?;
    scene.on_disk("what was dirty", DIRTY, 0, 2 * PAGE)
}

/// Over clean or no pages it may go either way, but wholly.
fn nowait_over_clean(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for warm in [true, false] {
        let scene = Scene::new(ctx, LEN)?;
        if warm {
            scene.warm()?;
        }
        for page in 0..4 {
            let at = page * PAGE;
            let data = Slice::of(&pattern(NEW, at as u64, PAGE))?;
            match file::pwritev(&scene.direct, &[data], at as u64, file::RWF_NOWAIT) {
                Ok(PAGE) => scene.all_modes(NEW, at, PAGE)?,
                Err(Errno(libc::EAGAIN)) => scene.all_modes(OLD, at, PAGE)?,
                other => bail!("warm {warm}: expected {PAGE} or EAGAIN, saw {other:?}"),
            }
        }
    }
    Ok(())
}

fn misaligned(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    file::pwrite(&scene.cached, &pattern(DIRTY, 0, PAGE), 0)?;
    let data = Slice::of(&pattern(NEW, 0, 2 * PAGE))?;
    for (at, len) in [(1u64, 512), (0, 511), (100, 512), (512, 1000)] {
        let part = Slice::of(&data.bytes(len))?;
        let write = file::pwrite_mem(&scene.direct, &part, at);
        expect_errno(&format!("write of {len} at {at}"), write, libc::EINVAL)?;
        let read = file::pread_mem(&scene.direct, &part, at);
        expect_errno(&format!("read of {len} at {at}"), read, libc::EINVAL)?;
    }
    scene.on_disk("what was dirty", DIRTY, 0, PAGE)?;
    scene.on_disk("the rest", OLD, PAGE, LEN - PAGE)
}

/// Many requests, reads and writes, over cached and uncached pages: one completion for each.
fn each_completes_once(ctx: &Ctx) -> Result<()> {
    const COUNT: usize = 48;
    let scene = Scene::new(ctx, COUNT * PAGE)?;
    for engine in Engine::BOTH {
        let mut queue = Queue::new(engine, 64)?;
        let mut asked = BTreeSet::new();
        for i in 0..COUNT {
            let at = (i * PAGE) as u64;
            if i % 3 == 0 {
                file::pwrite(&scene.cached, &pattern(OLD, at, PAGE), at)?;
            }
            let id = if i % 4 == 3 {
                queue.read(&scene.direct, &Slice::zeroed(PAGE)?, at)
            } else {
                queue.write(&scene.direct, &Slice::of(&pattern(NEW, at, PAGE))?, at)
            };
            asked.insert(id.context("submitting")?);
        }
        for done in queue.reap(COUNT, LIMIT)? {
            ensure!(
                asked.remove(&done.id),
                "request {} completed twice",
                done.id
            );
            ensure!(
                done.result == Ok(PAGE),
                "request {} returned {:?}",
                done.id,
                done.result
            );
        }
        std::thread::sleep(Duration::from_millis(50));
        let more = queue.reap_now()?;
        ensure!(more.is_empty(), "{} completions too many", more.len());
        for page in (0..COUNT).filter(|i| i % 4 != 3) {
            let seen = file::pread_vec(&scene.cached, PAGE, (page * PAGE) as u64)?;
            check("written", &seen, NEW, (page * PAGE) as u64)?;
        }
    }
    Ok(())
}

/// A request that cannot be done is refused at submission or completes with the error, once.
fn refused_completes_once(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    for engine in Engine::BOTH {
        let mut queue = Queue::new(engine, 8)?;
        let data = Slice::of(&pattern(NEW, 0, 1000))?;
        match queue.write(&scene.direct, &data, 0) {
            Err(e) => ensure!(e.0 == libc::EINVAL, "submitting: expected EINVAL, saw {e}"),
            Ok(_) => {
                let done = queue.reap(1, LIMIT)?;
                ensure!(
                    done[0].result == Err(Errno(libc::EINVAL)),
                    "expected EINVAL, saw {:?}",
                    done[0].result
                );
            }
        }
        let more = queue.reap_now()?;
        ensure!(more.is_empty(), "{} completions too many", more.len());
    }
    scene.all_modes(OLD, 0, LEN)
}

/// Large asynchronous direct writes against large buffered writes of the same range, both in a
/// loop: each must return the whole count.
fn large_against_buffered(ctx: &Ctx) -> Result<()> {
    const BIG: usize = 4 << 20;
    let scene = Scene::new(ctx, BIG)?;
    let fd = Arc::clone(&scene.cached);
    let dirty = pattern(DIRTY, 0, BIG);
    let data = Slice::of(&pattern(NEW, 0, BIG))?;
    let mut queue = Queue::new(Engine::Aio, 4)?;
    let until = Instant::now() + patience::at_most(Duration::from_secs(4));
    let writer = Racer::start(move || -> Result<()> {
        loop {
            let n = file::pwrite(&fd, &dirty, 0).context("buffered write")?;
            ensure!(n == BIG, "a buffered write of {BIG} bytes returned {n}");
            if Instant::now() >= until {
                return Ok(());
            }
        }
    });
    loop {
        queue
            .write(&scene.direct, &data, 0)
            .context("submitting a direct write")?;
        let n = queue.reap(1, LIMIT)?[0].result.context("direct write")?;
        ensure!(n == BIG, "a direct write of {BIG} bytes returned {n}");
        if Instant::now() >= until {
            break;
        }
    }
    writer.join()??;
    file::fsync(&scene.cached).context("fsync after the race")?;
    let modes = scene.read_all_modes(0, BIG)?;
    for (name, bytes) in &modes {
        crate::pattern::check_any(name, bytes, &[NEW, DIRTY], 0)?;
        ensure!(*bytes == modes[0].1, "{name} differs from {}", modes[0].0);
    }
    let size = stat::stat(&scene.path)?.size;
    ensure!(size == BIG as u64, "size: expected {BIG}, saw {size}");
    Ok(())
}
