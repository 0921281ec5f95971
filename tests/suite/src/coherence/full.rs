// SPDX-License-Identifier: GPL-2.0

//! A full lower, a lower that fails altogether, and one that has turned read-only: every write that
//! did not make it was refused or is reported (C10), and nothing hangs.

use super::race::Racer;
use super::scene::{NEW, OLD, direct_read, write_all};
use crate::harness::{Ctx, Private, Test, test};
use crate::lower::Kind;
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::process::{self, Exit};
use crate::sys::{Errno, Res, file, path, quota, stat};
use crate::twin::expect_errno;
use anyhow::{Context, Result, bail, ensure};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const TESTS: &[Test] = &[
    test("full.buffered_write", buffered_write).limit(120),
    test("full.small_files", small_files).limit(120),
    test("full.direct_write", direct_write).limit(120),
    test("full.mapped_store", mapped_store).limit(120),
    test("full.overwriting_needs_no_room", overwriting).limit(120),
    test("full.neighbours_of_a_hole", neighbours_of_a_hole).limit(120),
    test("full.room_again", room_again).limit(120),
    test("full.quota", quota).limit(120).once(),
    test("full.reserve", reserve).limit(120).once(),
    test("full.direct_meets_refused_write_back", direct_meets_refused)
        .limit(120)
        .once(),
    test("full.cut_after_refused_write_back", cut_after_refused)
        .limit(120)
        .once(),
    test("full.written_anew", written_anew).limit(120).once(),
    test("failing.device_dies_under_load", device_dies).limit(120),
    test("failing.writes_refused_under_load", writes_refused).limit(120),
];

const CHUNK: usize = 256 << 10;
const MIB: u64 = 64;

fn is_full(e: Errno) -> bool {
    e.0 == libc::ENOSPC
}

/// A user of no rights, and how many bytes it may have.
const USER: u32 = 4242;
const QUOTA: u64 = 2 << 20;

/// Who has more than a quota allows is told, as with a full lower, whoever writes it back. Nobody
/// gets more.
fn quota(ctx: &Ctx) -> Result<()> {
    // What mounts as ext3 or ext2 knows no quotas of its own.
    let own = ctx.private_with(Kind::Ext4Block4k, &["-O", "quota"], MIB)?;
    let device = own.lower.device.node().to_path_buf();
    quota::enforce(&device).context("quotas")?;
    quota::limit(&device, USER, QUOTA).context("a quota")?;
    let dir = own.at("home");
    path::mkdir(&dir, 0o755)?;
    path::lchown(&dir, USER, USER)?;
    for by in [By::Direct, By::Cache, By::Flusher] {
        let name = dir.join(format!("{by:?}"));
        as_user(|| write_beyond(by, &name, 2 * QUOTA, libc::EDQUOT))
            .with_context(|| format!("{by:?}"))?;
        file::syncfs(file::open(&own.under, libc::O_RDONLY, 0)?)?;
        let used = quota::used(&device, USER)?;
        // The lower cache may take nothing of a large part that does not fit as a whole.
        let least = if matches!(by, By::Direct) {
            QUOTA / 2
        } else {
            0
        };
        ensure!(
            (least..=QUOTA).contains(&used),
            "{by:?}: the user has {used} of {QUOTA} bytes"
        );
        path::unlink(&name)?;
    }
    // Nobody else is kept to it.
    let fd = file::create(&own.at("other"))?;
    write_all(&fd, &pattern(OLD, 0, 2 * QUOTA as usize), 0)?;
    file::fsync(&fd)?;
    drop(fd);
    own.finish()
}

/// What the lower keeps for root others get nothing of, whoever writes their data back. Files of root
/// get it.
fn reserve(ctx: &Ctx) -> Result<()> {
    let own = ctx.private_with(Kind::Ext4Block4k, &["-m", "20"], MIB)?;
    let room = || stat::statfs(&own.lower.dir);
    let kept = |s: &stat::StatFs| s.free - s.available;
    let blocks = kept(&room()?);
    ensure!(blocks > 1000, "only {blocks} blocks are kept");
    let dir = own.at("home");
    path::mkdir(&dir, 0o755)?;
    path::lchown(&dir, USER, USER)?;
    for by in [By::Direct, By::Cache, By::Flusher] {
        let name = dir.join(format!("{by:?}"));
        as_user(|| write_beyond(by, &name, MIB << 20, libc::ENOSPC))
            .with_context(|| format!("{by:?}"))?;
        file::syncfs(file::open(&own.under, libc::O_RDONLY, 0)?)?;
        let now = room()?;
        ensure!(
            now.free >= blocks,
            "{by:?}: of the {blocks} blocks kept for root {} are left",
            now.free
        );
        path::unlink(&name)?;
    }
    // Full again, but for what is kept.
    as_user(|| write_beyond(By::Direct, &dir.join("full"), MIB << 20, libc::ENOSPC))?;
    let fd = file::create(&own.at("log"))?;
    write_all(&fd, &pattern(OLD, 0, 4 << 20), 0)?;
    file::fsync(&fd).context("fsync of a file of root")?;
    drop(fd);
    own.finish()
}

/// A direct request that finds its page under write-back by somebody else fails if the lower refuses
/// that (C1, C6): what it is to read or to write over is not on the lower. He who writes back is told,
/// and is done before.
fn direct_meets_refused(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    for writes in [false, true] {
        let (own, fd) = without_room(ctx)?;
        let fd = Arc::new(fd);
        let direct = file::open_direct(&own.at("f"))?;
        let below = own.under.join("f");
        let below = file::open(&below, libc::O_WRONLY | libc::O_DIRECT, 0)?;
        file::syncfs(&below)?;
        write_all(&fd, &pattern(NEW, HOLE, PAGE), HOLE)?;

        let hold = own.lower.hold_writes()?;
        // Who extends the lower file keeps its lock until the device is done.
        let data = Slice::of(&pattern(OLD, 512, 512))?;
        let extends = Racer::start(move || file::pwrite_mem(&below, &data, 512));
        hold.wait_writes(1)?;
        let syncs = {
            let fd = Arc::clone(&fd);
            Racer::start(move || file::fsync(&fd))
        };
        syncs.wait_asleep()?;
        let page = Slice::of(&pattern(OLD, HOLE, PAGE))?;
        let meets = Racer::start(move || match writes {
            true => file::pwrite_mem(&direct, &page, HOLE),
            false => file::pread_mem(&direct, &page, HOLE),
        });
        meets.wait_asleep()?;
        hold.release()?;

        ensure!(
            extends.join()? == Ok(512),
            "the lower file was not extended"
        );
        expect_errno("fsync", syncs.join()?, libc::EDQUOT)?;
        expect_errno(
            &format!("writes: {writes}: over a page that was not written back"),
            meets.join()?,
            libc::EDQUOT,
        )?;
        let seen = file::pread_vec(&fd, PAGE, HOLE)?;
        check("the page that was not written back", &seen, NEW, HOLE)?;
        drop(fd);
        own.finish()?;
    }
    Ok(())
}

/// What a truncation writes back, and cannot, is told to the direct request that comes next: the lower
/// file has a hole there.
fn cut_after_refused(ctx: &Ctx) -> Result<()> {
    let (own, fd) = without_room(ctx)?;
    let direct = file::open_direct(&own.at("f"))?;
    write_all(&fd, &pattern(NEW, HOLE, PAGE), HOLE)?;
    file::ftruncate(&fd, HOLE as i64 + PAGE as i64 - 512).context("cutting it")?;
    let read = file::pread_mem(&direct, &Slice::zeroed(PAGE)?, HOLE);
    let told = |e: Errno| [libc::EDQUOT, libc::EIO].contains(&e.0);
    ensure!(
        read.is_err_and(told),
        "a direct read of what could not be written back returned {read:?}"
    );
    expect_errno("fsync", file::fsync(&fd), libc::EDQUOT)?;
    drop((fd, direct));
    own.finish()
}

/// Once there is room again, a file that is written anew can be closed and read: what `close` has said
/// of the old data it does not say of the new ones.
fn written_anew(ctx: &Ctx) -> Result<()> {
    let (own, fd) = without_room(ctx)?;
    write_all(&fd, &pattern(OLD, HOLE, PAGE), HOLE)?;
    expect_errno("close", file::close(fd), libc::EDQUOT)?;
    quota::limit(own.lower.device.node(), USER, 1 << 20)?;
    let fd = file::open(&own.at("f"), libc::O_RDWR | libc::O_TRUNC, 0)?;
    write_all(&fd, &pattern(NEW, HOLE, PAGE), HOLE)?;
    file::close(fd).context("closing it once there is room")?;
    let direct = file::open_direct(&own.at("f"))?;
    let seen = direct_read(&direct, HOLE as usize, PAGE)?;
    check("written once there was room", &seen, NEW, HOLE)?;
    drop(direct);
    own.finish()
}

/// A file whose owner may have no more than the first block that it has.
fn without_room(ctx: &Ctx) -> Result<(Private, OwnedFd)> {
    let own = ctx.private_with(Kind::Ext4Block4k, &["-O", "quota"], MIB)?;
    let device = own.lower.device.node().to_path_buf();
    let fd = file::create(&own.at("f"))?;
    write_all(&fd, &pattern(OLD, 0, 512), 0)?;
    file::fsync(&fd)?;
    path::lchown(&own.at("f"), USER, USER)?;
    quota::enforce(&device).context("quotas")?;
    quota::limit(&device, USER, PAGE as u64).context("a quota")?;
    Ok((own, fd))
}

/// Where nothing is on the lower.
const HOLE: u64 = 64 << 10;

/// Has a user of no rights do something.
fn as_user(act: impl FnOnce() -> Result<()>) -> Result<()> {
    let (exit, said) = process::run(Duration::from_secs(60), || {
        process::become_user(USER, USER)
            .map_err(Into::into)
            .and_then(|()| act())
            .map_or_else(|error| format!("{error:#}").into_bytes(), |()| Vec::new())
    })?;
    let said = String::from_utf8_lossy(&said);
    ensure!(
        exit == Exit::Code(0) && said.is_empty(),
        "{said} ({exit:?})"
    );
    Ok(())
}

/// Who comes to the limit.
#[derive(Clone, Copy, Debug)]
enum By {
    /// A direct write.
    Direct,
    /// Write-back by the one who has written, in `fsync`.
    Cache,
    /// Write-back by a thread of the kernel, which has all rights.
    Flusher,
}

/// Writes `total` bytes, more than there may be. One of the calls says `errno`.
fn write_beyond(by: By, name: &Path, total: u64, errno: i32) -> Result<()> {
    let fd = match by {
        By::Direct => file::open(name, libc::O_CREAT | libc::O_RDWR | libc::O_DIRECT, 0o644)?,
        By::Cache | By::Flusher => file::create(name)?,
    };
    let mut told = None;
    for at in (0..total).step_by(CHUNK) {
        let data = Slice::of(&pattern(OLD, at, CHUNK))?;
        match file::pwrite_mem(&fd, &data, at) {
            Ok(CHUNK) => {}
            // The next one says why.
            Ok(n) if at + (n as u64) < total => {}
            Ok(n) => bail!("{n} bytes were written at {at}"),
            Err(errno) => {
                told = Some(errno);
                break;
            }
        }
    }
    if matches!(by, By::Flusher) {
        // Starts write-back by the kernel's threads, and waits for it; its own part are inodes.
        file::sync();
    }
    let answer = told.map_or_else(|| file::fsync(&fd), Err);
    expect_errno("more than there may be", answer, errno)
}

/// Writes until a write is refused, but not far beyond `limit`. Returns how many bytes were
/// accepted, and the error.
pub fn write_until_refused(fd: &OwnedFd, limit: u64) -> (u64, Option<Errno>) {
    let mut at = 0u64;
    while at <= limit {
        match file::pwrite(fd, &pattern(OLD, at, CHUNK), at) {
            Ok(n) => at += n as u64,
            Err(errno) => return (at, Some(errno)),
        }
    }
    (at, None)
}

/// Writes until there is an error: at a write, at fsync, or at close, but not beyond twice the
/// lower's size. Returns how many bytes were accepted and where the error came.
fn write_until_full(own: &Private, name: &str) -> Result<(u64, &'static str)> {
    let fd = file::create(&own.at(name))?;
    let (at, refused) = write_until_refused(&fd, (2 * MIB) << 20);
    let synced = file::fsync(&fd);
    let closed = file::close(fd);
    match (refused, synced, closed) {
        (Some(e), Ok(()), _) if is_full(e) => Ok((at, "write")),
        (_, Err(e), _) if is_full(e) => Ok((at, "fsync")),
        (None, Ok(()), Err(e)) if is_full(e) => Ok((at, "close")),
        other => bail!("{at} bytes into {MIB} MiB: expected ENOSPC from one call, saw {other:?}"),
    }
}

/// Everything that was accepted before a clean fsync is there.
fn buffered_write(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, MIB)?;
    let (accepted, place) = write_until_full(&own, "big")?;
    ensure!(
        accepted > 10 << 20,
        "only {accepted} bytes fit into {MIB} MiB"
    );
    if place == "write" {
        let fd = file::open(&own.at("big"), libc::O_RDONLY, 0)?;
        let size = stat::fstat(&fd)?.size;
        ensure!(
            size == accepted,
            "accepted {accepted} bytes, the size is {size}"
        );
        for at in (0..accepted).step_by(1 << 20).chain([accepted - 100]) {
            let seen = file::pread_vec(&fd, 1000, at)?;
            check("accepted", &seen, OLD, at)?;
        }
    }
    path::unlink(&own.at("big"))?;
    own.finish()
}

/// Many files of which some find no room: each one that was synced without error is whole.
fn small_files(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, MIB)?;
    leave_room(&own, 2 << 20)?;
    let (mut whole, mut refused) = (Vec::new(), 0);
    for i in 0..150usize {
        let name = own.at(&format!("s{i}"));
        let attempt = || -> Res<bool> {
            let fd = file::create(&name)?;
            let n = file::pwrite(&fd, &pattern(i as u8, 0, 20_000), 0)?;
            file::fsync(&fd)?;
            file::close(fd)?;
            Ok(n == 20_000)
        };
        match attempt() {
            Ok(true) => whole.push(i),
            Ok(false) => refused += 1,
            Err(e) if is_full(e) => refused += 1,
            Err(e) => bail!("file {i}: expected success or ENOSPC, saw {e}"),
        }
    }
    ensure!(
        !whole.is_empty() && refused > 0,
        "{} fit, {refused} did not",
        whole.len()
    );
    file::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    for i in whole {
        let fd = file::open(&own.at(&format!("s{i}")), libc::O_RDONLY, 0)?;
        let seen = file::pread_vec(&fd, 30_000, 0)?;
        ensure!(
            seen.len() == 20_000,
            "file {i} was synced and has {} bytes",
            seen.len()
        );
        check("a synced file", &seen, i as u8, 0)?;
    }
    own.finish()
}

/// Fills the lower itself until about `room` bytes are free.
pub fn leave_room(own: &Private, room: u64) -> Result<()> {
    let fd = file::create(&own.lower.dir.join("filler"))?;
    let mut at = 0u64;
    loop {
        let free = stat::statfs(&own.lower.dir)?;
        let free = free.free * free.block_size as u64;
        if free <= room {
            break;
        }
        let len = ((free - room) as usize).clamp(4096, CHUNK);
        match file::pwrite(&fd, &vec![0xaa; len], at) {
            Ok(n) => at += n as u64,
            Err(e) if is_full(e) => break,
            Err(e) => return Err(e).context("filling the lower"),
        }
        if at % (4 << 20) < CHUNK as u64 {
            file::fsync(&fd)?;
        }
    }
    file::fsync(&fd)?;
    Ok(())
}

fn direct_write(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, MIB)?;
    leave_room(&own, 3 << 20)?;
    drop(file::create(&own.at("f"))?);
    let direct = file::open_direct(&own.at("f"))?;
    let mut at = 0u64;
    let error = loop {
        ensure!(at < MIB << 20, "{at} bytes were written into 3 MiB of room");
        match file::pwrite_mem(&direct, &Slice::of(&pattern(NEW, at, CHUNK))?, at) {
            Ok(n) => at += n as u64,
            Err(e) => break e,
        }
        at = at / 512 * 512;
    };
    ensure!(is_full(error), "expected ENOSPC, saw {error}");
    let size = stat::fstat(&direct)?.size;
    ensure!(size >= at, "accepted {at} bytes, the size is {size}");
    check("accepted", &direct_read(&direct, 0, at as usize)?, NEW, 0)?;
    let fd = file::open(&own.at("f"), libc::O_RDONLY, 0)?;
    check(
        "accepted, cached",
        &file::pread_vec(&fd, at as usize, 0)?,
        NEW,
        0,
    )?;
    drop((fd, direct));
    own.finish()
}

/// A store into a hole finds no room: a signal, or an error when it is synced.
fn mapped_store(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, MIB)?;
    leave_room(&own, 256 << 10)?;
    let fd = file::create(&own.at("f"))?;
    let len = 16usize << 20;
    file::ftruncate(&fd, len as i64)?;
    let (exit, answer) = process::run(Duration::from_secs(60), || {
        let stores = || -> Res<()> {
            let map = Region::shared(&fd, 0, len, READ_WRITE)?;
            for page in 0..len / PAGE {
                map.store(page * PAGE, b"no room for this");
            }
            map.msync(0, len, libc::MS_SYNC)
        };
        let synced = stores();
        format!("{:?}", synced.and(file::fsync(&fd))).into_bytes()
    })?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let told = exit == Exit::Signal(libc::SIGBUS) || answer.contains("ENOSPC");
    ensure!(
        told,
        "16 MiB stored into 256 KiB of room: expected SIGBUS or ENOSPC, saw {exit:?} {answer}"
    );
    drop(fd);
    path::unlink(&own.at("f"))?;
    own.finish()
}

/// What has its blocks can be overwritten, cached, mapped or directly, however full the lower is.
fn overwriting(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, MIB)?;
    let fd = file::create(&own.at("f"))?;
    write_all(&fd, &pattern(OLD, 0, 1 << 20), 0)?;
    file::fsync(&fd)?;
    leave_room(&own, 0)?;
    write_all(&fd, &pattern(NEW, 0, 500_000), 0).context("overwriting")?;
    let map = Region::shared(&fd, 0, 1 << 20, READ_WRITE)?;
    map.store(600_000, &pattern(NEW, 600_000, 100));
    file::fsync(&fd).context("fsync of an overwrite")?;
    let direct = file::open_direct(&own.at("f"))?;
    let at = 700 << 10;
    let n = file::pwrite_mem(&direct, &Slice::of(&pattern(NEW, at, 8 * PAGE))?, at);
    ensure!(n == Ok(8 * PAGE), "a direct overwrite returned {n:?}");
    let seen = direct_read(&direct, 0, 1 << 20)?;
    check("overwritten", &seen[..500_000], NEW, 0)?;
    check("not overwritten", &seen[500_000..600_000], OLD, 500_000)?;
    check("stored", &seen[600_000..600_100], NEW, 600_000)?;
    check(
        "directly",
        &seen[at as usize..at as usize + 8 * PAGE],
        NEW,
        at,
    )?;
    drop((map, direct, fd));
    own.finish()
}

/// Pages over a hole find no room: that is reported, and those around them are on the lower.
fn neighbours_of_a_hole(ctx: &Ctx) -> Result<()> {
    const HOLE: usize = 20 * PAGE;
    // More than a full lower still finds somewhere.
    const BEHIND: usize = HOLE + (2 << 20);
    const LEN: usize = BEHIND + 20 * PAGE;
    let own = ctx.private(ctx.lower.kind, MIB)?;
    let fd = file::create(&own.at("f"))?;
    write_all(&fd, &pattern(OLD, 0, HOLE), 0)?;
    let behind = BEHIND as u64;
    write_all(&fd, &pattern(OLD, behind, LEN - BEHIND), behind)?;
    file::fsync(&fd)?;
    leave_room(&own, 0)?;
    write_all(&fd, &pattern(NEW, 0, LEN), 0).context("writing to the cache")?;
    let synced = file::fsync(&fd);
    ensure!(
        synced.is_err_and(is_full),
        "fsync of pages without room: expected ENOSPC, saw {synced:?}"
    );
    let under = file::open(&own.under.join("f"), libc::O_RDONLY, 0)?;
    let seen = file::pread_vec(&under, LEN, 0)?;
    check("before the hole", &seen[..HOLE], NEW, 0)?;
    check("behind the hole", &seen[BEHIND..], NEW, behind)?;
    drop((under, fd));
    own.finish()
}

/// Once there is room again, everything works again.
fn room_again(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, MIB)?;
    write_until_full(&own, "big")?;
    path::unlink(&own.at("big"))?;
    file::sync();
    std::thread::sleep(Duration::from_millis(200));
    let fd = file::create(&own.at("next"))?;
    write_all(&fd, &pattern(NEW, 0, 4 << 20), 0).context("writing into new room")?;
    file::fsync(&fd).context("fsync after there was room")?;
    check("in new room", &file::pread_vec(&fd, 4 << 20, 0)?, NEW, 0)?;
    drop(fd);
    own.finish()
}

/// Threads that write in every way until told to stop, whatever the calls answer.
fn load(own: &Private, stop: &Arc<AtomicBool>) -> Result<Vec<Racer<Result<()>>>> {
    let mut threads = Vec::new();
    for worker in 0..4u64 {
        let fd = file::open(&own.at("f"), libc::O_RDWR, 0)?;
        let direct = file::open_direct(&own.at("f"))?;
        let stop = Arc::clone(stop);
        threads.push(Racer::start(move || -> Result<()> {
            let data = Slice::of(&pattern(NEW, 0, 4 * PAGE))?;
            while !stop.load(Ordering::Relaxed) {
                let at = worker * 16 * PAGE as u64;
                let _ = file::pwrite_mem(&direct, &data, at);
                let _ = file::pwrite(&fd, &[1; 1000], at + 100);
                let _ = file::pread_vec(&fd, PAGE, at);
                let _ = file::pread_mem(&direct, &data, at);
                if worker == 0 {
                    let _ = file::fsync(&fd);
                }
            }
            Ok(())
        }));
    }
    Ok(threads)
}

fn under_load(ctx: &Ctx, trouble: fn(&Private) -> Result<()>) -> Result<()> {
    let mut own = ctx.private(ctx.lower.kind, MIB)?;
    let fd = file::create(&own.at("f"))?;
    write_all(&fd, &pattern(OLD, 0, 1 << 20), 0)?;
    file::fsync(&fd)?;
    let stop = Arc::new(AtomicBool::new(false));
    let threads = load(&own, &stop)?;
    std::thread::sleep(Duration::from_millis(500));
    trouble(&own)?;
    std::thread::sleep(Duration::from_millis(700));
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().context("under a failing device")??;
    }
    let write = file::pwrite(&fd, &pattern(NEW, 0, PAGE), 0);
    let told = write.and_then(|_| file::fsync(&fd));
    ensure!(
        told.is_err(),
        "a write to a dead device was accepted and synced"
    );
    drop(fd);
    own.lower.device.pass()?;
    own.umount_stack().context("unmounting after the trouble")?;
    own.lower
        .umount()
        .context("unmounting the lower after the trouble")
}

fn device_dies(ctx: &Ctx) -> Result<()> {
    under_load(ctx, |own| own.lower.device.fail())
}

fn writes_refused(ctx: &Ctx) -> Result<()> {
    under_load(ctx, |own| own.lower.device.fail_writes())
}
