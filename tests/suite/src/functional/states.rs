// SPDX-License-Identifier: GPL-2.0

//! Mounts in special states: without access times, read-only, frozen, over an idmapped mount.

use crate::harness::{Ctx, Test, skip, test};
use crate::lower::stack::{FsKind, Stack, diofs};
use crate::lower::{Kind, umount};
use crate::patience;
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::mount::{self, Context};
use crate::sys::process::{self, Child, Exit};
use crate::sys::{Res, dir, file, fscall, path, stat};
use crate::twin::expect_errno;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    test("mount.no_access_times", no_access_times),
    test("mount.frozen", frozen),
    test("mount.frozen_both", frozen_both),
    test("mount.frozen_under_another", frozen_under_another).once(),
    test("mount.pipe_while_lower_is_frozen", pipe_frozen),
    test("mount.freezing_can_be_ended", freezing_can_be_ended).once(),
    test("mount.other_option_on_read_only_lower", other_option).once(),
    test("mount.idmapped_lower", idmapped_lower).once(),
];

/// Reads everything below `at` that was made by `things_to_read()`, in every way.
fn read_everything(at: &Path) -> Result<()> {
    let fd = file::open(&at.join("f"), libc::O_RDONLY, 0)?;
    file::pread_vec(&fd, PAGE, 0)?;
    let direct = file::open(&at.join("f"), libc::O_RDONLY | libc::O_DIRECT, 0)?;
    file::pread_mem(&direct, &Slice::zeroed(PAGE)?, 0)?;
    let (_out, into) = fscall::pipe()?;
    fscall::splice_out(&fd, 0, &into, PAGE)?;
    Region::shared(&fd, 0, PAGE, libc::PROT_READ)?.load(0, 1);
    path::readlink(&at.join("l"), 100)?;
    dir::read_all(file::open(&at.join("d"), libc::O_RDONLY, 0)?, 4096)?;
    Ok(())
}

fn things_to_read(at: &Path) -> Result<()> {
    let fd = file::create(&at.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 4 * PAGE), 0)?;
    file::fsync(&fd)?;
    path::symlink("f", &at.join("l"))?;
    path::mkdir(&at.join("d"), 0o755)?;
    drop(file::create(&at.join("d/x"))?);
    for name in ["f", "d"] {
        // Long ago, so that every read would move it.
        path::utimens(
            &at.join(name),
            path::Time::At(1000, 0),
            path::Time::At(2000, 0),
        )?;
    }
    Ok(())
}

/// A mount that says so leaves the access times below alone; one that does not, does not.
fn no_access_times(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    ctx.need_direct()?;
    let own = ctx.private(ctx.lower.kind, 64)?;
    let names = ["f", "l", "d"];
    let times = || -> Res<Vec<stat::Stamp>> {
        let time = |name: &&str| stat::lstat(&own.under.join(name)).map(|s| s.atime);
        names.iter().map(time).collect()
    };
    things_to_read(&own.up)?;
    let again = |flags| mount::mount("none", &own.up, "none", libc::MS_REMOUNT | flags, "");
    // A remount keeps what is said about access times unless it says something else.
    let read_only = libc::MS_RDONLY | libc::MS_RELATIME;
    for (what, flags) in [("ro", read_only), ("noatime", libc::MS_NOATIME)] {
        again(flags)?;
        let before = times()?;
        stat::tick();
        read_everything(&own.up)?;
        let after = times()?;
        ensure!(before == after, "{what}: from {before:?} to {after:?}");
    }
    again(libc::MS_RELATIME)?;
    let before = times()?;
    stat::tick();
    read_everything(&own.up)?;
    for (name, (was, is)) in names.iter().zip(before.iter().zip(times()?)) {
        ensure!(is > *was || *name == "l", "{name}: the access time stays");
    }
    own.finish()
}

const FIFREEZE: u64 = 0xc004_5877;
const FITHAW: u64 = 0xc004_5878;

/// A frozen filesystem; thawed at the latest when this is dropped.
struct Frozen(std::os::fd::OwnedFd);

impl Frozen {
    fn new(at: &Path) -> Result<Self> {
        let fd = file::open(at, libc::O_RDONLY, 0)?;
        fscall::ioctl_buf(&fd, FIFREEZE, &[])
            .with_context(|| format!("freezing {}", at.display()))?;
        Ok(Self(fd))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fscall::ioctl_buf(&self.0, FITHAW, &[]);
    }
}

/// Nothing is dirty any more in a frozen mount, and who changes something waits for its end.
fn frozen(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private(ctx.lower.kind, 64)?;
    let fd = file::create(&own.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 3 * PAGE), 0)?;
    let map = Region::shared(&fd, PAGE as u64, PAGE, READ_WRITE)?;
    map.store(0, &pattern(2, PAGE as u64, PAGE));
    let ice = Frozen::new(&own.up)?;
    let under = file::open(&own.under.join("f"), libc::O_RDONLY, 0)?;
    let seen = file::pread_vec(&under, 4 * PAGE, 0)?;
    check("what was written", &seen[..PAGE], 1, 0)?;
    check("what was stored", &seen[PAGE..2 * PAGE], 2, PAGE as u64)?;
    let seen = file::pread_vec(&fd, PAGE, 0)?;
    check("read while frozen", &seen, 1, 0)?;
    let mut changes = [
        process::fork(|| answer(file::pwrite(&fd, &pattern(3, 0, PAGE), 0)))?,
        process::fork(|| answer(path::mkdir(&own.at("d"), 0o755)))?,
        process::fork(|| answer(path::unlink(&own.at("f"))))?,
        process::fork(|| {
            map.store(0, &pattern(4, PAGE as u64, PAGE));
            answer(Ok(()))
        })?,
    ];
    for child in &mut changes {
        let end = child.wait(Duration::from_millis(300))?;
        ensure!(end.is_none(), "a change was made while frozen");
    }
    let seen = file::pread_vec(&under, 2 * PAGE, 0)?;
    check("nothing was written meanwhile", &seen[..PAGE], 1, 0)?;
    check("nor stored", &seen[PAGE..], 2, PAGE as u64)?;
    drop(ice);
    for child in &mut changes {
        done(child)?;
    }
    let seen = file::pread_vec(&fd, 2 * PAGE, 0)?;
    check("written after thawing", &seen[..PAGE], 3, 0)?;
    check("stored after thawing", &seen[PAGE..], 4, PAGE as u64)?;
    drop((fd, map, under));
    own.finish()
}

fn answer<T>(result: Res<T>) -> Vec<u8> {
    result
        .map_or_else(|e| e.to_string(), |_| "ok".to_string())
        .into_bytes()
}

/// The upper first and then the lower, as for a snapshot of the device.
fn frozen_both(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private(ctx.lower.kind, 64)?;
    let fd = file::create(&own.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 40_000), 0)?;
    let upper = Frozen::new(&own.up)?;
    let lower = Frozen::new(&own.lower.dir)?;
    let seen = file::pread_vec(&fd, 50_000, 0)?;
    check("read while frozen", &seen, 1, 0)?;
    stat::stat(&own.at("f"))?;
    expect_errno("nothing", stat::stat(&own.at("none")), libc::ENOENT)?;
    drop(lower);
    drop(upper);
    file::pwrite(&fd, &pattern(2, 0, 100), 0)?;
    file::fsync(&fd)?;
    drop(fd);
    own.finish()
}

/// A diofs is frozen over which the kernel's threads have written back another one: the one has its
/// own locks, the other holds locks of the upper one meanwhile.
fn frozen_under_another(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private(Kind::Ext4Block4k, 64)?;
    let top = Stack::mount(FsKind::Diofs, &own.up, &ctx.work.join("top"))?;
    let fd = file::create(&top.dir.join("f"))?;
    for _ in 0..5 {
        file::pwrite(&fd, &pattern(1, 0, 40_000), 0)?;
        // Wakes the threads, before it begins itself.
        file::sync();
    }
    let ice = Frozen::new(&own.up)?;
    let seen = file::pread_vec(&fd, 50_000, 0)?;
    check("read while frozen", &seen, 1, 0)?;
    drop(ice);
    drop(fd);
    top.umount()?;
    own.finish()
}

/// A pipe is none of the lower filesystem's business, but for its times.
fn pipe_frozen(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, 64)?;
    path::mknod(&own.at("p"), libc::S_IFIFO | 0o600, 0)?;
    let fd = file::open(&own.at("p"), libc::O_RDWR, 0)?;
    let ice = Frozen::new(&own.lower.dir)?;
    let mut writer = process::fork(|| answer(file::write(&fd, b"through")))?;
    let written = done(&mut writer).context("a write to a pipe");
    drop(ice);
    written?;
    let mut got = [0; 16];
    let n = file::read(&fd, &mut got)?;
    ensure!(&got[..n] == b"through", "the pipe had {:?}", &got[..n]);
    drop(fd);
    own.finish()
}

/// Freezing writes back, and that waits for one who reads the lower file directly, into a mapping of
/// another file above, and whose fault waits for the end of the freeze. It ends when he is killed.
fn freezing_can_be_ended(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private(Kind::Ext4Block4k, 64)?;
    for name in ["a", "b"] {
        let fd = file::create(&own.at(name))?;
        file::pwrite(&fd, &pattern(1, 0, PAGE), 0)?;
        file::fsync(&fd)?;
    }
    let fd = file::open(&own.at("a"), libc::O_RDWR, 0)?;
    file::pread_vec(&fd, PAGE, 0)?;
    let target = file::open(&own.at("b"), libc::O_RDWR, 0)?;
    let map = Region::shared(&target, 0, PAGE, READ_WRITE)?;
    let under = file::open_direct(&own.under.join("a"))?;
    for fd in [
        &target,
        &file::open(&own.under.join("b"), libc::O_RDONLY, 0)?,
    ] {
        fscall::fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    }
    let top = file::open(&own.up, libc::O_RDONLY, 0)?;

    // He has the lock of the lower file, and the page that he reads into comes from the device.
    let hold = own.lower.hold_reads()?;
    let buffer = Slice::new(&map, 0, PAGE);
    let mut reader = process::fork(|| answer(file::pread_mem(&under, &buffer, 0)))?;
    hold.wait_reads(1)?;
    file::pwrite(&fd, &pattern(2, 0, PAGE), 0)?;
    let mut freezer = process::fork(|| answer(fscall::ioctl_buf(&top, FIFREEZE, &[])))?;
    let ended = patience::wait_for("write-back", || {
        Ok(fscall::cachestat(&fd, 0, 0)?.writeback > 0)
    })
    .and_then(|()| hold.release())
    .and_then(|()| kill_in_fault(&mut reader))
    .and_then(|()| done(&mut freezer).context("freezing"));
    let ice = Frozen(top);
    if ended.is_err() {
        reader.kill(libc::SIGKILL)?;
        freezer.wait(Duration::from_secs(20))?;
    }
    ended?;
    let seen = Slice::zeroed(PAGE)?;
    file::pread_mem(&under, &seen, 0)?;
    check("written before it was frozen", &seen.bytes(PAGE), 2, 0)?;
    drop(ice);
    map.store(0, &pattern(3, 0, PAGE));
    drop((fd, target, buffer, map, under));
    own.finish()
}

/// Kills a process that stores to what is being frozen, and waits for its end.
fn kill_in_fault(reader: &mut Child) -> Result<()> {
    let stack = format!("/proc/{}/stack", reader.pid());
    patience::wait_for("a store", || {
        Ok(std::fs::read_to_string(&stack)?.contains("page_mkwrite"))
    })?;
    let end = reader.wait(Duration::from_millis(200))?;
    ensure!(end.is_none(), "a store while it is being frozen: {end:?}");
    reader.kill(libc::SIGKILL)?;
    let end = reader.wait(Duration::from_secs(20))?;
    ensure!(end == Some(Exit::Signal(libc::SIGKILL)), "killed: {end:?}");
    Ok(())
}

/// Waits for the good end of one who says what the answer was.
fn done(child: &mut Child) -> Result<()> {
    let end = child.wait(Duration::from_secs(20))?;
    let said = String::from_utf8_lossy(child.answer()).to_string();
    ensure!(end == Some(Exit::Code(0)) && said == "ok", "{end:?} {said}");
    Ok(())
}

/// An option that has nothing to do with writing is changed on a lower that is read-only.
fn other_option(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let mut own = ctx.private(Kind::Ext4Block4k, 64)?;
    own.umount_stack()?;
    let lower = own.lower.dir.clone();
    mount::mount(
        "none",
        &lower,
        "none",
        libc::MS_REMOUNT | libc::MS_RDONLY,
        "",
    )?;
    let at = ctx.work.join("m");
    std::fs::create_dir_all(&at)?;
    diofs(&own.under, &at, &[])?;
    let change = Context::pick(&at)?;
    change.set("dio_busy", "sync")?;
    let changed = change.reconfigure();
    let writable = mount::mount("none", &at, "none", libc::MS_REMOUNT, "");
    let shown = std::fs::read_to_string("/proc/self/mounts")?;
    // It refers to the mount as well.
    drop(change);
    umount(&at)?;
    changed.context("dio_busy=sync")?;
    expect_errno("to be written to", writable, libc::EROFS)?;
    ensure!(shown.contains("dio_busy=sync"), "it is not shown");
    own.finish()
}

/// Owners are those that the idmapped mount shows, in both directions.
fn idmapped_lower(ctx: &Ctx) -> Result<()> {
    const SHIFT: u32 = 10_000;
    ctx.need_diofs()?;
    if ctx.lower.kind.mount_type() != "ext4" {
        return skip("only as ext4 it can be mounted idmapped");
    }
    let (mapped, at) = (ctx.work.join("mapped"), ctx.work.join("m"));
    for dir in [&mapped, &at] {
        std::fs::create_dir_all(dir)?;
    }
    path::chmod(&ctx.under, 0o777)?;
    mount::idmapped(&ctx.under, &mapped, SHIFT).context("an idmapped mount")?;
    diofs(&mapped, &at, &[])?;
    let result = idmapped(ctx, &at, SHIFT);
    umount(&at)?;
    umount(&mapped)?;
    result
}

fn idmapped(ctx: &Ctx, at: &Path, shift: u32) -> Result<()> {
    let owner = |p: &Path| stat::lstat(p).map(|s| (s.uid, s.gid));
    let both = |what: &str, name: &str, here: u32| -> Result<()> {
        let (up, under) = (owner(&at.join(name))?, owner(&ctx.under.join(name))?);
        ensure!(up == (here, here), "{what}: {name} is owned by {up:?} here");
        let expected = here - shift;
        ensure!(
            under == (expected, expected),
            "{what}: {name} by {under:?} below"
        );
        Ok(())
    };
    let as_user = |uid, act: &dyn Fn() -> Res<()>| -> Result<String> {
        let (_, said) = process::run(Duration::from_secs(10), || {
            answer(process::become_user(uid, uid).and_then(|()| act()))
        })?;
        Ok(String::from_utf8_lossy(&said).to_string())
    };
    let make = || -> Res<()> {
        let fd = file::create(&at.join("f"))?;
        file::write(&fd, b"mapped")?;
        file::fsync(&fd)?;
        path::mkdir(&at.join("d"), 0o700)?;
        path::symlink("f", &at.join("l"))?;
        path::mknod(&at.join("p"), libc::S_IFIFO | 0o600, 0)
    };
    let said = as_user(shift + 1000, &make)?;
    ensure!(said == "ok", "making: {said}");
    for name in ["f", "d", "l", "p"] {
        both("made", name, shift + 1000)?;
    }
    path::lchown(&at.join("f"), shift + 2000, shift + 2000)?;
    both("given away", "f", shift + 2000)?;
    let unmapped = path::lchown(&at.join("f"), 5, 5);
    expect_errno("to somebody who is not mapped", unmapped, libc::EOVERFLOW)?;
    path::chmod(&at.join("f"), 0o600)?;
    let open = || file::open(&at.join("f"), libc::O_RDWR, 0).map(|_| ());
    let said = as_user(shift + 2000, &open)?;
    ensure!(said == "ok", "its owner: {said}");
    let said = as_user(2000, &open)?;
    ensure!(said == "EACCES", "whose number the owner has below: {said}");
    let said = as_user(2000, &|| file::create(&at.join("g")).map(|_| ()))?;
    ensure!(said == "EOVERFLOW", "making something unmapped: {said}");
    Ok(())
}
