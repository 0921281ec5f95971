// SPDX-License-Identifier: GPL-2.0

//! The counters are there and count.

use crate::harness::{Ctx, Test, test};
use crate::lower::Kind;
use crate::pattern::pattern;
use crate::stats::{KEYS, Stats};
use crate::sys::aio::{Aio, Request};
use crate::sys::file;
use crate::sys::mem::{PAGE, Slice};
use anyhow::{Result, ensure};
use std::time::Duration;

pub const TESTS: &[Test] = &[
    test("statistics.complete", complete).once(),
    test("statistics.count", count).once(),
    test("statistics.fallbacks", fallbacks).once(),
];

fn complete(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let stats = Stats::of(&ctx.up)?;
    let missing: Vec<&str> = KEYS.into_iter().filter(|k| !stats.has(k)).collect();
    ensure!(
        missing.is_empty(),
        "expected all counters, missing: {}",
        missing.join(", ")
    );
    Ok(())
}

fn count(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let start = Stats::of(&ctx.up)?;
    let grown = |key: &str| -> Result<u64> { Ok(Stats::of(&ctx.up)?.get(key)? - start.get(key)?) };
    let expect = |key: &str, least: u64| -> Result<()> {
        let seen = grown(key)?;
        ensure!(
            seen >= least,
            "{key}: expected at least {least} more, saw {seen}"
        );
        Ok(())
    };
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 4 * PAGE), 0)?;
    file::fsync(&fd)?;
    expect("dio_writes", 0)?;
    ensure!(
        grown("dio_writes")? == 0,
        "a cached write counted as direct"
    );
    let direct = file::open_direct(&ctx.at("f"))?;
    let page = Slice::of(&pattern(2, 0, PAGE))?;
    file::pwrite_mem(&direct, &page, 0)?;
    expect("dio_writes", 1)?;
    expect("invalidated_before", 1)?;
    file::pwrite(&fd, &pattern(3, 0, PAGE), 0)?;
    file::pwrite_mem(&direct, &page, 0)?;
    expect("flushed_before", 1)?;
    file::pread_mem(&direct, &page, 0)?;
    expect("dio_reads", 1)?;
    let mut aio = Aio::new(4)?;
    let hold = ctx.lower.hold_writes()?;
    aio.submit_one(Request::write(&direct, &page, 0))?;
    expect("dio_async", 1)?;
    hold.release()?;
    aio.reap_all(1, Duration::from_secs(10))?;
    ensure!(
        grown("found_after")? == 0,
        "pages were found after a direct write"
    );
    ensure!(grown("invalidate_failures")? == 0, "an invalidation failed");
    Ok(())
}

/// A file that lies in its inode has no direct I/O; when it has grown out of there it has.
fn fallbacks(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private_with(Kind::Ext4Block4k, &["-O", "inline_data"], 64)?;
    let fd = file::create(&own.at("f"))?;
    file::pwrite(&fd, b"in the inode", 0)?;
    file::fsync(&fd)?;
    // As long as it is open, what was known of the empty file is.
    drop(fd);
    let direct = file::open_direct(&own.at("f"))?;
    let count = || Stats::of(&own.up)?.get("fallbacks");
    let write = |at: u64| -> Result<u64> {
        let before = count()?;
        file::pwrite_mem(&direct, &Slice::of(&pattern(1, at, PAGE))?, at)?;
        Ok(count()? - before)
    };
    // It does not fit into the inode, which the lower sees when it is there.
    ensure!(write(0)? == 1, "a file in its inode was written directly");
    // It gets its blocks when that is written back.
    file::fsync(&direct)?;
    for at in [0, PAGE as u64] {
        let more = write(at)?;
        ensure!(more == 0, "{more} fallbacks for a file that has blocks");
    }
    drop(direct);
    own.finish()
}
