// SPDX-License-Identifier: GPL-2.0

//! Errors of the device are reported, once to everybody, and to nobody else (C10).

use super::queue::{Engine, Queue};
use super::scene::{LIMIT, NEW, OLD, direct_read, write_all};
use crate::harness::{Ctx, Private, Test, test};
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Errno, Res, file, fscall, stat};
use crate::twin::expect_errno;
use anyhow::{Context, Result, bail, ensure};
use std::os::fd::OwnedFd;

pub const TESTS: &[Test] = &[
    test(
        "c10.write_back_error_reaches_everybody_once",
        everybody_once,
    ),
    test("c10.write_back_error_by_sync", by_sync),
    test("c10.write_back_error_by_syncfs", by_syncfs),
    test("c10.mapped_store", mapped_store),
    test("c10.direct_write", direct_write),
    test("c10.direct_write_over_dirty", direct_write_over_dirty),
    test("c10.read_error", read_error),
    test("c10.synchronous_write", synchronous_write),
    test("c10.size_after_failed_sync", size_after_failed_sync),
];

const LEN: usize = 16 * PAGE;
const CACHED: u8 = 0x33;
/// The page whose blocks the device fails.
pub const BAD: usize = 5;

/// A file on a lower of its own, one page of which can be made to fail.
pub struct Broken {
    pub own: Private,
    fd: OwnedFd,
    sectors: std::ops::Range<u64>,
}

impl Broken {
    pub fn new(ctx: &Ctx) -> Result<Self> {
        let own = ctx.private(ctx.lower.kind, 64)?;
        let fd = file::create(&own.at("f"))?;
        write_all(&fd, &pattern(OLD, 0, LEN), 0)?;
        file::fsync(&fd)?;
        file::sync();
        let under = file::open(&own.under.join("f"), libc::O_RDONLY, 0)?;
        let bytes = fscall::device_offset(&under, (BAD * PAGE) as u64)?;
        let sectors = bytes / 512..(bytes + PAGE as u64) / 512;
        let broken = Self { own, fd, sectors };
        broken.chill()?;
        Ok(broken)
    }

    fn open(&self) -> Result<OwnedFd> {
        Ok(file::open(&self.own.at("f"), libc::O_RDWR, 0)?)
    }

    pub fn open_direct(&self) -> Result<OwnedFd> {
        Ok(file::open_direct(&self.own.at("f"))?)
    }

    fn chill(&self) -> Result<()> {
        fscall::fadvise(&self.fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
        let under = file::open(&self.own.under.join("f"), libc::O_RDONLY, 0)?;
        Ok(fscall::fadvise(&under, 0, 0, libc::POSIX_FADV_DONTNEED)?)
    }

    /// The device fails the blocks of the page from now on.
    pub fn fail(&self) -> Result<()> {
        self.own.lower.device.fail_sectors(&self.sectors)
    }

    /// Makes the device whole again, writes all of the file and checks that nothing is left of the
    /// trouble.
    pub fn mend(self) -> Result<()> {
        self.own.lower.device.pass()?;
        // What was refused may still be waiting to be written; then nobody may be surprised.
        let _ = file::fsync(&self.fd);
        write_all(&self.fd, &pattern(NEW, 0, LEN), 0).context("writing after the trouble")?;
        file::fsync(&self.fd).context("fsync after the trouble")?;
        self.chill()?;
        check(
            "after the trouble",
            &file::pread_vec(&self.fd, LEN, 0)?,
            NEW,
            0,
        )?;
        let direct = self.open_direct()?;
        check(
            "after the trouble, direct",
            &direct_read(&direct, 0, LEN)?,
            NEW,
            0,
        )?;
        drop((self.fd, direct));
        self.own.finish()
    }
}

fn bad_offset() -> u64 {
    (BAD * PAGE) as u64
}

/// data=journal writes data to the journal first, so that the device's error comes elsewhere.
fn need_plain_data(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()
}

/// `fsync` fails with EIO, and then it does not.
pub fn expect_once(what: &str, fd: &OwnedFd) -> Result<()> {
    expect_errno(what, file::fsync(fd), libc::EIO)?;
    file::fsync(fd).with_context(|| format!("{what}, the second time"))
}

fn everybody_once(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let (writer, reader) = (
        broken.open()?,
        file::open(&broken.own.at("f"), libc::O_RDONLY, 0)?,
    );
    broken.fail()?;
    file::pwrite(&writer, &pattern(CACHED, bad_offset(), PAGE), bad_offset())?;
    expect_once("fsync of the writer", &writer)?;
    expect_once("fsync of a reader", &reader)?;
    expect_once("fsync of the third", &broken.fd)?;
    let later = broken.open()?;
    file::fsync(&later).context("fsync by who came later")?;
    drop((writer, reader, later));
    broken.mend()
}

/// The write-back was begun by somebody else; whoever syncs afterwards still hears of it.
fn by_sync(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let writer = broken.open()?;
    broken.fail()?;
    file::pwrite(&writer, &pattern(CACHED, bad_offset(), PAGE), bad_offset())?;
    file::sync();
    std::thread::sleep(std::time::Duration::from_millis(100));
    expect_once("fsync of the writer", &writer)?;
    expect_once("fsync of another", &broken.fd)?;
    drop(writer);
    broken.mend()
}

/// To sync the filesystem tells of errors too, of the lower one's write-back as well: once to each
/// descriptor.
fn by_syncfs(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let other = broken.open()?;
    broken.fail()?;
    file::pwrite(
        &broken.fd,
        &pattern(CACHED, bad_offset(), PAGE),
        bad_offset(),
    )?;
    for fd in [&broken.fd, &other] {
        expect_errno("syncfs", file::syncfs(fd), libc::EIO)?;
        file::syncfs(fd).context("syncfs, the second time")?;
    }
    drop(other);
    broken.mend()
}

fn mapped_store(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let map = Region::shared(&broken.fd, 0, LEN, READ_WRITE)?;
    map.load(0, LEN);
    broken.fail()?;
    map.store(BAD * PAGE + 10, &pattern(CACHED, bad_offset() + 10, 100));
    expect_errno("msync", map.msync(0, LEN, libc::MS_SYNC), libc::EIO)?;
    drop(map);
    broken.mend()
}

/// A direct write that fails says so itself, synchronous or not; the other pages are as they were.
fn direct_write(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let direct = broken.open_direct()?;
    file::pread_vec(&broken.fd, LEN, 0)?;
    broken.fail()?;
    let data = Slice::of(&pattern(NEW, bad_offset(), PAGE))?;
    let write = file::pwrite_mem(&direct, &data, bad_offset());
    expect_errno("a direct write", write, libc::EIO)?;
    for engine in Engine::BOTH {
        let mut queue = Queue::new(engine, 4)?;
        queue.write(&direct, &data, bad_offset())?;
        queue.write(&direct, &Slice::of(&pattern(OLD, 0, PAGE))?, 0)?;
        let mut results: Vec<Res<usize>> = queue.reap(2, LIMIT)?.iter().map(|d| d.result).collect();
        results.sort_by_key(|r| r.is_ok());
        ensure!(
            results == [Err(Errno(libc::EIO)), Ok(PAGE)],
            "{engine:?}: expected EIO and {PAGE}, saw {results:?}"
        );
        ensure!(
            queue.reap_now()?.is_empty(),
            "{engine:?}: a completion too many"
        );
    }
    broken.own.lower.device.pass()?;
    let cached = file::pread_vec(&broken.fd, LEN, 0)?;
    let seen = direct_read(&direct, 0, LEN)?;
    ensure!(
        cached == seen,
        "after a failed write cached and direct reads differ"
    );
    check("before it", &cached[..BAD * PAGE], OLD, 0)?;
    check(
        "the page itself",
        &cached[BAD * PAGE..(BAD + 1) * PAGE],
        OLD,
        bad_offset(),
    )?;
    check(
        "behind it",
        &cached[(BAD + 1) * PAGE..],
        OLD,
        bad_offset() + PAGE as u64,
    )?;
    drop(direct);
    broken.mend()
}

/// What is dirty in the range cannot be written back. The direct write is refused before any of it
/// is submitted, or it is taken and the error is told by the next fsync: the lower's cache takes
/// what diofs writes back, and then ext4 makes a direct write over it a cached one. It is not just
/// swallowed.
fn direct_write_over_dirty(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let direct = broken.open_direct()?;
    file::pwrite(
        &broken.fd,
        &pattern(CACHED, bad_offset(), PAGE),
        bad_offset(),
    )?;
    broken.fail()?;
    let from = bad_offset() - PAGE as u64;
    let data = Slice::of(&pattern(NEW, from, 3 * PAGE))?;
    let write = file::pwrite_mem(&direct, &data, from);
    let neighbour = match write {
        Err(Errno(libc::EIO)) => OLD,
        Ok(n) if n == 3 * PAGE => {
            expect_errno("fsync after it", file::fsync(&direct), libc::EIO)?;
            NEW
        }
        other => bail!("a direct write over what cannot be written back: saw {other:?}"),
    };
    broken.own.lower.device.pass()?;
    let _ = file::fsync(&broken.fd);
    broken.chill()?;
    for at in [from, bad_offset() + PAGE as u64] {
        check(
            "a page beside it",
            &direct_read(&direct, at as usize, PAGE)?,
            neighbour,
            at,
        )?;
    }
    drop(direct);
    broken.mend()
}

fn read_error(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let direct = broken.open_direct()?;
    broken.fail()?;
    for round in 0..2 {
        let what = |name: &str| format!("{name}, round {round}");
        let bad = file::pread_vec(&broken.fd, 100, bad_offset() + 7);
        expect_errno(&what("a cached read"), bad, libc::EIO)?;
        let bad = file::pread_mem(&direct, &Slice::zeroed(PAGE)?, bad_offset());
        expect_errno(&what("a direct read"), bad, libc::EIO)?;
        for engine in Engine::BOTH {
            let mut queue = Queue::new(engine, 1)?;
            queue.read(&direct, &Slice::zeroed(PAGE)?, bad_offset())?;
            let bad = queue.reap(1, LIMIT)?[0].result;
            expect_errno(&what("an asynchronous read"), bad, libc::EIO)?;
        }
        let before = file::pread_vec(&broken.fd, BAD * PAGE, 0)?;
        ensure!(
            before.len() == BAD * PAGE,
            "before the bad page: {} bytes",
            before.len()
        );
        check(&what("before it"), &before, OLD, 0)?;
        let behind = bad_offset() + PAGE as u64;
        let rest = file::pread_vec(&broken.fd, LEN, behind)?;
        ensure!(
            rest.len() == LEN - (BAD + 1) * PAGE,
            "behind it: {} bytes",
            rest.len()
        );
        check(&what("behind it"), &rest, OLD, behind)?;
    }
    let map = Region::shared(&broken.fd, 0, LEN, READ_WRITE)?;
    let limit = std::time::Duration::from_secs(20);
    let (exit, _) = crate::sys::process::run(limit, || map.load(BAD * PAGE, 1))?;
    ensure!(
        exit == crate::sys::process::Exit::Signal(libc::SIGBUS),
        "a load from the bad page: expected SIGBUS, saw {exit:?}"
    );
    check("a load beside it", &map.load(0, BAD * PAGE), OLD, 0)?;
    drop(map);
    broken.own.lower.device.pass()?;
    check("read again", &file::pread_vec(&broken.fd, LEN, 0)?, OLD, 0)?;
    drop(direct);
    broken.mend()
}

/// Who asked for the data to be on disk hears at the write itself.
fn synchronous_write(ctx: &Ctx) -> Result<()> {
    need_plain_data(ctx)?;
    let broken = Broken::new(ctx)?;
    let sync = file::open(&broken.own.at("f"), libc::O_RDWR | libc::O_SYNC, 0)?;
    broken.fail()?;
    let write = file::pwrite(&sync, &pattern(CACHED, bad_offset(), PAGE), bad_offset());
    expect_errno("a write by O_SYNC", write, libc::EIO)?;
    let good = file::pwrite(&sync, &pattern(CACHED, 0, PAGE), 0);
    ensure!(
        good == Ok(PAGE) || good == Err(Errno(libc::EIO)),
        "a write elsewhere returned {good:?}"
    );
    drop(sync);
    broken.mend()
}

/// A direct write that is to be synced extends the file, and the device refuses. With data=journal
/// the lower file has grown by then: the upper one must not be shorter.
fn size_after_failed_sync(ctx: &Ctx) -> Result<()> {
    let mut own = ctx.private(ctx.lower.kind, 64)?;
    let fd = file::create(&own.at("f"))?;
    write_all(&fd, &pattern(OLD, 0, PAGE), 0)?;
    file::fsync(&fd)?;
    let direct = file::open_direct(&own.at("f"))?;
    let data = Slice::of(&pattern(NEW, PAGE as u64, PAGE))?;
    file::sync();
    own.lower.device.fail_writes()?;
    let write = file::pwritev(&direct, &[data], PAGE as u64, file::RWF_DSYNC);
    ensure!(
        write.is_err(),
        "a dead device: expected an error, saw {write:?}"
    );
    let above = stat::fstat(&fd)?.size;
    let below = std::fs::metadata(own.under.join("f"))?.len();
    ensure!(
        above == below,
        "after {write:?} the file has {above} bytes, the lower one {below}"
    );
    drop((fd, direct));
    own.lower.device.pass()?;
    own.umount_stack().context("unmounting after it")?;
    own.lower.umount().context("unmounting the lower after it")
}
