// SPDX-License-Identifier: GPL-2.0

//! The buffer is a mapping of the very file that is read or written (C8).

use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, OLD, Scene, write_all};
use crate::harness::{Ctx, Test, test};
use crate::lower::stack::FsKind;
use crate::patience;
use crate::pattern::{check, check_any, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Res, file, fscall};
use crate::twin::expect_errno;
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    test("c8.write_from_another_range", |ctx| each(ctx, write_other)),
    test("c8.write_from_the_same_range", |ctx| each(ctx, write_same)),
    test("c8.read_into_another_range", |ctx| each(ctx, read_other)),
    test("c8.read_into_the_same_range", |ctx| each(ctx, read_same)),
    test("c8.read_into_what_is_written", |ctx| {
        each(ctx, read_into_written)
    }),
    test("c8.read_into_a_short_file", read_into_short),
    test("c8.read_across_the_end", read_across_the_end),
    test("c8.overlapping_ranges", |ctx| each(ctx, overlapping)),
    test("c8.two_files_crosswise", two_files_crosswise),
    test("c8.lower_opened_directly", lower_opened_directly),
    test("c8.write_back_meets_a_fault", write_back_meets_a_fault),
    test("c8.many_threads", many_threads),
];

const LEN: usize = 32 * PAGE;
const SOURCE: u8 = 0x55;

/// How a transfer between a file and memory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Cached,
    Direct,
    Async(Engine),
}

const WAYS: [Way; 4] = [
    Way::Cached,
    Way::Direct,
    Way::Async(Engine::Aio),
    Way::Async(Engine::Uring),
];

impl Way {
    fn read(self, fd: &OwnedFd, to: &Slice, at: usize) -> Result<usize> {
        Ok(match self {
            Way::Async(engine) => {
                let mut queue = Queue::new(engine, 1)?;
                queue.read(fd, to, at as u64)?;
                queue.reap(1, LIMIT)?[0].result?
            }
            _ => file::pread_mem(fd, to, at as u64)?,
        })
    }
}

/// In what state the pages of the buffer are when the call comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotThere,
    Clean,
    Dirty,
}

struct Setting<'a> {
    scene: Scene<'a>,
    way: Way,
    state: State,
    map: Arc<Region>,
}

impl Setting<'_> {
    fn fd(&self) -> &OwnedFd {
        match self.way {
            Way::Cached => &self.scene.cached,
            _ => &self.scene.direct,
        }
    }

    fn write(&self, from: &Slice, at: usize) -> Result<usize> {
        Ok(match self.way {
            Way::Async(engine) => {
                let mut queue = Queue::new(engine, 1)?;
                queue.write(self.fd(), from, at as u64)?;
                queue.reap(1, LIMIT)?[0].result?
            }
            _ => file::pwrite_mem(self.fd(), from, at as u64)?,
        })
    }

    fn read(&self, to: &Slice, at: usize) -> Result<usize> {
        self.way.read(self.fd(), to, at)
    }

    fn whole(&self, what: &str, n: usize, len: usize) -> Result<()> {
        ensure!(n == len, "{what} of {len} bytes returned {n}");
        Ok(())
    }
}

/// Runs a case by every way and with the buffer in every state.
fn each(ctx: &Ctx, case: fn(&Setting) -> Result<()>) -> Result<()> {
    for way in WAYS {
        for state in [State::NotThere, State::Clean, State::Dirty] {
            let scene = Scene::new(ctx, LEN)?;
            let at = BUFFER as u64;
            file::pwrite(&scene.cached, &pattern(SOURCE, at, SIZE), at)?;
            file::fsync(&scene.cached)?;
            scene.chill()?;
            let map = scene.map()?;
            match state {
                State::NotThere => {}
                State::Clean => drop(map.load(0, LEN)),
                State::Dirty => {
                    map.load(0, LEN);
                    map.store(BUFFER, &pattern(SOURCE, at, SIZE));
                }
            }
            let setting = Setting {
                scene,
                way,
                state,
                map,
            };
            case(&setting).with_context(|| format!("{:?}, buffer {:?}", way, setting.state))?;
        }
    }
    Ok(())
}

/// Where the buffer lies in the file.
const BUFFER: usize = 8 * PAGE;
/// Its size.
const SIZE: usize = 4 * PAGE;
/// Another range of the same size.
const TARGET: usize = 20 * PAGE;

/// The bytes of one range, as they are when moved to another.
fn moved(tag: u8, from: usize) -> Vec<u8> {
    pattern(tag, from as u64, SIZE)
}

fn expect_everywhere(s: &Setting, what: &str, at: usize, bytes: &[u8]) -> Result<()> {
    for (mode, seen) in s.scene.read_all_modes(at, bytes.len())? {
        crate::pattern::check_equal(&format!("{what} by {mode}"), &seen, bytes, at as u64)?;
    }
    crate::pattern::check_equal(
        &format!("{what} in the mapping"),
        &s.map.load(at, bytes.len()),
        bytes,
        at as u64,
    )
}

fn write_other(s: &Setting) -> Result<()> {
    let n = s.write(&Slice::new(&s.map, BUFFER, SIZE), TARGET)?;
    s.whole("a write", n, SIZE)?;
    expect_everywhere(s, "the target", TARGET, &moved(SOURCE, BUFFER))?;
    expect_everywhere(s, "the source", BUFFER, &moved(SOURCE, BUFFER))?;
    s.scene.on_disk("the source", SOURCE, BUFFER, SIZE)
}

fn write_same(s: &Setting) -> Result<()> {
    let n = s.write(&Slice::new(&s.map, BUFFER, SIZE), BUFFER)?;
    s.whole("a write", n, SIZE)?;
    expect_everywhere(s, "the range", BUFFER, &moved(SOURCE, BUFFER))?;
    s.scene.on_disk("the range", SOURCE, BUFFER, SIZE)?;
    s.scene.on_disk("before it", OLD, BUFFER - PAGE, PAGE)
}

fn read_other(s: &Setting) -> Result<()> {
    let n = s.read(&Slice::new(&s.map, BUFFER, SIZE), TARGET)?;
    s.whole("a read", n, SIZE)?;
    expect_everywhere(s, "what was read", BUFFER, &moved(OLD, TARGET))?;
    expect_everywhere(s, "where from", TARGET, &moved(OLD, TARGET))?;
    file::fsync(&s.scene.cached)?;
    s.scene.chill()?;
    expect_everywhere(s, "what was read, from disk", BUFFER, &moved(OLD, TARGET))
}

fn read_same(s: &Setting) -> Result<()> {
    let n = s.read(&Slice::new(&s.map, BUFFER, SIZE), BUFFER)?;
    s.whole("a read", n, SIZE)?;
    expect_everywhere(s, "the range", BUFFER, &moved(SOURCE, BUFFER))?;
    s.scene.on_disk("the range", SOURCE, BUFFER, SIZE)
}

/// While a read is in flight, a direct write hits a part of a page that is read into: what the read
/// brings to the rest of that page must not be lost with the page.
fn read_into_written(s: &Setting) -> Result<()> {
    const WRITTEN: usize = 512;
    if s.way == Way::Cached {
        // What it reads may be in the cache already, so that no device can hold it.
        return Ok(());
    }
    // Nor where direct reads go through the lower's cache.
    s.scene.ctx.need_direct()?;
    // From another file: a read in flight would keep this one from being written back.
    let source = s.scene.ctx.at("source");
    let fd = file::create(&source)?;
    file::pwrite(&fd, &pattern(OLD, 0, LEN), 0)?;
    file::fsync(&fd)?;
    s.map.load(BUFFER, SIZE);
    s.scene.settle()?;
    let hold = s.scene.ctx.lower.hold_reads()?;
    let (way, fd) = (s.way, file::open_direct(&source)?);
    let to = Slice::new(&s.map, BUFFER, SIZE);
    let reader = Racer::start(move || way.read(&fd, &to, TARGET));
    hold.wait_reads(1)?;
    let new = Slice::of(&pattern(NEW, BUFFER as u64, WRITTEN))?;
    let n = file::pwrite_mem(&s.scene.direct, &new, BUFFER as u64)?;
    s.whole("the direct write", n, WRITTEN)?;
    ensure!(
        !reader.finished_soon(),
        "the read did not wait for its data"
    );
    hold.release()?;
    s.whole("the read", reader.join()??, SIZE)?;
    let seen = file::pread_vec(&s.scene.cached, SIZE, BUFFER as u64)?;
    crate::pattern::check_equal(
        "what was read, beside what was written",
        &seen[WRITTEN..],
        &moved(OLD, TARGET)[WRITTEN..],
        (BUFFER + WRITTEN) as u64,
    )?;
    let either = [
        &moved(OLD, TARGET)[..WRITTEN],
        &moved(NEW, BUFFER)[..WRITTEN],
    ];
    ensure!(
        either.contains(&&seen[..WRITTEN]),
        "what was read and written is neither of the two"
    );
    expect_everywhere(s, "the buffer", BUFFER, &seen)
}

/// Source and target overlap: every byte is one that the source had there before or meanwhile.
fn overlapping(s: &Setting) -> Result<()> {
    let target = BUFFER + PAGE;
    let n = s.write(&Slice::new(&s.map, BUFFER, SIZE), target)?;
    s.whole("a write", n, SIZE)?;
    let seen = file::pread_vec(&s.scene.cached, SIZE, target as u64)?;
    let first = &seen[..PAGE];
    crate::pattern::check_equal(
        "its first page",
        first,
        &moved(SOURCE, BUFFER)[..PAGE],
        target as u64,
    )?;
    for (mode, bytes) in s.scene.read_all_modes(target, SIZE)? {
        ensure!(bytes == seen, "{mode} differs from the first cached read");
    }
    check(
        "behind it",
        &s.map.load(target + SIZE, PAGE),
        OLD,
        (target + SIZE) as u64,
    )
}

/// Each file is written from a mapping of the other, both at once, again and again.
fn two_files_crosswise(ctx: &Ctx) -> Result<()> {
    let make = |name: &str, tag| -> Result<(OwnedFd, Arc<Region>)> {
        let fd = file::create(&ctx.at(name))?;
        file::pwrite(&fd, &pattern(tag, 0, LEN), 0)?;
        file::fsync(&fd)?;
        let map = Region::shared(&fd, 0, LEN, READ_WRITE)?;
        Ok((file::open_direct(&ctx.at(name))?, map))
    };
    let (a, map_a) = make("a", 1)?;
    let (b, map_b) = make("b", 2)?;
    let cross = |fd: OwnedFd, map: Arc<Region>| {
        Racer::start(move || -> Res<()> {
            for round in 0..40 {
                let at = (round % 8) * 4 * PAGE;
                let slice = Slice::new(&map, at, 4 * PAGE);
                match round % 2 {
                    0 => file::pwrite_mem(&fd, &slice, at as u64)?,
                    _ => file::pread_mem(&fd, &slice, at as u64)?,
                };
            }
            Ok(())
        })
    };
    let one = cross(a, Arc::clone(&map_b));
    let two = cross(b, Arc::clone(&map_a));
    one.join()?.context("writing a from b")?;
    two.join()?.context("writing b from a")?;
    for (name, map) in [("a", &map_a), ("b", &map_b)] {
        check_any(name, &map.load(0, LEN), &[1, 2], 0)?;
    }
    Ok(())
}

/// Somebody works on the lower file itself, with a mapping of the upper one as buffer: nothing is
/// promised about the content, but both must come to an end.
fn lower_opened_directly(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let under = file::open_direct(&ctx.under.join("scene"))?;
    let fresh = || -> Result<Slice> { Ok(Slice::new(&scene.map()?, BUFFER, SIZE)) };
    let (write, read) = (fresh()?, fresh()?);
    let lower = Racer::start(move || -> Res<()> {
        for round in 0..20u64 {
            let at = round % 4 * SIZE as u64;
            file::pwrite_mem(&under, &write, at)?;
            file::pread_mem(&under, &read, at)?;
        }
        Ok(())
    });
    for round in 0..20u64 {
        let at = (round % 4) * SIZE as u64;
        file::pwrite_mem(&scene.direct, &fresh()?, at)?;
        file::pwrite(&scene.cached, &pattern(SOURCE, at, PAGE), at)?;
        file::fsync(&scene.cached)?;
        scene.chill()?;
    }
    lower.join()?.context("on the lower")
}

/// One who reads the lower file directly has its lock, and faults on a page above that is being
/// written back: write-back waits for the lock, so he must not have to wait for write-back.
fn write_back_meets_a_fault(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let under = file::open_direct(&ctx.under.join("scene"))?;
    fscall::fadvise(&scene.cached, 0, 0, libc::POSIX_FADV_RANDOM)?;
    // Of his buffer the first page has to come from the device, and the second one is dirty.
    let buffer = Slice::new(&scene.map()?, 0, 2 * PAGE);
    write_all(&scene.cached, &pattern(NEW, 0, PAGE), PAGE as u64)?;
    let hold = ctx.lower.hold_reads()?;
    let reader = {
        let buffer = buffer.clone();
        Racer::start(move || file::pread_mem(&under, &buffer, 8 * PAGE as u64))
    };
    hold.wait_reads(1)?;
    let syncer = {
        let fd = Arc::clone(&scene.cached);
        Racer::start(move || file::fsync(&fd))
    };
    if ctx.fs == FsKind::Diofs {
        patience::wait_for("write-back", || {
            Ok(fscall::cachestat(&scene.cached, 0, 0)?.writeback > 0)
        })?;
        ensure!(!syncer.finished_soon(), "the reader has not the lock");
    }
    hold.release()?;
    let n = reader.join()?.context("the read of the lower file")?;
    ensure!(n == 2 * PAGE, "a read of two pages returned {n}");
    syncer.join()?.context("fsync")?;
    check("what was read", &buffer.bytes(n), OLD, 8 * PAGE as u64)
}

/// Threads that read and write each other's buffers while others store to and drop the pages.
fn many_threads(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let mut threads = Vec::new();
    for worker in 0..4usize {
        let (direct, cached) = (Arc::clone(&scene.direct), Arc::clone(&scene.cached));
        let map = scene.map()?;
        threads.push(Racer::start(move || -> Res<()> {
            for round in 0..30 {
                let from = (worker * 7 + round * 3) % 28 * PAGE;
                let to = (worker * 5 + round * 11) % 28 * PAGE;
                let slice = Slice::new(&map, from, 4 * PAGE);
                match (worker + round) % 5 {
                    0 => drop(file::pwrite_mem(&direct, &slice, to as u64)?),
                    1 => drop(file::pread_mem(&direct, &slice, to as u64)?),
                    2 => drop(file::pwrite_mem(&cached, &slice, to as u64)?),
                    3 => map.store(from, &[worker as u8; 100]),
                    _ => file::fsync(&cached)?,
                }
            }
            Ok(())
        }));
    }
    for thread in threads {
        thread.join()?.context("a worker")?;
    }
    file::fsync(&scene.cached)?;
    let modes = scene.read_all_modes(0, LEN)?;
    for (name, bytes) in &modes {
        ensure!(
            *bytes == modes[0].1,
            "at rest {name} differs from {}",
            modes[0].0
        );
    }
    Ok(())
}

/// What the buffer is a mapping of ends within the buffer, or before it: the read fails, and what is
/// mapped stays as it was.
fn read_into_short(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let scene = Scene::new(ctx, LEN)?;
    let short = file::create(&ctx.at("short"))?;
    file::pwrite(&short, &pattern(SOURCE, 0, PAGE), 0)?;
    let map = Region::shared(&short, 0, 4 * PAGE, READ_WRITE)?;
    for first in [1, 0] {
        let buffer = Slice::new(&map, first * PAGE, (4 - first) * PAGE);
        let read = file::pread_mem(&scene.direct, &buffer, 0);
        let what = format!("a read into the mapping from page {first} on");
        expect_errno(&what, read, libc::EFAULT)?;
        check("what is mapped", &map.load(0, PAGE), SOURCE, 0)?;
    }
    file::fsync(&short)?;
    let under = file::open(&ctx.under.join("short"), libc::O_RDONLY, 0)?;
    let seen = file::pread_vec(&under, LEN, 0)?;
    check("the lower", &seen, SOURCE, 0)
}

/// A direct read across the end of the file, into a mapping of another one.
fn read_across_the_end(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let other = file::create(&ctx.at("other"))?;
    file::pwrite(&other, &pattern(SOURCE, 0, 4 * PAGE), 0)?;
    let map = Region::shared(&other, 0, 4 * PAGE, READ_WRITE)?;
    let last = LEN - PAGE;
    let buffer = Slice::new(&map, 0, 3 * PAGE);
    let n = file::pread_mem(&scene.direct, &buffer, last as u64)?;
    ensure!(
        n == PAGE,
        "3 pages from the last one on: {n} bytes were read"
    );
    check("what was read", &map.load(0, PAGE), OLD, last as u64)?;
    let behind = 3 * PAGE;
    check(
        "behind the buffer",
        &map.load(behind, PAGE),
        SOURCE,
        behind as u64,
    )
}
