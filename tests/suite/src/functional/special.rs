// SPDX-License-Identifier: GPL-2.0

//! Pipes, devices and sockets as files.

use crate::harness::{Ctx, Test, test};
use crate::sys::{file, path, stat};
use crate::twin::twin;
use anyhow::{Result, ensure};
use std::os::unix::net::{UnixListener, UnixStream};

pub const TESTS: &[Test] = &[
    test("special.nodes", nodes),
    test("special.fifo", fifo),
    test("special.fifo_times", fifo_times),
    test("special.socket", socket),
    test("special.device", device),
];

fn nodes(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let dev = libc::makedev(1, 3);
        s.see("pipe", path::mknod(&s.at("p"), libc::S_IFIFO | 0o640, 0));
        s.see(
            "character",
            path::mknod(&s.at("c"), libc::S_IFCHR | 0o666, dev),
        );
        s.see(
            "block",
            path::mknod(&s.at("b"), libc::S_IFBLK | 0o600, libc::makedev(7, 300)),
        );
        s.see("socket", path::mknod(&s.at("s"), libc::S_IFSOCK | 0o777, 0));
        s.see("regular", path::mknod(&s.at("f"), libc::S_IFREG | 0o644, 0));
        s.see("no type", path::mknod(&s.at("n"), 0o644, 0));
        s.see(
            "directory",
            path::mknod(&s.at("d"), libc::S_IFDIR | 0o755, 0),
        );
        s.see("again", path::mknod(&s.at("p"), libc::S_IFIFO | 0o640, 0));
        for name in ["p", "c", "b", "s", "f", "n"] {
            s.see(format!("attributes of {name}"), stat::lstat(&s.at(name)));
        }
        s.see(
            "whole device numbers",
            path::mknod(&s.at("w"), libc::S_IFCHR, libc::makedev(300, 70000)),
        );
        s.see("kept", stat::lstat(&s.at("w")));
        s.see("rename", path::rename(&s.at("p"), &s.at("q")));
        s.see("link", path::link(&s.at("c"), &s.at("c2")));
        s.see("its count", stat::lstat(&s.at("c")));
        s.see("unlink", path::unlink(&s.at("s")));
        path::chmod(s.dir(), 0o777)?;
        s.as_user(1000, |s| {
            let chr = path::mknod(&s.at("u"), libc::S_IFCHR | 0o666, dev);
            s.see("device", chr);
            s.see("pipe", path::mknod(&s.at("v"), libc::S_IFIFO | 0o600, 0));
            Ok(())
        })
    })
}

fn fifo(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.must("make", path::mknod(&s.at("p"), libc::S_IFIFO | 0o600, 0))?;
        s.see(
            "write with no reader",
            file::open(&s.at("p"), libc::O_WRONLY | libc::O_NONBLOCK, 0),
        );
        let reader = s.must(
            "reader",
            file::open(&s.at("p"), libc::O_RDONLY | libc::O_NONBLOCK, 0),
        )?;
        let writer = s.must("writer", file::open(&s.at("p"), libc::O_WRONLY, 0))?;
        s.see("write", file::write(&writer, b"through"));
        let mut buf = [0; 16];
        let n = s.get("read", file::read(&reader, &mut buf)).unwrap_or(0);
        s.see("content", buf[..n].to_vec());
        s.see("seek", file::lseek(&reader, 0, libc::SEEK_SET));
        s.see("size stays", stat::stat(&s.at("p")));
        Ok(())
    })
}

/// Writing to a pipe is a modification of it, reading an access.
fn fifo_times(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        s.must("make", path::mknod(&s.at("p"), libc::S_IFIFO | 0o600, 0))?;
        let fd = s.must("open", file::open(&s.at("p"), libc::O_RDWR, 0))?;
        let before = stat::stat(&s.at("p"))?;
        stat::tick();
        s.see("write", file::write(&fd, b"through"));
        let written = stat::stat(&s.at("p"))?;
        s.see("modified", written.mtime > before.mtime);
        s.see("changed", written.ctime > before.ctime);
        stat::tick();
        s.see("read", file::read(&fd, &mut [0; 16]));
        let read = stat::stat(&s.at("p"))?;
        s.see("accessed", read.atime > before.atime);
        s.see("not modified", read.mtime == written.mtime);
        Ok(())
    })
}

fn socket(ctx: &Ctx) -> Result<()> {
    path::chdir(&ctx.up)?;
    let listener = UnixListener::bind("sock")?;
    let mode = stat::stat(&ctx.at("sock"))?.mode;
    ensure!(
        u32::from(mode) & libc::S_IFMT == libc::S_IFSOCK,
        "expected a socket, saw mode {mode:o}"
    );
    let stream = UnixStream::connect("sock");
    path::chdir(std::path::Path::new("/"))?;
    stream?;
    drop(listener);
    Ok(())
}

fn device(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let zero = libc::makedev(1, 5);
        s.must(
            "make",
            path::mknod(&s.at("zero"), libc::S_IFCHR | 0o666, zero),
        )?;
        let fd = s.must("open", file::open(&s.at("zero"), libc::O_RDWR, 0))?;
        s.see("read", file::pread_vec(&fd, 10, 0));
        s.see("write", file::write(&fd, b"gone"));
        let none = libc::makedev(4000, 1);
        s.must(
            "make none",
            path::mknod(&s.at("none"), libc::S_IFCHR | 0o666, none),
        )?;
        s.see("open none", file::open(&s.at("none"), libc::O_RDWR, 0));
        Ok(())
    })
}
