// SPDX-License-Identifier: GPL-2.0

//! Attributes: all of the lower's, and times that move when they must.

use crate::harness::{Ctx, Test, skip, test};
use crate::lower::stack::FsKind;
use crate::pattern::pattern;
use crate::sys::mem::{PAGE, READ_WRITE, Region};
use crate::sys::stat::{self, Stamp, Stat};
use crate::sys::{file, path};
use crate::twin::{Script, twin};
use anyhow::{Result, ensure};
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("getattr.whole", whole),
    test("getattr.direct_alignment", direct_alignment),
    test("getattr.size_before_writeback", size_before_writeback),
    test("getattr.blocks_before_writeback", blocks_before_writeback),
    test("getattr.times_of_files", times_of_files),
    test("getattr.times_of_directories", times_of_directories),
    test("getattr.access_time", access_time),
    test("getattr.modified_by_mapping", modified_by_mapping),
    test("statfs.equal", statfs_equal),
];

/// Everything in a `statx` that does not name the mount, as text by field.
fn fields(s: &Stat) -> Vec<(&'static str, String)> {
    let not_ours = stat::WRITE_ATOMIC | 0x5000;
    vec![
        ("mask", format!("{:#x}", s.mask & !not_ours)),
        ("blksize", s.blksize.to_string()),
        ("attributes", format!("{:#x}", s.attributes & !0x40_2000)),
        ("nlink", s.nlink.to_string()),
        ("owner", format!("{}:{}", s.uid, s.gid)),
        ("mode", format!("{:o}", s.mode)),
        ("ino", s.ino.to_string()),
        ("size", s.size.to_string()),
        ("blocks", s.blocks.to_string()),
        ("atime", format!("{:?}", s.atime)),
        ("btime", format!("{:?}", s.btime)),
        ("ctime", format!("{:?}", s.ctime)),
        ("mtime", format!("{:?}", s.mtime)),
        ("rdev", format!("{}:{}", s.rdev_major, s.rdev_minor)),
        ("dio_mem_align", s.dio_mem_align.to_string()),
        ("dio_offset_align", s.dio_offset_align.to_string()),
        ("dio_read_offset_align", s.dio_read_offset_align.to_string()),
    ]
}

fn compare(ctx: &Ctx, name: &str) -> Result<()> {
    let up = fields(&stat::lstat(&ctx.at(name))?);
    let under = fields(&stat::lstat(&ctx.under.join(name))?);
    for ((field, ours), (_, lowers)) in up.iter().zip(&under) {
        ensure!(
            ours == lowers,
            "{name}: {field}: expected {lowers}, saw {ours}"
        );
    }
    Ok(())
}

fn whole(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 100_001), 0)?;
    file::fsync(&fd)?;
    path::mkdir(&ctx.at("d"), 0o751)?;
    path::symlink("target", &ctx.at("l"))?;
    path::symlink(&"long".repeat(200), &ctx.at("ll"))?;
    path::mknod(&ctx.at("p"), libc::S_IFIFO | 0o622, 0)?;
    path::mknod(&ctx.at("c"), libc::S_IFCHR | 0o666, libc::makedev(1, 3))?;
    path::link(&ctx.at("f"), &ctx.at("f2"))?;
    path::lchown(&ctx.at("f"), 12, 34)?;
    let sparse = file::create(&ctx.at("sparse"))?;
    file::pwrite(&sparse, b"x", 10 << 20)?;
    file::fsync(&sparse)?;
    for name in ["f", "d", "l", "ll", "p", "c", "f2", "sparse", "."] {
        compare(ctx, name)?;
    }
    file::fsync(file::open(&ctx.at("."), libc::O_RDONLY, 0)?)?;
    compare(ctx, ".")
}

/// What a program must know before it does direct I/O is what the lower says, and it works.
fn direct_alignment(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 8 * PAGE), 0)?;
    file::fsync(&fd)?;
    compare(ctx, "f")?;
    let s = stat::fstat(&fd)?;
    ensure!(
        s.mask & stat::DIOALIGN != 0,
        "STATX_DIOALIGN is not answered"
    );
    if !ctx.lower.kind.is_direct() {
        ensure!(
            s.dio_offset_align == 0,
            "expected no direct I/O, saw alignment {}",
            s.dio_offset_align
        );
        return Ok(());
    }
    let align = s.dio_offset_align as usize;
    ensure!(
        align >= 512 && s.dio_mem_align > 0,
        "alignments {align} and {}",
        s.dio_mem_align
    );
    let direct = file::open_direct(&ctx.at("f"))?;
    let buffer = crate::sys::mem::Slice::zeroed(align)?;
    let n = file::pread_mem(&direct, &buffer, align as u64)?;
    ensure!(n == align, "a direct read of {align} bytes returned {n}");
    crate::pattern::check("direct read", &buffer.bytes(n), 1, align as u64)
}

/// The size that is seen is the size that was written, however long it takes to get to the lower.
fn size_before_writeback(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        for (offset, len) in [
            (0, 1),
            (1, 510),
            (511, 2),
            (4095, 2),
            (9000, 1),
            (1 << 20, 3),
        ] {
            s.see("write", file::pwrite(&fd, &pattern(1, offset, len), offset));
            s.see("size by descriptor", stat::fstat(&fd).map(|st| st.size));
            s.see("size by name", stat::stat(&s.at("f")).map(|st| st.size));
        }
        s.see("end", file::lseek(&fd, 0, libc::SEEK_END));
        s.see("sync", file::fsync(&fd));
        s.see("size after", stat::fstat(&fd));
        Ok(())
    })
}

/// A file with data has blocks, also before they are chosen: programs that copy files take one that
/// has none for a hole and do not read it.
fn blocks_before_writeback(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.see("none", stat::fstat(&fd).map(|st| st.blocks));
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 10_000), 0))?;
        s.see("some", stat::fstat(&fd).map(|st| st.blocks > 0));
        let far = s.must("another", file::create(&s.at("far")))?;
        s.must("grow", file::ftruncate(&far, 1 << 20))?;
        s.must("read", file::pread_vec(&far, 1 << 20, 0))?;
        s.see(
            "a hole that was read",
            stat::fstat(&far).map(|st| st.blocks),
        );
        let map = Region::shared(&far, 0, PAGE, READ_WRITE)?;
        map.store(0, b"x");
        s.see("stored", stat::fstat(&far).map(|st| st.blocks > 0));
        s.must("sync", file::fsync(&far))?;
        s.see("few", stat::fstat(&far).map(|st| st.blocks < 100));
        Ok(())
    })
}

/// Does something and records which of the times of `name` it moved forward.
fn moves<T>(s: &mut Script, what: &str, name: &str, act: impl FnOnce(&Path) -> T) -> Result<()> {
    let p = s.at(name);
    let before = stat::lstat(&p)?;
    stat::tick();
    act(&p);
    let after = stat::lstat(&p)?;
    let way = |a: Stamp, b: Stamp| match a.cmp(&b) {
        std::cmp::Ordering::Less => "moves",
        std::cmp::Ordering::Equal => "stays",
        std::cmp::Ordering::Greater => "goes back",
    };
    let text = format!(
        "mtime {}, ctime {}",
        way(before.mtime, after.mtime),
        way(before.ctime, after.ctime)
    );
    s.see(format!("{what} of {name}"), text);
    Ok(())
}

fn times_of_files(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        moves(s, "write", "f", |_| file::pwrite(&fd, b"abcdef", 0))?;
        moves(s, "overwrite", "f", |_| file::pwrite(&fd, b"x", 0))?;
        moves(s, "sync", "f", |_| file::fsync(&fd))?;
        moves(s, "read", "f", |_| file::pread_vec(&fd, 3, 0))?;
        moves(s, "empty write", "f", |_| file::pwrite(&fd, b"", 0))?;
        moves(s, "chmod", "f", |p| path::chmod(p, 0o600))?;
        moves(s, "chown", "f", |p| path::lchown(p, 1, 1))?;
        moves(s, "chown to nobody new", "f", |p| {
            path::lchown(p, u32::MAX, u32::MAX)
        })?;
        moves(s, "truncate", "f", |p| path::truncate(p, 3))?;
        moves(s, "truncate to the same size", "f", |p| {
            path::truncate(p, 3)
        })?;
        moves(s, "ftruncate to the same size", "f", |_| {
            file::ftruncate(&fd, 3)
        })?;
        moves(s, "open to truncate", "f", |p| {
            file::open(p, libc::O_WRONLY | libc::O_TRUNC, 0)
        })?;
        let other = s.at("g");
        moves(s, "link", "f", |p| path::link(p, &other))?;
        moves(s, "unlink of the other link", "f", |_| path::unlink(&other))?;
        moves(s, "utimes", "f", |p| {
            path::utimens(p, path::Time::Now, path::Time::Now)
        })?;
        s.must("symlink", path::symlink("f", &s.at("l")))?;
        moves(s, "chown", "l", |p| path::lchown(p, 2, 2))?;
        let direct = s.must(
            "direct",
            file::open(&s.at("f"), libc::O_WRONLY | libc::O_DIRECT, 0),
        )?;
        let page = crate::sys::mem::Slice::zeroed(PAGE)?;
        moves(s, "direct write", "f", |_| {
            file::pwrite_mem(&direct, &page, 0)
        })?;
        moves(s, "direct overwrite", "f", |_| {
            file::pwrite_mem(&direct, &page, 0)
        })?;
        Ok(())
    })
}

fn times_of_directories(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
        s.must("another", path::mkdir(&s.at("e"), 0o755))?;
        moves(s, "create in", "d", |p| file::create(&p.join("f")))?;
        moves(s, "open again in", "d", |p| file::create(&p.join("f")))?;
        moves(s, "mkdir in", "d", |p| path::mkdir(&p.join("x"), 0o755))?;
        moves(s, "symlink in", "d", |p| path::symlink("f", &p.join("l")))?;
        moves(s, "link in", "d", |p| {
            path::link(&p.join("f"), &p.join("g"))
        })?;
        moves(s, "rename in", "d", |p| {
            path::rename(&p.join("g"), &p.join("h"))
        })?;
        let (from, to) = (s.at("d/h"), s.at("e/h"));
        moves(s, "rename out of", "d", |_| path::rename(&from, &to))?;
        moves(s, "rename into", "d", |_| path::rename(&to, &from))?;
        moves(s, "unlink in", "d", |p| path::unlink(&p.join("h")))?;
        moves(s, "rmdir in", "d", |p| path::rmdir(&p.join("x")))?;
        moves(s, "failing create in", "d", |p| {
            path::mkdir(&p.join("f"), 0o755)
        })?;
        moves(s, "lookup in", "d", |p| stat::stat(&p.join("none")).is_ok())?;
        Ok(())
    })
}

/// Relative access times: a read moves the time once after a write.
fn access_time(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &[7; 5000], 0))?;
        let mut last = stat::fstat(&fd)?.atime;
        let mut record = |s: &mut Script, what: &str| -> Result<()> {
            let now = stat::stat(&s.at("f"))?.atime;
            s.see(what, now > std::mem::replace(&mut last, now));
            Ok(())
        };
        stat::tick();
        s.must("read", file::pread_vec(&fd, 100, 0))?;
        record(s, "the first read moves it")?;
        stat::tick();
        s.must("read again", file::pread_vec(&fd, 100, 0))?;
        record(s, "the second does not")?;
        let quiet = s.must(
            "open",
            file::open(&s.at("f"), libc::O_RDONLY | libc::O_NOATIME, 0),
        )?;
        stat::tick();
        s.must("write again", file::pwrite(&fd, b"x", 0))?;
        stat::tick();
        s.must("read without", file::pread_vec(&quiet, 100, 0))?;
        record(s, "nor a read that asks for it")?;
        s.must("read with", file::pread_vec(&fd, 100, 0))?;
        record(s, "but the next one")?;
        Ok(())
    })
}

/// A store to a mapping counts as a modification, at the latest when it is synced.
fn modified_by_mapping(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &[7; PAGE], 0))?;
        s.must("sync", file::fsync(&fd))?;
        let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
        map.load(0, 1);
        moves(s, "load", "f", |_| map.load(0, 1))?;
        moves(s, "store and sync", "f", |_| {
            map.store(0, b"x");
            map.msync(0, PAGE, libc::MS_SYNC)
        })
    })
}

fn statfs_equal(ctx: &Ctx) -> Result<()> {
    if ctx.fs == FsKind::Overlay {
        return skip("overlayfs has its own ideas");
    }
    drop(file::create(&ctx.at("f"))?);
    let (up, under) = (stat::statfs(&ctx.up)?, stat::statfs(&ctx.under)?);
    let ours = stat::StatFs { magic: 0, ..up };
    let lowers = stat::StatFs { magic: 0, ..under };
    ensure!(ours == lowers, "expected {lowers:?}, saw {ours:?}");
    let by_file = stat::statfs(&ctx.at("f"))?;
    ensure!(
        by_file == up,
        "by a file inside: expected {up:?}, saw {by_file:?}"
    );
    Ok(())
}
