// SPDX-License-Identifier: GPL-2.0

//! diofs over a filesystem that stacks itself, or that a program serves.

use super::mounting::{expect_refusal, point};
use crate::coherence::full::write_until_refused;
use crate::coherence::queue::EACH;
use crate::coherence::scene::direct_read;
use crate::harness::{Ctx, Private, Test, lacking, skip, test};
use crate::lower::mirror::Mirror;
use crate::lower::stack::{FsKind, Stack, diofs};
use crate::lower::{Kind, umount};
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{file, fscall, mount, path, stat};
use crate::twin::expect_errno;
use anyhow::{Context, Result, ensure};
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("mount.too_deep", too_deep).once(),
    test("mount.two_levels", two_levels).once(),
    test("mount.two_levels_keep_times", two_levels_times).once(),
    test("mount.two_levels_full", two_levels_full)
        .once()
        .limit(120),
    test("mount.times_of_overlayfs", overlayfs_times).once(),
    test("mount.overlayfs_direct", overlayfs_direct).once(),
    test("mount.overlayfs_blocks", overlayfs_blocks).once(),
    test("mount.server_takes_less", server_takes_less).once(),
    test("mount.lower_without_direct", lower_without_direct).once(),
];

/// The kernel allows a stack of two; a third diofs is refused, not overflowed.
fn too_deep(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let second = point(ctx, "second")?;
    if let Err(refused) = diofs(&ctx.up, &second, &[]) {
        return expect_refusal("diofs on diofs", Err(refused), &[libc::EINVAL, libc::ELOOP]);
    }
    let third = diofs(&second, &point(ctx, "third")?, &[]);
    let outcome = expect_refusal("a third level", third, &[libc::EINVAL, libc::ELOOP]);
    umount(&second)?;
    outcome
}

fn two_levels(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let second = point(ctx, "second")?;
    if let Err(refused) = diofs(&ctx.up, &second, &[]) {
        return skip(format!("diofs on diofs is refused: {refused}"));
    }
    let fd = file::create(&second.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 3 * PAGE), 0)?;
    let direct = file::open_direct(&second.join("f"))?;
    let page = Slice::of(&pattern(2, PAGE as u64, PAGE))?;
    file::pwrite_mem(&direct, &page, PAGE as u64)?;
    file::fsync(&fd)?;
    let under = file::open(&ctx.under.join("f"), libc::O_RDONLY, 0)?;
    for (name, fd) in [("the top", &fd), ("the lower", &under)] {
        let seen = file::pread_vec(fd, 4 * PAGE, 0)?;
        check(name, &seen[..PAGE], 1, 0)?;
        check(name, &seen[PAGE..2 * PAGE], 2, PAGE as u64)?;
        check(name, &seen[2 * PAGE..], 1, 2 * PAGE as u64)?;
    }
    let map = Region::shared(&fd, 0, 3 * PAGE, READ_WRITE)?;
    map.store(0, &pattern(3, 0, PAGE));
    ensure!(
        direct_read(&direct, 0, PAGE)? == pattern(3, 0, PAGE),
        "stored, read directly"
    );
    file::fsync(&fd)?;
    check("stored, below", &file::pread_vec(&under, PAGE, 0)?, 3, 0)?;
    drop((fd, direct, under, map));
    umount(&second)
}

/// Whoever sets times after writing, and before the data are written back, is believed on each
/// level: `cp -p`, `tar`.
fn two_levels_times(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let second = point(ctx, "second")?;
    diofs(&ctx.up, &second, &[])?;
    let fd = file::create(&second.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 3 * PAGE), 0)?;
    give_time(&second.join("f"))?;
    file::fsync(&fd)?;
    file::close(fd)?;
    for dir in [&second, &ctx.up, &ctx.under] {
        has_given_time(&dir.join("f"))?;
    }
    umount(&second)
}

/// Long ago: seconds and nanoseconds.
const GIVEN: (i64, u32) = (1_000_000_000, 5);

fn give_time(path: &Path) -> Result<()> {
    let then = path::Time::At(GIVEN.0, GIVEN.1.into());
    Ok(path::utimens(path, then, then)?)
}

fn has_given_time(path: &Path) -> Result<()> {
    let time = stat::stat(path)?.mtime;
    ensure!(
        (time.sec, time.nsec) == GIVEN,
        "{}: the time of change is {time:?}",
        path.display()
    );
    Ok(())
}

/// A lower that notes times by itself does not take write-back for a change of what has been given a
/// time since.
fn overlayfs_times(ctx: &Ctx) -> Result<()> {
    let on = OnOverlay::mount(ctx)?;
    let fd = file::create(&on.top.dir.join("f"))?;
    let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
    file::pwrite(&fd, &pattern(1, 0, 3 * PAGE), 0)?;
    map.store(0, &pattern(1, 0, PAGE));
    give_time(&on.top.dir.join("f"))?;
    file::fsync(&fd)?;
    drop(map);
    file::close(fd)?;
    for dir in [&on.top.dir, &on.middle.dir] {
        has_given_time(&dir.join("f"))?;
    }
    let seen = file::pread_vec(
        file::open(&on.middle.dir.join("f"), libc::O_RDONLY, 0)?,
        3 * PAGE,
        0,
    )?;
    check("on overlayfs", &seen, 1, 0)?;
    on.umount()
}

/// What finds no room on the lowest level is told to whoever closes on the highest.
fn two_levels_full(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private(ctx.lower.kind, 32)?;
    let second = point(ctx, "second")?;
    diofs(&own.up, &second, &[])?;
    let fd = file::create(&second.join("f"))?;
    let (_, refused) = write_until_refused(&fd, 64 << 20);
    let told = refused.map_or_else(|| file::close(fd), Err);
    expect_errno("more than there is room for", told, libc::ENOSPC)?;
    path::unlink(&second.join("f"))?;
    umount(&second)?;
    own.finish()
}

/// diofs over overlayfs over a filesystem of its own.
struct OnOverlay {
    own: Private,
    middle: Stack,
    top: Stack,
}

impl OnOverlay {
    fn mount(ctx: &Ctx) -> Result<Self> {
        ctx.need_diofs()?;
        let mut own = ctx.private(Kind::Ext4Block4k, 64)?;
        own.umount_stack()?;
        let middle = Stack::mount(FsKind::Overlay, &own.under, &ctx.work.join("middle"))?;
        let top = Stack::mount(FsKind::Diofs, &middle.dir, &ctx.work.join("top"))?;
        Ok(Self { own, middle, top })
    }

    fn umount(self) -> Result<()> {
        self.top.umount()?;
        self.middle.umount()?;
        self.own.finish()
    }
}

/// A direct request is direct down to the lowest level, also one that overlayfs would have waited for:
/// nothing of it is in the page cache there, where it could be stale, or be written back later.
fn overlayfs_direct(ctx: &Ctx) -> Result<()> {
    const LEN: usize = 16 * PAGE;
    let on = OnOverlay::mount(ctx)?;
    let fd = file::create(&on.top.dir.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, LEN), 0)?;
    file::fsync(&fd)?;
    let direct = file::open_direct(&on.top.dir.join("f"))?;
    let lowest = file::open(&on.own.under.join("f"), libc::O_RDONLY, 0)?;
    let drop_cache = || -> Result<()> {
        for fd in [&fd, &lowest] {
            fscall::fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
        }
        Ok(())
    };
    let cached = || -> Result<u64> { Ok(fscall::cachestat(&lowest, 0, 0)?.cached) };
    for (by, version) in EACH.into_iter().zip(2..) {
        // The second write of each extends the file.
        for at in [0, LEN + PAGE * usize::from(version)] {
            drop_cache()?;
            let data = Slice::of(&pattern(version, at as u64, PAGE))?;
            let n = by.pwrite(&direct, &data, at)??;
            ensure!(n == PAGE, "{by:?}: {n} bytes were written at {at}");
            ensure!(
                cached()? == 0,
                "{by:?}: a direct write at {at} has left {} pages on the lowest level",
                cached()?
            );
            let seen = direct_read(&direct, at, PAGE)?;
            check("read directly", &seen, version, at as u64)?;
            ensure!(
                cached()? == 0,
                "{by:?}: a direct read at {at} has left {} pages on the lowest level",
                cached()?
            );
        }
    }
    let seen = file::pread_vec(&lowest, LEN, 0)?;
    check("on the lowest level", &seen[PAGE..], 1, PAGE as u64)?;
    drop((fd, direct, lowest));
    on.umount()
}

/// overlayfs has no blocks of its own; diofs over it has some, of which the page cache keeps account.
fn overlayfs_blocks(ctx: &Ctx) -> Result<()> {
    const FIGETBSZ: u64 = 2;
    let on = OnOverlay::mount(ctx)?;
    let fd = file::create(&on.top.dir.join("f"))?;
    let answer = fscall::ioctl_buf(&fd, FIGETBSZ, &[])?;
    let size = u32::from_ne_bytes([answer[0], answer[1], answer[2], answer[3]]);
    ensure!(size as usize == PAGE, "the block size is {size}");
    // Parts of blocks, in a folio as large as they get.
    file::pwrite(&fd, &pattern(1, 0, 2 << 20), 0)?;
    for at in [100u64, 5000, 1_000_001] {
        file::pwrite(&fd, &pattern(2, at, 999), at)?;
    }
    file::fsync(&fd)?;
    let lowest = file::open(&on.own.under.join("f"), libc::O_RDONLY, 0)?;
    for fd in [&fd, &lowest] {
        let seen = file::pread_vec(fd, 3 << 20, 0)?;
        ensure!(seen.len() == 2 << 20, "{} bytes", seen.len());
        check("parts", &seen[5000..5999], 2, 5000)?;
        check("beside them", &seen[5999..1_000_001], 1, 5999)?;
    }
    drop((fd, lowest));
    on.umount()
}

/// A program that serves the lower may write less than it was told to. What is left is written, or
/// refused, and told; it is not taken for written.
fn server_takes_less(ctx: &Ctx) -> Result<()> {
    const LIMIT: usize = (1 << 20) + 2048;
    const LEN: usize = (1 << 20) + 4096;
    ctx.need_diofs()?;
    let mut own = ctx.private(Kind::Ext4Block4k, 64)?;
    own.umount_stack()?;
    let Some(mirror) = Mirror::limited(&own.under, &ctx.work.join("mirror"), LIMIT as u64)? else {
        own.finish()?;
        return lacking("bindfs or FUSE");
    };
    let top = Stack::mount(FsKind::Diofs, &mirror.dir, &ctx.work.join("top"))?;
    let fd = file::create(&top.dir.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, LEN), 0)?;
    expect_errno("fsync", file::fsync(&fd), libc::EFBIG)?;
    let below = file::pread_vec(file::open(&own.under.join("f"), libc::O_RDONLY, 0)?, LEN, 0)?;
    ensure!(below.len() == LIMIT, "{} bytes are below", below.len());
    check("below", &below, 1, 0)?;
    drop(fd);
    top.umount()?;
    mirror.umount()?;
    own.finish()
}

/// Where the lower file cannot be opened with `O_DIRECT`, neither can the file here, and a request
/// that is made direct later is refused.
fn lower_without_direct(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let (below, up) = (point(ctx, "memory")?, point(ctx, "up")?);
    mount::mount("none", &below, "ramfs", 0, "")?;
    let outcome = diofs(&below, &up, &[])
        .context("diofs over ramfs")
        .and_then(|()| {
            let outcome = no_direct(&below, &up);
            umount(&up)?;
            outcome
        });
    umount(&below)?;
    outcome
}

fn no_direct(below: &Path, up: &Path) -> Result<()> {
    let fd = file::create(&up.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 2 * PAGE), 0)?;
    let open = file::open(&up.join("f"), libc::O_RDWR | libc::O_DIRECT, 0);
    expect_errno("open", open, libc::EINVAL)?;
    fscall::setfl(&fd, libc::O_DIRECT).context("which fcntl does not find out")?;
    let page = Slice::of(&pattern(2, 0, PAGE))?;
    let write = file::pwrite_mem(&fd, &page, 0);
    expect_errno("a direct write", write, libc::EINVAL)?;
    let read = file::pread_mem(&fd, &page, 0);
    expect_errno("a direct read", read, libc::EINVAL)?;
    fscall::setfl(&fd, 0)?;
    file::pwrite(&fd, &pattern(3, PAGE as u64, PAGE), PAGE as u64)?;
    file::fsync(&fd)?;
    let seen = std::fs::read(below.join("f"))?;
    check("below", &seen[..PAGE], 1, 0)?;
    check("below", &seen[PAGE..], 3, PAGE as u64)
}
