// SPDX-License-Identifier: GPL-2.0

//! Attributes that were changed on the lower while the mount knows the file already. `chattr` can
//! be had in no other way.

use crate::coherence::race::Racer;
use crate::harness::{Ctx, Test, lacking, skip, test};
use crate::lower::stack::diofs;
use crate::lower::{mounts_below, tool, umount};
use crate::pattern::pattern;
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Res, dir, file, fscall, mount, path, process, stat};
use crate::twin::expect_errno;
use anyhow::{Context, Result, ensure};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    test("below.append_only", append_only),
    test("below.immutable", immutable),
    test("below.immutable_directory", immutable_directory),
    test("below.swapfile", swapfile).once(),
    test("below.set_id", set_id).once(),
    test("below.set_id_and_owner", set_id_and_owner).once(),
    test("below.set_id_dropped_by_write", set_id_dropped).once(),
    test("below.set_id_and_mincore", set_id_and_mincore).once(),
    test("below.owner", owner).once(),
    test("below.casefolded", casefolded).once(),
    test("below.automount", automount).once(),
];

const USER: u32 = 1000;
const APPEND_ONLY: u32 = 0x20;
pub const IMMUTABLE: u32 = 0x10;
const CASEFOLD: u32 = 0x4000_0000;

fn chattr(path: &Path, change: impl Fn(u32) -> u32) -> Res<()> {
    let fd = file::open(path, libc::O_RDONLY, 0)?;
    let old = fscall::ioctl_buf(&fd, fscall::FS_IOC_GETFLAGS, &[])?;
    let old = u32::from_ne_bytes([old[0], old[1], old[2], old[3]]);
    let new = change(old).to_ne_bytes();
    fscall::ioctl_buf(&fd, fscall::FS_IOC_SETFLAGS, &new).map(|_| ())
}

/// A flag of a file, set until it is dropped: nobody could clear up otherwise.
pub struct Flagged(PathBuf, u32);

impl Flagged {
    pub fn set(path: PathBuf, flag: u32) -> Result<Self> {
        chattr(&path, |old| old | flag).with_context(|| format!("chattr {}", path.display()))?;
        Ok(Self(path, flag))
    }
}

impl Drop for Flagged {
    fn drop(&mut self) {
        let _ = chattr(&self.0, |old| old & !self.1);
    }
}

fn append_only(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let f = ctx.at("f");
    let early = file::create(&f)?;
    file::write(&early, b"begin")?;
    let denied = |what: &str, answer: Res<()>| expect_errno(what, answer, libc::EPERM);
    let open = |flags| file::open(&f, flags, 0).map(|_| ());
    let flag = Flagged::set(ctx.under.join("f"), APPEND_ONLY)?;
    denied("ftruncate before anybody has looked at the file", {
        file::ftruncate(&early, 0)
    })?;
    denied("open to write", open(libc::O_WRONLY))?;
    denied("open to truncate", open(libc::O_RDONLY | libc::O_TRUNC))?;
    denied("truncate", path::truncate(&f, 0))?;
    denied("unlink", path::unlink(&f))?;
    denied("chmod", path::chmod(&f, 0o600))?;
    let append = file::open(&f, libc::O_RDWR | libc::O_APPEND, 0)?;
    file::write(&append, b" end")?;
    denied("ftruncate", file::ftruncate(&append, 0))?;
    denied("end of appending", fscall::setfl(&append, 0))?;
    denied("ftruncate of an older descriptor", {
        file::ftruncate(&early, 0)
    })?;
    let seen = file::pread_vec(&append, 100, 0)?;
    ensure!(seen == b"begin end", "saw {:?}", seen.escape_ascii());
    drop(flag);
    open(libc::O_WRONLY).context("when it is no longer append-only")?;
    path::truncate(&f, 0)?;
    path::unlink(&f)?;
    Ok(())
}

/// The older descriptor is one for which `ftruncate` has nobody ask for permissions any more.
fn immutable(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let f = ctx.at("f");
    let early = file::create(&f)?;
    file::write(&early, b"content")?;
    file::fsync(&early)?;
    let denied = |what: &str, answer: Res<()>| expect_errno(what, answer, libc::EPERM);
    let open = |flags| file::open(&f, flags, 0).map(|_| ());
    let flag = Flagged::set(ctx.under.join("f"), IMMUTABLE)?;
    denied("open to write", open(libc::O_RDWR))?;
    denied("open to append", open(libc::O_WRONLY | libc::O_APPEND))?;
    denied("truncate", path::truncate(&f, 0))?;
    denied("chmod", path::chmod(&f, 0o600))?;
    denied("unlink", path::unlink(&f))?;
    denied("link", path::link(&f, &ctx.at("g")))?;
    denied("rename", path::rename(&f, &ctx.at("g")))?;
    let write = |bytes| file::pwrite(&early, bytes, 0).map(|_| ());
    denied("write to an older descriptor", write(b"CONTENT"))?;
    denied("its ftruncate", file::ftruncate(&early, 0))?;
    file::fsync(&early).context("fsync: nothing was accepted, so nothing can have been lost")?;
    let seen = file::pread_vec(&early, 100, 0)?;
    ensure!(seen == b"content", "saw {:?}", seen.escape_ascii());
    drop(flag);
    open(libc::O_RDWR).context("when it is no longer immutable")?;
    write(b"CONTENT")?;
    path::chmod(&f, 0o600)?;
    path::unlink(&f)?;
    Ok(())
}

/// The kernel swaps to it until this is dropped.
struct Swap(String);

impl Swap {
    fn on(path: &Path) -> Result<Self> {
        let path = path.display().to_string();
        tool::run("mkswap", &[&path])?;
        tool::run("swapon", &[&path])?;
        Ok(Self(path))
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = tool::run("swapoff", &[&self.0]);
    }
}

/// A file that is swapped to refuses at once what its lower file would refuse at write-back.
fn swapfile(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    if !Path::new("/proc/swaps").exists() {
        return skip("this kernel does not swap");
    }
    const LEN: usize = 1 << 20;
    let f = ctx.at("f");
    let early = file::create(&f)?;
    file::write(&early, &pattern(1, 0, LEN))?;
    path::chmod(&f, 0o600)?;
    file::fsync(&early)?;
    let direct = file::open(&f, libc::O_RDWR | libc::O_DIRECT, 0)?;
    let map = Region::shared(&early, 0, LEN, READ_WRITE)?;
    let swap = Swap::on(&ctx.under.join("f"))?;
    let denied = |what: &str, answer: Res<()>| expect_errno(what, answer, libc::ETXTBSY);
    let at = 8 * PAGE as u64;
    let write = || file::pwrite(&early, b"CONTENT", at).map(|_| ());
    denied("a cached write", write())?;
    let zeroes = Slice::zeroed(PAGE)?;
    let answer = file::pwrite_mem(&direct, &zeroes, at).map(|_| ());
    denied("a direct write", answer)?;
    denied("ftruncate", file::ftruncate(&early, 0))?;
    let limit = Duration::from_secs(20);
    let (exit, _) = process::run(limit, || {
        map.store(8 * PAGE, b"CONTENT");
        Vec::new()
    })?;
    ensure!(
        exit == process::Exit::Signal(libc::SIGBUS),
        "a store: expected SIGBUS, saw {exit:?}"
    );
    file::fsync(&early).context("fsync: nothing was accepted, so nothing can have been lost")?;
    drop(swap);
    write().context("when it is no longer swapped to")?;
    file::fsync(&early)?;
    let below = std::fs::read(ctx.under.join("f"))?;
    let seen = &below[8 * PAGE..][..7];
    ensure!(seen == b"CONTENT", "below: {}", seen.escape_ascii());
    Ok(())
}

/// Of the root of the mount, too, which no lookup in the mount ever finds.
fn immutable_directory(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    path::mkdir(&ctx.at("d"), 0o755)?;
    for (dir, under) in [
        (ctx.at("d"), ctx.under.join("d")),
        (ctx.up.clone(), ctx.under.clone()),
    ] {
        let name = dir.display();
        let make = |n: &str| path::mkdir(&dir.join(n), 0o755);
        make("before")?;
        let flag = Flagged::set(under, IMMUTABLE)?;
        expect_errno(&format!("in {name}"), make("during"), libc::EPERM)?;
        let remove = path::rmdir(&dir.join("before"));
        expect_errno(&format!("remove in {name}"), remove, libc::EPERM)?;
        expect_errno(&format!("again in {name}"), make("during"), libc::EPERM)?;
        drop(flag);
        make("after").with_context(|| format!("in {name}, which is no longer immutable"))?;
    }
    Ok(())
}

/// Who is it that runs `program`, as a user without privileges?
fn runs_as(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("-u")
        .uid(USER)
        .gid(USER)
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// A set-id bit that is taken away below does not make anybody root here any more.
fn set_id(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let id = ctx.at("id");
    std::fs::copy("/usr/bin/id", &id)?;
    path::chmod(&id, 0o4755)?;
    let before = runs_as(&id)?;
    ensure!(before == "0", "with the bit it runs as {before}");
    path::chmod(&ctx.under.join("id"), 0o755)?;
    let after = runs_as(&id)?;
    ensure!(after == USER.to_string(), "without it, it runs as {after}");
    path::chmod(&ctx.under.join("id"), 0o4755)?;
    let again = runs_as(&id)?;
    ensure!(again == "0", "with the bit again it runs as {again}");
    Ok(())
}

/// Who gives away a program with a set-id bit takes that away as well, in one step to everybody
/// else. While root is given it again and again, it never runs as root.
fn set_id_and_owner(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let (id, under) = (ctx.at("id"), ctx.under.join("id"));
    std::fs::copy("/usr/bin/id", &id)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let giver = Racer::start(move || -> Res<u32> {
        let mut times = 0;
        while !stopped.load(Ordering::Relaxed) {
            path::lchown(&under, USER, USER)?;
            path::chmod(&under, 0o4755)?;
            path::lchown(&under, 0, 0)?;
            times += 1;
        }
        Ok(times)
    });
    let start = Instant::now();
    let seen: Result<Vec<String>> = (0..100)
        .take_while(|_| start.elapsed() < Duration::from_secs(15))
        .map(|_| runs_as(&id))
        .collect();
    stop.store(true, Ordering::Relaxed);
    let times = giver.join()?.context("giving it away")?;
    ensure!(times > 10, "it was given away {times} times only");
    let (seen, user) = (seen?, USER.to_string());
    let others: Vec<&String> = seen.iter().filter(|seen| **seen != user).collect();
    ensure!(
        others.is_empty(),
        "root's program without set-id bits, given away {times} times, ran as {others:?}, which is \
         {} of {} times",
        others.len(),
        seen.len()
    );
    Ok(())
}

/// A write takes away the set-id bits that were set below while the file was open, whether or not
/// it is known already that there were none.
fn set_id_dropped(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    for (name, written) in [("fresh", false), ("written", true)] {
        let (f, under) = (ctx.at(name), ctx.under.join(name));
        let fd = file::create(&f)?;
        path::lchown(&f, USER, USER)?;
        if written {
            file::pwrite(&fd, b"before", 0)?;
        }
        path::chmod(&under, 0o6777)?;
        let (exit, answer) = process::run(Duration::from_secs(10), || {
            process::become_user(USER, USER)
                .and_then(|()| file::pwrite(&fd, b"after!", 0))
                .map_or_else(|e| e.to_string(), |n| format!("wrote {n}"))
                .into_bytes()
        })?;
        let answer = String::from_utf8_lossy(&answer).to_string();
        ensure!(answer == "wrote 6", "{name}: {answer}, {exit:?}");
        for (side, path) in [("below", &under), ("above", &f)] {
            let mode = stat::stat(path)?.mode & 0o7777;
            ensure!(mode == 0o777, "{name}: the mode {side} is {mode:o}");
        }
        let seen = file::pread_vec(&fd, 100, 0)?;
        ensure!(seen == b"after!", "{name}: saw {:?}", seen.escape_ascii());
    }
    Ok(())
}

/// Who asks for permission with a lock on memory, as `mincore` does for who is not the owner, does
/// not wait for the lock of the lower file, whose holder can be waiting for that memory.
fn set_id_and_mincore(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    ctx.need_direct()?;
    let (f, under) = (ctx.at("f"), ctx.under.join("f"));
    let fd = file::create(&f)?;
    file::pwrite(&fd, &pattern(1, 0, PAGE), 0)?;
    file::fsync(&fd)?;
    let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
    let below = file::open_direct(&under)?;
    path::chmod(&under, 0o4755)?;
    let data = Slice::of(&pattern(2, 0, PAGE))?;
    let hold = ctx.lower.hold_writes()?;
    // It makes the file longer, and holds its lock meanwhile.
    let writer = Racer::start(move || file::pwrite_mem(&below, &data, PAGE as u64));
    hold.wait_writes(1)?;
    let (exit, answer) = process::run(Duration::from_secs(10), || {
        process::become_user(USER, USER)
            .and_then(|()| map.mincore())
            .map_or_else(|e| e.to_string(), |pages| format!("{} pages", pages.len()))
            .into_bytes()
    })?;
    hold.release()?;
    writer.join()??;
    let answer = String::from_utf8_lossy(&answer).to_string();
    ensure!(answer == "1 pages", "mincore: {answer}, {exit:?}");
    Ok(())
}

/// What only the owner may do, the new owner may.
fn owner(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let f = ctx.at("f");
    drop(file::create(&f)?);
    path::chmod(&f, 0o644)?;
    path::lchown(&ctx.under.join("f"), USER, USER)?;
    let (exit, answer) = process::run(Duration::from_secs(10), || {
        let answer = process::become_user(USER, USER)
            .and_then(|()| {
                file::open(&f, libc::O_RDONLY | libc::O_NOATIME, 0)?;
                path::chmod(&f, 0o600)
            })
            .map_or_else(|e| e.to_string(), |()| "ok".to_string());
        answer.into_bytes()
    })?;
    let answer = String::from_utf8_lossy(&answer).to_string();
    ensure!(answer == "ok", "the new owner: {answer}, {exit:?}");
    let mode = stat::stat(&ctx.under.join("f"))?.mode & 0o777;
    ensure!(mode == 0o600, "the mode is {mode:o}");
    Ok(())
}

/// A directory in which names are no longer what they were is not looked into.
fn casefolded(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let own = ctx.private_casefold()?;
    let dir = own.dir.join("d");
    path::mkdir(&dir, 0o755)?;
    path::mkdir(&dir.join("sub"), 0o755)?;
    let at = ctx.work.join("m");
    std::fs::create_dir_all(&at)?;
    diofs(&dir, &at, &[])?;
    drop(file::create(&at.join("plain"))?);
    expect_errno("another case", stat::stat(&at.join("PLAIN")), libc::ENOENT)?;
    expect_errno("nothing", stat::stat(&at.join("sub/x")), libc::ENOENT)?;
    chattr(&dir.join("sub"), |old| old | CASEFOLD)?;
    let inside = stat::stat(&at.join("sub/y"));
    umount(&at)?;
    own.umount()?;
    expect_errno("a name in a folded directory", inside, libc::EREMOTE)
}

/// A directory that mounts something when one walks through it is not looked into, nor is anything
/// mounted. The one of debugfs leads to the tracer.
fn automount(ctx: &Ctx) -> Result<()> {
    const NAME: &str = "tracing";
    ctx.need_diofs()?;
    let below = ctx.work.join("debugfs");
    let at = ctx.work.join("m");
    std::fs::create_dir_all(&below)?;
    std::fs::create_dir_all(&at)?;
    mount::mount("debugfs", &below, "debugfs", 0, "")?;
    let entries = dir::read_all(file::open(&below, libc::O_RDONLY, 0)?, 4096)?;
    let answer = if entries.iter().any(|entry| entry.name == NAME) {
        diofs(&below, &at, &[])?;
        let inside = stat::stat(&at.join(NAME));
        umount(&at)?;
        Some(inside)
    } else {
        None
    };
    let mounted = mounts_below(&below);
    umount(&below)?;
    let Some(inside) = answer else {
        return lacking(
            "the debugfs of this kernel has no place where something is mounted by itself",
        );
    };
    expect_errno("a place where something is mounted", inside, libc::EREMOTE)?;
    ensure!(mounted == [below], "looking it up has mounted: {mounted:?}");
    Ok(())
}
