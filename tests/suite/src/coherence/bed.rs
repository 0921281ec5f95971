// SPDX-License-Identifier: GPL-2.0

//! What the tests that hold a device stand on.

use super::race::Racer;
use super::scene::{NEW, Scene};
use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::sys::file;
use crate::sys::mem::PAGE;
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::time::Duration;

pub const TESTS: &[Test] = &[test(
    "bed.held_writes_are_the_tests_own",
    held_writes_are_the_tests_own,
)
.once()];

/// Longer than a journal is left alone by default.
const A_WHILE: Duration = Duration::from_secs(7);

/// Nothing is written while the device holds writes but what a test causes, however long it takes:
/// a commit of the lower's journal would be counted among the held writes, and would stop whoever
/// has to note a time in an inode.
fn held_writes_are_the_tests_own(ctx: &Ctx) -> Result<()> {
    let scene = Scene::new(ctx, PAGE)?;
    let hold = ctx.lower.hold_writes()?;
    file::pwrite(&scene.cached, &pattern(NEW, 0, 100), 0)?;
    std::thread::sleep(A_WHILE);
    let held = hold.writes()?;
    let fd = Arc::clone(&scene.cached);
    let writer = Racer::start(move || file::pwrite(&fd, &pattern(NEW, 100, 100), 100));
    let n = writer.join().context("a cached write")??;
    hold.release()?;
    ensure!(n == 100, "a cached write of 100 bytes returned {n}");
    ensure!(
        held == 0,
        "the device holds {held} writes that no test has made"
    );
    Ok(())
}
