// SPDX-License-Identifier: GPL-2.0

//! Copies inside the kernel: splice, sendfile, copy_file_range.

use super::below::{Flagged, IMMUTABLE};
use crate::coherence::race::Racer;
use crate::coherence::scene::splice;
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, pattern};
use crate::stats::Stats;
use crate::sys::errno::Errno;
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Res, file, fscall, process, stat};
use crate::twin::{expect_errno, twin};
use anyhow::{Result, ensure};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("splice.out", splice_out),
    test("splice.in", splice_in),
    test("splice.in_empty", splice_in_empty),
    test("splice.in_limited", splice_in_limited),
    test("splice.in_direct", splice_in_direct),
    test("splice.out_direct", splice_out_direct),
    test(
        "splice.pipe_waited_for_without_lock",
        waited_for_without_lock,
    ),
    test("splice.in_reaches_the_lower", in_reaches_the_lower),
    test("splice.in_moves_the_position", in_moves_the_position),
    test("splice.locked_by_a_receiver", locked_by_a_receiver),
    test("splice.immutable_while_waiting", immutable_while_waiting),
    test("splice.both_ways_at_once", both_ways_at_once),
    test("splice.sendfile", sendfile),
    test("splice.copy_file_range", copy_file_range),
];

fn splice_out(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 3 * PAGE + 10), 0))?;
        let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
        map.store(7, b"stored");
        for (at, len) in [(0, 100), (4000, 200), (3 * PAGE as i64, 100), (1 << 20, 10)] {
            let (reader, writer) = fscall::pipe()?;
            let n = s
                .get("splice", fscall::splice_out(&fd, at, &writer, len))
                .unwrap_or(0);
            drop(writer);
            let mut buf = vec![0; n + 1];
            let n = file::read(&reader, &mut buf)?;
            s.see("content", buf[..n].to_vec());
        }
        Ok(())
    })
}

fn splice_in(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        let (reader, writer) = fscall::pipe()?;
        for (at, len) in [(0i64, 5000usize), (100, 10), (4090, 10), (20_000, 3000)] {
            file::write(&writer, &pattern(at as u8, at as u64, len))?;
            let mut done = 0;
            while done < len {
                done += fscall::splice_in(&reader, &fd, at + done as i64, len - done)?;
            }
            s.see("size", stat::fstat(&fd));
            s.see("all", file::pread_vec(&fd, 30_000, 0));
        }
        s.see("sync", file::fsync(&fd));
        s.see("all", file::pread_vec(&fd, 30_000, 0));
        Ok(())
    })
}

/// A pipe with nothing in it, with a writer and without one.
fn splice_in_empty(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        let (reader, writer) = fscall::pipe()?;
        let impatient =
            |len| fscall::splice_in_flags(&reader, &fd, 0, len, libc::SPLICE_F_NONBLOCK);
        s.see("empty", impatient(10));
        s.see("none of it", impatient(0));
        file::write(&writer, b"a few")?;
        s.see("less than asked for", impatient(10));
        s.see("empty again", impatient(10));
        file::write(&writer, b"the last")?;
        drop(writer);
        s.see("the last", fscall::splice_in(&reader, &fd, 3, 100));
        s.see("no more writers", fscall::splice_in(&reader, &fd, 3, 100));
        s.see("size", stat::fstat(&fd));
        s.see("content", file::pread_vec(&fd, 100, 0));
        Ok(())
    })
}

/// What cannot be written stays in the pipe.
fn splice_in_limited(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.as_user(0, |s| {
            process::limit_file_size(10_000)?;
            let fd = s.must("create", file::create(&s.at("f")))?;
            let (reader, writer) = fscall::pipe()?;
            file::write(&writer, &pattern(1, 0, 3 * PAGE))?;
            drop(writer);
            s.see("across", fscall::splice_in(&reader, &fd, 0, 3 * PAGE));
            s.see("at it", fscall::splice_in(&reader, &fd, 10_000, PAGE));
            s.see("size", stat::fstat(&fd));
            s.see("content", file::pread_vec(&fd, 20_000, 0));
            let mut rest = vec![0; 3 * PAGE];
            let n = file::read(&reader, &mut rest)?;
            s.see("what is left", rest[..n].to_vec());
            Ok(())
        })
    })
}

/// Splices all of `data` into a file.
fn fill(fd: &OwnedFd, at: usize, data: &[u8]) -> Result<()> {
    let (reader, writer) = fscall::pipe()?;
    let n = file::write(&writer, data)?;
    ensure!(n == data.len(), "a pipe took {n} of {} bytes", data.len());
    drop(writer);
    let mut done = 0;
    while done < data.len() {
        done += match fscall::splice_in(&reader, fd, (at + done) as i64, data.len() - done)? {
            0 => anyhow::bail!("a splice ended after {done} bytes"),
            n => n,
        };
    }
    Ok(())
}

/// Into a descriptor for direct I/O: whole pages, between cached access to the same file.
fn splice_in_direct(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    twin(ctx, |s| {
        let cached = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&cached, &pattern(1, 0, 8 * PAGE), 0))?;
        let direct = s.must("direct", file::open_direct(&s.at("f")))?;
        let map = Region::shared(&cached, 0, 8 * PAGE, READ_WRITE)?;
        map.store(7 * PAGE, b"stored");
        for at in [0, 2, 7, 12] {
            fill(&direct, at * PAGE, &pattern(at as u8, 0, 2 * PAGE))?;
            s.see("size", stat::fstat(&cached));
            s.see("cached", file::pread_vec(&cached, 16 * PAGE, 0));
            s.see("mapped", map.load(0, 8 * PAGE));
            let whole = Slice::zeroed(16 * PAGE)?;
            let n = file::pread_mem(&direct, &whole, 0)?;
            s.see("direct", whole.bytes(n));
        }
        s.see("sync", file::fsync(&direct));
        Ok(())
    })
}

/// Out of a descriptor for direct I/O: what was written and stored before.
fn splice_out_direct(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    twin(ctx, |s| {
        let cached = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&cached, &pattern(1, 0, 6 * PAGE), 0))?;
        let direct = s.must("direct", file::open_direct(&s.at("f")))?;
        let map = Region::shared(&cached, 0, 6 * PAGE, READ_WRITE)?;
        for round in 2..6u8 {
            let at = usize::from(round - 2) * PAGE;
            map.store(at + 9, &[round; 100]);
            s.must(
                "write",
                file::pwrite(&cached, &[round; 700], at as u64 + 3000),
            )?;
            let page = Slice::of(&pattern(round, 0, PAGE))?;
            s.must("write", file::pwrite_mem(&direct, &page, 5 * PAGE as u64))?;
            s.see("bytes", splice(&direct, at, PAGE)?);
            s.see("bytes", splice(&direct, 5 * PAGE, PAGE)?);
        }
        Ok(())
    })
}

/// What a descriptor's flags promise of a write, they promise of a splice.
fn in_reaches_the_lower(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    ctx.need_direct()?;
    let cached = file::create(&ctx.at("f"))?;
    for (flags, at, counted) in [(libc::O_DIRECT, 0, 1), (libc::O_DSYNC, 3, 0)] {
        let fd = file::open(&ctx.at("f"), libc::O_RDWR | flags, 0)?;
        let before = Stats::of(&ctx.up)?.get("fallbacks")?;
        // Odd on purpose: a pipe has no alignment.
        fill(&fd, at * PAGE + 1, &pattern(at as u8, 0, PAGE + 1))?;
        let under = file::open_direct(&ctx.under.join("f"))?;
        let whole = Slice::zeroed(8 * PAGE)?;
        let n = file::pread_mem(&under, &whole, 0)?;
        let (from, to) = (at * PAGE + 1, (at + 1) * PAGE + 2);
        ensure!(n == to, "the lower has {n} bytes, not {to}");
        check("on the lower", &whole.bytes(n)[from..], at as u8, 0)?;
        let above = file::pread_vec(&cached, n, 0)?;
        check("above", &above[from..], at as u8, 0)?;
        let after = Stats::of(&ctx.up)?.get("fallbacks")?;
        ensure!(after == before + counted, "{} counted", after - before);
    }
    Ok(())
}

/// The position moves by what was written, also where an error ends it.
fn in_moves_the_position(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let from = s.must("from", file::create(&s.at("from")))?;
        s.must("write", file::pwrite(&from, &pattern(1, 0, 9 * PAGE), 0))?;
        s.as_user(0, |s| {
            process::limit_file_size(10_000)?;
            let to = s.must("to", file::create(&s.at("to")))?;
            for (what, at, len) in [
                ("below the limit", 100, 5000),
                ("across it", 5100, 20_000),
                ("at it", 0, 100),
            ] {
                s.see(what, fscall::sendfile(&to, &from, at, len));
                s.see("position", file::lseek(&to, 0, libc::SEEK_CUR));
            }
            s.see("content", file::pread_vec(&to, 20_000, 0));
            Ok(())
        })
    })
}

/// A splice from a socket keeps the pipe locked while it waits for data. It keeps nobody from a file
/// that somebody else splices to from the pipe.
fn locked_by_a_receiver(ctx: &Ctx) -> Result<()> {
    const ROUNDS: usize = 200;
    let fd = Arc::new(file::create(&ctx.at("f"))?);
    let (mut outside, inside) = UnixStream::pair()?;
    let (reader, writer) = fscall::pipe()?;
    let receiver = Racer::start(move || all(|_| fscall::splice_on(&inside, &writer, PAGE)));
    let to = Arc::clone(&fd);
    let splicer =
        Racer::start(move || all(|done| fscall::splice_in(&reader, &to, done as i64, PAGE)));
    for _ in 0..ROUNDS {
        outside.write_all(b"x")?;
        let to = Arc::clone(&fd);
        let write = Racer::start(move || file::pwrite(&to, b"y", ROUNDS as u64));
        ensure!(write.join()? == Ok(1), "the write failed");
    }
    drop(outside);
    ensure!(receiver.join()? == Ok(ROUNDS), "not all was received");
    ensure!(splicer.join()? == Ok(ROUNDS), "not all was spliced");
    let bytes = file::pread_vec(&fd, 2 * ROUNDS, 0)?;
    let expected = [vec![b'x'; ROUNDS], vec![b'y']].concat();
    ensure!(bytes == expected, "the file holds something else");
    Ok(())
}

/// Repeats a call, which is told how many bytes are done, until there are no more.
fn all(call: impl Fn(usize) -> Res<usize>) -> Res<usize> {
    let mut done = 0;
    loop {
        match call(done)? {
            0 => return Ok(done),
            n => done += n,
        }
    }
}

/// A file that is made immutable while the pipe is empty is not written to, and what came into the
/// pipe stays there.
fn immutable_while_waiting(ctx: &Ctx) -> Result<()> {
    let fd = Arc::new(file::create(&ctx.at("f"))?);
    file::pwrite(&fd, b"old", 0)?;
    file::fsync(&fd)?;
    let (reader, writer) = fscall::pipe()?;
    let reader = Arc::new(reader);
    let (from, to) = (Arc::clone(&reader), Arc::clone(&fd));
    let splice = Racer::start(move || fscall::splice_in(&from, &to, 0, 3));
    ensure!(!splice.finished_soon(), "an empty pipe was not waited for");
    let flag = Flagged::set(ctx.under.join("f"), IMMUTABLE)?;
    file::write(&writer, b"NEW")?;
    let answer = splice.join()?;
    drop(flag);
    expect_errno("a splice to it", answer, libc::EPERM)?;
    let mut left = [0; 10];
    ensure!(file::read(&reader, &mut left)? == 3, "the pipe is empty");
    ensure!(file::pread_vec(&fd, 10, 0)? == b"old", "it was written to");
    Ok(())
}

/// Who waits for a pipe to be filled keeps nobody from the file.
fn waited_for_without_lock(ctx: &Ctx) -> Result<()> {
    let fd = Arc::new(file::create(&ctx.at("f"))?);
    let (reader, writer) = fscall::pipe()?;
    let to = Arc::clone(&fd);
    let splice = Racer::start(move || fscall::splice_in(&reader, &to, 0, 5));
    ensure!(!splice.finished_soon(), "an empty pipe was not waited for");
    let to = Arc::clone(&fd);
    let write = Racer::start(move || file::pwrite(&to, b"written, then spliced over", 0));
    ensure!(write.join()? == Ok(26), "the write failed");
    file::write(&writer, b"SPLIC")?;
    ensure!(splice.join()? == Ok(5), "the splice failed");
    let bytes = file::pread_vec(&fd, 100, 0)?;
    ensure!(
        bytes == b"SPLICen, then spliced over",
        "the file holds {:?}",
        String::from_utf8_lossy(&bytes)
    );
    Ok(())
}

/// Splices between one file and one pipe in both directions, cached and direct: each wants the
/// file's lock and the pipe's.
fn both_ways_at_once(ctx: &Ctx) -> Result<()> {
    ctx.need_direct()?;
    const LEN: usize = 4 * PAGE;
    let cached = Arc::new(file::create(&ctx.at("f"))?);
    file::pwrite(&cached, &vec![b'x'; 4 * LEN], 0)?;
    let direct = Arc::new(file::open_direct(&ctx.at("f"))?);
    let (reader, writer) = fscall::pipe()?;
    let (reader, writer) = (Arc::new(reader), Arc::new(writer));
    let again = |call: &dyn Fn() -> Res<usize>| -> Res<usize> {
        let (start, mut bytes) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(if bytes > 0 { 1 } else { 20 }) {
            match call() {
                Ok(n) => bytes += n,
                Err(Errno(libc::EAGAIN)) => std::thread::yield_now(),
                Err(e) => return Err(e),
            }
        }
        Ok(bytes)
    };
    let mut racers = Vec::new();
    for file in [&cached, &direct] {
        let (from, pipe) = (Arc::clone(file), Arc::clone(&writer));
        racers.push(Racer::start(move || {
            again(&|| fscall::splice_out_flags(&from, 0, &pipe, LEN, libc::SPLICE_F_NONBLOCK))
        }));
        let (to, pipe) = (Arc::clone(file), Arc::clone(&reader));
        racers.push(Racer::start(move || {
            again(&|| {
                let at = LEN as i64;
                fscall::splice_in_flags(&pipe, &to, at, LEN, libc::SPLICE_F_NONBLOCK)
            })
        }));
    }
    for racer in racers {
        ensure!(racer.join()?? > 0, "one direction moved nothing");
    }
    let bytes = file::pread_vec(&cached, 4 * LEN, 0)?;
    ensure!(
        bytes.iter().all(|b| *b == b'x') && bytes.len() == 4 * LEN,
        "bytes that nobody wrote"
    );
    Ok(())
}

fn sendfile(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let from = s.must("from", file::create(&s.at("from")))?;
        s.must("write", file::pwrite(&from, &pattern(1, 0, 50_000), 0))?;
        let to = s.must("to", file::create(&s.at("to")))?;
        s.see("send", fscall::sendfile(&to, &from, 1000, 30_000));
        s.see(
            "send the rest",
            fscall::sendfile(&to, &from, 31_000, 100_000),
        );
        s.see("content", file::pread_vec(&to, 100_000, 0));
        let (reader, outside) = fscall::pipe()?;
        drop(reader);
        s.see(
            "send into the pipe with no reader",
            fscall::sendfile(&outside, &from, 0, 10),
        );
        Ok(())
    })
}

fn copy_file_range(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let from = s.must("from", file::create(&s.at("from")))?;
        s.must("write", file::pwrite(&from, &pattern(1, 0, 50_000), 0))?;
        let map = Region::shared(&from, 0, PAGE, READ_WRITE)?;
        map.store(5, b"stored, not synced");
        let to = s.must("to", file::create(&s.at("to")))?;
        s.see("copy", fscall::copy_file_range(&from, 0, &to, 0, 50_000));
        s.see("content", file::pread_vec(&to, 100_000, 0));
        s.see(
            "odd",
            fscall::copy_file_range(&from, 777, &to, 60_001, 3333),
        );
        s.see("content", file::pread_vec(&to, 100_000, 0));
        s.see(
            "beyond the end",
            fscall::copy_file_range(&from, 50_000, &to, 0, 10),
        );
        s.see(
            "overlapping itself",
            fscall::copy_file_range(&from, 0, &from, 100, 1000),
        );
        s.see(
            "within itself",
            fscall::copy_file_range(&from, 0, &from, 100_000, 1000),
        );
        s.see("content", file::pread_vec(&from, 200_000, 0));
        let reader = s.must("reader", file::open(&s.at("to"), libc::O_RDONLY, 0))?;
        s.see(
            "into a reader",
            fscall::copy_file_range(&from, 0, &reader, 0, 10),
        );
        s.see("sync", file::fsync(&to));
        Ok(())
    })
}
