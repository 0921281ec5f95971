// SPDX-License-Identifier: GPL-2.0

//! Memory that the kernel's own threads cannot have when they work for diofs.

use super::inject::{Injector, Target};
use super::points::many_rounds;
use super::stage::{NOMEM, Stage};
use crate::coherence::scene::{NEW, write_all};
use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::sys::mem::PAGE;
use crate::sys::{Errno, file, process};
use anyhow::{Context, Result, bail};
use std::ops::Range;

pub const TESTS: &[Test] = &[
    test("faults.flusher", flusher).limit(120),
    test("faults.delegated_write_back", delegated).limit(120),
];

const PART: Range<usize> = 3 * PAGE + 700..6 * PAGE + 900;

/// Write-back by the kernel's flusher threads, which has nobody to answer to.
fn flusher(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    many_rounds("write-back by the flusher", &injector, 60, |round| {
        stage.reset_dirty(&PART)?;
        let data = pattern(NEW, PART.start as u64, PART.len());
        round.n = (round.n - 1) % 20 + 1;
        round.call_work(NOMEM, || file::syncfs(&stage.0.cached))?;
        match file::fsync(&stage.0.cached) {
            Ok(()) => {}
            Err(Errno(libc::ENOMEM)) if round.fired > 0 => {
                file::fsync(&stage.0.cached).context("the error is told twice")?;
                write_all(&stage.0.cached, &data, PART.start as u64)?;
                file::fsync(&stage.0.cached)?;
            }
            Err(errno) => bail!("fsync: {errno}"),
        }
        stage.is_on_disk(&PART)
    })
}

/// Write-back that a task has done by a kernel thread, since it may not write so far itself.
fn delegated(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    many_rounds("write-back by another thread", &injector, 60, |round| {
        stage.reset_dirty(&PART)?;
        round.n = (round.n - 1) % 20 + 1;
        let limit = std::time::Duration::from_secs(30);
        let (answer, fired) = injector.during_work(round.n, || {
            process::run(limit, || {
                let done = process::limit_file_size(PAGE as u64).and(file::fsync(&stage.0.cached));
                done.err().map_or(0, |e| e.0).to_le_bytes().to_vec()
            })
        })?;
        round.fired += fired;
        let (exit, errno) = answer?;
        match errno.first() {
            Some(0) => {}
            Some(12) if fired > 0 => {
                let data = pattern(NEW, PART.start as u64, PART.len());
                write_all(&stage.0.cached, &data, PART.start as u64)?;
                // This descriptor is the child's as well, and was told already.
                file::fsync(&stage.0.cached).context("fsync after the error was told")?;
            }
            other => bail!("fsync said {other:?}, the process ended with {exit:?}"),
        }
        stage.is_on_disk(&PART)
    })
}
