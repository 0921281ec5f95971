// SPDX-License-Identifier: GPL-2.0

//! Requests to the lower's disk that fail, one after the other.

use super::inject::{Failing, Injector, Target};
use super::points::{Round, every_point, every_point_by, many_rounds};
use super::stage::Stage;
use crate::coherence::queue::EACH;
use crate::coherence::scene::{NEW, OLD, direct_read, write_all};
use crate::harness::{Ctx, Test, test};
use crate::lower::Kind;
use crate::pattern::{check, check_any, pattern};
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{Errno, Res, file};
use anyhow::{Context, Result, bail, ensure};
use std::ops::Range;
use std::os::fd::OwnedFd;

pub const TESTS: &[Test] = &[
    test("faults.requests_direct", direct).limit(120),
    test("faults.requests_read", reading).limit(120),
    test("faults.requests_fsync", fsync).once().limit(240),
    test("faults.requests_flusher", flusher).once().limit(240),
];

const EIO: &[i32] = &[libc::EIO];
const PART: Range<usize> = 3 * PAGE + 700..6 * PAGE + 900;

/// Direct writes in several requests: the write fails, what lies beside is as it was.
fn direct(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let injector = Injector::at(Target::OwnRequests)?;
    let stage = Stage::new(ctx)?;
    let failing = Failing::device(ctx.lower.device.node())?;
    let range = 2 * PAGE..10 * PAGE;
    let data = Slice::of(&pattern(NEW, range.start as u64, range.len()))?;
    for by in EACH {
        for warm in [false, true] {
            let what = format!("direct write, requests, {by:?}, cached: {warm}");
            every_point_by(by, &what, &injector, |round| {
                stage.reset()?;
                if warm {
                    stage.0.warm()?;
                }
                let answer = by.write(round, &stage, &data, range.start)?;
                if let Some(n) = round.judge(EIO, answer)? {
                    ensure!(
                        n == range.len() || round.fired > 0,
                        "{n} bytes were written"
                    );
                    let upto = n / 512 * 512;
                    let seen = direct_read(&stage.0.direct, range.start, upto)?;
                    check("what was acknowledged", &seen, NEW, range.start as u64)?;
                }
                stage.is_old_or_new(&range)?;
                let n = file::pwrite_mem(&stage.0.direct, &data, range.start as u64)?;
                ensure!(n == range.len(), "without a fault {n} bytes were written");
                stage.is_new(&range)
            })?;
        }
    }
    drop(failing);
    Ok(())
}

/// A call that reads some of the file.
type Read = fn(&Stage) -> Res<Vec<u8>>;

fn reading(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let injector = Injector::at(Target::OwnRequests)?;
    let stage = Stage::new(ctx)?;
    let failing = Failing::device(ctx.lower.device.node())?;
    let ways: [(&str, Read); 2] = [
        ("cached read, requests", |s| {
            file::pread_vec(&s.0.cached, 10 * PAGE, 0)
        }),
        ("direct read, requests", |s| {
            let to = Slice::zeroed(10 * PAGE)?;
            file::pread_mem(&s.0.direct, &to, 0).map(|n| to.bytes(n))
        }),
    ];
    for (what, read) in ways {
        every_point(what, &injector, |round| {
            stage.0.chill()?;
            if let Some(bytes) = round.call(EIO, || read(&stage))? {
                ensure!(!bytes.is_empty(), "nothing was read");
                check("read", &bytes, OLD, 0)?;
            }
            stage.reads_old(10 * PAGE)
        })?;
    }
    drop(failing);
    Ok(())
}

/// Three descriptors of the file under test, all older than the trouble.
fn open_three(stage: &Stage) -> Result<Vec<OwnedFd>> {
    (0..3)
        .map(|_| Ok(file::open(&stage.0.path, libc::O_RDWR, 0)?))
        .collect()
}

/// After the first of `files` has heard of an error, each other one hears of it, and none twice.
///
/// It may also be that no other one hears of it: of an error that has nothing to do with the data,
/// a refused flush of the disk's cache. That has been done again then, and the data are on disk.
fn all_hear_once(stage: &Stage, files: &[OwnedFd]) -> Result<()> {
    let answers: Vec<Res<()>> = files[1..].iter().map(file::fsync).collect();
    if answers.iter().all(Result::is_ok) {
        return stage.is_on_disk(&PART);
    }
    ensure!(
        answers.iter().all(|a| *a == Err(Errno(libc::EIO))),
        "the other descriptors hear {answers:?}"
    );
    for (i, fd) in files.iter().enumerate() {
        file::fsync(fd).with_context(|| format!("descriptor {i} hears of the error twice"))?;
    }
    Ok(())
}

/// An error of `fsync` is told once to every descriptor; without one, the data are on disk.
///
/// The lower filesystem hands its requests to the kernel's threads. It has no journal: one whose
/// requests fail stops all writing for good.
fn fsync(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Requests)?;
    let own = ctx.private(Kind::Ext2Block4k, 64)?;
    {
        let ctx = own.instead_of(ctx);
        let stage = Stage::new(&ctx)?;
        let failing = Failing::device(ctx.lower.device.node())?;
        many_rounds("fsync, requests", &injector, 40, |round| {
            told_once(&stage, round)
        })?;
        drop(failing);
    }
    own.finish()
}

fn told_once(stage: &Stage, round: &mut Round) -> Result<()> {
    stage.reset_dirty(&PART)?;
    let files = open_three(stage)?;
    round.n = round.n % 2 + 1;
    if round.call_work(EIO, || file::fsync(&files[0]))?.is_some() {
        return stage.is_on_disk(&PART);
    }
    all_hear_once(stage, &files)?;
    let _ = file::fsync(&stage.0.cached);
    stage.write_cached(&PART)?;
    stage.is_new(&PART)
}

/// After an error of `fsync`: each of `faults` errors is told once. An error of the data ends it
/// before it comes to one of the metadata, which the next one tells.
fn told_at_most(fd: &OwnedFd, faults: usize) -> Result<()> {
    for _ in 1..faults {
        if file::fsync(fd).is_ok() {
            break;
        }
    }
    file::fsync(fd).with_context(|| format!("of {faults} faults one is told twice"))
}

/// Requests of the kernel's own threads fail while several pages are written and synced, each by
/// itself. What `fsync` has acknowledged is there in the end. Without a journal, as above.
fn flusher(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Requests)?;
    let own = ctx.private(Kind::Ext2Block4k, 64)?;
    let fd = file::create(&own.at("f"))?;
    let len = 64 * PAGE;
    write_all(&fd, &pattern(OLD, 0, len), 0)?;
    file::fsync(&fd)?;
    file::sync();
    let failing = Failing::device(own.lower.device.node())?;
    let mut synced = vec![OLD; len / PAGE];
    let mut tag = NEW;
    many_rounds("fsync, requests of the flusher", &injector, 48, |round| {
        let page = (round.n as usize * 7) % (len / PAGE);
        let at = (page * PAGE) as u64;
        round.n = round.n % 2 + 1;
        tag = tag.wrapping_add(1);
        write_all(&fd, &pattern(tag, at, PAGE), at)?;
        let flushed = round.call_work(EIO, || file::syncfs(&fd))?.is_some();
        match file::fsync(&fd) {
            Ok(()) => synced[page] = tag,
            Err(Errno(libc::EIO)) if flushed => {
                bail!("syncfs says that all is well, and fsync tells of an error")
            }
            Err(Errno(libc::EIO)) if round.fired > 0 => {
                told_at_most(&fd, round.fired)?;
                write_all(&fd, &pattern(tag, at, PAGE), at)?;
                file::fsync(&fd).context("fsync after the trouble")?;
                synced[page] = tag;
            }
            Err(errno) => bail!("fsync: {errno}"),
        }
        Ok(())
    })?;
    drop(failing);
    drop(fd);
    let below = std::fs::read(own.under.join("f"))?;
    for (page, tag) in synced.iter().enumerate() {
        let at = page * PAGE;
        check_any("what was synced", &below[at..at + PAGE], &[*tag], at as u64)?;
    }
    own.finish()
}
