// SPDX-License-Identifier: GPL-2.0

//! The steps of a direct write in their order, each made visible while the next one is kept from
//! happening: what is gone from the cache before it is submitted (C1), who comes in when it is in
//! flight (C4, C5), and what has happened by the time that its caller learns of it (C3).

use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, OLD, Scene, direct_read, write_all};
use crate::harness::{Ctx, Private, Test, test};
use crate::lower::Kind;
use crate::lower::stack::FsKind;
use crate::patience;
use crate::pattern::{check, check_any, pattern};
use crate::stats::Stats;
use crate::sys::mem::{PAGE, READ, READ_WRITE, Region, Slice};
use crate::sys::process::{self, Child, Exit};
use crate::sys::{Res, file, fscall};
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("c1.dropped_before_submission", dropped_before_submission),
    test("c2.stored_to_on_its_way", stored_to_on_its_way),
    test("c3.reader_gave_up", reader_gave_up).once().limit(180),
    test("c4.reader_on_its_way", reader_on_its_way),
    test("c5.writer_waits_for_the_lock", writer_waits_for_the_lock),
    test("c5.store_outwaits_the_device", store_outwaits_the_device)
        .limit(300)
        .once(),
];

const LEN: usize = 64 * PAGE;
const AT: usize = 16 * PAGE;
/// Whose bytes a cached write puts there.
const CACHED: u8 = 0x33;

/// While the device holds a direct write, its range is in no cache and in no mapping any more,
/// whether it was only read before or written and written back.
fn dropped_before_submission(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    ctx.need_diofs()?;
    for (engine, written) in [(Engine::Aio, false), (Engine::Uring, true)] {
        let scene = Scene::new(ctx, LEN)?;
        let map = scene.map()?;
        map.load(0, LEN);
        if written {
            let at = (AT + PAGE) as u64;
            file::pwrite(&scene.cached, &pattern(CACHED, at, PAGE), at)?;
        }
        let flight = scene.fly(engine, AT, 4 * PAGE)?;
        let cache = fscall::cachestat(&scene.cached, AT as u64, 4 * PAGE as u64)?;
        let resident = map.mincore()?;
        flight.land()?;
        ensure!(
            cache.cached == 0,
            "written {written}: while the write was in flight {} of its pages were cached",
            cache.cached
        );
        ensure!(
            !resident[AT / PAGE..AT / PAGE + 4].contains(&true),
            "written {written}: while the write was in flight some of its pages were resident"
        );
        let found = Stats::of(&ctx.up)?.get("found_after")?;
        ensure!(found == 0, "{found} folios were found after the write");
        scene.all_modes(NEW, AT, 4 * PAGE)?;
    }
    Ok(())
}

/// A direct write has emptied the cache and waits for the lock of the lower's inode, and one of its
/// pages is stored to. It is done and says so, once. In 2007 it found that page when it had been
/// submitted, said that it had failed, and was completed again when the device was done with it.
fn stored_to_on_its_way(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    ctx.need_diofs()?;
    let scene = Scene::new(ctx, LEN)?;
    let under = file::open_direct(&ctx.under.join("scene"))?;
    let map = scene.map()?;
    map.load(0, LEN);
    let hold = ctx.lower.hold_writes()?;
    // It extends the lower file, which is locked then until the device is done.
    let extends = {
        let data = Slice::of(&pattern(CACHED, LEN as u64, PAGE))?;
        Racer::start(move || {
            let answer = file::pwrite_mem(&under, &data, LEN as u64);
            (answer, under)
        })
    };
    hold.wait_writes(1)?;
    let direct = {
        let (fd, mut queue) = (Arc::clone(&scene.direct), Queue::new(Engine::Aio, 1)?);
        let data = Slice::of(&pattern(NEW, AT as u64, 4 * PAGE))?;
        Racer::start(move || {
            let id = queue.write(&fd, &data, AT as u64);
            (id, queue)
        })
    };
    ensure!(!direct.finished_soon(), "nobody holds the lower inode lock");
    let place = AT + PAGE;
    let storer = {
        let map = Arc::clone(&map);
        Racer::start(move || map.store(place, &pattern(CACHED, place as u64, 100)))
    };
    storer.give_a_moment();
    hold.release()?;
    let (n, under) = extends.join()?;
    ensure!(
        n == Ok(PAGE),
        "a write of {PAGE} bytes below returned {n:?}"
    );
    file::ftruncate(&under, LEN as i64)?;
    let (id, mut queue) = direct.join()?;
    let n = queue.only(id)?;
    ensure!(
        n == Ok(4 * PAGE),
        "a direct write of {} bytes returned {n:?}",
        4 * PAGE
    );
    storer.join()?;
    file::fsync(&scene.cached)?;
    for (name, seen) in scene.read_all_modes(AT, 4 * PAGE)? {
        let (before, rest) = seen.split_at(PAGE);
        let (stored, behind) = rest.split_at(100);
        let at = place as u64;
        check(name, before, NEW, AT as u64)?;
        check_any(name, stored, &[NEW, CACHED], at)?;
        check(name, behind, NEW, at + 100)?;
    }
    scene.on_disk("before the store", NEW, AT, PAGE)?;
    scene.on_disk("behind the store", NEW, place + 100, 3 * PAGE - 100)
}

/// A minute is the longest that a reader waits for a direct write, and the only way into the cache
/// while one is in flight. Then the second invalidation has something to do.
fn reader_gave_up(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let _patient = PatientKernel::enter()?;
    give_up(ctx)
}

/// Has the kernel not complain of tasks that wait for a minute. As before, on drop.
struct PatientKernel(String);

impl PatientKernel {
    const FILE: &str = "/proc/sys/kernel/hung_task_timeout_secs";

    fn enter() -> Result<Self> {
        let before = std::fs::read_to_string(Self::FILE).context(Self::FILE)?;
        let long = 300 * patience::factor();
        std::fs::write(Self::FILE, long.to_string()).context(Self::FILE)?;
        Ok(Self(before))
    }
}

impl Drop for PatientKernel {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FILE, &self.0);
    }
}

/// As many pages as there are readers, and the last of them only in part written directly.
const PAGES: usize = 128;
const SPAN: usize = PAGES * PAGE - 2048;
const LAST: usize = (PAGES - 1) * PAGE;
/// So many that to zap them takes some milliseconds.
const MAPPINGS: usize = 500;

/// Readers of a direct write's pages give up, and the pages are mapped, so that to invalidate them
/// takes a while. Until that is done nobody may learn that the write is complete, and what is
/// stored through a mapping has to wait.
fn give_up(ctx: &Ctx) -> Result<()> {
    // Without a journal: to note the time of a store must not wait for the device.
    let own = ctx.private(Kind::Ext2Block4k, 64)?;
    let fd = Arc::new(file::create(&own.at("f"))?);
    write_all(&fd, &pattern(OLD, 0, PAGES * PAGE), 0)?;
    file::fsync(&fd)?;
    let direct = file::open_direct(&own.at("f"))?;
    file::sync();
    fscall::fadvise(&fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    fscall::fadvise(&fd, 0, 0, libc::POSIX_FADV_RANDOM)?;

    let hold = own.lower.hold_writes()?;
    let mut queue = Queue::new(Engine::Aio, 1)?;
    queue.write(&direct, &Slice::of(&pattern(NEW, 0, SPAN))?, 0)?;
    hold.wait_writes(1)?;
    wait_for_readers(&fd)?;
    let maps = (0..MAPPINGS)
        .map(|_| Region::shared(&fd, 0, PAGES * PAGE, READ_WRITE))
        .collect::<Result<Vec<_>, _>>()?;
    for map in &maps {
        map.madvise(libc::MADV_POPULATE_READ)?;
    }
    check(
        "while the write is in flight",
        &maps[0].load(0, SPAN),
        OLD,
        0,
    )?;
    let place = LAST + 3000;
    let storer = {
        let map = Arc::clone(&maps[0]);
        Racer::start(move || map.store(place, &pattern(CACHED, place as u64, 100)))
    };
    let stored = storer.finished_soon();
    let caller = {
        let fd = Arc::clone(&fd);
        Racer::start(move || complete_and_read(&mut queue, &fd))
    };
    hold.release()?;
    let (done, seen) = caller.join()??;
    ensure!(!stored, "a page of the range was stored to in flight");
    ensure!(
        done == Ok(SPAN),
        "a direct write of {SPAN} bytes returned {done:?}"
    );
    check("a cached read right after it", &seen, NEW, LAST as u64)?;
    storer.join()?;
    let stats = Stats::of(&own.up)?;
    let (given_up, failed) = (stats.get("waits_given_up")?, stats.get("after_failures")?);
    ensure!(
        given_up >= PAGES as u64,
        "only {given_up} waits were given up"
    );
    ensure!(failed == 0, "the second invalidation has failed");
    file::fsync(&fd).context("fsync after it")?;
    for (what, tag, at, len) in [
        ("the direct write", NEW, 0, SPAN),
        ("the store", CACHED, place, 100),
    ] {
        check(what, &file::pread_vec(&fd, len, at as u64)?, tag, at as u64)?;
        check(what, &direct_read(&direct, at, len)?, tag, at as u64)?;
    }
    drop((fd, direct, maps));
    own.finish()
}

/// A store waits for a direct write for as long as the device does: that is a minute until its page
/// is read, without the direct write, and then more than another. But if somebody waits for the lock
/// of the lower inode, which the one who stores might hold, it fails after that minute.
fn store_outwaits_the_device(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let _patient = PatientKernel::enter()?;
    // Without a journal, as above.
    let own = ctx.private(Kind::Ext2Block4k, 64)?;
    let mut free = StoredTo::create(&own, "free")?;
    let mut contended = StoredTo::create(&own, "contended")?;
    file::sync();
    let hold = own.lower.hold_writes()?;
    free.write_direct()?;
    contended.write_direct()?;
    hold.wait_writes(2)?;
    // Before there are threads, which a process that forks must not have.
    free.store()?;
    contended.store()?;
    // One who extends the lower file keeps its lock until the device is done, another waits for it.
    let extends = writes_below(&own, libc::O_DIRECT)?;
    hold.wait_writes(3)?;
    let waits = writes_below(&own, 0)?;

    let start = Instant::now();
    let gave_up = contended.wait_for_store(Duration::from_secs(150))?;
    ensure!(
        gave_up == Some(Exit::Signal(libc::SIGBUS)),
        "with the lower inode contended a store ended with {gave_up:?}, not SIGBUS"
    );
    ensure!(
        start.elapsed() > Duration::from_secs(90),
        "the store did not wait for a minute: it ended after {:?}",
        start.elapsed()
    );
    let early = free.wait_for_store(Duration::from_secs(5))?;
    hold.release()?;
    ensure!(early.is_none(), "in flight: a store ended with {early:?}");
    for (what, writer) in [("extends", extends), ("waits", waits)] {
        let n = writer.join()?;
        ensure!(n == Ok(PAGE), "below, the write that {what} returned {n:?}");
    }
    let under = file::open(&own.under.join("contended"), libc::O_WRONLY, 0)?;
    file::ftruncate(&under, PAGE as i64)?;
    drop(under);
    free.check(Some(CACHED))?;
    contended.check(None)?;
    drop((free, contended));
    own.finish()
}

/// A page of a file, of which the beginning is written directly and the middle stored to.
struct StoredTo {
    fd: OwnedFd,
    direct: OwnedFd,
    map: Arc<Region>,
    queue: Queue,
    storer: Option<Child>,
}

impl StoredTo {
    const PLACE: usize = 2048;
    const BYTES: usize = 100;

    fn create(own: &Private, name: &str) -> Result<Self> {
        let fd = file::create(&own.at(name))?;
        write_all(&fd, &pattern(OLD, 0, PAGE), 0)?;
        file::fsync(&fd)?;
        Ok(Self {
            direct: file::open_direct(&own.at(name))?,
            map: Region::shared(&fd, 0, PAGE, READ_WRITE)?,
            fd,
            queue: Queue::new(Engine::Aio, 1)?,
            storer: None,
        })
    }

    fn write_direct(&mut self) -> Result<()> {
        let data = Slice::of(&pattern(NEW, 0, 512))?;
        self.queue.write(&self.direct, &data, 0)?;
        Ok(())
    }

    fn store(&mut self) -> Result<()> {
        let data = pattern(CACHED, Self::PLACE as u64, Self::BYTES);
        self.storer = Some(process::fork(|| {
            self.map.store(Self::PLACE, &data);
            Vec::new()
        })?);
        Ok(())
    }

    fn wait_for_store(&mut self, limit: Duration) -> Result<Option<Exit>> {
        let storer = self.storer.as_mut().context("nobody stores")?;
        Ok(storer.wait_exactly(limit)?)
    }

    /// Waits for the direct write, and for the store unless it has failed, and looks what is there.
    fn check(&mut self, stored: Option<u8>) -> Result<()> {
        let n = self.queue.reap(1, LIMIT)?[0].result;
        ensure!(n == Ok(512), "a direct write of 512 bytes returned {n:?}");
        if stored.is_some() {
            let end = self.wait_for_store(patience::at_most(LIMIT))?;
            ensure!(end == Some(Exit::Code(0)), "a store ended with {end:?}");
        }
        file::fsync(&self.fd)?;
        let stored = stored.unwrap_or(OLD);
        let (place, end) = (Self::PLACE, Self::PLACE + Self::BYTES);
        for (how, seen) in [
            ("directly", direct_read(&self.direct, 0, PAGE)?),
            ("cached", file::pread_vec(&self.fd, PAGE, 0)?),
        ] {
            check(&format!("the direct write, {how}"), &seen[..512], NEW, 0)?;
            check(how, &seen[512..place], OLD, 512)?;
            check(
                &format!("the store, {how}"),
                &seen[place..end],
                stored,
                place as u64,
            )?;
            check(how, &seen[end..], OLD, end as u64)?;
        }
        Ok(())
    }
}

/// Writes a page behind the end of the contended file, below.
fn writes_below(own: &Private, flags: i32) -> Result<Racer<Res<usize>>> {
    let fd = file::open(&own.under.join("contended"), libc::O_WRONLY | flags, 0)?;
    let data = Slice::of(&pattern(CACHED, PAGE as u64, PAGE))?;
    Ok(Racer::start(move || {
        file::pwrite_mem(&fd, &data, PAGE as u64)
    }))
}

/// Reads each page in a thread of its own, and waits until each has given up.
fn wait_for_readers(fd: &Arc<OwnedFd>) -> Result<()> {
    let readers = (0..PAGES)
        .map(|page| {
            let fd = Arc::clone(fd);
            Racer::start(move || file::pread_vec(&fd, PAGE, (page * PAGE) as u64))
        })
        .collect::<Vec<_>>();
    std::thread::sleep(Duration::from_secs(45));
    ensure!(!readers[0].finished_soon(), "a reader has not waited");
    for reader in readers {
        reader.join()?.context("a reader that gave up")?;
    }
    Ok(())
}

/// Reads the last of what was written through the cache as soon as the write is complete.
fn complete_and_read(queue: &mut Queue, fd: &OwnedFd) -> Result<(Res<usize>, Vec<u8>)> {
    let start = Instant::now();
    loop {
        if let Some(done) = queue.reap_now()?.first() {
            return Ok((done.result, file::pread_vec(fd, 2048, LAST as u64)?));
        }
        ensure!(
            start.elapsed() < patience::at_most(LIMIT),
            "the direct write does not complete"
        );
    }
}

/// A buffered writer and a direct writer both wait for the inode lock, the direct one is first. When
/// the buffered one has the lock the direct write is in flight, though it was not when the buffered
/// write was called.
fn writer_waits_for_the_lock(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let slow = ctx.private(Kind::Ext2Block4k, 64)?;
    let source = cold_memory(&slow, PAGE)?;
    let reads = slow.lower.hold_reads()?;
    // It takes the lock, and then its buffer has to come from the other device.
    let first = {
        let (fd, source) = (Arc::clone(&scene.cached), Slice::new(&source, 0, PAGE));
        Racer::start(move || file::pwrite_mem(&fd, &source, 0))
    };
    reads.wait_reads(1)?;
    let writes = ctx.lower.hold_writes()?;
    let direct = {
        let (fd, mut queue) = (Arc::clone(&scene.direct), Queue::new(Engine::Aio, 1)?);
        let data = Slice::of(&pattern(NEW, AT as u64, 512))?;
        Racer::start(move || {
            let id = queue.write(&fd, &data, AT as u64);
            (id, queue)
        })
    };
    ensure!(
        !direct.finished_soon(),
        "the first write does not hold the inode lock"
    );
    direct.wait_asleep()?;
    let place = AT as u64 + 1024;
    let buffered = {
        let fd = Arc::clone(&scene.cached);
        Racer::start(move || file::pwrite(&fd, &pattern(CACHED, place, 512), place))
    };
    ensure!(!buffered.finished_soon(), "nobody holds the inode lock");
    buffered.wait_asleep()?;
    reads.release()?;
    first.join()?.context("the first write")?;
    writes.wait_writes(1)?;
    let (id, mut queue) = direct.join()?;
    id.context("submitting the direct write")?;
    buffered.give_a_moment();
    writes.release()?;
    let n = queue.reap(1, LIMIT)?[0]
        .result
        .context("the direct write")?;
    ensure!(n == 512, "a direct write of 512 bytes returned {n}");
    let n = buffered.join()?.context("the buffered write")?;
    ensure!(n == 512, "a buffered write of 512 bytes returned {n}");
    scene.on_disk("the direct write", NEW, AT, 512)?;
    scene.on_disk("the buffered write", CACHED, place as usize, 512)?;
    drop(source);
    slow.finish()
}

/// A page of memory that is mapped from another file, and in no cache.
pub fn cold_source(ctx: &Ctx) -> Result<Slice> {
    let fd = file::create(&ctx.at("source"))?;
    write_all(&fd, &pattern(CACHED, 0, PAGE), 0)?;
    file::fsync(&fd)?;
    let under = file::open(&ctx.under.join("source"), libc::O_RDONLY, 0)?;
    for file in [&fd, &under] {
        fscall::fadvise(file, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    }
    Ok(Slice::new(&Region::shared(&fd, 0, PAGE, READ)?, 0, PAGE))
}

/// A cached read is on its way to the range when the direct write comes: it was called before, but
/// is at the copy of its first page, for which its buffer has to come from another device.
fn reader_on_its_way(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let slow = ctx.private(Kind::Ext2Block4k, 64)?;
    let buffer = cold_memory(&slow, LEN)?;
    // Without readahead, a page at a time; the first one is there.
    fscall::fadvise(&scene.cached, 0, 0, libc::POSIX_FADV_RANDOM)?;
    file::pread_vec(&scene.cached, 1, 0)?;
    let reads = slow.lower.hold_reads()?;
    let reader = {
        let (fd, buffer) = (Arc::clone(&scene.cached), Slice::new(&buffer, 0, LEN));
        Racer::start(move || file::pread_mem(&fd, &buffer, 0))
    };
    reads.wait_reads(1)?;
    let at = 40 * PAGE;
    let flight = scene.fly(Engine::Aio, at, PAGE)?;
    reads.release()?;
    let overtook = reader.finished_soon();
    let resident = scene.map()?.mincore()?[at / PAGE];
    flight.land()?;
    scene.all_modes(NEW, at, PAGE)?;
    let n = reader.join()?.context("the read")?;
    ensure!(n == LEN, "a read of {LEN} bytes returned {n}");
    check_any("what was read", &buffer.load(0, LEN), &[OLD, NEW], 0)?;
    if ctx.fs == FsKind::Diofs {
        ensure!(
            !overtook && !resident,
            "while the write was in flight the read has brought its range into the cache"
        );
        let found = Stats::of(&ctx.up)?.get("found_after")?;
        ensure!(found == 0, "{found} folios were found after the write");
    }
    drop(buffer);
    slow.finish()
}

/// Memory that is mapped from a file on a lower of its own, and has to come from its device.
fn cold_memory(own: &Private, len: usize) -> Result<Arc<Region>> {
    let fd = file::create(&own.lower.dir.join("memory"))?;
    write_all(&fd, &pattern(CACHED, 0, len), 0)?;
    file::fsync(&fd)?;
    fscall::fadvise(&fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    Ok(Region::private(&fd, 0, len)?)
}
