// SPDX-License-Identifier: GPL-2.0

//! Asynchronous requests are asynchronous (C11): submitting does not wait for the device, the
//! device sees the whole queue, and no thread waits on a request's behalf.

use super::queue::{By, EACH, Engine, Queue};
use super::race::Racer;
use super::scene::{LIMIT, NEW, OLD, Scene};
use crate::harness::{Ctx, Test, hang, skip, test};
use crate::lower::scsi::SlowDisk;
use crate::lower::stack::Stack;
use crate::lower::umount;
use crate::patience;
use crate::pattern::{check, pattern};
use crate::sys::aio::{Aio, Request};
use crate::sys::file;
use crate::sys::mem::{PAGE, Slice};
use crate::sys::trace::Trace;
use crate::sys::uring::Uring;
use anyhow::{Context, Result, bail, ensure};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("c11.aio_reads", aio_reads),
    test("c11.aio_writes", aio_writes),
    test("c11.uring_writes", uring_writes),
    test("c11.uring_on_a_slow_disk", uring_on_a_slow_disk).once(),
    test("c11.one_delay_for_all", one_delay_for_all),
    test("c11.no_thread_waits", no_thread_waits),
    test(
        "c11.parallel_synchronous_writes",
        parallel_synchronous_writes,
    ),
    test("c11.parallel_synchronous_reads", parallel_synchronous_reads),
    test("c11.aio_writes_of_cached_file", aio_writes_of_cached_file),
    test("c11.aio_writes_into_holes", aio_writes_into_holes),
];

const DEPTH: usize = 32;
const LEN: usize = DEPTH * PAGE;

/// Every block of its own, so that no two requests become one.
fn place(i: usize) -> u64 {
    ((i * 7) % DEPTH * PAGE) as u64
}

fn submit_all(requests: Vec<Request>) -> Result<(Aio, Racer<Result<Aio>>)> {
    let mut aio = Aio::new(DEPTH as u32)?;
    let spare = Aio::new(1)?;
    let racer = Racer::start(move || {
        let taken = aio.submit(&requests).context("io_submit")?;
        ensure!(
            taken.len() == requests.len(),
            "io_submit took {} requests",
            taken.len()
        );
        Ok(aio)
    });
    Ok((spare, racer))
}

/// Waits for `io_submit` to return although the device answers nothing.
fn submitted(racer: Racer<Result<Aio>>, what: &str) -> Result<Aio> {
    let start = Instant::now();
    while !racer.finished_soon() {
        ensure!(
            start.elapsed() < patience::at_most(Duration::from_secs(8)),
            "io_submit of {DEPTH} {what} waits for the device"
        );
    }
    racer.join()?
}

fn aio_reads(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let buffers: Vec<Slice> = (0..DEPTH)
        .map(|_| Slice::zeroed(PAGE))
        .collect::<Result<_, _>>()?;
    let requests = buffers
        .iter()
        .enumerate()
        .map(|(i, b)| Request::read(&scene.direct, b, place(i)))
        .collect();
    let hold = ctx.lower.hold_reads()?;
    let (_spare, racer) = submit_all(requests)?;
    let mut aio = submitted(racer, "reads")?;
    hold.wait_reads(DEPTH as u64)
        .context("the queue is not on the device")?;
    let early = aio.reap(0, DEPTH, Duration::ZERO)?;
    ensure!(
        early.is_empty(),
        "{} reads completed while the device held them",
        early.len()
    );
    hold.release()?;
    for done in aio.reap_all(DEPTH, LIMIT)? {
        ensure!(done.result == Ok(PAGE), "a read returned {:?}", done.result);
    }
    for (i, buffer) in buffers.iter().enumerate() {
        check("a read", &buffer.bytes(PAGE), OLD, place(i))?;
    }
    Ok(())
}

fn write_requests(scene: &Scene) -> Result<Vec<Request>> {
    (0..DEPTH)
        .map(|i| {
            let data = Slice::of(&pattern(NEW, place(i), PAGE))?;
            Ok(Request::write(&scene.direct, &data, place(i)))
        })
        .collect()
}

fn aio_writes(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    hold_aio_writes(ctx, &scene)
}

/// The same with all of the file in the cache, which has to be dropped first.
fn aio_writes_of_cached_file(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    scene.warm()?;
    let map = scene.map()?;
    map.load(0, LEN);
    hold_aio_writes(ctx, &scene)?;
    check("the mapping", &map.load(0, LEN), NEW, 0)
}

/// With extents, holes inside the file are filled asynchronously too.
fn aio_writes_into_holes(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    if !ctx.lower.kind.has_extents() {
        return skip("this lower fills holes through its page cache");
    }
    let scene = Scene::hole(ctx, LEN)?;
    hold_aio_writes(ctx, &scene)
}

fn hold_aio_writes(ctx: &Ctx, scene: &Scene) -> Result<()> {
    scene.settle()?;
    let requests = write_requests(scene)?;
    let hold = ctx.lower.hold_writes()?;
    let (_spare, racer) = submit_all(requests)?;
    let mut aio = submitted(racer, "writes")?;
    hold.wait_writes(DEPTH as u64)
        .context("the queue is not on the device")?;
    let early = aio.reap(0, DEPTH, Duration::ZERO)?;
    ensure!(
        early.is_empty(),
        "{} writes completed while the device held them",
        early.len()
    );
    hold.release()?;
    for done in aio.reap_all(DEPTH, LIMIT)? {
        ensure!(
            done.result == Ok(PAGE),
            "a write returned {:?}",
            done.result
        );
    }
    scene.all_modes(NEW, 0, LEN)
}

fn uring_writes(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let mut ring = Uring::new(DEPTH as u32)?;
    for i in 0..DEPTH {
        let data = Slice::of(&pattern(NEW, place(i), PAGE))?;
        ring.write(&scene.direct, &data, place(i))?;
    }
    let hold = ctx.lower.hold_writes()?;
    let racer = Racer::start(move || {
        let taken = ring.submit();
        (taken, ring)
    });
    let start = Instant::now();
    while !racer.finished_soon() {
        ensure!(
            start.elapsed() < patience::at_most(Duration::from_secs(8)),
            "io_uring_enter waits for the device"
        );
    }
    let (taken, mut ring) = racer.join()?;
    ensure!(
        taken == Ok(DEPTH),
        "io_uring_enter took {taken:?} of {DEPTH} requests"
    );
    hold.wait_writes(DEPTH as u64)
        .context("the queue is not on the device")?;
    hold.release()?;
    for done in ring.reap_all(DEPTH, LIMIT)? {
        ensure!(
            done.result == Ok(PAGE),
            "a write returned {:?}",
            done.result
        );
    }
    scene.all_modes(NEW, 0, LEN)
}

/// A disk that takes requests without waiting and answers late, as real ones do: a whole queue of
/// reads or writes by io_uring takes about one latency, and reads need no worker thread.
fn uring_on_a_slow_disk(ctx: &Ctx) -> Result<()> {
    ctx.need_tracing()?;
    let latency = patience::at_most(Duration::from_millis(600)).min(SlowDisk::MOST);
    let disk = SlowDisk::make(64)?;
    let dir = ctx.work.join("slow");
    let under = disk.mount(ctx.lower.kind, &dir)?;
    let stack = Stack::mount(ctx.fs, &under, &ctx.work.join("slow-up"))?;
    let path = stack.dir.join("f");
    let fd = file::create(&path)?;
    file::pwrite(&fd, &pattern(OLD, 0, LEN), 0)?;
    file::fsync(&fd)?;
    let direct = file::open_direct(&path)?;
    file::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "1")?;
    file::pread_mem(&direct, &Slice::zeroed(PAGE)?, 0)?;
    disk.set_delay(latency)?;
    for write in [false, true] {
        in_one_latency(latency, || without_workers(&direct, write))?;
    }
    disk.set_delay(Duration::ZERO)?;
    drop((fd, direct));
    stack.umount()?;
    umount(&dir)?;
    disk.remove()
}

/// How long a queue of requests took.
struct Timed {
    what: &'static str,
    submitted: Duration,
    took: Duration,
}

/// Submitting must not wait for the device, nor one request for another. A machine that stands still
/// for a moment is late as well, but not each time.
fn in_one_latency(latency: Duration, once: impl Fn() -> Result<Timed>) -> Result<()> {
    const TIMES: usize = 2;
    let mut late = Vec::new();
    for _ in 0..TIMES {
        let Timed {
            what,
            submitted,
            took,
        } = once()?;
        if submitted < latency && took < latency * 3 {
            return Ok(());
        }
        late.push(format!("{submitted:?} to submit {what}, {took:?} in all"));
    }
    bail!(
        "{DEPTH} requests at a latency of {latency:?}: {}",
        late.join("; ")
    )
}

/// Reads or writes a whole queue by io_uring. No read may be handed to a worker thread. A write may
/// have to wait before it begins, as to bring the file's times up to date.
fn without_workers(direct: &OwnedFd, write: bool) -> Result<Timed> {
    let mut ring = Uring::new(DEPTH as u32)?;
    let punts = Trace::start(&["io_uring/io_uring_queue_async_work"])?;
    let start = Instant::now();
    for i in 0..DEPTH {
        let data = Slice::of(&pattern(OLD, place(i), PAGE))?;
        match write {
            true => ring.write(direct, &data, place(i))?,
            false => ring.read(direct, &data, place(i))?,
        };
    }
    ring.submit()?;
    let submitted = start.elapsed();
    let done = ring.reap_all(DEPTH, LIMIT)?;
    let took = start.elapsed();
    let what = if write { "writes" } else { "reads" };
    for d in done {
        ensure!(
            d.result == Ok(PAGE),
            "one of the {what} returned {:?}",
            d.result
        );
    }
    let punted = punts.lines()?.len();
    ensure!(
        write || punted == 0,
        "{punted} of {DEPTH} reads were handed to worker threads"
    );
    Ok(Timed {
        what,
        submitted,
        took,
    })
}

/// Thirty-two reads at a latency of half a second take half a second, not sixteen.
fn one_delay_for_all(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let delay = 500 * patience::factor();
    ctx.lower.device.delay(delay, delay)?;
    let latency = Duration::from_millis(u64::from(delay));
    let outcome = [false, true]
        .into_iter()
        .try_for_each(|write| in_one_latency(latency, || timed(&scene, latency, write)));
    ctx.lower.device.pass()?;
    outcome
}

/// Reads or writes a whole queue by libaio.
fn timed(scene: &Scene, latency: Duration, write: bool) -> Result<Timed> {
    let mut queue = Queue::new(Engine::Aio, DEPTH as u32)?;
    let start = Instant::now();
    submit_to(&mut queue, &scene.direct, write)?;
    let submitted = start.elapsed();
    queue.reap(DEPTH, LIMIT)?;
    let took = start.elapsed();
    let what = if write { "writes" } else { "reads" };
    ensure!(
        took >= latency,
        "{what} took {took:?}, less than one latency"
    );
    Ok(Timed {
        what,
        submitted,
        took,
    })
}

/// Submits a whole queue of reads or writes.
fn submit_to(queue: &mut Queue, direct: &OwnedFd, write: bool) -> Result<()> {
    for at in (0..DEPTH).map(place) {
        let data = Slice::of(&pattern(OLD, at, PAGE))?;
        match write {
            true => queue.write(direct, &data, at)?,
            false => queue.read(direct, &data, at)?,
        };
    }
    Ok(())
}

/// While the device holds a whole queue no thread of the system waits for it, not even one of the
/// kernel's. Those who call wait, each of them: had a request somebody who waits, it would be seen.
fn no_thread_waits(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    for write in [false, true] {
        for by in EACH {
            let waiting = who_waits(ctx, &scene, by, write)?;
            let what = if write { "writes" } else { "reads" };
            match by {
                By::Call => ensure!(
                    waiting >= DEPTH,
                    "{DEPTH} threads call, and only {waiting} wait for their {what}"
                ),
                // The journal's thread may, and one that writes back.
                By::Queue(engine) => ensure!(
                    waiting < DEPTH / 4,
                    "{waiting} threads wait for {DEPTH} {what} by {engine:?}"
                ),
            }
        }
    }
    Ok(())
}

/// How many threads wait while the device holds `DEPTH` requests.
fn who_waits(ctx: &Ctx, scene: &Scene, by: By, write: bool) -> Result<usize> {
    scene.settle()?;
    let hold = match write {
        true => ctx.lower.hold_writes()?,
        false => ctx.lower.hold_reads()?,
    };
    let racers: Vec<Racer<Result<()>>> = match by {
        By::Call => (0..DEPTH).map(|i| call(scene, write, place(i))).collect(),
        By::Queue(engine) => vec![queue_all(scene, write, engine)],
    };
    match write {
        true => hold.wait_writes(DEPTH as u64)?,
        false => hold.wait_reads(DEPTH as u64)?,
    }
    // For the last one to fall asleep.
    racers[0].give_a_moment();
    let start = Instant::now();
    let mut waiting = hang::uninterruptible();
    while matches!(by, By::Call) && waiting < DEPTH && start.elapsed() < LIMIT {
        racers[0].give_a_moment();
        waiting = hang::uninterruptible();
    }
    hold.release()?;
    for racer in racers {
        racer.join()??;
    }
    Ok(waiting)
}

fn call(scene: &Scene, write: bool, at: u64) -> Racer<Result<()>> {
    let direct = Arc::clone(&scene.direct);
    Racer::start(move || {
        let data = Slice::of(&pattern(OLD, at, PAGE))?;
        let n = match write {
            true => file::pwrite_mem(&direct, &data, at)?,
            false => file::pread_mem(&direct, &data, at)?,
        };
        ensure!(n == PAGE, "a call returned {n}");
        Ok(())
    })
}

fn queue_all(scene: &Scene, write: bool, engine: Engine) -> Racer<Result<()>> {
    let direct = Arc::clone(&scene.direct);
    Racer::start(move || {
        let mut queue = Queue::new(engine, DEPTH as u32)?;
        submit_to(&mut queue, &direct, write)?;
        for done in queue.reap(DEPTH, LIMIT)? {
            let n = done.result?;
            ensure!(n == PAGE, "a request returned {n}");
        }
        Ok(())
    })
}

/// Writes of different parts of one file by several threads are on the device together.
fn parallel_synchronous_writes(ctx: &Ctx) -> Result<()> {
    const THREADS: usize = 6;
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let hold = ctx.lower.hold_writes()?;
    let mut threads = Vec::new();
    for i in 0..THREADS {
        let direct = Arc::clone(&scene.direct);
        let data = Slice::of(&pattern(NEW, place(i), PAGE))?;
        threads.push(Racer::start(move || {
            file::pwrite_mem(&direct, &data, place(i))
        }));
    }
    hold.wait_writes(THREADS as u64)
        .context("the writes wait for each other")?;
    hold.release()?;
    for thread in threads {
        ensure!(thread.join()? == Ok(PAGE), "a direct write failed");
    }
    for i in 0..THREADS {
        scene.all_modes(NEW, place(i) as usize, PAGE)?;
    }
    Ok(())
}

fn parallel_synchronous_reads(ctx: &Ctx) -> Result<()> {
    const THREADS: usize = 6;
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let hold = ctx.lower.hold_reads()?;
    let mut threads = Vec::new();
    for i in 0..THREADS {
        let direct = Arc::clone(&scene.direct);
        threads.push(Racer::start(move || -> Result<Vec<u8>> {
            let buffer = Slice::zeroed(PAGE)?;
            let n = file::pread_mem(&direct, &buffer, place(i))?;
            Ok(buffer.bytes(n))
        }));
    }
    hold.wait_reads(THREADS as u64)
        .context("the reads wait for each other")?;
    hold.release()?;
    for (i, thread) in threads.into_iter().enumerate() {
        check("a direct read", &thread.join()??, OLD, place(i))?;
    }
    Ok(())
}
