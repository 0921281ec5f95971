// SPDX-License-Identifier: GPL-2.0

//! Mounting, changing options, unmounting.

use super::inject::{Injector, Target};
use super::points::every_point;
use super::stage::NOMEM;
use crate::coherence::scene::{NEW, OLD, write_all};
use crate::harness::{Ctx, Test, test};
use crate::lower::stack::{FsKind, Stack, diofs};
use crate::pattern::{check, pattern};
use crate::sys::mem::{READ_WRITE, Region};
use crate::sys::mount::Context as Options;
use crate::sys::{file, mount};
use anyhow::{Context, Result, ensure};

pub const TESTS: &[Test] = &[
    test("faults.mount", mounting),
    test("faults.remount", remounting).once(),
    test("faults.umount", unmounting).limit(120),
];

/// A mount that has failed leaves nothing behind: the same one then works.
fn mounting(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let injector = Injector::at(Target::Memory)?;
    let point = ctx.work.join("point");
    std::fs::create_dir_all(&point)?;
    std::fs::write(ctx.twin.join("f"), "content")?;
    every_point("mount", &injector, |round| {
        // `clone_private_mount()` says EINVAL when there is no memory for the mount.
        let mounted = round.call(&[libc::ENOMEM, libc::EINVAL], || {
            diofs(&ctx.twin, &point, &[("dio_busy", "sync")]).map_err(|r| r.errno)
        })?;
        if mounted.is_none() {
            diofs(&ctx.twin, &point, &[]).context("mounting again")?;
        }
        let seen = std::fs::read(point.join("f"))?;
        ensure!(seen == b"content", "the file reads {seen:?}");
        crate::lower::umount(&point)
    })
}

fn remounting(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let injector = Injector::at(Target::Memory)?;
    every_point("remount", &injector, |round| {
        round.call(NOMEM, || {
            let options = Options::pick(&ctx.up)?;
            options.set("dio_busy", "sync").map_err(|r| r.errno)?;
            options.reconfigure().map_err(|r| r.errno)
        })?;
        let options = Options::pick(&ctx.up)?;
        options.set("dio_busy", "eio")?;
        Ok(options.reconfigure()?)
    })
}

/// Memory is short while a mount goes away that has data to write. It goes away all the same, and
/// what it had in its cache is below.
fn unmounting(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    const LEN: usize = 100_001;
    let injector = Injector::at(Target::Memory)?;
    let point = ctx.work.join("point");
    every_point("umount", &injector, |round| {
        let stack = Stack::mount(FsKind::Diofs, &ctx.twin, &point)?;
        for (name, tag) in [("synced", OLD), ("dirty", NEW)] {
            let fd = file::create(&stack.dir.join(name))?;
            write_all(&fd, &pattern(tag, 0, LEN), 0)?;
            file::fsync(&fd)?;
            if name == "dirty" {
                // Dirty still when nobody has the file open any more.
                let map = Region::shared(&fd, 0, LEN, READ_WRITE)?;
                drop(fd);
                map.store(0, &pattern(OLD, 0, LEN));
            }
        }
        round.call(&[], || mount::umount(&point, 0))?;
        stack.forget();
        std::fs::remove_dir(&point)?;
        for name in ["synced", "dirty"] {
            let seen = std::fs::read(ctx.twin.join(name))?;
            ensure!(seen.len() == LEN, "{name}: {} bytes", seen.len());
            check(name, &seen, OLD, 0)?;
        }
        Ok(())
    })
}
