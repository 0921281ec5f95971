// SPDX-License-Identifier: GPL-2.0

//! What the flags of `open` do.

use crate::harness::{Ctx, Test, lacking, test};
use crate::patience;
use crate::pattern::pattern;
use crate::sys::fanotify::{Listener, Question};
use crate::sys::mem::{PAGE, Slice};
use crate::sys::process::{self, Exit};
use crate::sys::{Errno, file, fscall, path, stat};
use crate::twin::twin;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("open.truncate", truncate),
    test("open.append", append),
    test("open.directory_and_links", directory_and_links),
    test("open.path_only", path_only),
    test("open.access_modes", access_modes),
    test("open.synchronous", synchronous),
    test("open.direct", direct),
    test("open.direct_edges", direct_edges),
    test("open.toggle_flags", toggle_flags),
    test("open.watched", watched).once(),
];

fn truncate(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 10_000), 0))?;
        s.see(
            "open",
            file::open(&s.at("f"), libc::O_WRONLY | libc::O_TRUNC, 0),
        );
        s.see("empty", stat::fstat(&fd));
        s.see("nothing to read", file::pread_vec(&fd, 100, 0));
        s.must("write far", file::pwrite(&fd, b"x", 5000))?;
        s.see("only zeroes before it", file::pread_vec(&fd, 10_000, 0));
        s.see(
            "to read only",
            file::open(&s.at("f"), libc::O_RDONLY | libc::O_TRUNC, 0),
        );
        s.see("empty too", stat::fstat(&fd));
        s.see(
            "a directory",
            file::open(s.dir(), libc::O_RDONLY | libc::O_TRUNC, 0),
        );
        Ok(())
    })
}

fn append(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_APPEND;
        let a = s.must("open", file::open(&s.at("f"), flags, 0o644))?;
        let b = s.must("open again", file::open(&s.at("f"), flags, 0))?;
        for (i, fd) in [&a, &b, &a, &a, &b].into_iter().enumerate() {
            s.see("write", file::write(fd, format!("<{i}>").as_bytes()));
            s.see("position", file::lseek(fd, 0, libc::SEEK_CUR));
        }
        s.see("all", file::pread_vec(&a, 100, 0));
        s.see(
            "at a place, which is not minded",
            file::pwrite(&a, b"<p>", 0),
        );
        s.see("after seeking", file::lseek(&a, 0, libc::SEEK_SET));
        s.see("at the end all the same", file::write(&a, b"<w>"));
        s.see("all", file::pread_vec(&a, 100, 0));
        let plain = s.must("plain", file::open(&s.at("f"), libc::O_RDWR, 0))?;
        let one = Slice::of(b"<one>")?;
        s.see(
            "one write",
            file::pwritev(&plain, &[one], 0, file::RWF_APPEND),
        );
        s.see("all", file::pread_vec(&a, 100, 0));
        s.see("shrink", file::ftruncate(&a, 4));
        s.see("write", file::write(&b, b"<s>"));
        s.see("all", file::pread_vec(&a, 100, 0));
        Ok(())
    })
}

fn directory_and_links(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        drop(s.must("file", file::create(&s.at("f")))?);
        s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
        s.must("to the file", path::symlink("f", &s.at("lf")))?;
        s.must("to the directory", path::symlink("d", &s.at("ld")))?;
        s.must("to nothing", path::symlink("none", &s.at("ln")))?;
        let sets = [
            libc::O_DIRECTORY,
            libc::O_NOFOLLOW,
            libc::O_DIRECTORY | libc::O_NOFOLLOW,
            libc::O_DIRECTORY | libc::O_CREAT,
            libc::O_CREAT | libc::O_EXCL,
            libc::O_PATH,
            libc::O_PATH | libc::O_NOFOLLOW,
        ];
        for flags in sets {
            for name in ["f", "d", "lf", "ld", "ln"] {
                s.see(
                    format!("open {name} by {flags:o}"),
                    file::open(&s.at(name), flags, 0o644),
                );
            }
        }
        Ok(())
    })
}

fn path_only(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let f = s.must("file", file::create(&s.at("f")))?;
        s.must("content", file::write(&f, b"content"))?;
        let fd = s.must("open", file::open(&s.at("f"), libc::O_PATH, 0))?;
        s.see("read", file::pread_vec(&fd, 10, 0));
        s.see("write", file::pwrite(&fd, b"x", 0));
        s.see("sync", file::fsync(&fd));
        s.see("truncate", file::ftruncate(&fd, 0));
        s.see("chmod", file::fchmod(&fd, 0o600));
        s.see("stat", stat::fstat(&fd));
        use std::os::fd::AsRawFd;
        let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let real = s.must("reopen", file::open(again.as_ref(), libc::O_RDWR, 0))?;
        s.see("read it then", file::pread_vec(&real, 10, 0));
        Ok(())
    })
}

fn access_modes(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::write(&fd, b"content"))?;
        for flags in [
            libc::O_RDONLY,
            libc::O_WRONLY,
            libc::O_RDWR,
            libc::O_ACCMODE,
        ] {
            let fd = s.must(format!("open by {flags}"), file::open(&s.at("f"), flags, 0))?;
            s.see("read", file::pread_vec(&fd, 4, 0));
            s.see("write", file::pwrite(&fd, b"CON", 0));
            s.see("truncate", file::ftruncate(&fd, 7));
            s.see("sync", file::fsync(&fd));
        }
        Ok(())
    })
}

fn synchronous(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for (name, flag) in [("sync", libc::O_SYNC), ("dsync", libc::O_DSYNC)] {
            let flags = libc::O_RDWR | libc::O_CREAT | flag;
            let fd = s.must(name, file::open(&s.at(name), flags, 0o644))?;
            s.see("write", file::pwrite(&fd, &pattern(1, 0, 5000), 0));
            s.see("read", file::pread_vec(&fd, 6000, 0));
            s.see("overwrite", file::pwrite(&fd, &pattern(2, 100, 50), 100));
            s.see("read", file::pread_vec(&fd, 6000, 0));
            s.see("flags", fscall::getfl(&fd).map(|f| f & flag));
        }
        let fd = s.must("plain", file::create(&s.at("plain")))?;
        let data = Slice::of(&pattern(3, 0, 3000))?;
        s.see("one write", file::pwritev(&fd, &[data], 0, file::RWF_DSYNC));
        s.see("read", file::pread_vec(&fd, 6000, 0));
        Ok(())
    })
}

fn direct(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_DIRECT;
        let fd = s.must("open", file::open(&s.at("f"), flags, 0o644))?;
        let two = Slice::of(&pattern(1, 0, 2 * PAGE))?;
        s.see("write", file::pwrite_mem(&fd, &two, 0));
        s.see("size", stat::fstat(&fd));
        let back = Slice::zeroed(4 * PAGE)?;
        let n = s.get("read", file::pread_mem(&fd, &back, 0)).unwrap_or(0);
        s.see("content", back.bytes(n));
        s.see(
            "read at the end",
            file::pread_mem(&fd, &back, 2 * PAGE as u64),
        );
        s.see("read beyond", file::pread_mem(&fd, &back, 8 * PAGE as u64));
        s.see("write beyond", file::pwrite_mem(&fd, &two, 8 * PAGE as u64));
        let n = s
            .get(
                "read the hole",
                file::pread_mem(&fd, &back, 2 * PAGE as u64),
            )
            .unwrap_or(0);
        s.see("content of the hole", back.bytes(n));
        let all = s.must("buffered", file::open(&s.at("f"), libc::O_RDONLY, 0))?;
        s.see("all", file::pread_vec(&all, 20 * PAGE, 0));
        s.see(
            "directory",
            file::open(s.dir(), libc::O_RDONLY | libc::O_DIRECT, 0),
        );
        Ok(())
    })
}

/// Every alignment that is allowed and some that are not, in holes, over data, and at the end.
fn direct_edges(ctx: &Ctx) -> Result<()> {
    const EDGES: [usize; 8] = [0, 512, 1024, 3584, 4096, 4608, 8192, 100];
    twin(ctx, |s| {
        let cached = s.must("create", file::create(&s.at("f")))?;
        let direct = s.must("direct", file::open_direct(&s.at("f")))?;
        for (i, base) in [0, 40_960, 20_480].into_iter().enumerate() {
            for edge in EDGES {
                for len in [512, 1024, 4096, 8192, 300] {
                    let at = (base + edge) as u64;
                    let data = Slice::of(&pattern(i as u8, at, len))?;
                    let write = file::pwrite_mem(&direct, &data, at);
                    s.see(format!("write {len} at {at}"), write);
                    s.see("size", stat::fstat(&cached).map(|st| st.size));
                    let back = Slice::zeroed(len)?;
                    let n = file::pread_mem(&direct, &back, at);
                    s.see(format!("read {len} at {at}"), n);
                    s.see("content", back.bytes(n.unwrap_or(0)));
                }
            }
            s.see("all", file::pread_vec(&cached, 100_000, 0));
            s.see("cut", file::ftruncate(&cached, 30_001 + 512 * i as i64));
        }
        let back = Slice::zeroed(64 * 1024)?;
        let n = s.get(
            "read across the end",
            file::pread_mem(&direct, &back, 20_480),
        );
        s.see("content", back.bytes(n.unwrap_or(0)));
        s.see("sync", file::fsync(&cached));
        Ok(())
    })
}

fn toggle_flags(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        let page = Slice::of(&pattern(1, 0, PAGE))?;
        s.see("cached write", file::pwrite_mem(&fd, &page, 0));
        s.see("direct on", fscall::setfl(&fd, libc::O_DIRECT));
        s.see("is on", fscall::getfl(&fd).map(|f| f & libc::O_DIRECT));
        let back = Slice::zeroed(PAGE)?;
        let n = s
            .get("direct read", file::pread_mem(&fd, &back, 0))
            .unwrap_or(0);
        s.see("content", back.bytes(n));
        let other = Slice::of(&pattern(2, 0, PAGE))?;
        s.see("direct write", file::pwrite_mem(&fd, &other, 0));
        s.see("direct off", fscall::setfl(&fd, 0));
        s.see("cached read", file::pread_vec(&fd, PAGE, 0));
        s.see("append on", fscall::setfl(&fd, libc::O_APPEND));
        s.see("write", file::pwrite(&fd, b"end", 0));
        s.see("size", stat::fstat(&fd));
        Ok(())
    })
}

/// A virus scanner is asked about each file that is opened or read, here and below. What it is asked
/// about here it gets a descriptor of, and to open that must not ask it about the file below. Nor is
/// it asked when the cache is filled: locks are held then that it may want.
fn watched(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    std::fs::write(ctx.under.join("f"), "watched")?;
    let path = ctx.at("f");
    let listener = match Listener::new() {
        Err(Errno(libc::ENOSYS)) => return lacking("the kernel has no fanotify"),
        answer => answer?,
    };
    for dir in [&ctx.up, &ctx.under] {
        match listener.watch(dir) {
            Err(Errno(libc::EINVAL)) => return lacking("fanotify cannot be asked for permission"),
            answer => answer?,
        }
    }
    let mut user = process::fork(|| {
        let open = |flags| file::open(&path, flags, 0);
        let Ok(fd) = open(libc::O_RDONLY) else {
            return Vec::new();
        };
        let direct = open(libc::O_RDONLY | libc::O_DIRECT);
        let names = std::fs::read_dir(&ctx.up).map_or(0, Iterator::count);
        let mut seen = file::pread_vec(&fd, 100, 0).unwrap_or_default();
        if let (Ok(fd), Ok(buffer)) = (direct, Slice::zeroed(PAGE)) {
            let n = file::pread_mem(&fd, &buffer, 0).unwrap_or(0);
            seen.extend(buffer.bytes(n));
        }
        seen.extend(names.to_string().bytes());
        seen
    })?;
    let (start, mut asked) = (Instant::now(), Vec::new());
    let exit = loop {
        asked.extend(listener.allow(Duration::from_millis(20))?);
        if let Some(exit) = user.wait_exactly(Duration::ZERO)? {
            break exit;
        }
        ensure!(
            start.elapsed() < patience::at_most(Duration::from_secs(20)),
            "who opens and reads waits for ever; {} questions were answered",
            asked.len()
        );
    };
    ensure!(exit == Exit::Code(0), "it ended by {exit:?}");
    let seen = String::from_utf8_lossy(user.answer());
    ensure!(seen == "watchedwatched1", "it read {seen:?}");
    let count = |dev: (u32, u32), of: fn(&Question) -> bool| {
        asked.iter().filter(|q| q.dev == dev && of(q)).count()
    };
    let device = |path| stat::stat(path).map(|s| (s.dev_major, s.dev_minor));
    let (above, below) = (device(&ctx.up)?, device(&ctx.under)?);
    for (side, dev) in [("above", above), ("below", below)] {
        let opens = count(dev, |q| q.opens);
        ensure!(opens >= 3, "{side}: only {opens} questions about opening");
    }
    let reads = count(below, |q| q.reads && !q.opens);
    // One for the direct read, and some for the directory.
    let direct = count(above, |q| q.reads);
    ensure!(direct >= 2, "only {direct} questions about reading above");
    ensure!(reads >= 1, "a direct read below asks nobody");
    ensure!(
        reads < direct,
        "below {reads} questions about reading, above {direct}"
    );
    Ok(())
}
