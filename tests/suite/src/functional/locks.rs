// SPDX-License-Identifier: GPL-2.0

//! Locks on files, which the kernel keeps above the filesystem.

use crate::harness::{Ctx, Test, test};
use crate::sys::{file, fscall};
use crate::twin::twin;
use anyhow::Result;

pub const TESTS: &[Test] = &[test("locks.posix", posix), test("locks.flock", flock)];

fn posix(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.see("write lock", fscall::lock(&fd, libc::F_WRLCK, 0, 100));
        s.see(
            "own lock is no hindrance",
            fscall::getlock(&fd, libc::F_WRLCK, 0, 10),
        );
        s.as_user(0, |s| {
            let fd = s.must("open", file::open(&s.at("f"), libc::O_RDWR, 0))?;
            s.see("who is there", fscall::getlock(&fd, libc::F_RDLCK, 50, 10));
            s.see("read lock inside", fscall::lock(&fd, libc::F_RDLCK, 50, 10));
            s.see(
                "write lock across",
                fscall::lock(&fd, libc::F_WRLCK, 90, 20),
            );
            s.see(
                "write lock behind",
                fscall::lock(&fd, libc::F_WRLCK, 100, 10),
            );
            Ok(())
        })?;
        s.see("turn to read", fscall::lock(&fd, libc::F_RDLCK, 0, 50));
        s.as_user(0, |s| {
            let fd = s.must("open", file::open(&s.at("f"), libc::O_RDWR, 0))?;
            s.see("read lock", fscall::lock(&fd, libc::F_RDLCK, 0, 50));
            s.see("write lock", fscall::lock(&fd, libc::F_WRLCK, 0, 50));
            s.see(
                "write lock of the rest",
                fscall::lock(&fd, libc::F_WRLCK, 50, 0),
            );
            Ok(())
        })?;
        s.see("drop", fscall::lock(&fd, libc::F_UNLCK, 0, 0));
        s.as_user(0, |s| {
            let fd = s.must("open", file::open(&s.at("f"), libc::O_RDWR, 0))?;
            s.see("all", fscall::lock(&fd, libc::F_WRLCK, 0, 0));
            Ok(())
        })?;
        let reader = s.must("reader", file::open(&s.at("f"), libc::O_RDONLY, 0))?;
        s.see(
            "write lock by a reader",
            fscall::lock(&reader, libc::F_WRLCK, 0, 1),
        );
        Ok(())
    })
}

fn flock(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let a = s.must("create", file::create(&s.at("f")))?;
        let b = s.must("open", file::open(&s.at("f"), libc::O_RDWR, 0))?;
        s.see("exclusive", fscall::flock(&a, libc::LOCK_EX));
        s.see(
            "another's",
            fscall::flock(&b, libc::LOCK_SH | libc::LOCK_NB),
        );
        let copy = s.must("dup", file::dup(&a))?;
        s.see(
            "the same file's",
            fscall::flock(&copy, libc::LOCK_SH | libc::LOCK_NB),
        );
        s.see(
            "now shared",
            fscall::flock(&b, libc::LOCK_SH | libc::LOCK_NB),
        );
        s.see(
            "not to be exclusive",
            fscall::flock(&b, libc::LOCK_EX | libc::LOCK_NB),
        );
        drop((a, copy));
        s.see(
            "after close",
            fscall::flock(&b, libc::LOCK_EX | libc::LOCK_NB),
        );
        Ok(())
    })
}
