// SPDX-License-Identifier: GPL-2.0

//! What diofs does not do yet: it says so by the right error, and changes nothing.

use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, pattern};
use crate::sys::{Errno, Res, file, fscall, path, stat};
use crate::twin::expect_errno;
use anyhow::{Result, bail, ensure};
use std::os::fd::OwnedFd;

pub const TESTS: &[Test] = &[
    test("later.extended_attributes", extended_attributes).once(),
    test("later.fallocate", fallocate).once(),
    test("later.reflink", reflink).once(),
    test("later.ioctl", ioctl).once(),
    test("later.file_handles", file_handles).once(),
    test("later.leases", leases).once(),
    test("later.tmpfile", tmpfile).once(),
];

const LEN: usize = 20_000;

fn some_file(ctx: &Ctx) -> Result<OwnedFd> {
    ctx.need_diofs()?;
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, LEN), 0)?;
    Ok(fd)
}

fn unchanged(fd: &OwnedFd) -> Result<()> {
    let size = stat::fstat(fd)?.size;
    ensure!(
        size == LEN as u64,
        "a refused call changed the size to {size}"
    );
    check("after a refused call", &file::pread_vec(fd, LEN, 0)?, 1, 0)
}

fn extended_attributes(ctx: &Ctx) -> Result<()> {
    let fd = some_file(ctx)?;
    let f = ctx.at("f");
    let acl = [2u8, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255];
    for name in [
        "user.x",
        "trusted.x",
        "security.x",
        "system.posix_acl_access",
        "system.posix_acl_default",
    ] {
        let set = path::setxattr(&f, name, &acl);
        expect_errno(&format!("set {name}"), set, libc::EOPNOTSUPP)?;
        match path::getxattr(&f, name) {
            Err(Errno(libc::EOPNOTSUPP | libc::ENODATA)) => {}
            other => bail!("get {name}: expected EOPNOTSUPP or ENODATA, saw {other:?}"),
        }
        let remove = path::removexattr(&f, name);
        expect_errno(&format!("remove {name}"), remove, libc::EOPNOTSUPP)?;
    }
    unchanged(&fd)
}

fn fallocate(ctx: &Ctx) -> Result<()> {
    let fd = some_file(ctx)?;
    for mode in [
        0,
        fscall::FALLOC_KEEP_SIZE,
        fscall::FALLOC_PUNCH_HOLE | fscall::FALLOC_KEEP_SIZE,
        fscall::FALLOC_ZERO_RANGE,
        fscall::FALLOC_COLLAPSE_RANGE,
        fscall::FALLOC_INSERT_RANGE,
    ] {
        let answer = fscall::fallocate(&fd, mode, 4096, 8192);
        expect_errno(
            &format!("fallocate mode {mode:#x}"),
            answer,
            libc::EOPNOTSUPP,
        )?;
    }
    unchanged(&fd)
}

fn reflink(ctx: &Ctx) -> Result<()> {
    let fd = some_file(ctx)?;
    let to = file::create(&ctx.at("to"))?;
    expect_errno("FICLONE", fscall::reflink(&to, &fd), libc::EOPNOTSUPP)?;
    ensure!(
        stat::fstat(&to)?.size == 0,
        "a refused FICLONE made something"
    );
    unchanged(&fd)
}

fn ioctl(ctx: &Ctx) -> Result<()> {
    let fd = some_file(ctx)?;
    let call = |request, input: &[u8]| fscall::ioctl_buf(&fd, request, input);
    expect_errno(
        "FS_IOC_GETFLAGS",
        call(fscall::FS_IOC_GETFLAGS, &[]),
        libc::ENOTTY,
    )?;
    let append_only = 0x20u32.to_ne_bytes();
    expect_errno(
        "FS_IOC_SETFLAGS",
        call(fscall::FS_IOC_SETFLAGS, &append_only),
        libc::ENOTTY,
    )?;
    expect_errno(
        "FS_IOC_FIEMAP",
        call(fscall::FS_IOC_FIEMAP, &[]),
        libc::EOPNOTSUPP,
    )?;
    expect_errno("EXT4_IOC_SWAP_BOOT", call(0x6611, &[]), libc::ENOTTY)?;
    expect_errno(
        "FS_IOC_SHUTDOWN",
        call(0x8004_587d, &[2, 0, 0, 0]),
        libc::ENOTTY,
    )?;
    expect_errno("an unknown ioctl", call(0x1234, &[]), libc::ENOTTY)?;
    unchanged(&fd)
}

fn file_handles(ctx: &Ctx) -> Result<()> {
    let fd = some_file(ctx)?;
    expect_errno(
        "name_to_handle_at",
        path::file_handle(&ctx.at("f")),
        libc::EOPNOTSUPP,
    )?;
    unchanged(&fd)
}

fn leases(ctx: &Ctx) -> Result<()> {
    let fd = some_file(ctx)?;
    let lease = |kind| -> Res<()> { fscall::setlease(&fd, kind) };
    expect_errno("a write lease", lease(libc::F_WRLCK), libc::EINVAL)?;
    let reader = file::open(&ctx.at("f"), libc::O_RDONLY, 0)?;
    expect_errno(
        "a read lease",
        fscall::setlease(&reader, libc::F_RDLCK),
        libc::EINVAL,
    )?;
    unchanged(&fd)
}

fn tmpfile(ctx: &Ctx) -> Result<()> {
    let fd = some_file(ctx)?;
    let open = file::open(&ctx.up, libc::O_RDWR | libc::O_TMPFILE, 0o600);
    expect_errno("O_TMPFILE", open, libc::EOPNOTSUPP)?;
    unchanged(&fd)
}
