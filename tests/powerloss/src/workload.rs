// SPDX-License-Identifier: GPL-2.0
//! `powerloss workload`: all workers at once, until the power fails.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::acks::{BEGIN, Device};
use crate::hands::Hands;
use crate::names;
use crate::plan::{PROFILES, Plan, Sync};

/// Makes the files and runs the workers.
pub fn run(dir: &Path, acks: &Path, seed: u64, started: Option<&Path>, seconds: u64) -> Result<()> {
    let device = Device::open(acks)?;
    make(dir)?;
    device.note(BEGIN, 0)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let failed = AtomicBool::new(false);
    let go_on = || Instant::now() < end && !failed.load(Ordering::Relaxed);
    let watched = |result: Result<()>| {
        failed.fetch_or(result.is_err(), Ordering::Relaxed);
        result
    };
    let note = |step| device.note(names::WORKER as u64, step);
    let (device, go_on, watched, note) = (&device, &go_on, &watched, &note);
    thread::scope(|scope| {
        let mut workers: Vec<_> = (0..PROFILES.len())
            .map(|worker| scope.spawn(move || watched(work(dir, seed, worker, device, go_on))))
            .collect();
        workers.push(scope.spawn(move || watched(names::work(dir, seed, go_on, note))));
        if let Some(started) = started {
            File::create(started).context("cannot say that the workers run")?;
        }
        let panicked = |_| Err(anyhow!("a worker panicked"));
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(panicked));
        ended.fold(Ok(()), Result::and)
    })
}

/// The files, so that they are there after any cut.
fn make(dir: &Path) -> Result<()> {
    for profile in &PROFILES {
        let path = dir.join(profile.file);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        file.set_len(profile.initial_size())?;
    }
    fs::create_dir(dir.join(names::DIR)).context("cannot create a directory")?;
    ensure!(Command::new("sync").status()?.success(), "sync fails");
    Ok(())
}

fn work(
    dir: &Path,
    seed: u64,
    worker: usize,
    device: &Device,
    go_on: &dyn Fn() -> bool,
) -> Result<()> {
    let mut hands = Hands::new(dir, worker)?;
    for (number, step) in (0..).zip(Plan::new(seed, worker)) {
        if !go_on() {
            break;
        }
        let who = || {
            format!(
                "step {number} of worker {worker} ({})",
                PROFILES[worker].name
            )
        };
        hands.perform(number, &step).with_context(who)?;
        if step.sync != Sync::None {
            device.note(worker as u64, number)?;
        }
    }
    Ok(())
}
