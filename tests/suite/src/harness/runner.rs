// SPDX-License-Identifier: GPL-2.0

//! The loop over lowers and tests.

use super::context::{BOTTOM_DEVICE, Ctx, PRIVATE_DEVICE};
use super::klog::KernelLog;
use super::report::{Report, Verdict, say};
use super::{Plan, Skip, Test, hang};
use crate::lower::disk::Room;
use crate::lower::stack::Stack;
use crate::lower::{Device, Kind, Lower, device, mounts_below};
use crate::patience;
use crate::sys::dm::Mapper;
use crate::sys::process::{self, Child, Exit, PANICKED};
use crate::sys::{mount, path};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WORK: &str = "/tmp/diofs-suite";

/// Runs the plan; true when nothing failed.
pub fn run(plan: &Plan, tests: &[Test]) -> Result<bool> {
    let unknown = plan.unknown_filters(tests);
    ensure!(
        unknown.is_empty(),
        "on these lowers no test is named {}; see: diofs-suite list",
        unknown.join(", ")
    );
    let mapper =
        Arc::new(Mapper::open().context(
            "the device-mapper is needed: is the module dm_mod loaded, and is this root?",
        )?);
    let work = Path::new(WORK);
    clear(work);
    fs::create_dir_all(work)?;
    let room = Room::on(&plan.disks)?;
    let mut runner = Runner {
        plan,
        mapper,
        room,
        log: KernelLog::open(),
        report: Report::to(std::io::stdout()),
    };
    say(&format!("seed {}", plan.seed));
    for kind in &plan.lowers {
        runner.group(*kind, &plan.tests_on(*kind, tests));
    }
    clear(work);
    Ok(runner.report.finish())
}

/// Unmounts whatever is left below `work`, the innermost first.
fn clear(work: &Path) {
    for point in mounts_below(work) {
        let _ = mount::umount(&point, libc::MNT_DETACH);
    }
}

struct Runner<'a> {
    plan: &'a Plan,
    mapper: Arc<Mapper>,
    room: Room,
    log: KernelLog,
    report: Report,
}

impl Runner<'_> {
    /// Makes a lower, runs its tests, takes it down and checks it.
    fn group(&mut self, kind: Kind, tests: &[(String, Test)]) {
        if tests.is_empty() {
            return;
        }
        let Some(lower) = self.step(kind, "setup", |r| r.make_lower(kind)) else {
            return;
        };
        for (name, test) in tests {
            let start = Instant::now();
            let verdict = self.one(&lower, name, test);
            self.report.add(name, &verdict, start.elapsed());
        }
        if self.step(kind, "umount", |_| lower.umount()).is_some() {
            let upset = tests.iter().any(|(_, test)| test.upsets);
            self.step(kind, "fsck", |_| match upset {
                true => lower.mend_and_check(),
                false => lower.check(),
            });
        }
    }

    /// A part of the frame around a group, reported like a test.
    fn step<T>(&mut self, kind: Kind, what: &str, f: impl FnOnce(&Self) -> Result<T>) -> Option<T> {
        let start = Instant::now();
        let (verdict, value) = match f(self) {
            Ok(value) => (Verdict::Ok, Some(value)),
            Err(e) => (Verdict::Fail(format!("{e:#}")), None),
        };
        let name = format!("{}/{what}", kind.name());
        self.report.add(&name, &verdict, start.elapsed());
        value
    }

    fn make_lower(&self, kind: Kind) -> Result<Lower> {
        let span = self.room.group.limited(512);
        let device = Device::make(&self.mapper, "diofs-suite", &span)?;
        Lower::make(kind, device, &Path::new(WORK).join("lower"))
    }

    fn one(&mut self, lower: &Lower, name: &str, test: &Test) -> Verdict {
        self.log.news();
        let place = Place::new(lower, test.name);
        let child = process::fork(|| answer(&self.in_child(lower, &place, test)));
        let mut verdict = match child {
            Ok(mut child) => self.judge(&mut child, lower, test),
            Err(e) => Verdict::Fail(format!("fork: {e}")),
        };
        let left = mounts_below(&place.work);
        clear(&place.work);
        let complaints = self.log.complaints();
        if let Some(complaint) = complaints.first() {
            verdict = Verdict::Fail(format!("{}the kernel says: {complaint}", also(&verdict)));
        } else if matches!(verdict, Verdict::Ok) && !left.is_empty() {
            verdict = Verdict::Fail(format!("left mounted: {left:?}"));
        }
        say_context(name, &verdict, &complaints);
        verdict
    }

    fn in_child(&self, lower: &Lower, place: &Place, test: &Test) -> Result<()> {
        process::new_group()?;
        process::umask(0o022);
        place.make()?;
        let stack = Stack::mount(self.plan.fs, &place.under, &place.work.join("mnt"))?;
        let ctx = Ctx {
            fs: self.plan.fs,
            lower,
            up: stack.dir.clone(),
            under: place.under.clone(),
            twin: place.twin.clone(),
            work: place.work.clone(),
            seed: self.plan.seed,
            show_steps: self.plan.show_steps,
            mapper: Arc::clone(&self.mapper),
            spare: self.room.private.clone(),
        };
        (test.run)(&ctx)?;
        path::chdir(Path::new("/"))?;
        stack.umount()?;
        place.remove()
    }

    fn judge(&self, child: &mut Child, lower: &Lower, test: &Test) -> Verdict {
        let limit = Duration::from_secs(test.limit);
        match child.wait(limit) {
            Ok(Some(Exit::Code(0))) => parse(child.answer()),
            Ok(Some(exit)) => Verdict::Fail(format!("the test's process ended by {exit:?}")),
            Ok(None) => {
                self.end_hung(child, lower);
                Verdict::Fail(format!(
                    "still running after {} s",
                    patience::at_most(limit).as_secs()
                ))
            }
            Err(e) => Verdict::Fail(format!("waiting for the test: {e}")),
        }
    }

    /// Says what a hung test was doing, then kills it; its devices let go so that it can die.
    fn end_hung(&self, child: &mut Child, lower: &Lower) {
        hang::describe(child.pid()).iter().for_each(|l| say(l));
        self.log.news();
        hang::ask_kernel_for_blocked_tasks();
        self.log.news().iter().for_each(|l| say(&format!("  {l}")));
        process::kill_group(child.pid());
        let _ = lower.device.pass();
        for name in [PRIVATE_DEVICE, BOTTOM_DEVICE] {
            let _ = device::give_up(&self.mapper, name);
        }
        if let Ok(Some(_)) = child.wait(Duration::from_secs(10)) {
            let _ = self.mapper.remove(PRIVATE_DEVICE);
            let _ = self.mapper.remove(BOTTOM_DEVICE);
        } else {
            say("  it cannot be killed either");
        }
    }
}

/// The directories of one test.
struct Place {
    on_lower: PathBuf,
    under: PathBuf,
    twin: PathBuf,
    work: PathBuf,
}

impl Place {
    fn new(lower: &Lower, test: &str) -> Self {
        let on_lower = lower.dir.join(test);
        Self {
            under: on_lower.join("under"),
            twin: on_lower.join("twin"),
            on_lower,
            work: Path::new(WORK).join("work").join(test),
        }
    }

    fn make(&self) -> Result<()> {
        fs::create_dir_all(&self.under)?;
        fs::create_dir_all(&self.twin)?;
        fs::create_dir_all(&self.work)?;
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.on_lower).context("clearing the lower")?;
        fs::remove_dir_all(&self.work).context("clearing the work directory")
    }
}

/// What a test's process tells its parent: a letter and a reason.
fn answer(result: &Result<()>) -> Vec<u8> {
    match result {
        Ok(()) => b"O".to_vec(),
        Err(e) => match e.downcast_ref::<Skip>() {
            Some(skip) => format!("S{skip}").into_bytes(),
            None => format!("F{e:#}").into_bytes(),
        },
    }
}

fn parse(answer: &[u8]) -> Verdict {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some(panic) = answer.strip_prefix(PANICKED) {
        return Verdict::Fail(format!("the test panicked: {}", text(panic)));
    }
    match answer.split_first() {
        Some((b'O', _)) => Verdict::Ok,
        Some((b'S', why)) => Verdict::Skip(text(why)),
        Some((b'F', why)) => Verdict::Fail(text(why)),
        _ => Verdict::Fail("the test's process said nothing".to_string()),
    }
}

fn also(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fail(why) => format!("{why}; "),
        _ => String::new(),
    }
}

fn say_context(name: &str, verdict: &Verdict, complaints: &[String]) {
    if matches!(verdict, Verdict::Fail(_)) {
        for line in complaints {
            say(&format!("  {name}: kernel: {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_cross_the_pipe() {
        assert!(matches!(parse(&answer(&Ok(()))), Verdict::Ok));
        let skipped = parse(&answer(&super::super::skip("not here")));
        assert!(matches!(skipped, Verdict::Skip(why) if why == "not here"));
        let failed = parse(&answer(&Err(anyhow::anyhow!("inner").context("outer"))));
        assert!(matches!(failed, Verdict::Fail(why) if why == "outer: inner"));
    }

    #[test]
    fn silence_is_a_failure() {
        assert!(matches!(parse(b""), Verdict::Fail(_)));
    }
}
