// SPDX-License-Identifier: GPL-2.0

//! Names: create, make and remove directories, unlink, long names, inode numbers.

use crate::coherence::race::Racer;
use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::sys::mem::{PAGE, Region, Slice};
use crate::sys::{Res, dir, file, fscall, path, stat};
use crate::twin::{Script, expect_errno, twin};
use anyhow::{Context as _, Result, ensure};
use std::os::fd::OwnedFd;
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("names.create", create),
    test("names.mkdir", mkdir),
    test("names.rmdir", rmdir),
    test("names.unlink", unlink),
    test("names.long", long),
    test("names.inode_numbers", inode_numbers),
    test("names.negative_lookups", negative_lookups),
    test("names.cross_mount", cross_mount).once(),
    test("names.created_below_meanwhile", created_below_meanwhile).once(),
];

fn create(ctx: &Ctx) -> Result<()> {
    const EXCLUSIVE: i32 = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    twin(ctx, |s| {
        let f = s.at("f");
        s.see("create exclusively", file::open(&f, EXCLUSIVE, 0o640));
        s.see("create again", file::open(&f, EXCLUSIVE, 0o640));
        s.see(
            "open what exists",
            file::open(&f, libc::O_RDWR | libc::O_CREAT, 0o600),
        );
        s.see("its attributes", stat::stat(&f));
        s.see("umask takes bits", file::open(&s.at("g"), EXCLUSIVE, 0o777));
        s.see("attributes under umask", stat::stat(&s.at("g")));
        s.see("open nothing", file::open(&s.at("none"), libc::O_RDONLY, 0));
        s.see("create in nothing", file::create(&s.at("none/f")));
        s.see("create below a file", file::create(&s.at("f/g")));
        s.see(
            "open a directory to write",
            file::open(s.dir(), libc::O_WRONLY, 0),
        );
        s.see("create a directory's name", file::create(s.dir()));
        s.see("create with a slash", file::create(&s.at("h/")));
        s.see(
            "bits beyond permissions",
            file::open(&s.at("s"), EXCLUSIVE, 0o6755),
        );
        s.see("their attributes", stat::stat(&s.at("s")));
        Ok(())
    })
}

fn mkdir(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.see("make", path::mkdir(&s.at("d"), 0o755));
        s.see("attributes", stat::stat(&s.at("d")));
        s.see("make again", path::mkdir(&s.at("d"), 0o755));
        s.see("make in nothing", path::mkdir(&s.at("x/y"), 0o755));
        s.see("make inside", path::mkdir(&s.at("d/e"), 0o700));
        s.see("links of the parent", stat::stat(&s.at("d")));
        drop(s.must("a file", file::create(&s.at("f")))?);
        s.see("make over a file", path::mkdir(&s.at("f"), 0o755));
        s.see("make below a file", path::mkdir(&s.at("f/d"), 0o755));
        s.see("setgid directory", path::chmod(&s.at("d"), 0o2775));
        s.see("its group", path::lchown(&s.at("d"), 0, 1234));
        s.see("make in it", path::mkdir(&s.at("d/g"), 0o755));
        s.see("inherits both", stat::stat(&s.at("d/g")));
        drop(s.must("create in it", file::create(&s.at("d/h")))?);
        s.see("inherits the group", stat::stat(&s.at("d/h")));
        s.see("sticky", path::mkdir(&s.at("t"), 0o1777));
        s.see("sticky attributes", stat::stat(&s.at("t")));
        Ok(())
    })
}

fn rmdir(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.must("make", path::mkdir(&s.at("d"), 0o755))?;
        s.must("make inside", path::mkdir(&s.at("d/e"), 0o755))?;
        s.see("remove full", path::rmdir(&s.at("d")));
        s.see("remove by dot", path::rmdir(&s.at("d/e/.")));
        s.see("remove by dots", path::rmdir(&s.at("d/e/..")));
        s.see("remove inner", path::rmdir(&s.at("d/e")));
        s.see("links of the parent", stat::stat(&s.at("d")));
        drop(s.must("a file", file::create(&s.at("d/f")))?);
        s.see("remove with a file in it", path::rmdir(&s.at("d")));
        s.see("remove a file", path::rmdir(&s.at("d/f")));
        s.see("unlink it", path::unlink(&s.at("d/f")));
        s.see("remove", path::rmdir(&s.at("d")));
        s.see("remove again", path::rmdir(&s.at("d")));
        s.see("look", stat::stat(&s.at("d")));
        s.see("make anew", path::mkdir(&s.at("d"), 0o711));
        s.see("look anew", stat::stat(&s.at("d")));
        Ok(())
    })
}

fn unlink(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        drop(s.must("a file", file::create(&s.at("f")))?);
        s.see("unlink", path::unlink(&s.at("f")));
        s.see("unlink again", path::unlink(&s.at("f")));
        s.see("look", stat::stat(&s.at("f")));
        s.must("a directory", path::mkdir(&s.at("d"), 0o755))?;
        s.see("unlink a directory", path::unlink(&s.at("d")));
        s.must("a link", path::symlink("d", &s.at("l")))?;
        s.see("unlink a link", path::unlink(&s.at("l")));
        s.see("its target stays", stat::stat(&s.at("d")));
        s.see("unlink below nothing", path::unlink(&s.at("x/y")));
        let fd = s.must("create anew", file::create(&s.at("f")))?;
        s.see("is empty", stat::fstat(&fd));
        Ok(())
    })
}

fn long(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let longest = "n".repeat(255);
        let too_long = "n".repeat(256);
        s.see("255 bytes", file::create(&s.at(&longest)));
        s.see("found again", stat::stat(&s.at(&longest)));
        s.see("256 bytes", file::create(&s.at(&too_long)));
        s.see("256 bytes looked up", stat::stat(&s.at(&too_long)));
        s.see("mkdir 256", path::mkdir(&s.at(&too_long), 0o755));
        s.see(
            "rename to 256",
            path::rename(&s.at(&longest), &s.at(&too_long)),
        );
        s.see("link to 256", path::link(&s.at(&longest), &s.at(&too_long)));
        s.see("symlink 256", path::symlink("x", &s.at(&too_long)));
        let wide = "\u{00e9}".repeat(127);
        s.see("many-byte letters", file::create(&s.at(&wide)));
        for odd in [" ", "a b", "\n", "\\", "*", "...", "-", "\u{1}"] {
            s.see(format!("odd name {odd:?}"), file::create(&s.at(odd)));
        }
        let fd = s.must("open", file::open(s.dir(), libc::O_DIRECTORY, 0))?;
        s.see("listed", crate::sys::dir::read_all(&fd, 4096));
        s.see("unlink", path::unlink(&s.at(&longest)));
        Ok(())
    })
}

/// A number, like the count of links, is the lower's.
fn inode_numbers(ctx: &Ctx) -> Result<()> {
    drop(file::create(&ctx.at("f"))?);
    path::mkdir(&ctx.at("d"), 0o755)?;
    path::symlink("f", &ctx.at("l"))?;
    path::link(&ctx.at("f"), &ctx.at("g"))?;
    path::mknod(&ctx.at("p"), libc::S_IFIFO | 0o644, 0)?;
    for name in ["f", "d", "l", "g", "p", "."] {
        let (up, under) = (
            stat::lstat(&ctx.at(name))?,
            stat::lstat(&ctx.under.join(name))?,
        );
        ensure!(
            up.ino == under.ino && up.nlink == under.nlink,
            "{name}: expected inode {} with {} links, saw {} with {}",
            under.ino,
            under.nlink,
            up.ino,
            up.nlink
        );
    }
    let before = stat::stat(&ctx.at("f"))?.ino;
    path::rename(&ctx.at("f"), &ctx.at("d/f"))?;
    let after = stat::stat(&ctx.at("d/f"))?.ino;
    ensure!(
        before == after,
        "rename changed the inode from {before} to {after}"
    );
    let other = stat::stat(&ctx.at("g"))?.ino;
    ensure!(other == after, "hard links have inodes {after} and {other}");
    Ok(())
}

/// What was looked up and not found must be found once it exists.
fn negative_lookups(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for (i, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            let p = s.at(name);
            s.see("not there", stat::lstat(&p));
            make_somehow(s, i, name)?;
            s.see("there", stat::lstat(&p).map(|st| u32::from(st.mode)));
        }
        Ok(())
    })
}

fn make_somehow(s: &mut Script, how: usize, name: &str) -> Result<()> {
    let p = s.at(name);
    match how {
        0 => drop(s.must("create", file::create(&p))?),
        1 => s.must("mkdir", path::mkdir(&p, 0o755))?,
        2 => s.must("symlink", path::symlink("a", &p))?,
        3 => s.must("link", path::link(&s.at("a"), &p))?,
        _ => s.must("rename", path::rename(&s.at("a"), &p))?,
    }
    Ok(())
}

/// Nothing is moved or linked from one filesystem into another.
fn cross_mount(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    drop(file::create(&ctx.at("f"))?);
    let outside = ctx.twin.join("f");
    expect_errno(
        "rename out",
        path::rename(&ctx.at("f"), &outside),
        libc::EXDEV,
    )?;
    expect_errno("link out", path::link(&ctx.at("f"), &outside), libc::EXDEV)?;
    drop(file::create(&outside)?);
    expect_errno(
        "rename in",
        path::rename(&outside, &ctx.at("g")),
        libc::EXDEV,
    )?;
    expect_errno("link in", path::link(&outside, &ctx.at("g")), libc::EXDEV)
}

/// Who opens what somebody else creates below at that moment gets that file, unless he wants a new
/// one. Both wait for a third, who reads the directory into memory that has to come from a device
/// that holds it back; the one below comes first.
fn created_below_meanwhile(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    path::mkdir(&ctx.at("d"), 0o755)?;
    let memory = file::create(&ctx.under.join("memory"))?;
    file::pwrite(&memory, &pattern(1, 0, PAGE), 0)?;
    file::fsync(&memory)?;
    let create = libc::O_RDWR | libc::O_CREAT;
    let (below, plain) = meet(ctx, &memory, "plain", move |path| {
        file::open(path, create, 0o644)
    })?;
    let above = plain.context("open of a file that was created below meanwhile")?;
    file::pwrite(&above, b"above", 0)?;
    file::fsync(&above)?;
    let seen = file::pread_vec(below, 100, 0)?;
    ensure!(seen == b"above", "below is {:?}", seen.escape_ascii());
    let (_, exclusive) = meet(ctx, &memory, "exclusive", move |path| {
        file::open(path, create | libc::O_EXCL, 0o644).map(drop)
    })?;
    expect_errno("open exclusively", exclusive, libc::EEXIST)?;
    let (_, node) = meet(ctx, &memory, "node", |path| {
        path::mknod(path, libc::S_IFREG | 0o644, 0)
    })?;
    expect_errno("mknod", node, libc::EEXIST)
}

/// Has `name` created below, and `call` meet that.
fn meet<T: Send + 'static>(
    ctx: &Ctx,
    memory: &OwnedFd,
    name: &str,
    call: impl FnOnce(&Path) -> Res<T> + Send + 'static,
) -> Result<(OwnedFd, Res<T>)> {
    let (above, below) = (ctx.at("d").join(name), ctx.under.join("d").join(name));
    expect_errno("before", stat::stat(&above), libc::ENOENT)?;
    let listing = file::open(&ctx.under.join("d"), libc::O_RDONLY, 0)?;
    fscall::fadvise(memory, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    let into = Slice::new(&Region::private(memory, 0, PAGE)?, 0, PAGE);
    let hold = ctx.lower.hold_reads()?;
    let reader = Racer::start(move || dir::getdents_mem(&listing, &into));
    hold.wait_reads(1)?;
    let new = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    let creator = Racer::start(move || file::open(&below, new, 0o644));
    creator.wait_asleep()?;
    let caller = Racer::start(move || call(&above));
    caller.wait_asleep()?;
    ensure!(
        !creator.finished_soon() && !caller.finished_soon(),
        "nobody waits for the directory"
    );
    hold.release()?;
    ensure!(reader.join()?? > 0, "the directory is empty");
    let created = creator.join()?.context("creating it below")?;
    Ok((created, caller.join()?))
}
