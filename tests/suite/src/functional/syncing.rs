// SPDX-License-Identifier: GPL-2.0

//! Getting data to disk.

use crate::coherence::race::Racer;
use crate::harness::{Ctx, Test, skip, test};
use crate::lower::Kind;
use crate::lower::stack::{FsKind, Stack};
use crate::patience;
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Res, file, fscall, path, stat};
use crate::twin::twin;
use anyhow::{Result, ensure};
use std::os::fd::OwnedFd;

pub const TESTS: &[Test] = &[
    test("sync.every_call", every_call),
    test("sync.leaves_nothing_dirty", leaves_nothing_dirty),
    test("sync.reaches_the_device", reaches_the_device),
    test("sync.after_remount", after_remount),
    test("sync.closed_and_forgotten", closed_and_forgotten),
];

fn every_call(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 9000), 0))?;
        s.see("fsync", file::fsync(&fd));
        s.see("fsync of clean", file::fsync(&fd));
        s.must("write", file::pwrite(&fd, b"x", 5))?;
        s.see("fdatasync", file::fdatasync(&fd));
        s.must("write", file::pwrite(&fd, b"y", 6))?;
        s.see("syncfs", file::syncfs(&fd));
        file::sync();
        let reader = s.must("reader", file::open(&s.at("f"), libc::O_RDONLY, 0))?;
        s.see("fsync by a reader", file::fsync(&reader));
        let dir = s.must("directory", file::open(s.dir(), libc::O_RDONLY, 0))?;
        s.see("fsync of a directory", file::fsync(&dir));
        s.see("fdatasync of it", file::fdatasync(&dir));
        s.see("syncfs by it", file::syncfs(&dir));
        let map = Region::shared(&fd, 0, 3 * PAGE, READ_WRITE)?;
        map.store(0, b"z");
        s.see("msync later", map.msync(0, PAGE, libc::MS_ASYNC));
        s.see("msync", map.msync(0, PAGE, libc::MS_SYNC));
        s.see(
            "msync and forget",
            map.msync(0, PAGE, libc::MS_SYNC | libc::MS_INVALIDATE),
        );
        s.see("close", file::close(fd));
        s.see("content", file::pread_vec(&reader, 10_000, 0));
        Ok(())
    })
}

/// A call that gets a file to disk.
type Call = fn(&OwnedFd) -> Res<()>;

fn dirty_pages(fd: &OwnedFd) -> Result<u64> {
    let cache = fscall::cachestat(fd, 0, 0)?;
    Ok(cache.dirty + cache.writeback)
}

fn leaves_nothing_dirty(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    let calls: [(&str, Call); 3] = [
        ("fsync", |fd| file::fsync(fd)),
        ("fdatasync", |fd| file::fdatasync(fd)),
        ("syncfs", |fd| file::syncfs(fd)),
    ];
    for (name, call) in calls {
        file::pwrite(&fd, &pattern(1, 0, 50 * PAGE), 0)?;
        call(&fd)?;
        let dirty = dirty_pages(&fd)?;
        ensure!(
            dirty == 0,
            "after {name} expected no dirty page, saw {dirty}"
        );
    }
    Ok(())
}

/// A sync waits for the device, so while the device holds writes it does not return.
fn reaches_the_device(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, PAGE), 0)?;
    file::fsync(&fd)?;
    let calls: [(&str, Call); 3] = [
        ("fsync", |fd| file::fsync(fd)),
        ("fdatasync", |fd| file::fdatasync(fd)),
        ("syncfs", |fd| file::syncfs(fd)),
    ];
    for (name, call) in calls {
        let hold = ctx.lower.hold_writes()?;
        file::pwrite(&fd, &pattern(2, 0, PAGE), 0)?;
        let other = file::dup(&fd)?;
        let caller = Racer::start(move || call(&other));
        hold.wait_writes(1)?;
        ensure!(
            !caller.finished_soon(),
            "{name} returned before the device had the data"
        );
        hold.release()?;
        caller.join()??;
    }
    let direct = Slice::of(&pattern(3, 0, PAGE))?;
    let flags = libc::O_WRONLY | libc::O_DIRECT | libc::O_DSYNC;
    let dsync = file::open(&ctx.at("f"), flags, 0)?;
    let hold = ctx.lower.hold_writes()?;
    let caller = Racer::start(move || file::pwrite_mem(&dsync, &direct, 0));
    hold.wait_writes(1)?;
    ensure!(
        !caller.finished_soon(),
        "a direct O_DSYNC write returned before the device had it"
    );
    hold.release()?;
    let n = caller.join()??;
    ensure!(
        n == PAGE,
        "a direct O_DSYNC write of {PAGE} bytes returned {n}"
    );
    Ok(())
}

fn after_remount(ctx: &Ctx) -> Result<()> {
    let mut own = ctx.private(ctx.lower.kind, 64)?;
    path::mkdir(&own.at("d"), 0o755)?;
    let fd = file::create(&own.at("d/f"))?;
    file::pwrite(&fd, &pattern(1, 0, 100_001), 0)?;
    let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
    map.store(100, &pattern(2, 100, 100));
    drop((map, fd));
    path::symlink("d/f", &own.at("l"))?;
    own.umount_stack()?;
    own.lower.umount()?;
    own.lower.check()?;
    own.lower.mount()?;
    let fd = file::open(&own.under.join("d/f"), libc::O_RDONLY, 0)?;
    let seen = file::pread_vec(&fd, 200_000, 0)?;
    ensure!(
        seen.len() == 100_001,
        "expected 100001 bytes, saw {}",
        seen.len()
    );
    check("before the store", &seen[..100], 1, 0)?;
    check("the store", &seen[100..200], 2, 100)?;
    check("behind the store", &seen[200..], 1, 200)?;
    drop(fd);
    let stack = Stack::mount(ctx.fs, &own.under, &ctx.work.join("again"))?;
    let st = stat::stat(&stack.dir.join("l"))?;
    ensure!(
        st.size == 100_001,
        "through the new mount: size {}",
        st.size
    );
    stack.umount()?;
    own.finish()
}

/// Nobody syncs; the kernel's own write-back brings the data to the lower in time.
fn closed_and_forgotten(ctx: &Ctx) -> Result<()> {
    if ctx.fs == FsKind::Bare || ctx.lower.kind != Kind::Ext4Block4k {
        return skip("needs a cache above the lower, and one lower is enough");
    }
    let old = std::fs::read_to_string("/proc/sys/vm/dirty_expire_centisecs")?;
    let often = std::fs::read_to_string("/proc/sys/vm/dirty_writeback_centisecs")?;
    std::fs::write("/proc/sys/vm/dirty_expire_centisecs", "100")?;
    std::fs::write("/proc/sys/vm/dirty_writeback_centisecs", "50")?;
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 20 * PAGE), 0)?;
    let start = std::time::Instant::now();
    let mut dirty = dirty_pages(&fd)?;
    while dirty > 0 && start.elapsed() < patience::at_most(std::time::Duration::from_secs(20)) {
        std::thread::sleep(std::time::Duration::from_millis(100));
        dirty = dirty_pages(&fd)?;
    }
    std::fs::write("/proc/sys/vm/dirty_expire_centisecs", old)?;
    std::fs::write("/proc/sys/vm/dirty_writeback_centisecs", often)?;
    ensure!(
        dirty == 0,
        "20 s after a write {dirty} pages are still dirty"
    );
    let under = file::open(&ctx.under.join("f"), libc::O_RDONLY, 0)?;
    check(
        "on the lower",
        &file::pread_vec(&under, 20 * PAGE, 0)?,
        1,
        0,
    )
}
