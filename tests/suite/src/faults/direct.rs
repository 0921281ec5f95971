// SPDX-License-Identifier: GPL-2.0

//! Direct I/O: synchronous, libaio and io_uring, over files that are cached, dirty, or neither.

use super::inject::{Injector, Target};
use super::points::{Round, every_point, every_point_by};
use super::stage::{LEN, NOMEM, Stage};
use crate::coherence::queue::{By, EACH, Engine, Queue};
use crate::coherence::scene::{NEW, OLD};
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Errno, Res, file};
use anyhow::{Result, ensure};
use std::ops::Range;

pub const TESTS: &[Test] = &[
    test("faults.direct_write", direct_write).limit(300),
    test("faults.direct_extend", direct_extend).limit(120),
    test("faults.direct_read", direct_read).limit(300),
    test("faults.direct_read_mapped", direct_read_mapped).limit(120),
];

const WRITTEN: Range<usize> = 4 * PAGE..7 * PAGE;

impl By {
    pub fn write(
        self,
        round: &mut Round,
        stage: &Stage,
        data: &Slice,
        at: usize,
    ) -> Result<Res<usize>> {
        let (direct, at) = (&stage.0.direct, at as u64);
        let call = || file::pwrite_mem(direct, data, at);
        self.request(round, call, |queue| queue.write(direct, data, at))
    }

    fn read(self, round: &mut Round, stage: &Stage, to: &Slice, at: usize) -> Result<Res<usize>> {
        let (direct, at) = (&stage.0.direct, at as u64);
        let call = || file::pread_mem(direct, to, at);
        self.request(round, call, |queue| queue.read(direct, to, at))
    }

    /// Makes a request in a round. With libaio, only its submission can have the fault.
    fn request(
        self,
        round: &mut Round,
        call: impl FnOnce() -> Res<usize>,
        submit: impl FnOnce(&mut Queue) -> Res<u64>,
    ) -> Result<Res<usize>> {
        let By::Queue(engine) = self else {
            return round.raw(call);
        };
        let mut queue = Queue::new(engine, 4)?;
        match engine {
            Engine::Aio => {
                let submitted = round.raw(|| submit(&mut queue))?;
                queue.only(submitted)
            }
            Engine::Uring => round.raw_pool(|| {
                let submitted = submit(&mut queue);
                queue.only(submitted)
            })?,
        }
    }
}

/// What is in the cache when the direct request comes.
#[derive(Clone, Copy, Debug)]
enum Cache {
    Empty,
    Clean,
    Dirty,
}

fn prepare(stage: &Stage, cache: Cache) -> Result<()> {
    stage.reset()?;
    match cache {
        Cache::Empty => Ok(()),
        Cache::Clean => stage.0.warm(),
        // The same bytes again, so that it does not matter whether they were written back.
        Cache::Dirty => {
            stage.0.warm()?;
            let at = WRITTEN.start + 100;
            file::pwrite(
                &stage.0.cached,
                &pattern(OLD, at as u64, 2 * PAGE),
                at as u64,
            )?;
            Ok(())
        }
    }
}

fn direct_write(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    let data = Slice::of(&pattern(NEW, WRITTEN.start as u64, WRITTEN.len()))?;
    for (by, cache) in pairs() {
        every_point_by(
            by,
            &format!("direct write, {by:?}, {cache:?}"),
            &injector,
            |round| {
                prepare(&stage, cache)?;
                let answer = by.write(round, &stage, &data, WRITTEN.start)?;
                match round.judge(NOMEM, answer)? {
                    Some(n) => ensure!(n == WRITTEN.len(), "{n} bytes were written"),
                    None => stage.is_old_or_new(&WRITTEN)?,
                }
                if answer.is_err() {
                    // An error of the flush before it may be told once more.
                    let _ = file::fsync(&stage.0.cached);
                    let n = file::pwrite_mem(&stage.0.direct, &data, WRITTEN.start as u64)?;
                    ensure!(n == WRITTEN.len(), "without a fault {n} bytes were written");
                }
                stage.is_new(&WRITTEN)
            },
        )?;
    }
    Ok(())
}

fn pairs() -> impl Iterator<Item = (By, Cache)> {
    let caches = [Cache::Empty, Cache::Clean, Cache::Dirty];
    EACH.into_iter()
        .flat_map(move |by| caches.into_iter().map(move |cache| (by, cache)))
}

fn direct_extend(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    let range = LEN + PAGE..LEN + 4 * PAGE;
    let data = Slice::of(&pattern(NEW, range.start as u64, range.len()))?;
    for by in EACH {
        every_point_by(
            by,
            &format!("direct extending write, {by:?}"),
            &injector,
            |round| {
                stage.reset()?;
                let answer = by.write(round, &stage, &data, range.start)?;
                match round.judge(NOMEM, answer)? {
                    Some(n) => {
                        ensure!(n == range.len(), "{n} bytes were written");
                        stage.has_size(&[range.end])?;
                    }
                    None => {
                        stage.has_size(&[LEN])?;
                        let n = file::pwrite_mem(&stage.0.direct, &data, range.start as u64)?;
                        ensure!(n == range.len(), "without a fault {n} bytes were written");
                    }
                }
                stage.is_new(&range)
            },
        )?;
    }
    Ok(())
}

fn direct_read(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    for (by, cache) in pairs() {
        every_point_by(
            by,
            &format!("direct read, {by:?}, {cache:?}"),
            &injector,
            |round| {
                prepare(&stage, cache)?;
                let to = Slice::zeroed(LEN)?;
                let answer = by.read(round, &stage, &to, 0)?;
                match round.judge(NOMEM, answer)? {
                    Some(n) => {
                        ensure!(n == LEN, "{n} bytes were read");
                        check("read with a fault", &to.bytes(n), OLD, 0)?;
                    }
                    None => {
                        let _ = file::fsync(&stage.0.cached);
                    }
                }
                stage.reads_old(LEN)
            },
        )?;
    }
    Ok(())
}

/// Into a buffer that is mapped from another file of the same mount.
fn direct_read_mapped(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    let other = file::create(&ctx.at("other"))?;
    file::ftruncate(&other, LEN as i64)?;
    every_point("direct read into a mapped buffer", &injector, |round| {
        stage.0.chill()?;
        file::ftruncate(&other, 0)?;
        file::ftruncate(&other, LEN as i64)?;
        let to = Slice::new(&Region::shared(&other, 0, LEN, READ_WRITE)?, 0, LEN);
        // A store into the buffer for which there is no memory is memory that is not there.
        let answer = By::Call.read(round, &stage, &to, 0)?;
        match round.judge(&[libc::ENOMEM, libc::EFAULT], answer)? {
            Some(n) => check("read with a fault", &to.bytes(n), OLD, 0)?,
            None => ensure!(answer != Err(Errno(0)), "an error without a number"),
        }
        let n = file::pread_mem(&stage.0.direct, &to, 0)?;
        ensure!(n == LEN, "without a fault {n} bytes were read");
        check("read without a fault", &to.bytes(n), OLD, 0)?;
        file::fsync(&other)?;
        let seen = file::pread_vec(&other, LEN, 0)?;
        check("the mapped file", &seen, OLD, 0)
    })
}
