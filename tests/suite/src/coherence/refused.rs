// SPDX-License-Identifier: GPL-2.0

//! What a request that was refused or has failed leaves behind: no lock (C1), no pinned page (C2),
//! and an error for everybody whom it concerns (C10).

use super::full::leave_room;
use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, Scene};
use crate::harness::{Ctx, Private, Test, test};
use crate::pattern::pattern;
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{Res, file};
use crate::twin::expect_errno;
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    test("c1.refused_nowait_holds_no_lock", refused_nowait),
    test("c2.failed_pins_no_page", failed_pins_no_page),
    test("c2.failed_in_flight", failed_in_flight),
    test("c10.refused_write_back_reaches_everybody", everybody).limit(120),
    test("c10.close_reports", close_reports).limit(120),
];

const LEN: usize = 16 * PAGE;
const CACHED: u8 = 0x33;

/// Each of the ways in which a direct write that must not wait is refused; then somebody takes the
/// inode lock for himself.
fn refused_nowait(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    for at in [0, LEN] {
        file::pwrite(&scene.cached, &pattern(CACHED, 0, PAGE), 0)?;
        let data = Slice::of(&pattern(NEW, at as u64, PAGE))?;
        let write = file::pwritev(&scene.direct, &[data], at as u64, file::RWF_NOWAIT);
        expect_errno("a direct write", write, libc::EAGAIN)?;
        let fd = Arc::clone(&scene.cached);
        let writer = Racer::start(move || file::pwrite(&fd, &pattern(CACHED, 0, PAGE), 0));
        let n = writer.join().context("a cached write after it")??;
        ensure!(n == PAGE, "a cached write of a page returned {n}");
    }
    Ok(())
}

/// How many pages of user memory the kernel has pinned for I/O, all in all.
fn pinned() -> Result<i64> {
    // Without this, counts of a second ago may be shown.
    std::fs::write("/proc/sys/vm/stat_refresh", "1")?;
    let text = std::fs::read_to_string("/proc/vmstat")?;
    let count = |name: &str| -> Result<i64> {
        let line = text.lines().find_map(|l| l.strip_prefix(name));
        let number = line.with_context(|| format!("{name}in /proc/vmstat"))?;
        Ok(number.trim().parse()?)
    };
    Ok(count("nr_foll_pin_acquired ")? - count("nr_foll_pin_released ")?)
}

fn failed_pins_no_page(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let mut own = ctx.private(ctx.lower.kind, 64)?;
    let fd = file::create(&own.at("f"))?;
    file::pwrite(&fd, &pattern(CACHED, 0, LEN), 0)?;
    file::fsync(&fd)?;
    let direct = file::open_direct(&own.at("f"))?;
    let data = Slice::of(&pattern(NEW, 0, LEN))?;
    let before = pinned()?;
    own.lower.device.fail()?;
    let write = file::pwrite_mem(&direct, &data, 0);
    let mut results = vec![("a direct write", write)];
    results.push(("a direct read", file::pread_mem(&direct, &data, 0)));
    for engine in Engine::BOTH {
        let mut queue = Queue::new(engine, 2)?;
        queue.write(&direct, &data, 0)?;
        queue.read(&direct, &data, 0)?;
        for done in queue.reap(2, LIMIT)? {
            results.push(("a queued request", done.result));
        }
    }
    own.lower.device.pass()?;
    for (what, result) in results {
        ensure!(result.is_err(), "{what} on a dead device: {result:?}");
    }
    let left = pinned()? - before;
    ensure!(left == 0, "{left} pages are pinned still");
    drop((fd, direct));
    own.umount_stack()?;
    own.lower.umount()
}

/// The device takes a request and fails it later, so that the error comes with the completion: it
/// comes once, and nothing is left of the request.
fn failed_in_flight(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let mut own = ctx.private_on_two(ctx.lower.kind, 64)?;
    let fd = file::create(&own.top.at("f"))?;
    file::pwrite(&fd, &pattern(CACHED, 0, LEN), 0)?;
    file::fsync(&fd)?;
    let direct = file::open_direct(&own.top.at("f"))?;
    let data = Slice::of(&pattern(NEW, 0, LEN))?;
    let before = pinned()?;
    for engine in Engine::BOTH {
        let hold = own.top.lower.hold_writes()?;
        let mut queue = Queue::new(engine, 2)?;
        queue.write(&direct, &data, 0)?;
        hold.wait_writes(1)?;
        own.bottom.fail()?;
        hold.release()?;
        let done = queue.reap(1, LIMIT).context("waiting for the error")?;
        own.bottom.pass()?;
        let result = done[0].result.map(|_| ());
        expect_errno("a write that failed in flight", result, libc::EIO)?;
        ensure!(queue.reap_now()?.is_empty(), "a completion too many");
    }
    let left = pinned()? - before;
    ensure!(left == 0, "{left} pages are pinned still");
    drop((fd, direct));
    own.top.umount_stack()?;
    own.top.lower.umount()
}

/// A file that is one hole on a lower without room, with dirty pages in it and two descriptors.
fn without_room(ctx: &Ctx) -> Result<(Private, OwnedFd, OwnedFd)> {
    let own = ctx.private(ctx.lower.kind, 64)?;
    let fd = file::create(&own.at("f"))?;
    file::ftruncate(&fd, 8 << 20)?;
    file::fsync(&fd)?;
    leave_room(&own, 0)?;
    let other = file::open(&own.at("f"), libc::O_RDWR, 0)?;
    let n = file::pwrite(&fd, &pattern(CACHED, 0, 2 << 20), 0).context("a cached write")?;
    ensure!(n == 2 << 20, "a cached write of 2 MiB returned {n}");
    Ok((own, fd, other))
}

fn expect_full(what: &str, result: Res<()>) -> Result<()> {
    expect_errno(what, result, libc::ENOSPC)
}

/// The lower refuses what is written back to it; whoever had the file open hears of it, once.
fn everybody(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let (own, fd, other) = without_room(ctx)?;
    expect_full("fsync of the writer", file::fsync(&fd))?;
    expect_full("fsync of another", file::fsync(&other))?;
    file::fsync(&fd).context("fsync of the writer, the second time")?;
    file::fsync(&other).context("fsync of another, the second time")?;
    drop((fd, other));
    own.finish()
}

/// Nobody calls fsync: then close has to tell.
fn close_reports(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let (own, fd, other) = without_room(ctx)?;
    expect_full("close by the writer", file::close(fd))?;
    expect_full("fsync of another", file::fsync(&other))?;
    drop(other);
    own.finish()
}
