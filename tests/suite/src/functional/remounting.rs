// SPDX-License-Identifier: GPL-2.0

//! Changing the options of a mount.

use super::mounting::{expect_refusal, mount_line, point};
use crate::harness::{Ctx, Test, test};
use crate::lower::umount;
use crate::pattern::{check, pattern};
use crate::sys::mem::PAGE;
use crate::sys::mount::{self, Context, Refused};
use crate::sys::{file, path, stat};
use crate::twin::expect_errno;
use anyhow::{Context as _, Result, ensure};

pub const TESTS: &[Test] = &[
    test("mount.remount", remount).once(),
    test("mount.remount_refused", remount_refused).once(),
    test("mount.reconfigured_again", reconfigured_again).once(),
];

fn remount(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let fd = file::create(&ctx.at("f"))?;
    file::pwrite(&fd, &pattern(1, 0, PAGE), 0)?;
    let again = |flags| mount::mount("none", &ctx.up, "none", libc::MS_REMOUNT | flags, "");
    expect_errno(
        "read-only while open to write",
        again(libc::MS_RDONLY),
        libc::EBUSY,
    )?;
    drop(fd);
    again(libc::MS_RDONLY)?;
    let (_, _, options) = mount_line(&ctx.up)?;
    ensure!(
        options.starts_with("ro"),
        "after remount,ro the options are {options}"
    );
    expect_errno("create", file::create(&ctx.at("g")), libc::EROFS)?;
    let under = file::open(&ctx.under.join("f"), libc::O_RDONLY, 0)?;
    check(
        "written before, on the lower",
        &file::pread_vec(&under, PAGE, 0)?,
        1,
        0,
    )?;
    drop(under);
    again(0)?;
    drop(file::create(&ctx.at("g"))?);
    let fd = file::open(&ctx.at("f"), libc::O_RDWR, 0)?;
    file::pwrite(&fd, b"x", 0)?;
    Ok(())
}

fn remount_refused(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    path::mkdir(&ctx.under.join("other"), 0o755)?;
    let other = ctx.under.join("other").display().to_string();
    let change = |key: &str, value: &str| -> Result<(), Refused> {
        let context = Context::pick(&ctx.up).map_err(|errno| Refused { errno, log: vec![] })?;
        context.set(key, value)?;
        context.reconfigure()
    };
    expect_refusal("another lower", change("source", &other), &[libc::EINVAL])?;
    expect_refusal(
        "an unknown option",
        change("no_such_option", "1"),
        &[libc::EINVAL],
    )?;
    let (source, _, _) = mount_line(&ctx.up)?;
    ensure!(
        source == ctx.under.display().to_string(),
        "the source is {source} now"
    );
    drop(file::create(&ctx.at("f"))?);
    stat::stat(&ctx.under.join("f"))?;
    Ok(())
}

/// One context serves for several changes in turn, be it the one that has mounted or a later one.
fn reconfigured_again(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    let at = point(ctx, "m")?;
    let first = Context::new("diofs")?;
    first.set("source", &ctx.under.display().to_string())?;
    first.mount_on(&at)?;
    let outcome = [("that mounted", first), ("of fspick", Context::pick(&at)?)]
        .iter()
        .try_for_each(|(name, context)| {
            for value in ["sync", "eio", "sync"] {
                context.set("dio_busy", value)?;
                let answer = context.reconfigure();
                answer.with_context(|| format!("the context {name}, to {value}"))?;
                let (_, _, options) = mount_line(&at)?;
                ensure!(
                    options.contains("dio_busy=sync") == (value == "sync"),
                    "the context {name}, to {value}: the options are {options}"
                );
            }
            Ok(())
        });
    umount(&at)?;
    outcome
}
