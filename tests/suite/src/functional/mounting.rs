// SPDX-License-Identifier: GPL-2.0

//! Mounting and unmounting diofs, and what it says when it refuses.

use crate::coherence::race::Racer;
use crate::harness::{Ctx, Private, Test, lacking, skip, test};
use crate::lower::stack::{Stack, diofs};
use crate::lower::{Kind, mounts_below, tool, umount};
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region};
use crate::sys::mount::{self, Context, Refused};
use crate::sys::{Errno, file, fscall, path, stat};
use crate::twin::expect_errno;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};

pub const TESTS: &[Test] = &[
    test("mount.refused", refused).once(),
    test("mount.casefolded_lower", casefolded).once(),
    test("mount.lower_with_own_names", own_names).once(),
    test("mount.shown", shown).once(),
    test("mount.options", options).once(),
    test("mount.classic_call", classic_call).once(),
    test("mount.read_only", read_only),
    test("mount.many", many).once(),
    test("mount.again_and_again", again_and_again),
    test("mount.busy", busy),
    test("mount.detached", detached).once(),
    test("mount.lower_read_only", lower_read_only),
    test("mount.lower_restricted", lower_restricted).once(),
    test("mount.dirty_at_umount", dirty_at_umount),
    test("mount.synchronous", synchronous).once(),
];

pub fn point(ctx: &Ctx, name: &str) -> Result<PathBuf> {
    let point = ctx.work.join(name);
    std::fs::create_dir_all(&point)?;
    Ok(point)
}

/// A refusal with the given error that also says something.
pub fn expect_refusal(what: &str, answer: Result<(), Refused>, errnos: &[i32]) -> Result<()> {
    let Err(refused) = answer else {
        bail!("{what}: expected a refusal, was mounted");
    };
    let names: Vec<String> = errnos.iter().map(|e| Errno(*e).to_string()).collect();
    ensure!(
        errnos.contains(&refused.errno.0),
        "{what}: expected {}, saw {refused}",
        names.join(" or ")
    );
    ensure!(
        refused
            .log
            .iter()
            .any(|l| l.starts_with("e ") && l.len() > 5),
        "{what}: expected a message in the log, saw {refused}"
    );
    Ok(())
}

fn refused(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let at = point(ctx, "m")?;
    let none = diofs(&ctx.under.join("none"), &at, &[]);
    expect_refusal("a lower that is not there", none, &[libc::ENOENT])?;
    drop(file::create(&ctx.under.join("f"))?);
    let of_file = diofs(&ctx.under.join("f"), &at, &[]);
    expect_refusal("a file as lower", of_file, &[libc::ENOTDIR])?;
    let unknown = diofs(&ctx.under, &at, &[("no_such_option", "1")]);
    expect_refusal("an unknown option", unknown, &[libc::EINVAL])?;
    let bad = diofs(&ctx.under, &at, &[("dio_busy", "whatever")]);
    expect_refusal("an unknown value", bad, &[libc::EINVAL])?;
    let context = Context::new("diofs")?;
    expect_refusal(
        "no source",
        context.mount_on(&at),
        &[libc::EINVAL, libc::ENOENT],
    )?;
    let context = Context::new("diofs")?;
    let flag = context.flag("no_such_flag");
    expect_refusal("an unknown flag", flag, &[libc::EINVAL])?;
    path::symlink("nowhere", &ctx.under.join("dangling"))?;
    let dangling = diofs(&ctx.under.join("dangling"), &at, &[]);
    expect_refusal("a dangling lower", dangling, &[libc::ENOENT])?;
    path::symlink("circle", &ctx.under.join("circle"))?;
    let circle = diofs(&ctx.under.join("circle"), &at, &[]);
    expect_refusal("a lower that leads to itself", circle, &[libc::ELOOP])?;
    ensure!(
        mounts_below(&at).is_empty(),
        "a refused mount is there all the same"
    );
    Ok(())
}

fn casefolded(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private_casefold()?;
    let dir = own.dir.join("folded");
    path::mkdir(&dir, 0o755)?;
    let fd = file::open(&dir, libc::O_RDONLY, 0)?;
    let casefold = 0x4000_0000u32.to_ne_bytes();
    fscall::ioctl_buf(&fd, fscall::FS_IOC_SETFLAGS, &casefold)?;
    drop(fd);
    let answer = diofs(&dir, &point(ctx, "m")?, &[]);
    let outcome = expect_refusal(
        "a casefolded lower",
        answer,
        &[libc::EREMOTE, libc::EINVAL, libc::EOPNOTSUPP],
    );
    let _ = mount::umount(&ctx.work.join("m"), 0);
    own.umount()?;
    outcome
}

/// One file of a lower that compares names in a way of its own would have several names above.
fn own_names(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let device = ctx.private_device(64)?;
    let node = device.node().display().to_string();
    tool::run("mkfs.vfat", &[&node])?;
    let fat = point(ctx, "fat")?;
    match mount::mount(&node, &fat, "vfat", 0, "") {
        Err(Errno(libc::ENODEV)) => return lacking("the kernel has no vfat"),
        mounted => mounted?,
    }
    path::mkdir(&fat.join("d"), 0o755)?;
    let at = point(ctx, "m")?;
    for (what, dir) in [("its root", fat.clone()), ("a directory", fat.join("d"))] {
        let answer = diofs(&dir, &at, &[]);
        expect_refusal(&format!("vfat, {what}"), answer, &[libc::EREMOTE])?;
    }
    umount(&fat)
}

/// The line of `/proc/self/mounts` about `point`: source, type and options.
pub fn mount_line(point: &Path) -> Result<(String, String, String)> {
    let text = std::fs::read_to_string("/proc/self/mounts")?;
    let name = point.display().to_string();
    for line in text.lines().rev() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [source, at, kind, options, ..] = words[..] {
            if at == name {
                return Ok((source.to_string(), kind.to_string(), options.to_string()));
            }
        }
    }
    bail!("{name} is not in /proc/self/mounts")
}

fn shown(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let (source, kind, _) = mount_line(&ctx.up)?;
    let expected = ctx.under.display().to_string();
    ensure!(
        source == expected,
        "source: expected {expected}, saw {source}"
    );
    ensure!(kind == "diofs", "type: expected diofs, saw {kind}");
    let known = std::fs::read_to_string("/proc/filesystems")?;
    let line = known.lines().find(|l| l.ends_with("diofs")).unwrap_or("");
    ensure!(
        line.starts_with("nodev"),
        "expected diofs to need no device, saw '{line}'"
    );
    let s = stat::statfs(&ctx.up)?;
    let lowers = stat::statfs(&ctx.under)?;
    ensure!(
        s.magic != 0 && s.magic != lowers.magic,
        "expected a magic of its own, saw {:#x}",
        s.magic
    );
    Ok(())
}

fn options(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let at = point(ctx, "m")?;
    for value in ["eio", "sync"] {
        diofs(&ctx.under, &at, &[("dio_busy", value)])?;
        let (_, _, options) = mount_line(&at)?;
        let shown = options.split(',').any(|o| o == format!("dio_busy={value}"));
        ensure!(
            shown || value == "eio",
            "expected dio_busy={value} to be shown, saw {options}"
        );
        let fd = file::create(&at.join("f"))?;
        file::pwrite(&fd, &pattern(1, 0, PAGE), 0)?;
        let direct = file::open_direct(&at.join("f"))?;
        file::pwrite_mem(
            &direct,
            &crate::sys::mem::Slice::of(&pattern(2, 0, PAGE))?,
            0,
        )?;
        check(
            "after a direct write",
            &file::pread_vec(&fd, PAGE, 0)?,
            2,
            0,
        )?;
        drop((fd, direct));
        umount(&at)?;
    }
    Ok(())
}

fn classic_call(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let at = point(ctx, "m")?;
    let source = ctx.under.display().to_string();
    mount::mount(&source, &at, "diofs", libc::MS_NOSUID, "dio_busy=sync")?;
    drop(file::create(&at.join("f"))?);
    let (seen, _, options) = mount_line(&at)?;
    umount(&at)?;
    ensure!(
        seen == source && options.contains("nosuid"),
        "saw {seen} {options}"
    );
    stat::stat(&ctx.under.join("f"))?;
    let bad = mount::mount(&source, &at, "diofs", 0, "rubbish");
    expect_errno("an unknown option", bad, libc::EINVAL)
}

fn read_only(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    drop(file::create(&ctx.at("f"))?);
    path::mkdir(&ctx.at("d"), 0o755)?;
    let at = point(ctx, "m")?;
    let source = ctx.under.display().to_string();
    mount::mount(&source, &at, "diofs", libc::MS_RDONLY, "")?;
    let refused = |what: &str, answer: crate::sys::Res<()>| expect_errno(what, answer, libc::EROFS);
    let open = |flags| file::open(&at.join("f"), flags, 0o644).map(|_| ());
    refused("open to write", open(libc::O_WRONLY))?;
    refused("open to truncate", open(libc::O_RDONLY | libc::O_TRUNC))?;
    refused("create", file::create(&at.join("new")).map(|_| ()))?;
    refused("mkdir", path::mkdir(&at.join("new"), 0o755))?;
    refused("unlink", path::unlink(&at.join("f")))?;
    refused("rmdir", path::rmdir(&at.join("d")))?;
    refused("rename", path::rename(&at.join("f"), &at.join("g")))?;
    refused("link", path::link(&at.join("f"), &at.join("g")))?;
    refused("symlink", path::symlink("x", &at.join("g")))?;
    refused("mknod", path::mknod(&at.join("g"), libc::S_IFIFO, 0))?;
    refused("chmod", path::chmod(&at.join("f"), 0o600))?;
    refused("chown", path::lchown(&at.join("f"), 1, 1))?;
    refused("truncate", path::truncate(&at.join("f"), 5))?;
    refused(
        "utimes",
        path::utimens(&at.join("f"), path::Time::Now, path::Time::Now),
    )?;
    open(libc::O_RDONLY)?;
    umount(&at)
}

fn many(ctx: &Ctx) -> Result<()> {
    const COUNT: usize = 40;
    ctx.need_diofs()?;
    let mut stacks = Vec::new();
    for i in 0..COUNT {
        let under = ctx.under.join(format!("u{i}"));
        path::mkdir(&under, 0o755)?;
        stacks.push(Stack::mount(
            ctx.fs,
            &under,
            &ctx.work.join(format!("m{i}")),
        )?);
    }
    for (i, stack) in stacks.iter().enumerate() {
        let fd = file::create(&stack.dir.join("f"))?;
        file::pwrite(&fd, &pattern(i as u8, 0, 5000), 0)?;
    }
    for (i, stack) in stacks.iter().enumerate() {
        let fd = file::open(&stack.dir.join("f"), libc::O_RDONLY, 0)?;
        check(
            "each mount its own",
            &file::pread_vec(&fd, 6000, 0)?,
            i as u8,
            0,
        )?;
    }
    for stack in stacks {
        stack.umount()?;
    }
    for i in 0..COUNT {
        let fd = file::open(&ctx.under.join(format!("u{i}/f")), libc::O_RDONLY, 0)?;
        check("on the lower", &file::pread_vec(&fd, 6000, 0)?, i as u8, 0)?;
    }
    Ok(())
}

fn again_and_again(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let under = ctx.under.join("u");
    path::mkdir(&under, 0o755)?;
    for round in 0..15u8 {
        let stack = Stack::mount(ctx.fs, &under, &ctx.work.join("m"))?;
        if round > 0 {
            let fd = file::open(&stack.dir.join("f"), libc::O_RDONLY, 0)?;
            check(
                "of the last round",
                &file::pread_vec(&fd, 9000, 0)?,
                round - 1,
                0,
            )?;
        }
        let fd = file::create(&stack.dir.join("f"))?;
        file::pwrite(&fd, &pattern(round, 0, 9000), 0)?;
        drop(fd);
        stack.umount()?;
    }
    Ok(())
}

fn busy(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let under = ctx.under.join("u");
    path::mkdir(&under, 0o755)?;
    let stack = Stack::mount(ctx.fs, &under, &ctx.work.join("m"))?;
    let at = stack.dir.clone();
    let try_umount = || mount::umount(&at, 0);
    let fd = file::create(&at.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, PAGE), 0)?;
    expect_errno("with an open file", try_umount(), libc::EBUSY)?;
    let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
    drop(fd);
    expect_errno("with a mapping", try_umount(), libc::EBUSY)?;
    drop(map);
    path::chdir(&at)?;
    expect_errno("with a working directory", try_umount(), libc::EBUSY)?;
    path::chdir("/".as_ref())?;
    stack.umount()
}

/// Detached and still used; when the last user goes, the lower is free.
fn detached(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let mut own = ctx.private(Kind::Ext4Block4k, 64)?;
    let fd = file::create(&own.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 50_000), 0)?;
    let at = own.up.clone();
    mount::umount(&at, libc::MNT_DETACH)?;
    check("after detaching", &file::pread_vec(&fd, 50_000, 0)?, 1, 0)?;
    file::pwrite(&fd, &pattern(2, 0, 1000), 0)?;
    ensure!(
        own.lower.is_held()?,
        "nothing holds the lower of an open file"
    );
    drop(fd);
    own.forget_stack();
    own.lower.umount()?;
    own.lower.check()?;
    own.lower.mount()?;
    let fd = file::open(&own.under.join("f"), libc::O_RDONLY, 0)?;
    let seen = file::pread_vec(&fd, 60_000, 0)?;
    check("written after detaching", &seen[..1000], 2, 0)?;
    check("written before", &seen[1000..], 1, 1000)?;
    drop(fd);
    own.finish()
}

/// On a lower that can only be read nothing can be written, and everything can be read.
fn lower_read_only(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private(ctx.lower.kind, 64)?;
    let fd = file::create(&own.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, 10_000), 0)?;
    drop(fd);
    path::mknod(&own.at("p"), libc::S_IFIFO | 0o600, 0)?;
    let pipe = file::open(&own.at("p"), libc::O_RDWR, 0)?;
    file::sync();
    let lower = own.lower.dir.clone();
    let again = |flags| mount::mount("none", &lower, "none", libc::MS_REMOUNT | flags, "");
    if let Err(e) = again(libc::MS_RDONLY) {
        ensure!(e.0 == libc::EBUSY, "remounting the lower read-only: {e}");
        drop(pipe);
        own.finish()?;
        return skip("the lower cannot be made read-only while diofs is mounted over it");
    }
    let fd = file::open(&own.at("f"), libc::O_RDONLY, 0)?;
    check("read", &file::pread_vec(&fd, 20_000, 0)?, 1, 0)?;
    file::write(&pipe, b"through").context("a pipe needs no disk")?;
    let mut through = [0; 16];
    let n = file::read(&pipe, &mut through)?;
    ensure!(&through[..n] == b"through", "the pipe has {through:?}");
    drop(pipe);
    expect_errno("create", file::create(&own.at("g")), libc::EROFS)?;
    expect_errno("mkdir", path::mkdir(&own.at("d"), 0o755), libc::EROFS)?;
    expect_errno("unlink", path::unlink(&own.at("f")), libc::EROFS)?;
    expect_errno("truncate", path::truncate(&own.at("f"), 0), libc::EROFS)?;
    expect_errno(
        "open to write",
        file::open(&own.at("f"), libc::O_RDWR, 0),
        libc::EROFS,
    )?;
    drop(fd);
    own.finish()
}

/// Where neither devices nor programs are to be used below, they are not here.
fn lower_restricted(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let program = ctx.under.join("true");
    std::fs::copy("/usr/bin/true", &program)?;
    path::chmod(&program, 0o755)?;
    let null = libc::makedev(1, 3);
    path::mknod(&ctx.under.join("null"), libc::S_IFCHR | 0o666, null)?;
    let (below, at) = (point(ctx, "bound")?, point(ctx, "m")?);
    for (name, flags) in [
        ("neither", 0),
        ("nodev", libc::MS_NODEV),
        ("noexec", libc::MS_NOEXEC),
    ] {
        mount::mount(
            &ctx.under.display().to_string(),
            &below,
            "",
            libc::MS_BIND,
            "",
        )?;
        mount::mount(
            "none",
            &below,
            "",
            libc::MS_REMOUNT | libc::MS_BIND | flags,
            "",
        )?;
        diofs(&below, &at, &[])?;
        let device = file::open(&at.join("null"), libc::O_RDWR, 0).map(drop);
        let program = std::process::Command::new(at.join("true")).status();
        umount(&at)?;
        umount(&below)?;
        if flags == libc::MS_NODEV {
            expect_errno("a device of a lower with nodev", device, libc::EACCES)?;
        } else {
            device.with_context(|| format!("a device of a lower with {name}"))?;
        }
        if flags == libc::MS_NOEXEC {
            let errno = program.err().and_then(|e| e.raw_os_error());
            ensure!(
                errno == Some(libc::EACCES),
                "a program of a lower with noexec: expected EACCES, saw {errno:?}"
            );
        } else {
            let status = program.with_context(|| format!("a program of a lower with {name}"))?;
            ensure!(status.success(), "with {name} it ended by {status}");
        }
    }
    Ok(())
}

/// Everything that was written is on the lower when umount has returned.
fn dirty_at_umount(ctx: &Ctx) -> Result<()> {
    let under = ctx.under.join("u");
    path::mkdir(&under, 0o755)?;
    let stack = Stack::mount(ctx.fs, &under, &ctx.work.join("m"))?;
    for i in 0..50u8 {
        let fd = file::create(&stack.dir.join(format!("f{i}")))?;
        file::pwrite(&fd, &pattern(i, 0, 40_000 + usize::from(i)), 0)?;
        let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
        map.store(0, &pattern(i ^ 0x80, 0, 100));
    }
    stack.umount()?;
    for i in 0..50u8 {
        let fd = file::open(&under.join(format!("f{i}")), libc::O_RDONLY, 0)?;
        let seen = file::pread_vec(&fd, 50_000, 0)?;
        ensure!(
            seen.len() == 40_000 + usize::from(i),
            "file {i}: {} bytes",
            seen.len()
        );
        check("stored", &seen[..100], i ^ 0x80, 0)?;
        check("written", &seen[100..], i, 100)?;
    }
    Ok(())
}

/// The filesystem is as synchronous as the lower one: over one that is not it cannot be asked for,
/// over one that is a write returns when it is on disk.
fn synchronous(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let at = point(ctx, "sync")?;
    for flag in ["sync", "dirsync"] {
        let context = Context::new("diofs")?;
        context.set("source", &ctx.under.display().to_string())?;
        context.flag(flag)?;
        expect_refusal(flag, context.mount_on(&at), &[libc::EINVAL])?;
    }
    let mut own = ctx.private(Kind::Ext2Block4k, 64)?;
    own.umount_stack()?;
    let flags = libc::MS_REMOUNT | libc::MS_SYNCHRONOUS;
    mount::mount("none", &own.lower.dir, "", flags, "")?;
    diofs(&own.under, &at, &[])?;
    let outcome = durable_at_once(&own, &at);
    let outcome = outcome.and_then(|()| {
        mount::mount("none", &at, "", libc::MS_REMOUNT, "")?;
        durable_at_once(&own, &at)
    });
    // Below it ends. mount(8) asks for what it sees, which then goes, with the right to write here.
    let flags = libc::MS_REMOUNT;
    let outcome = outcome.and_then(|()| Ok(mount::mount("none", &own.lower.dir, "", flags, "")?));
    let shown = outcome.and_then(|()| {
        let flags = libc::MS_REMOUNT | libc::MS_RDONLY | libc::MS_SYNCHRONOUS;
        mount::mount("none", &at, "", flags, "")
            .context("a remount that asks for what is there")?;
        Ok(std::fs::read_to_string("/proc/self/mounts")?)
    });
    umount(&at)?;
    let (shown, name) = (shown?, at.display().to_string());
    let line = shown.lines().find(|line| line.contains(&name));
    let options = line.and_then(|line| line.split(' ').nth(3));
    let options = options.context("the mount is not shown")?;
    ensure!(
        options.split(',').all(|option| option != "sync"),
        "over one that is not synchronous any more: {options}"
    );
    ensure!(
        options.starts_with("ro"),
        "after a remount to ro: {options}"
    );
    own.finish()
}

/// A cached write to a filesystem waits for the device below.
fn durable_at_once(own: &Private, at: &Path) -> Result<()> {
    let fd = file::create(&at.join("f"))?;
    file::pwrite(&fd, &pattern(1, 0, PAGE), 0)?;
    let hold = own.lower.hold_writes()?;
    let writer = Racer::start(move || file::pwrite(&fd, &pattern(2, 0, PAGE), 0));
    hold.wait_writes(1)?;
    let early = writer.finished_soon();
    hold.release()?;
    let n = writer.join()?;
    ensure!(n == Ok(PAGE), "a write of {PAGE} bytes returned {n:?}");
    ensure!(!early, "a write returned before the device had it");
    Ok(())
}
