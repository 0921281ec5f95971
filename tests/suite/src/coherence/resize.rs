// SPDX-License-Identifier: GPL-2.0

//! Truncate and extend against direct I/O in flight (C9): nothing stale, nothing foreign, no bytes
//! of a previous life of a block.

use super::queue::Engine;
use super::race::Racer;
use super::scene::{NEW, OLD, Scene, direct_read, write_all};
use crate::harness::{Ctx, Test, test};
use crate::lower::Kind;
use crate::pattern::{check, check_any, check_zero, pattern};
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{Errno, file, path, stat};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    test("c9.truncate_during_write", truncate_during_write),
    test("c9.truncate_during_read", truncate_during_read),
    test("c9.extend_during_write", extend_during_write),
    test("c9.open_truncate_during_write", open_truncate_during_write),
    test("c9.unlink_during_write", unlink_during_write),
    test("c9.zero_after_down_and_up", zero_after_down_and_up),
    test("c9.nothing_exposed", nothing_exposed),
];

const LEN: usize = 32 * PAGE;
/// Whose bytes lie on the disk in blocks that no file has.
const GARBAGE: u8 = 0xee;

/// Where a direct write of eight pages at page 8 meets the new size.
const SIZES: [usize; 5] = [0, 8 * PAGE, 10 * PAGE, 10 * PAGE + 700, 20 * PAGE];
const AT: usize = 8 * PAGE;
const SPAN: usize = 8 * PAGE;

/// What is to be found when the file was cut to `size` and extended to its old length, and the
/// direct write came before, after or in between.
fn check_cut(scene: &Scene, size: usize) -> Result<()> {
    for (name, bytes) in scene.read_all_modes(0, LEN)? {
        ensure!(
            bytes.len() == LEN,
            "{name}: expected {LEN} bytes, saw {}",
            bytes.len()
        );
        check_any(name, &bytes[..size.min(AT)], &[OLD], 0)?;
        for (i, byte) in bytes.iter().enumerate().skip(size.min(AT)) {
            let written = (AT..AT + SPAN).contains(&i);
            let pos = i as u64;
            let old = *byte == crate::pattern::byte(OLD, pos) && i < size;
            let new = *byte == crate::pattern::byte(NEW, pos) && written;
            let zero = *byte == 0 && i >= size;
            if !(old || new || zero) {
                bail!("{name}: cut to {size}, at offset {i} saw {byte:#04x}");
            }
        }
    }
    Ok(())
}

fn truncate_during_write(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for (i, size) in SIZES.into_iter().enumerate() {
        for warm in [false, true] {
            let scene = Scene::new(ctx, LEN)?;
            if warm {
                scene.warm()?;
            }
            let flight = scene.fly(Engine::BOTH[i % 2], AT, SPAN)?;
            let fd = Arc::clone(&scene.cached);
            let racer = Racer::start(move || file::ftruncate(&fd, size as i64));
            racer.give_a_moment();
            flight.land()?;
            racer.join()?.context("the truncate")?;
            let seen = stat::fstat(&scene.cached)?.size;
            ensure!(seen == size as u64, "cut to {size}, the size is {seen}");
            file::ftruncate(&scene.cached, LEN as i64)?;
            for (name, bytes) in scene.read_all_modes(0, LEN)? {
                check_zero(name, &bytes[size..], size as u64)?;
            }
            check_cut(&scene, size)?;
            file::fsync(&scene.cached)?;
            scene.chill()?;
            check_cut(&scene, size).context("read from disk")?;
        }
    }
    Ok(())
}

/// A read gets old bytes, zeroes or fewer bytes; never what has become of the blocks since.
fn truncate_during_read(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for size in SIZES {
        let scene = Scene::new(ctx, LEN)?;
        let hold = ctx.lower.hold_reads()?;
        let direct = Arc::clone(&scene.direct);
        let reader = Racer::start(move || -> Result<Vec<u8>> {
            let buffer = Slice::zeroed(SPAN)?;
            let n = file::pread_mem(&direct, &buffer, AT as u64)?;
            Ok(buffer.bytes(n))
        });
        hold.wait_reads(1)?;
        let (fd, other) = (Arc::clone(&scene.cached), ctx.at("other"));
        let racer = Racer::start(move || -> Result<()> {
            file::ftruncate(&fd, size as i64)?;
            let fd = file::create(&other)?;
            write_all(&fd, &pattern(GARBAGE, 0, LEN), 0)?;
            Ok(file::fdatasync(&fd)?)
        });
        racer.give_a_moment();
        hold.release()?;
        racer.join()?.context("the truncate")?;
        let bytes = reader.join()?.context("the direct read")?;
        for (i, byte) in bytes.iter().enumerate() {
            let pos = (AT + i) as u64;
            let old = *byte == crate::pattern::byte(OLD, pos);
            let zero = *byte == 0 && pos >= size as u64;
            ensure!(
                old || zero,
                "cut to {size}, the read has {byte:#04x} at offset {pos}"
            );
        }
        path::unlink(&ctx.at("other"))?;
    }
    Ok(())
}

fn extend_during_write(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let flight = scene.fly(Engine::Aio, LEN - PAGE, PAGE)?;
    let fd = Arc::clone(&scene.cached);
    let racer = Racer::start(move || -> Result<()> {
        file::ftruncate(&fd, 2 * LEN as i64 + 77)?;
        write_all(&fd, &pattern(GARBAGE, 3 * LEN as u64, 10), 3 * LEN as u64)
    });
    racer.give_a_moment();
    flight.land()?;
    racer.join()?.context("extending")?;
    let size = stat::fstat(&scene.cached)?.size;
    ensure!(
        size == 3 * LEN as u64 + 10,
        "expected {} bytes, saw {size}",
        3 * LEN + 10
    );
    scene.all_modes(NEW, LEN - PAGE, PAGE)?;
    scene.all_modes(OLD, 0, LEN - PAGE)?;
    let between = file::pread_vec(&scene.cached, 2 * LEN, LEN as u64)?;
    check_zero("between", &between, LEN as u64)
}

/// A file opened to be emptied is empty, and stays so when the write that was in flight is done.
fn open_truncate_during_write(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    for engine in Engine::BOTH {
        let scene = Scene::new(ctx, LEN)?;
        let flight = scene.fly(engine, AT, SPAN)?;
        let path = scene.path.clone();
        let racer = Racer::start(move || file::open(&path, libc::O_WRONLY | libc::O_TRUNC, 0));
        racer.give_a_moment();
        flight.land()?;
        drop(racer.join()?.context("opening to truncate")?);
        let size = stat::fstat(&scene.cached)?.size;
        ensure!(size == 0, "emptied, the file has {size} bytes");
        file::ftruncate(&scene.cached, LEN as i64)?;
        for (name, bytes) in scene.read_all_modes(0, LEN)? {
            check_zero(name, &bytes, 0)?;
        }
    }
    Ok(())
}

/// The last name and the last descriptor go while the write is in flight; the blocks are not given
/// to anybody before it is done.
fn unlink_during_write(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    let scene = Scene::new(ctx, LEN)?;
    let flight = scene.fly(Engine::Aio, AT, SPAN)?;
    let (path, other) = (scene.path.clone(), ctx.at("other"));
    drop(scene);
    path::unlink(&path)?;
    let racer = Racer::start(move || -> Result<()> {
        let fd = file::create(&other)?;
        write_all(&fd, &pattern(GARBAGE, 0, 4 * LEN), 0)
    });
    racer.give_a_moment();
    flight.land()?;
    racer.join()?.context("writing another file")?;
    let fd = file::create(&ctx.at("other"))?;
    file::fsync(&fd)?;
    let direct = file::open_direct(&ctx.at("other"))?;
    check(
        "the other file",
        &direct_read(&direct, 0, 4 * LEN)?,
        GARBAGE,
        0,
    )
}

/// Down and up around direct writes of every size at the edge: behind the edge all is zero.
fn zero_after_down_and_up(ctx: &Ctx) -> Result<()> {
    let path = ctx.at("edge");
    for size in [1, 511, 512, 1000, 1024, 4095, 4096, 4097, 2 * PAGE + 512] {
        for by_direct in [false, true] {
            let fd = file::create(&path)?;
            file::ftruncate(&fd, 0)?;
            let direct = file::open_direct(&path)?;
            let all = 4 * PAGE;
            file::pwrite_mem(&direct, &Slice::of(&pattern(OLD, 0, all))?, 0)?;
            file::pread_vec(&fd, all, 0)?;
            file::ftruncate(&fd, size as i64)?;
            if by_direct {
                let data = Slice::of(&pattern(NEW, all as u64, 512))?;
                file::pwrite_mem(&direct, &data, all as u64)?;
            } else {
                file::ftruncate(&fd, all as i64)?;
            }
            let cached = file::pread_vec(&fd, all, 0)?;
            check("before the edge", &cached[..size], OLD, 0)?;
            check_zero("cached, behind the edge", &cached[size..], size as u64)?;
            let seen = direct_read(&direct, 0, all)?;
            check_zero("direct, behind the edge", &seen[size..], size as u64)?;
        }
    }
    Ok(())
}

/// Fills the free blocks of a lower with garbage that must never be seen again.
fn spoil_free_blocks(dir: &Path) -> Result<()> {
    let name = dir.join("garbage");
    let fd = file::create(&name)?;
    let mut at = 0u64;
    loop {
        match file::pwrite(&fd, &pattern(GARBAGE, at, 1 << 20), at) {
            Ok(n) => at += n as u64,
            Err(Errno(libc::ENOSPC)) => break,
            Err(e) => return Err(e).context("filling the lower"),
        }
    }
    file::fsync(&fd)?;
    drop(fd);
    path::unlink(&name)?;
    file::sync();
    Ok(())
}

/// New blocks of a file show zero where nothing was written, whatever lay in them before.
fn nothing_exposed(ctx: &Ctx) -> Result<()> {
    let kind: Kind = ctx.lower.kind;
    let own = ctx.private(kind, 64)?;
    spoil_free_blocks(&own.lower.dir)?;
    let fd = file::create(&own.at("f"))?;
    file::ftruncate(&fd, 1 << 20)?;
    let direct = file::open_direct(&own.at("f"))?;
    let mut written = Vec::new();
    for i in 0..40u64 {
        let at = i * 5 * 4096 + (i % 8) * 512;
        file::pwrite_mem(&direct, &Slice::of(&pattern(NEW, at, 512))?, at)?;
        written.push(at);
        let odd = at + 9000;
        file::pwrite(&fd, &pattern(NEW, odd, 100), odd)?;
    }
    for (name, bytes) in [
        ("cached", file::pread_vec(&fd, 1 << 20, 0)?),
        ("direct", direct_read(&direct, 0, 1 << 20)?),
    ] {
        for (i, byte) in bytes.iter().enumerate() {
            let pos = i as u64;
            let ours = *byte == crate::pattern::byte(NEW, pos);
            ensure!(
                ours || *byte == 0,
                "{name}: at offset {pos} saw {byte:#04x}"
            );
        }
        for at in &written {
            let at = *at as usize;
            check(name, &bytes[at..at + 512], NEW, at as u64)?;
        }
    }
    drop((fd, direct));
    own.finish()
}
