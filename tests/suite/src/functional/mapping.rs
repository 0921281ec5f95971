// SPDX-License-Identifier: GPL-2.0

//! Files mapped into memory.

use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, check_zero, pattern};
use crate::sys::mem::{PAGE, READ, READ_WRITE, Region};
use crate::sys::{file, path, stat};
use crate::twin::{Script, twin};
use anyhow::Result;
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("mmap.shared", shared),
    test("mmap.private", private),
    test("mmap.beyond_the_end", beyond_the_end),
    test("mmap.access_modes", access_modes),
    test("mmap.protection", protection),
    test("mmap.holes", holes),
    test("mmap.outlives_its_file", outlives),
    test("mmap.truncated_away", truncated_away),
    test("mmap.reaches_the_disk", reaches_the_disk),
    test("mmap.two_mappings", two_mappings),
];

fn shared(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 4 * PAGE), 0)?;
    let map = Region::shared(&fd, 0, 4 * PAGE, READ_WRITE)?;
    check("load", &map.load(0, 4 * PAGE), 1, 0)?;
    for at in [0, 1, 511, 4090, 4096, 3 * PAGE + 4000] {
        map.store(at, &pattern(2, at as u64, 90));
        check(
            "read of a store",
            &file::pread_vec(&fd, 90, at as u64)?,
            2,
            at as u64,
        )?;
    }
    for at in [200, 8000, 4 * PAGE - 90] {
        file::pwrite(&fd, &pattern(3, at as u64, 90), at as u64)?;
        check("load of a write", &map.load(at, 90), 3, at as u64)?;
    }
    let part = Region::shared(&fd, PAGE as u64, PAGE, READ)?;
    check("mapping from the middle", &part.load(0, 90), 2, PAGE as u64)
}

fn private(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 2 * PAGE), 0)?;
    let map = Region::private(&fd, 0, 2 * PAGE)?;
    check("load", &map.load(0, 2 * PAGE), 1, 0)?;
    map.store(100, b"mine alone");
    check(
        "the file is untouched",
        &file::pread_vec(&fd, 2 * PAGE, 0)?,
        1,
        0,
    )?;
    file::pwrite(&fd, &pattern(2, 0, 10), 0)?;
    anyhow::ensure!(
        map.load(100, 10) == b"mine alone",
        "a private store was lost"
    );
    file::fsync(&fd)?;
    check(
        "the file after sync",
        &file::pread_vec(&fd, PAGE, PAGE as u64)?,
        1,
        PAGE as u64,
    )
}

/// Up to the end of the last page there are zeroes, behind it a signal.
fn beyond_the_end(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for size in [0usize, 1, 511, 4095, 4096, 4097] {
            let fd = s.must("create", file::create(&s.at("f")))?;
            s.must("empty", file::ftruncate(&fd, 0))?;
            s.must("write", file::pwrite(&fd, &pattern(1, 0, size), 0))?;
            let map = Region::shared(&fd, 0, 4 * PAGE, READ_WRITE)?;
            let inside = size.next_multiple_of(PAGE);
            s.see(format!("size {size}: what is inside"), map.load(0, inside));
            s.in_process("load behind", || drop(map.load(inside, 1)))?;
            s.in_process("store behind", || map.store(inside, b"x"))?;
            s.in_process("load far behind", || drop(map.load(3 * PAGE, 1)))?;
            if inside > 0 {
                s.in_process("store in the last page", || map.store(inside - 1, b"x"))?;
            }
            s.see("size is kept", stat::fstat(&fd));
            s.must("extend", file::ftruncate(&fd, 4 * PAGE as i64))?;
            s.in_process("load what was behind", || drop(map.load(inside, 1)))?;
            s.see("all", file::pread_vec(&fd, 5 * PAGE, 0));
        }
        Ok(())
    })
}

fn access_modes(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, PAGE), 0))?;
        let map = |fd: &_, prot| Region::shared(fd, 0, PAGE, prot).map(|_| ());
        let reader = s.must("reader", file::open(&s.at("f"), libc::O_RDONLY, 0))?;
        s.see("read", map(&reader, READ));
        s.see("write", map(&reader, READ_WRITE));
        s.see(
            "private write",
            Region::private(&reader, 0, PAGE).map(|_| ()),
        );
        let writer = s.must("writer", file::open(&s.at("f"), libc::O_WRONLY, 0))?;
        s.see("write only", map(&writer, READ_WRITE));
        s.see(
            "odd offset",
            Region::shared(&fd, 100, PAGE, READ).map(|_| ()),
        );
        s.see("no length", Region::shared(&fd, 0, 0, READ).map(|_| ()));
        let dir = s.must("directory", file::open(s.dir(), libc::O_RDONLY, 0))?;
        s.see("a directory", map(&dir, READ));
        let appender = file::open(&s.at("f"), libc::O_RDWR | libc::O_APPEND, 0);
        let appender = s.must("appender", appender)?;
        s.see("of an appending file", map(&appender, READ_WRITE));
        s.see("to execute", map(&fd, READ | libc::PROT_EXEC));
        Ok(())
    })
}

fn protection(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 2 * PAGE), 0))?;
        let map = Region::shared(&fd, 0, 2 * PAGE, READ_WRITE)?;
        map.load(0, 1);
        s.must("no access", map.protect(libc::PROT_NONE))?;
        s.in_process("load", || drop(map.load(0, 1)))?;
        s.must("read only", map.protect(READ))?;
        s.in_process("load", || drop(map.load(0, 1)))?;
        s.in_process("store", || map.store(0, b"x"))?;
        s.must("read and write", map.protect(READ_WRITE))?;
        map.store(PAGE, b"stored");
        s.see("all", file::pread_vec(&fd, 2 * PAGE, 0));
        Ok(())
    })
}

fn holes(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::ftruncate(&fd, 64 * PAGE as i64)?;
    let map = Region::shared(&fd, 0, 64 * PAGE, READ_WRITE)?;
    check_zero("a hole", &map.load(0, 64 * PAGE), 0)?;
    for page in [0, 5, 31, 63] {
        map.store(page * PAGE + 10, &pattern(4, (page * PAGE + 10) as u64, 20));
    }
    map.msync(0, 64 * PAGE, libc::MS_SYNC)?;
    let all = file::pread_vec(&fd, 64 * PAGE, 0)?;
    for page in 0..64 {
        let at = page * PAGE;
        let (start, rest) = all[at..at + PAGE].split_at(10);
        check_zero("before a store", start, at as u64)?;
        match [0, 5, 31, 63].contains(&page) {
            true => check("a store", &rest[..20], 4, at as u64 + 10)?,
            false => check_zero("no store", &rest[..20], at as u64 + 10)?,
        }
        check_zero("behind a store", &rest[20..], at as u64 + 30)?;
    }
    Ok(())
}

fn outlives(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 2 * PAGE), 0)?;
    let map = Region::shared(&fd, 0, 2 * PAGE, READ_WRITE)?;
    drop(fd);
    check("after close", &map.load(0, PAGE), 1, 0)?;
    map.store(10, &pattern(2, 10, 10));
    path::rename(&ctx.at("f"), &ctx.at("g"))?;
    let again = file::open(&ctx.at("g"), libc::O_RDONLY, 0)?;
    check(
        "read by the new name",
        &file::pread_vec(&again, 10, 10)?,
        2,
        10,
    )?;
    drop(again);
    path::unlink(&ctx.at("g"))?;
    check("after unlink", &map.load(PAGE, PAGE), 1, PAGE as u64)?;
    map.store(PAGE + 10, &pattern(3, PAGE as u64 + 10, 10));
    map.msync(0, 2 * PAGE, libc::MS_SYNC)?;
    check("own store", &map.load(PAGE + 10, 10), 3, PAGE as u64 + 10)
}

fn truncated_away(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 4 * PAGE), 0))?;
        let map = Region::shared(&fd, 0, 4 * PAGE, READ_WRITE)?;
        map.store(3 * PAGE, b"dirty");
        s.see("cut", file::ftruncate(&fd, PAGE as i64 + 100));
        s.in_process("load what is gone", || drop(map.load(3 * PAGE, 1)))?;
        s.see("what is left", map.load(0, 2 * PAGE));
        s.see("extend", file::ftruncate(&fd, 4 * PAGE as i64));
        s.see("zeroes came back", map.load(0, 4 * PAGE));
        Ok(())
    })
}

fn store_and_leave(p: &Path, sync: bool) -> Result<()> {
    let fd = file::create(p)?;
    file::ftruncate(&fd, 3 * PAGE as i64 + 10)?;
    let map = Region::shared(&fd, 0, 4 * PAGE, READ_WRITE)?;
    map.store(100, &pattern(1, 100, 3 * PAGE - 90));
    if sync {
        map.msync(0, 4 * PAGE, libc::MS_SYNC)?;
    }
    Ok(())
}

fn reaches_the_disk(ctx: &Ctx) -> Result<()> {
    for sync in [true, false] {
        store_and_leave(&ctx.at("f"), sync)?;
        if !sync {
            file::sync();
        }
        let under = file::open(&ctx.under.join("f"), libc::O_RDONLY, 0)?;
        let seen = file::pread_vec(&under, 4 * PAGE, 0)?;
        check_zero("on the lower", &seen[..100], 0)?;
        check("on the lower", &seen[100..], 1, 100)?;
        anyhow::ensure!(
            seen.len() == 3 * PAGE + 10,
            "on the lower: saw {} bytes",
            seen.len()
        );
        drop(under);
        path::unlink(&ctx.at("f"))?;
    }
    Ok(())
}

fn two_mappings(ctx: &Ctx) -> Result<()> {
    let script = |s: &mut Script| -> Result<()> {
        let a = s.must("create", file::create(&s.at("f")))?;
        s.must("extend", file::ftruncate(&a, 2 * PAGE as i64))?;
        let b = s.must("open again", file::open(&s.at("f"), libc::O_RDWR, 0))?;
        let (x, y) = (
            Region::shared(&a, 0, 2 * PAGE, READ_WRITE)?,
            Region::shared(&b, 0, 2 * PAGE, READ_WRITE)?,
        );
        x.store(5, b"from x");
        s.see("seen by the other", y.load(5, 6));
        y.store(PAGE + 5, b"from y");
        s.see("seen by the first", x.load(PAGE + 5, 6));
        s.in_process("and by another process", || {
            assert_eq!(x.load(PAGE + 5, 6), b"from y");
            y.store(50, b"child");
        })?;
        s.see("and the other way", x.load(50, 5));
        Ok(())
    };
    twin(ctx, script)
}
