// SPDX-License-Identifier: GPL-2.0

//! Direct writes whose range cannot be emptied of cached pages (C1): refused before anything is
//! submitted, or made through the cache if the mount option says so.
//!
//! Nobody can stand in the way for that long in the module as it is. These tests are for one that
//! was built with `tests/variants/unyielding.patch`.

use super::queue::EACH;
use super::scene::{NEW, OLD, Scene};
use super::variant::need;
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, pattern};
use crate::stats::Stats;

use crate::sys::mem::{PAGE, Slice};
use crate::sys::mount::Context;
use crate::sys::{Errno, file, stat};
use anyhow::{Result, ensure};

pub const TESTS: &[Test] = &[
    test("variant.unyielding_refused", refused),
    test("variant.unyielding_through_the_cache", through_the_cache),
    test("variant.unyielding_at_the_end", at_the_end),
];

const LEN: usize = 16 * PAGE;
const DIRTY: u8 = 0x33;

/// Dirties page 2 of a warm file, beside what the direct writes of pages 1 to 4 will meet.
fn dirty(scene: &Scene) -> Result<()> {
    scene.warm()?;
    file::pwrite(
        &scene.cached,
        &pattern(DIRTY, 2 * PAGE as u64, PAGE),
        2 * PAGE as u64,
    )?;
    Ok(())
}

fn refused(ctx: &Ctx) -> Result<()> {
    need(ctx, "unyielding")?;
    for by in EACH {
        let scene = Scene::new(ctx, LEN)?;
        dirty(&scene)?;
        let before = Stats::of(&ctx.up)?;
        let data = Slice::of(&pattern(NEW, PAGE as u64, 4 * PAGE))?;
        let answer = by.pwrite(&scene.direct, &data, PAGE)?;
        ensure!(
            answer == Err(Errno(libc::EIO)),
            "{by:?}: expected EIO, saw {answer:?}"
        );
        let after = Stats::of(&ctx.up)?;
        let grown = |key| anyhow::Ok(after.get(key)? - before.get(key)?);
        ensure!(grown("invalidate_failures")? == 1, "{by:?}: not counted");
        ensure!(grown("found_after")? == 0, "{by:?}: it was submitted");
        let under = file::pread_vec(scene.under()?, LEN, 0)?;
        check("below, before the dirty page", &under[..2 * PAGE], OLD, 0)?;
        let (from, to) = (2 * PAGE, 3 * PAGE);
        check("below, written back", &under[from..to], DIRTY, from as u64)?;
        check("below, behind it", &under[to..], OLD, to as u64)?;
        scene.all_modes(OLD, 0, 2 * PAGE)?;
        scene.all_modes(DIRTY, from, PAGE)?;
        // A range with nothing in the cache is written as ever.
        file::fsync(&scene.cached)?;
        scene.chill()?;
        let answer = by.pwrite(&scene.direct, &data, PAGE)?;
        ensure!(answer == Ok(4 * PAGE), "{by:?}, nothing cached: {answer:?}");
        scene.all_modes(NEW, PAGE, 4 * PAGE)?;
    }
    Ok(())
}

/// Runs with `dio_busy=sync`.
fn synced(ctx: &Ctx, part: impl FnOnce() -> Result<()>) -> Result<()> {
    let set = |value| {
        let change = Context::pick(&ctx.up)?;
        change.set("dio_busy", value)?;
        anyhow::Ok(change.reconfigure()?)
    };
    set("sync")?;
    let result = part();
    set("eio")?;
    result
}

/// Done when the call says so, on the lower as well.
fn through_the_cache(ctx: &Ctx) -> Result<()> {
    need(ctx, "unyielding")?;
    synced(ctx, || {
        for by in EACH {
            let scene = Scene::new(ctx, LEN)?;
            dirty(&scene)?;
            let before = Stats::of(&ctx.up)?.get("fallbacks")?;
            let data = Slice::of(&pattern(NEW, PAGE as u64, 4 * PAGE))?;
            let answer = by.pwrite(&scene.direct, &data, PAGE)?;
            ensure!(answer == Ok(4 * PAGE), "{by:?}: {answer:?}");
            let after = Stats::of(&ctx.up)?.get("fallbacks")?;
            ensure!(after == before + 1, "{by:?}: not counted");
            let under = file::pread_vec(scene.under()?, LEN, 0)?;
            check("below, before it", &under[..PAGE], OLD, 0)?;
            let (from, to) = (PAGE, 5 * PAGE);
            check("below", &under[from..to], NEW, from as u64)?;
            check("below, behind it", &under[to..], OLD, to as u64)?;
            scene.all_modes(NEW, PAGE, 4 * PAGE)?;
            scene.on_disk("written", NEW, PAGE, 4 * PAGE)?;
        }
        Ok(())
    })
}

/// Across the end of the file, and appended: what is durable is where the write went.
fn at_the_end(ctx: &Ctx) -> Result<()> {
    need(ctx, "unyielding")?;
    synced(ctx, || {
        let scene = Scene::new(ctx, LEN)?;
        scene.warm()?;
        let data = Slice::of(&pattern(NEW, (LEN - PAGE) as u64, 2 * PAGE))?;
        let n = file::pwrite_mem(&scene.direct, &data, (LEN - PAGE) as u64)?;
        ensure!(n == 2 * PAGE, "across the end: {n} bytes");
        let more = Slice::of(&pattern(NEW, (LEN + PAGE) as u64, PAGE))?;
        let n = file::pwritev(&scene.direct, &[more], 0, libc::RWF_APPEND)?;
        ensure!(n == PAGE, "appended: {n} bytes");
        let size = stat::fstat(&scene.cached)?.size;
        ensure!(size == (LEN + 2 * PAGE) as u64, "the size is {size}");
        let under = file::pread_vec(scene.under()?, 2 * LEN, 0)?;
        ensure!(under.len() as u64 == size, "{} bytes below", under.len());
        let (old, new) = under.split_at(LEN - PAGE);
        check("below, before it", old, OLD, 0)?;
        check("below", new, NEW, (LEN - PAGE) as u64)?;
        scene.all_modes(NEW, LEN - PAGE, PAGE)?;
        let above = file::pread_vec(&scene.cached, 2 * LEN, 0)?;
        ensure!(above == under, "above and below differ");
        Ok(())
    })
}
