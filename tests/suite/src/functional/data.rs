// SPDX-License-Identifier: GPL-2.0

//! Reading and writing through the page cache.

use crate::coherence::queue::{Engine, Queue};
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, check_equal, check_zero, pattern};
use crate::sys::mem::{PAGE, Region, Slice};
use crate::sys::{file, fscall, stat};
use crate::twin::twin;
use anyhow::{Result, bail, ensure};
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    test("data.edges", edges),
    test("data.holes", holes),
    test("data.vectors", vectors),
    test("data.bad_buffers", bad_buffers),
    test("data.of_nothing", of_nothing),
    test("data.written_without_waiting", written_without_waiting),
    test("data.large", large),
    test("data.many_small", many_small),
    test("data.seen_below_after_sync", seen_below),
    test("data.cold", cold),
    test("data.advice", advice),
    test("data.cached_once", cached_once),
];

/// Places around which a filesystem changes its mind.
const EDGES: [u64; 13] = [
    0, 1, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 8191, 8192, 65536,
];

fn edges(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        for (i, offset) in EDGES.into_iter().enumerate() {
            for len in [1usize, 511, 512, 513, 4096, 4097] {
                let data = pattern(i as u8, offset, len);
                s.see(
                    format!("write {len} at {offset}"),
                    file::pwrite(&fd, &data, offset),
                );
            }
            s.see("size", stat::fstat(&fd));
            s.see("all", file::pread_vec(&fd, 1 << 17, 0));
        }
        for offset in EDGES {
            for len in [0usize, 1, 511, 512, 513, 4097, 100_000] {
                s.see(
                    format!("read {len} at {offset}"),
                    file::pread_vec(&fd, len, offset),
                );
            }
        }
        s.see("read at the end", file::pread_vec(&fd, 10, 65536 + 4097));
        s.see("read far beyond", file::pread_vec(&fd, 10, 1 << 40));
        Ok(())
    })
}

fn holes(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("extend", file::ftruncate(&fd, 1 << 20))?;
        s.see("read a hole", file::pread_vec(&fd, 1 << 20, 0));
        for at in [100u64, 5000, 70_000, 500_001, (1 << 20) - 1] {
            s.see("write", file::pwrite(&fd, b"in a hole", at));
        }
        s.see("all", file::pread_vec(&fd, 2 << 20, 0));
        s.see("sync", file::fsync(&fd));
        s.see("all", file::pread_vec(&fd, 2 << 20, 0));
        s.see("far away", file::pwrite(&fd, b"far", 5 << 30));
        s.see(
            "just before",
            file::pread_vec(&fd, 10_000, (5 << 30) - 9_997),
        );
        s.see("sync", file::fsync(&fd));
        s.see("few blocks", stat::fstat(&fd).map(|st| st.blocks < 2000));
        Ok(())
    })
}

fn vectors(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        let memory = Region::anon(4 * PAGE)?;
        memory.store(0, &pattern(7, 0, 4 * PAGE));
        let piece = |offset, len| Slice::new(&memory, offset, len);
        let odd = [
            piece(3, 1),
            piece(100, 4096),
            piece(9000, 0),
            piece(5000, 777),
        ];
        s.see("write", file::pwritev(&fd, &odd, 10, 0));
        s.see("write at the position", file::write(&fd, b"0123456789"));
        s.see("all", file::pread_vec(&fd, 10_000, 0));
        let back = Region::anon(2 * PAGE)?;
        let parts = [
            Slice::new(&back, 1, 100),
            Slice::new(&back, 500, 4000),
            Slice::new(&back, 5000, 3000),
        ];
        s.see("read", file::preadv(&fd, &parts, 0, 0));
        s.see("content", back.load(0, 2 * PAGE));
        s.see("no parts", file::pwritev(&fd, &[], 0, 0));
        let many: Vec<Slice> = (0..1024).map(|i| piece(i * 7, 7)).collect();
        s.see("1024 parts", file::pwritev(&fd, &many, 0, 0));
        let too_many: Vec<Slice> = (0..1025).map(|i| piece(i * 7, 7)).collect();
        s.see("1025 parts", file::pwritev(&fd, &too_many, 0, 0));
        s.see("all", file::pread_vec(&fd, 10_000, 0));
        s.see("unknown flag", file::pwritev(&fd, &odd, 0, 1 << 30));
        Ok(())
    })
}

/// A buffer that cannot be read or written gives an error or a short count, and no wrong bytes.
fn bad_buffers(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 3 * PAGE), 0))?;
        let bad: Arc<Region> = Region::anon(PAGE)?;
        bad.protect(libc::PROT_NONE)?;
        let bad = Slice::new(&bad, 0, PAGE);
        s.see("write from it", file::pwrite_mem(&fd, &bad, 0));
        s.see("read into it", file::pread_mem(&fd, &bad, 0));
        let good = Slice::of(&pattern(2, 0, 100))?;
        let n = file::pwritev(&fd, &[good.clone(), bad.clone()], 0, 0);
        s.see("write half", n.map(|n| n <= 100));
        s.see("the rest is untouched", file::pread_vec(&fd, PAGE, 100));
        s.see(
            "beyond the end",
            file::pwrite_mem(&fd, &bad, 3 * PAGE as u64),
        );
        s.see("size", stat::fstat(&fd));
        let direct = s.must("direct", file::open_direct(&s.at("f")))?;
        s.see("direct write from it", file::pwrite_mem(&direct, &bad, 0));
        s.see("direct read into it", file::pread_mem(&direct, &bad, 0));
        s.see("all", file::pread_vec(&fd, 4 * PAGE, 100));
        Ok(())
    })
}

/// Requests of no bytes, which the system calls end early and asynchronous ones do not.
fn of_nothing(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let cached = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&cached, &pattern(1, 0, PAGE), 0))?;
        let direct = s.must("direct", file::open_direct(&s.at("f")))?;
        let nothing = Slice::new(&Region::anon(PAGE)?, 0, 0);
        for (name, fd) in [("cached", &cached), ("direct", &direct)] {
            for engine in Engine::BOTH {
                for at in [0, 512, PAGE as u64, 5 * PAGE as u64] {
                    let mut queue = Queue::new(engine, 1)?;
                    let submitted = queue.write(fd, &nothing, at);
                    let n = queue.only(submitted)?;
                    s.see(format!("{name} write at {at} by {engine:?}"), n);
                    let submitted = queue.read(fd, &nothing, at);
                    let n = queue.only(submitted)?;
                    s.see(format!("{name} read at {at} by {engine:?}"), n);
                }
            }
        }
        s.see("size", stat::fstat(&cached).map(|st| st.size));
        s.see("all", file::pread_vec(&cached, 2 * PAGE, 0));
        Ok(())
    })
}

/// A cached write that must not wait is refused whole.
fn written_without_waiting(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, PAGE), 0))?;
        let data = Slice::of(&pattern(2, 0, PAGE))?;
        for at in [0, 100, PAGE as u64] {
            let n = file::pwritev(&fd, &[data.clone()], at, file::RWF_NOWAIT);
            s.see(format!("write at {at}"), n);
        }
        s.see("size", stat::fstat(&fd).map(|st| st.size));
        s.see("all", file::pread_vec(&fd, 3 * PAGE, 0));
        Ok(())
    })
}

/// More than fits one folio, one readahead window, one writeback round.
fn large(ctx: &Ctx) -> Result<()> {
    const LEN: usize = 24 << 20;
    let fd = file::create(&ctx.at("f"))?;
    let data = pattern(1, 0, LEN);
    let mut done = 0;
    while done < LEN {
        done += file::pwrite(&fd, &data[done..], done as u64)?;
    }
    file::fsync(&fd)?;
    fscall::fadvise(&fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    for chunk in [1 << 20, 1_000_001] {
        let mut at = 0;
        while at < LEN {
            let some = file::pread_vec(&fd, chunk, at as u64)?;
            ensure!(!some.is_empty(), "read at {at} of {LEN} returned nothing");
            check_equal("read", &some, &data[at..at + some.len()], at as u64)?;
            at += some.len();
        }
    }
    Ok(())
}

fn many_small(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    let data = pattern(3, 0, 150_000);
    for part in data.chunks(37) {
        file::write(&fd, part)?;
    }
    check_equal("read", &file::pread_vec(&fd, 200_000, 0)?, &data, 0)?;
    for i in 0..300 {
        let fd = file::create(&ctx.at(&format!("f{i}")))?;
        file::write(&fd, &pattern(i as u8, 0, 100 + i))?;
    }
    for i in 0..300 {
        let fd = file::open(&ctx.at(&format!("f{i}")), libc::O_RDONLY, 0)?;
        let seen = file::pread_vec(&fd, 1000, 0)?;
        ensure!(
            seen.len() == 100 + i,
            "file {i}: expected {} bytes, saw {}",
            100 + i,
            seen.len()
        );
        check("small file", &seen, i as u8, 0)?;
    }
    Ok(())
}

/// After a sync the lower has what was written here.
fn seen_below(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    for (tag, sync) in [(1, true), (2, false)] {
        file::pwrite(&fd, &pattern(tag, 100, 50_000), 100)?;
        match sync {
            true => file::fsync(&fd)?,
            false => file::syncfs(&fd)?,
        }
        let under = file::open(&ctx.under.join("f"), libc::O_RDONLY, 0)?;
        let seen = file::pread_vec(&under, 100_000, 0)?;
        ensure!(
            seen.len() == 50_100,
            "on the lower: expected 50100 bytes, saw {}",
            seen.len()
        );
        check_zero("on the lower", &seen[..100], 0)?;
        check("on the lower", &seen[100..], tag, 100)?;
    }
    Ok(())
}

/// What was written is read again after everything has left memory.
fn cold(ctx: &Ctx) -> Result<()> {
    const LEN: usize = 300_001;
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, LEN), 0)?;
    file::pwrite(&fd, &pattern(2, 1_000_000, 10), 1_000_000)?;
    drop(fd);
    file::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")?;
    let fd = file::open(&ctx.at("f"), libc::O_RDONLY, 0)?;
    let seen = file::pread_vec(&fd, 2_000_000, 0)?;
    ensure!(
        seen.len() == 1_000_010,
        "expected 1000010 bytes, saw {}",
        seen.len()
    );
    check("written", &seen[..LEN], 1, 0)?;
    check_zero("hole", &seen[LEN..1_000_000], LEN as u64)?;
    check("far", &seen[1_000_000..], 2, 1_000_000)
}

/// What is in the cache above is not in the lower's too, at rest.
fn cached_once(ctx: &Ctx) -> Result<()> {
    // The kernel drops a folio behind a write if nobody has it locked just then, and does not come
    // back for it.
    const TRIES: usize = 5;
    ctx.need_diofs()?;
    ctx.need_direct()?;
    let mut seen = Vec::new();
    for i in 0..TRIES {
        let below = cached_below(ctx, &format!("f{i}"))?;
        if below <= CACHED_PAGES / 20 {
            return Ok(());
        }
        let kept = kept_by_the_lower(ctx, &format!("g{i}"))?;
        if below <= kept {
            return Ok(());
        }
        seen.push((below, kept));
    }
    bail!(
        "of {CACHED_PAGES} pages the lower caches too, and keeps of those that it is to drop: \
         {seen:?}"
    );
}

const CACHED_PAGES: u64 = 1024;

/// How many pages of a file the lower caches as well, after they were written and read.
fn cached_below(ctx: &Ctx, name: &str) -> Result<u64> {
    let fd = file::create(&ctx.at(name))?;
    file::pwrite(&fd, &pattern(1, 0, CACHED_PAGES as usize * PAGE), 0)?;
    file::fsync(&fd)?;
    let under = file::open(&ctx.under.join(name), libc::O_RDONLY, 0)?;
    if !ctx.lower.kind.has_extents() {
        // Nor does it where writing ends in an interrupt, as it does for block-mapped files.
        fscall::fadvise(&under, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    }
    let mut most = 0;
    for what in ["written", "read"] {
        let above = fscall::cachestat(&fd, 0, 0)?.cached;
        ensure!(
            above >= CACHED_PAGES / 2,
            "{what}: of {CACHED_PAGES} pages {above} are cached"
        );
        most = most.max(fscall::cachestat(&under, 0, 0)?.cached);
        fscall::fadvise(&fd, 0, 0, libc::POSIX_FADV_DONTNEED)?;
        let bytes = file::pread_vec(&fd, CACHED_PAGES as usize * PAGE, 0)?;
        check("read", &bytes, 1, 0)?;
    }
    Ok(most)
}

/// How many pages the lower keeps of those that it is to drop once they are written, with no diofs
/// in between.
fn kept_by_the_lower(ctx: &Ctx, name: &str) -> Result<u64> {
    if !ctx.lower.kind.has_extents() {
        return Ok(0);
    }
    let fd = file::create(&ctx.under.join(name))?;
    let data = Slice::of(&pattern(1, 0, CACHED_PAGES as usize * PAGE))?;
    file::pwritev(&fd, &[data], 0, file::RWF_DONTCACHE)?;
    file::fsync(&fd)?;
    Ok(fscall::cachestat(&fd, 0, 0)?.cached)
}

fn advice(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 100_000), 0))?;
        for advice in [
            libc::POSIX_FADV_SEQUENTIAL,
            libc::POSIX_FADV_RANDOM,
            libc::POSIX_FADV_WILLNEED,
            libc::POSIX_FADV_DONTNEED,
            libc::POSIX_FADV_NOREUSE,
            99,
        ] {
            s.see(
                format!("advice {advice}"),
                fscall::fadvise(&fd, 0, 50_000, advice),
            );
            s.see("read", file::pread_vec(&fd, 200_000, 0));
        }
        s.see("readahead", fscall::readahead(&fd, 0, 1 << 20));
        s.see("read", file::pread_vec(&fd, 200_000, 0));
        Ok(())
    })
}
