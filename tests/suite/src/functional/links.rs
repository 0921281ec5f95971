// SPDX-License-Identifier: GPL-2.0

//! Hard and symbolic links.

use crate::harness::{Ctx, Test, lacking, test};
use crate::lower::stack::diofs;
use crate::lower::umount;
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region};
use crate::sys::{file, mount, path, stat};
use crate::twin::twin;
use anyhow::{Result, ensure};

pub const TESTS: &[Test] = &[
    test("links.hard", hard),
    test("links.hard_share_the_page_cache", hard_share_cache),
    test("links.symbolic", symbolic),
    test("links.symbolic_long", symbolic_long),
    test("links.symbolic_loops", symbolic_loops),
    test("links.without_a_body", without_body).once(),
];

fn hard(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("a")))?;
        s.must("write", file::write(&fd, b"shared"))?;
        s.see("link", path::link(&s.at("a"), &s.at("b")));
        s.see("count at a", stat::stat(&s.at("a")));
        s.see("count at b", stat::stat(&s.at("b")));
        s.see("count of the open file", stat::fstat(&fd));
        s.see("link over a name", path::link(&s.at("a"), &s.at("b")));
        s.see("link from nothing", path::link(&s.at("none"), &s.at("c")));
        s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
        s.see("link a directory", path::link(&s.at("d"), &s.at("e")));
        s.see(
            "link into a directory",
            path::link(&s.at("a"), &s.at("d/c")),
        );
        s.see("unlink the first", path::unlink(&s.at("a")));
        s.see("count after", stat::stat(&s.at("d/c")));
        let other = s.must(
            "open the third",
            file::open(&s.at("d/c"), libc::O_RDONLY, 0),
        )?;
        s.see("content", file::pread_vec(&other, 100, 0));
        s.must("symlink", path::symlink("b", &s.at("s")))?;
        s.see("link a symlink", path::link(&s.at("s"), &s.at("s2")));
        s.see("count of symlinks", stat::lstat(&s.at("s2")));
        s.see(
            "give an open file a name",
            path::link_fd(std::os::fd::AsFd::as_fd(&fd), &s.at("again")),
        );
        s.see("count at the end", stat::fstat(&fd));
        Ok(())
    })
}

/// What is written by one name and not yet on disk is read, mapped and sized by the other.
fn hard_share_cache(ctx: &Ctx) -> Result<()> {
    let a = file::create(&ctx.at("a"))?;
    file::pwrite(&a, &pattern(1, 0, 2 * PAGE), 0)?;
    path::link(&ctx.at("a"), &ctx.at("b"))?;
    let b = file::open(&ctx.at("b"), libc::O_RDWR, 0)?;
    check(
        "read by the other name",
        &file::pread_vec(&b, 2 * PAGE, 0)?,
        1,
        0,
    )?;
    let map = Region::shared(&b, 0, 2 * PAGE, READ_WRITE)?;
    file::pwrite(&a, &pattern(2, 100, 50), 100)?;
    check("mapping of the other name", &map.load(100, 50), 2, 100)?;
    map.store(PAGE, &pattern(3, PAGE as u64, 64));
    check(
        "read of a store",
        &file::pread_vec(&a, 64, PAGE as u64)?,
        3,
        PAGE as u64,
    )?;
    file::ftruncate(&b, 5000)?;
    let size = stat::stat(&ctx.at("a"))?.size;
    ensure!(
        size == 5000,
        "size by the other name: expected 5000, saw {size}"
    );
    Ok(())
}

fn symbolic(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::write(&fd, b"target"))?;
        s.see("make", path::symlink("f", &s.at("l")));
        s.see("its attributes", stat::lstat(&s.at("l")));
        s.see("followed", stat::stat(&s.at("l")));
        s.see("read", path::readlink(&s.at("l"), 100));
        s.see("make again", path::symlink("g", &s.at("l")));
        s.see("read a file", path::readlink(&s.at("f"), 100));
        s.see("empty target", path::symlink("", &s.at("e")));
        s.see("dangling", path::symlink("nowhere/at/all", &s.at("d")));
        s.see("dangling followed", stat::stat(&s.at("d")));
        s.see("read dangling", path::readlink(&s.at("d"), 100));
        s.see("read cut", path::readlink(&s.at("d"), 4));
        s.see(
            "open not followed",
            file::open(&s.at("l"), libc::O_RDONLY | libc::O_NOFOLLOW, 0),
        );
        s.see("create through it", file::create(&s.at("d")));
        s.must("target of creation", path::symlink("made", &s.at("m")))?;
        s.see("create its target", file::create(&s.at("m")));
        s.see("the target", stat::stat(&s.at("made")));
        s.must("a directory", path::mkdir(&s.at("dir"), 0o755))?;
        s.must("relative", path::symlink("../f", &s.at("dir/up")))?;
        let fd = s.must(
            "open through it",
            file::open(&s.at("dir/up"), libc::O_RDONLY, 0),
        )?;
        s.see("content", file::pread_vec(&fd, 100, 0));
        Ok(())
    })
}

/// Targets inside the inode, in a block, and too long for either.
fn symbolic_long(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for len in [1, 59, 60, 61, 255, 1023, 1024, 4094, 4095, 4096] {
            let target = "t".repeat(len);
            let name = s.at(&format!("l{len}"));
            s.see(format!("make {len}"), path::symlink(&target, &name));
            s.see(format!("size {len}"), stat::lstat(&name));
            s.see(format!("read {len}"), path::readlink(&name, 5000));
        }
        Ok(())
    })
}

fn symbolic_loops(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.must("to itself", path::symlink("self", &s.at("self")))?;
        s.see("follow", stat::stat(&s.at("self")));
        s.must("to b", path::symlink("b", &s.at("a")))?;
        s.must("to a", path::symlink("a", &s.at("b")))?;
        s.see("open", file::open(&s.at("a"), libc::O_RDONLY, 0));
        drop(s.must("a file", file::create(&s.at("c0")))?);
        for i in 1..=41 {
            path::symlink(&format!("c{}", i - 1), &s.at(&format!("c{i}")))?;
        }
        s.see("40 links", stat::stat(&s.at("c40")));
        s.see("41 links", stat::stat(&s.at("c41")));
        Ok(())
    })
}

/// A link that leads to what the kernel chooses, and has a text only for those who ask for it.
/// AppArmor has one, to the policy of the task that asks.
fn without_body(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let (security, at) = (ctx.work.join("security"), ctx.work.join("m"));
    std::fs::create_dir_all(&security)?;
    std::fs::create_dir_all(&at)?;
    if mount::mount("none", &security, "securityfs", 0, "").is_err() {
        return lacking("the kernel has no securityfs");
    }
    let below = security.join("apparmor");
    let answer = path::readlink(&below.join("policy"), 100).ok().map(|text| {
        let mounted = diofs(&below, &at, &[]);
        let seen = mounted.map(|()| {
            let link = at.join("policy");
            let here = (path::readlink(&link, 100), stat::stat(&link));
            (here, umount(&at))
        });
        (text, stat::stat(&below.join("policy")), seen)
    });
    umount(&security)?;
    let Some((text, target, seen)) = answer else {
        return lacking("AppArmor has no such link");
    };
    let ((read, followed), unmounted) = seen?;
    unmounted?;
    ensure!(read == Ok(text.clone()), "expected {text}, read {read:?}");
    let (followed, target) = (followed?, target?);
    ensure!(
        (followed.dev_minor, followed.ino) == (target.dev_minor, target.ino),
        "it does not lead to where it leads below"
    );
    Ok(())
}
