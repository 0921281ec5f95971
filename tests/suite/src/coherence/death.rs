// SPDX-License-Identifier: GPL-2.0

//! Signals, death and unmounting while something is in flight.

use super::queue::{Engine, Queue};
use super::race::Racer;
use super::scene::{NEW, OLD, Scene, write_all};
use crate::harness::{Ctx, Test, hang, test};
use crate::lower::stack::{FsKind, Stack};
use crate::patience;
use crate::pattern::{check, check_any, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::process::{self, Child, Exit};
use crate::sys::{Errno, Res, file, mount, path};
use crate::twin::expect_errno;
use anyhow::{Context, Result, bail, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("death.asynchronous_writes", asynchronous_writes),
    test("death.asynchronous_reads", asynchronous_reads),
    test("death.synchronous_write", synchronous_write),
    test("death.in_fsync", in_fsync),
    test("death.under_load", under_load),
    test("death.signals", signals),
    test("death.umount_under_load", umount_under_load),
    test("death.umount_right_after", umount_right_after),
];

const LEN: usize = 32 * PAGE;
const WAIT: Duration = Duration::from_secs(20);

/// Kills a process and waits until it is gone, letting the device go in between.
macro_rules! kill_and_release {
    ($child:ident, $hold:ident) => {
        $child.kill(libc::SIGKILL)?;
        std::thread::sleep(Duration::from_millis(100));
        $hold.release()?;
        match $child.wait(WAIT)? {
            Some(Exit::Signal(libc::SIGKILL) | Exit::Code(0)) => {}
            other => bail!("a killed process: expected its end, saw {other:?}"),
        }
    };
}

/// Sixteen writes in flight, their process is killed; each page is old or new, in every mode alike,
/// and the file can be used on.
fn asynchronous_writes(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for engine in Engine::BOTH {
        let scene = Scene::new(ctx, LEN)?;
        scene.warm()?;
        let hold = ctx.lower.hold_writes()?;
        let mut child = process::fork(|| {
            let submit = || -> Result<Queue> {
                let mut queue = Queue::new(engine, 16)?;
                for page in 0..16u64 {
                    let at = page * 2 * PAGE as u64;
                    queue.write(&scene.direct, &Slice::of(&pattern(NEW, at, PAGE))?, at)?;
                }
                Ok(queue)
            };
            let _queue = submit();
            std::thread::sleep(patience::at_most(WAIT));
            Vec::new()
        })?;
        hold.wait_writes(16)?;
        kill_and_release!(child, hold);
        settled(&scene, &[OLD, NEW])?;
    }
    Ok(())
}

fn asynchronous_reads(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let hold = ctx.lower.hold_reads()?;
    let mut child = process::fork(|| {
        let submit = || -> Result<Queue> {
            let mut queue = Queue::new(Engine::Aio, 16)?;
            for page in 0..16u64 {
                queue.read(&scene.direct, &Slice::zeroed(PAGE)?, page * 2 * PAGE as u64)?;
            }
            Ok(queue)
        };
        let _queue = submit();
        std::thread::sleep(patience::at_most(WAIT));
        Vec::new()
    })?;
    hold.wait_reads(16)?;
    kill_and_release!(child, hold);
    settled(&scene, &[OLD])
}

fn synchronous_write(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let data = Slice::of(&pattern(NEW, 0, LEN))?;
    let hold = ctx.lower.hold_writes()?;
    let mut child = process::fork(|| {
        let _ = file::pwrite_mem(&scene.direct, &data, 0);
        Vec::new()
    })?;
    hold.wait_writes(1)?;
    kill_and_release!(child, hold);
    settled(&scene, &[OLD, NEW])
}

fn in_fsync(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    let hold = ctx.lower.hold_writes()?;
    file::pwrite(&scene.cached, &pattern(NEW, 0, LEN), 0)?;
    let mut child = process::fork(|| {
        let _ = file::fsync(&scene.cached);
        Vec::new()
    })?;
    hold.wait_writes(1)?;
    kill_and_release!(child, hold);
    settled(&scene, &[NEW])
}

/// At rest every mode gives the same; then the file is written and read once more.
fn settled(scene: &Scene, tags: &[u8]) -> Result<()> {
    let modes = scene.read_all_modes(0, LEN)?;
    for (name, bytes) in &modes {
        check_any(name, bytes, tags, 0)?;
        ensure!(*bytes == modes[0].1, "{name} differs from {}", modes[0].0);
    }
    let data = Slice::of(&pattern(NEW, 0, LEN))?;
    let n = file::pwrite_mem(&scene.direct, &data, 0)?;
    ensure!(n == LEN, "a direct write of {LEN} bytes returned {n}");
    scene.all_modes(NEW, 0, LEN)?;
    file::ftruncate(&scene.cached, PAGE as i64)?;
    scene.on_disk("after it", NEW, 0, PAGE)
}

/// Reads and writes in every way until it is killed, and says in `rounds` how often. Returns what
/// kept it from going on.
fn busy_process(scene: &Scene, rounds: &Region) -> Vec<u8> {
    let work = || -> Result<()> {
        let map = Region::shared(&scene.cached, 0, LEN, READ_WRITE)?;
        let mut queue = Queue::new(Engine::Aio, 8)?;
        let mut ring = Queue::new(Engine::Uring, 8)?;
        let data = Slice::of(&pattern(NEW, 0, LEN))?;
        loop {
            queue.write(&scene.direct, &data, 0)?;
            ring.write(&scene.direct, &data, 0)?;
            file::pwrite_mem(&scene.cached, &data, 0)?;
            map.store(PAGE, &pattern(NEW, PAGE as u64, 500));
            file::pread_vec(&scene.cached, LEN, 0)?;
            for queue in [&mut queue, &mut ring] {
                let n = one(queue)?.context("a queued write")?;
                ensure!(n == LEN, "a queued write of {LEN} bytes returned {n}");
            }
            rounds.store(0, &[1]);
        }
    };
    match work() {
        Ok(()) => Vec::new(),
        Err(error) => format!("{error:#}").into_bytes(),
    }
}

fn under_load(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    for round in 0..8u64 {
        let mut children = Vec::new();
        for _ in 0..3 {
            let rounds = Region::anon_shared(PAGE)?;
            let child = process::fork(|| busy_process(&scene, &rounds))?;
            children.push((child, rounds));
        }
        at_work(&mut children)?;
        std::thread::sleep(Duration::from_millis(round * 13));
        for (child, _) in &children {
            child.kill(libc::SIGKILL)?;
        }
        for (mut child, _) in children {
            let exit = child.wait(WAIT)?.context("a killed process does not end")?;
            ensure!(exit == Exit::Signal(libc::SIGKILL), ended(&child, exit));
        }
        let seen = file::pread_vec(&scene.cached, LEN, 0)?;
        check_any("after a kill", &seen, &[OLD, NEW], 0)?;
    }
    settled(&scene, &[OLD, NEW])
}

/// The result of a request. io_uring interrupts whatever its task waits for.
fn one(queue: &mut Queue) -> Result<Res<usize>> {
    loop {
        match queue.reap(1, WAIT) {
            Err(Errno(libc::EINTR)) => {}
            done => return Ok(done.context("waiting for a queued write")?[0].result),
        }
    }
}

/// Waits until each of the busy processes has done everything once.
fn at_work(children: &mut [(Child, Arc<Region>)]) -> Result<()> {
    let start = Instant::now();
    while children.iter().any(|(_, rounds)| rounds.load(0, 1) == [0]) {
        for (child, _) in &mut *children {
            if let Some(exit) = child.wait_exactly(Duration::from_millis(1))? {
                bail!(ended(child, exit));
            }
        }
        if start.elapsed() > patience::at_most(WAIT) {
            hang::describe_own();
            bail!("the load does not come about");
        }
    }
    Ok(())
}

fn ended(child: &Child, exit: Exit) -> String {
    let said = String::from_utf8_lossy(child.answer());
    format!("the load has ended by itself ({exit:?}): {said}")
}

/// Signals rain on calls of every kind; each either does all it should or says that it was
/// interrupted.
fn signals(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, LEN)?;
    process::alarm_every(Duration::from_millis(3))?;
    let outcome = interrupted_calls(&scene);
    process::alarm_every(Duration::ZERO)?;
    outcome?;
    scene.all_modes(NEW, 0, LEN)
}

fn interrupted_calls(scene: &Scene) -> Result<()> {
    let data = Slice::of(&pattern(NEW, 0, LEN))?;
    for round in 0..60 {
        let n = match round % 4 {
            0 => file::pwrite_mem(&scene.direct, &data, 0),
            1 => file::pwrite_mem(&scene.cached, &data, 0),
            2 => file::fsync(&scene.cached).map(|()| LEN),
            _ => file::pread_mem(&scene.direct, &Slice::zeroed(LEN)?, 0),
        };
        let interrupted = n == Err(crate::sys::Errno(libc::EINTR));
        ensure!(
            n == Ok(LEN) || interrupted,
            "call {round} under signals returned {n:?}"
        );
    }
    let n = file::pwrite_mem(&scene.direct, &data, 0)?;
    ensure!(n == LEN, "a direct write under signals returned {n}");
    Ok(())
}

fn umount_under_load(ctx: &Ctx) -> Result<()> {
    if ctx.fs == FsKind::Bare {
        return crate::harness::skip("there is nothing to unmount");
    }
    let under = ctx.under.join("u");
    path::mkdir(&under, 0o755)?;
    let stack = Stack::mount(ctx.fs, &under, &ctx.work.join("m"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for i in 0..3 {
        let name = stack.dir.join(format!("f{i}"));
        let (fd, stop) = (file::create(&name)?, Arc::clone(&stop));
        threads.push(Racer::start(move || -> Result<()> {
            let direct = file::open_direct(&name)?;
            let data = Slice::of(&pattern(NEW, 0, 4 * PAGE))?;
            while !stop.load(Ordering::Relaxed) {
                file::pwrite_mem(&direct, &data, 0)?;
                file::pwrite(&fd, &pattern(NEW, 0, 100), 0)?;
            }
            Ok(())
        }));
    }
    for _ in 0..50 {
        expect_errno(
            "umount under load",
            mount::umount(&stack.dir, 0),
            libc::EBUSY,
        )?;
        std::thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join()?.context("the load")?;
    }
    stack.umount()
}

/// Unmounted as soon as the last completion was seen, again and again.
fn umount_right_after(ctx: &Ctx) -> Result<()> {
    let under = ctx.under.join("u");
    path::mkdir(&under, 0o755)?;
    for round in 0..20u8 {
        let stack = Stack::mount(ctx.fs, &under, &ctx.work.join("m"))?;
        let name = stack.dir.join("f");
        let fd = file::create(&name)?;
        write_all(&fd, &pattern(round, 0, LEN), 0)?;
        let direct = file::open_direct(&name)?;
        let mut queue = Queue::new(Engine::BOTH[usize::from(round) % 2], 16)?;
        for page in 0..16u64 {
            let at = page * 2 * PAGE as u64;
            queue.write(&direct, &Slice::of(&pattern(round ^ 0x80, at, PAGE))?, at)?;
        }
        queue.reap(16, WAIT)?;
        drop((fd, direct, queue));
        stack.umount()?;
        let fd = file::open(&under.join("f"), libc::O_RDONLY, 0)?;
        for page in 0..32 {
            let at = page * PAGE as u64;
            let tag = if page % 2 == 0 { round ^ 0x80 } else { round };
            check("after umount", &file::pread_vec(&fd, PAGE, at)?, tag, at)?;
        }
    }
    Ok(())
}
