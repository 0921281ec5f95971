// SPDX-License-Identifier: GPL-2.0

//! Files and directories that are used after their names are gone.

use crate::harness::{Ctx, Private, Test, test};
use crate::patience;
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{file, path, stat};
use crate::twin::twin;
use anyhow::{Result, ensure};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("lifetime.unlinked", unlinked),
    test("lifetime.unlinked_frees_blocks", unlinked_frees_blocks),
    test("lifetime.removed_frees_blocks", removed_frees_blocks),
    test("lifetime.removed_directory", removed_directory),
    test("lifetime.name_used_again", name_used_again),
    test("lifetime.many_files", many_files),
];

fn unlinked(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 10_000), 0))?;
        s.must("unlink", path::unlink(&s.at("f")))?;
        s.see("attributes", stat::fstat(&fd));
        s.see("read", file::pread_vec(&fd, 20_000, 0));
        s.see("write", file::pwrite(&fd, &pattern(2, 5000, 10_000), 5000));
        s.see("read", file::pread_vec(&fd, 20_000, 0));
        s.see("truncate", file::ftruncate(&fd, 7000));
        s.see("sync", file::fsync(&fd));
        s.see("chmod", file::fchmod(&fd, 0o600));
        s.see("attributes", stat::fstat(&fd));
        let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
        map.store(0, b"stored");
        s.see("read", file::pread_vec(&fd, 20_000, 0));
        let flags = libc::O_RDWR | libc::O_DIRECT;
        let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let direct = s.must("reopen", file::open(again.as_ref(), flags, 0))?;
        let page = Slice::of(&pattern(3, 0, PAGE))?;
        s.see("direct write", file::pwrite_mem(&direct, &page, 0));
        s.see("read", file::pread_vec(&fd, 20_000, 0));
        s.see("a name for it", path::link_fd(fd.as_fd(), &s.at("again")));
        Ok(())
    })
}

/// Free blocks of the lower, once they are at least `least` or have not become so for a while.
fn free_blocks(own: &Private, least: u64) -> Result<u64> {
    let start = Instant::now();
    loop {
        let lower = file::open(&own.lower.dir, libc::O_RDONLY, 0)?;
        file::syncfs(&lower)?;
        let free = stat::statfs(&own.lower.dir)?.free;
        if free >= least || start.elapsed() > patience::at_most(Duration::from_secs(3)) {
            return Ok(free);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn big_file(p: &Path) -> Result<OwnedFd> {
    let fd = file::create(p)?;
    file::pwrite(&fd, &pattern(1, 0, 4 << 20), 0)?;
    file::fsync(&fd)?;
    Ok(fd)
}

fn unlinked_frees_blocks(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, 64)?;
    drop(file::create(&own.at("warm"))?);
    let before = free_blocks(&own, 0)?;
    let fd = big_file(&own.at("f"))?;
    path::unlink(&own.at("f"))?;
    let held = free_blocks(&own, 0)?;
    ensure!(held < before, "an open unlinked file holds no blocks");
    drop(fd);
    let after = free_blocks(&own, before)?;
    ensure!(
        after >= before,
        "after the last close {} blocks are not free again",
        before - after
    );
    own.finish()
}

/// What is closed and then removed in one way or another is gone with its blocks.
fn removed_frees_blocks(ctx: &Ctx) -> Result<()> {
    let own = ctx.private(ctx.lower.kind, 64)?;
    for name in ["warm", "other"] {
        drop(file::create(&own.at(name))?);
    }
    let before = free_blocks(&own, 0)?;
    let (f, other) = (own.at("f"), own.at("other"));
    for how in [
        "unlink",
        "rename over it",
        "truncate",
        "unlink by the other name",
    ] {
        drop(big_file(&f)?);
        match how {
            "unlink" => path::unlink(&f)?,
            "rename over it" => path::rename(&other, &f)?,
            "truncate" => path::truncate(&f, 0)?,
            _ => {
                path::link(&f, &own.at("g"))?;
                path::unlink(&f)?;
                path::unlink(&own.at("g"))?;
            }
        }
        let after = free_blocks(&own, before)?;
        ensure!(
            after >= before,
            "{how}: {} blocks are not free again",
            before - after
        );
    }
    own.finish()
}

fn removed_directory(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.must("make", path::mkdir(&s.at("d"), 0o755))?;
        let fd = s.must("open", file::open(&s.at("d"), libc::O_RDONLY, 0))?;
        path::chdir(&s.at("d"))?;
        s.must("remove", path::rmdir(&s.at("d")))?;
        s.see("attributes", stat::fstat(&fd));
        s.see("create in it", file::create("f".as_ref()));
        s.see("make in it", path::mkdir("e".as_ref(), 0o755));
        s.see("look up", stat::stat("f".as_ref()));
        s.see("its parent", stat::stat("..".as_ref()).is_ok());
        path::chdir("/".as_ref())?;
        s.see("sync", file::fsync(&fd));
        Ok(())
    })
}

/// A new file under an old name has nothing of the old one, in any cache.
fn name_used_again(ctx: &Ctx) -> Result<()> {
    let mut old = Vec::new();
    for i in 0..20u8 {
        let fd = file::create(&ctx.at("f"))?;
        let seen = file::pread_vec(&fd, 10_000, 0)?;
        ensure!(
            seen.is_empty(),
            "a new file begins with {} bytes",
            seen.len()
        );
        file::pwrite(&fd, &pattern(i, 0, 3000 + usize::from(i)), 0)?;
        if i % 2 == 0 {
            file::fsync(&fd)?;
        }
        path::unlink(&ctx.at("f"))?;
        old.push(fd);
    }
    for (i, fd) in old.iter().enumerate() {
        let seen = file::pread_vec(fd, 10_000, 0)?;
        ensure!(seen.len() == 3000 + i, "file {i}: saw {} bytes", seen.len());
        check("an unlinked file", &seen, i as u8, 0)?;
    }
    Ok(())
}

/// More files than stay in memory for long, in a tree, made, read, and removed.
fn many_files(ctx: &Ctx) -> Result<()> {
    for d in 0..20 {
        path::mkdir(&ctx.at(&format!("d{d}")), 0o755)?;
        for f in 0..20 {
            let fd = file::create(&ctx.at(&format!("d{d}/f{f}")))?;
            file::write(&fd, format!("{d} {f}").as_bytes())?;
        }
    }
    std::fs::write("/proc/sys/vm/drop_caches", "2")?;
    for d in 0..20 {
        for f in 0..20 {
            let fd = file::open(&ctx.at(&format!("d{d}/f{f}")), libc::O_RDONLY, 0)?;
            let seen = file::pread_vec(&fd, 100, 0)?;
            let expected = format!("{d} {f}").into_bytes();
            ensure!(
                seen == expected,
                "d{d}/f{f} holds {:?}",
                String::from_utf8_lossy(&seen)
            );
        }
    }
    for d in 0..20 {
        std::fs::remove_dir_all(ctx.at(&format!("d{d}")))?;
    }
    Ok(())
}
