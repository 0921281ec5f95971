// SPDX-License-Identifier: GPL-2.0

//! Direct writes after which the range could not be invalidated (C2, C3): the write has been done,
//! so that the one who waits in the call is told of an error, a queued request is completed with
//! what it wrote, and `fsync` tells everybody once.
//!
//! Nothing comes into a range that is registered in the module as it is. These tests are for one
//! that was built with `tests/variants/found-after.patch`.

use super::errors::{BAD, Broken, expect_once};
use super::queue::{By, EACH};
use super::scene::{NEW, OLD, Scene};
use super::variant::need;
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, pattern};
use crate::stats::Stats;
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{Errno, file};
use crate::twin::expect_errno;
use anyhow::{Context, Result, ensure};
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("variant.found_after_is_told", told),
    test("variant.found_after_a_failure", failed),
];

const LEN: usize = 16 * PAGE;
const EIO: Errno = Errno(libc::EIO);

/// Runs `write`, which is counted as one after which the range could not be invalidated. io_uring
/// may have tried first without waiting: that counts as well.
fn counted<T>(up: &Path, write: impl FnOnce() -> Result<T>) -> Result<T> {
    let failures = || Stats::of(up)?.get("after_failures");
    let before = failures()?;
    let answer = write()?;
    let grown = failures()? - before;
    ensure!(grown >= 1, "after_failures has grown by {grown}");
    Ok(answer)
}

fn told(ctx: &Ctx) -> Result<()> {
    need(ctx, "found-after")?;
    for by in EACH {
        let scene = Scene::new(ctx, LEN)?;
        let reader = file::open(&scene.path, libc::O_RDONLY, 0)?;
        scene.warm()?;
        let data = Slice::of(&pattern(NEW, PAGE as u64, 4 * PAGE))?;
        counted(&ctx.up, || match by {
            By::Call => {
                let answer = by.pwrite(&scene.direct, &data, PAGE)?;
                ensure!(answer == Err(EIO), "by call: {answer:?}");
                Ok(())
            }
            // It was written, and the completion tells of that: never of an error in its place.
            By::Queue(engine) => scene.fly(engine, PAGE, 4 * PAGE)?.land(),
        })?;
        expect_once(&format!("{by:?}, fsync of the writer"), &scene.direct)?;
        expect_once(&format!("{by:?}, fsync of a writer"), &scene.cached)?;
        expect_once(&format!("{by:?}, fsync of a reader"), &reader)?;
        expect_errno("syncfs", file::syncfs(&scene.cached), libc::EIO)?;
        file::syncfs(&scene.cached).context("syncfs, the second time")?;
        let under = file::pread_vec(scene.under()?, LEN, 0)?;
        check("below, before it", &under[..PAGE], OLD, 0)?;
        check("below", &under[PAGE..5 * PAGE], NEW, PAGE as u64)?;
        check(
            "below, behind it",
            &under[5 * PAGE..],
            OLD,
            (5 * PAGE) as u64,
        )?;
        scene.all_modes(NEW, PAGE, 4 * PAGE)?;
    }
    Ok(())
}

/// A write that has failed by itself keeps its error, and its range is invalidated all the same.
fn failed(ctx: &Ctx) -> Result<()> {
    need(ctx, "found-after")?;
    for by in EACH {
        let broken = Broken::new(ctx)?;
        let direct = broken.open_direct()?;
        broken.fail()?;
        let data = Slice::of(&pattern(NEW, (BAD * PAGE) as u64, PAGE))?;
        let answer = counted(&broken.own.up, || by.pwrite(&direct, &data, BAD * PAGE))
            .with_context(|| format!("{by:?}"))?;
        ensure!(answer == Err(EIO), "{by:?}: {answer:?}");
        drop(direct);
        broken.mend()?;
    }
    Ok(())
}
