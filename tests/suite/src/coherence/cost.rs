// SPDX-License-Identifier: GPL-2.0

//! Coherence costs nothing when nobody mixes (C12).

use super::scene::{NEW, OLD, Scene};
use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::stats::Stats;
use crate::sys::mem::{PAGE, Slice};
use crate::sys::trace::Trace;
use crate::sys::{file, fscall};
use anyhow::{Context, Result, ensure};
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("c12.cold_write", cold_write),
    test("c12.others_stay", others_stay),
    test("c12.allocations", allocations),
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

/// A direct write of what is not cached allocates one piece of memory more than one of the lower
/// does; two if it has more pages than fit in there.
fn allocations(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    ctx.need_direct()?;
    ctx.need_tracing()?;
    let trace = Trace::start(&["kmem/kmalloc", "kmem/kmem_cache_alloc"])?;
    for (pages, allowed) in [(1, 1), (4, 1), (8, 2)] {
        let below = allocated_by_write(&trace, &ctx.twin, pages)?;
        ensure!(!below.is_empty(), "the trace shows no allocation at all");
        let above = allocated_by_write(&trace, &ctx.up, pages)?;
        ensure!(
            above.len() <= below.len() + allowed,
            "a direct write of {pages} pages allocates {} times, on the lower {} times:\n{}",
            above.len(),
            below.len(),
            above.join("\n")
        );
    }
    Ok(())
}

/// What one direct write of cold pages allocates: the least of some, as now and then one has to do
/// more, such as to note a new time.
fn allocated_by_write(trace: &Trace, dir: &Path, pages: usize) -> Result<Vec<String>> {
    const ROUNDS: usize = 16;
    /// kmemleak takes notes of each allocation.
    const NOTES: [&str; 2] = ["alloc_object", "mem_pool_alloc"];
    let len = pages * PAGE;
    let path = dir.join("cost");
    let fd = file::create(&path)?;
    file::pwrite(&fd, &pattern(OLD, 0, ROUNDS * len), 0)?;
    file::fsync(&fd)?;
    fscall::fadvise(&fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    let direct = file::open_direct(&path)?;
    let data = Slice::of(&pattern(NEW, 0, len))?;
    let mut least: Option<Vec<String>> = None;
    for at in (0..ROUNDS).map(|i| (i * len) as u64) {
        trace.clear()?;
        file::pwrite_mem(&direct, &data, at)?;
        let mut lines = trace.lines()?;
        lines.retain(|line| !NOTES.iter().any(|note| line.contains(note)));
        if least.as_ref().is_none_or(|least| lines.len() < least.len()) {
            least = Some(lines);
        }
    }
    least.context("one round at least")
}
