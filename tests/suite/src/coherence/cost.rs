// SPDX-License-Identifier: GPL-2.0

//! Coherence costs nothing when nobody mixes (C12).

use super::scene::{OLD, Scene};
use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::stats::Stats;
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{file, fscall};
use anyhow::{Result, ensure};

pub const TESTS: &[Test] = &[
    test("c12.cold_write", cold_write),
    test("c12.others_stay", others_stay),
];

const MIB: usize = 1 << 20;
/// Twice the largest folio, and more.
const LEN: usize = 5 * MIB;

/// A direct write of what is not cached writes nothing back and invalidates nothing, though other
/// pages of the file are cached and dirty.
fn cold_write(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let scene = Scene::new(ctx, LEN)?;
    let last = (LEN - PAGE) as u64;
    file::pwrite(&scene.cached, &pattern(OLD, last, PAGE), last)?;
    let before = Stats::of(&ctx.up)?;
    for at in [0, 64 * PAGE as u64] {
        file::pwrite_mem(&scene.direct, &Slice::of(&pattern(OLD, at, PAGE))?, at)?;
    }
    let after = Stats::of(&ctx.up)?;
    for key in ["flushed_before", "invalidated_before", "waits"] {
        let more = after.get(key)? - before.get(key)?;
        ensure!(
            more == 0,
            "{key}: {more} more after two writes of cold pages"
        );
    }
    let dirty = fscall::cachestat(&scene.cached, last, PAGE as u64)?.dirty;
    ensure!(dirty == 1, "a dirty page far away has {dirty} dirty pages");
    Ok(())
}

/// A direct write of one page leaves the pages of other folios in the cache.
fn others_stay(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let scene = Scene::new(ctx, LEN)?;
    scene.warm()?;
    let far = || fscall::cachestat(&scene.cached, 2 * MIB as u64, 3 * MIB as u64);
    let before = far()?.cached;
    ensure!(before > 0, "reading cached nothing");
    file::pwrite_mem(&scene.direct, &Slice::of(&pattern(OLD, 0, PAGE))?, 0)?;
    let after = far()?.cached;
    ensure!(
        after == before,
        "{before} pages behind the first 2 MiB were cached, after a write of the first page {after}"
    );
    Ok(())
}
