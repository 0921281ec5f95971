// SPDX-License-Identifier: GPL-2.0

//! The same calls on two filesystems, compared answer for answer.
//!
//! A functional test is a script: a function that makes calls below one directory and records what
//! each of them answered. It is run on the bare lower, which is always right, and on the filesystem
//! under test; the two records must be equal.

use crate::harness::Ctx;
use crate::lower::stack::FsKind;
use crate::sys::dir::Entry;
use crate::sys::process::{self, Exit, PANICKED};
use crate::sys::stat::Stat;
use crate::sys::{Errno, Res, apparmor, landlock};
use anyhow::{Context, Result, anyhow, bail};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What keeps a process to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// The process itself. The kernel is asked when a file is opened.
    Landlock,
    /// The administrator. The kernel is asked at each access.
    AppArmor,
}

impl Confinement {
    /// Whether the running kernel has it.
    pub fn available(self) -> bool {
        match self {
            Self::Landlock => landlock::available(),
            Self::AppArmor => apparmor::available(),
        }
    }
}

/// The profile of a process that AppArmor confines.
const PROFILE: &str = "diofs-suite";

/// What a script does its calls with and records their answers in.
pub struct Script {
    dir: PathBuf,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    what: String,
    answer: String,
}

/// An answer that can be compared between two filesystems.
pub trait Answer {
    fn show(&self) -> String;
}

impl<T: Answer> Answer for &T {
    fn show(&self) -> String {
        (*self).show()
    }
}

impl Answer for () {
    fn show(&self) -> String {
        "ok".to_string()
    }
}

impl Answer for Vec<u8> {
    fn show(&self) -> String {
        show_bytes(self)
    }
}

macro_rules! answer_by_display {
    ($($t:ty),*) => {
        $(impl Answer for $t {
            fn show(&self) -> String {
                self.to_string()
            }
        })*
    };
}

answer_by_display!(usize, i64, i32, u32, u64, bool, str, String);

impl<T> Answer for Option<T>
where
    T: Answer,
{
    fn show(&self) -> String {
        self.as_ref().map_or("none".to_string(), Answer::show)
    }
}

impl<T: Answer> Answer for Res<T> {
    fn show(&self) -> String {
        match self {
            Ok(value) => value.show(),
            Err(e) => e.to_string(),
        }
    }
}

impl Answer for std::os::fd::OwnedFd {
    fn show(&self) -> String {
        "a file".to_string()
    }
}

impl Answer for Exit {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// The attributes that must be equal although the two files are different ones.
impl Answer for Stat {
    fn show(&self) -> String {
        format!(
            "mode {:o} nlink {} owner {}:{} size {} rdev {}:{}",
            self.mode, self.nlink, self.uid, self.gid, self.size, self.rdev_major, self.rdev_minor
        )
    }
}

/// Names and types of a directory's entries, in no order.
impl Answer for Vec<Entry> {
    fn show(&self) -> String {
        let mut names: Vec<String> = self
            .iter()
            .map(|e| format!("{}:{}", e.name, e.kind))
            .collect();
        names.sort();
        names.join(" ")
    }
}

/// Bytes for a person to read: short ones as they are, long ones by length, sum and start.
fn show_bytes(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(24)];
    format!(
        "{} bytes, sum {:08x}, \"{}\"",
        bytes.len(),
        checksum(bytes),
        start.escape_ascii()
    )
}

/// FNV-1a, enough to tell contents apart.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

impl Script {
    fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            steps: Vec::new(),
        }
    }

    /// The directory that the calls are made in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path below it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Records an answer.
    pub fn see(&mut self, what: impl Display, answer: impl Answer) {
        self.steps.push(Step {
            what: what.to_string(),
            answer: answer.show(),
        });
    }

    /// Records an answer and hands it back.
    pub fn get<T: Answer>(&mut self, what: impl Display, answer: Res<T>) -> Res<T> {
        self.see(what, &answer);
        answer
    }

    /// Records the answer of a call without which the script cannot go on.
    pub fn must<T: Answer>(&mut self, what: impl Display, answer: Res<T>) -> Result<T> {
        let what = what.to_string();
        self.get(&what, answer).context(what)
    }

    /// Runs a part of the script as another user, in a process of its own.
    pub fn as_user(&mut self, uid: u32, part: impl Fn(&mut Script) -> Result<()>) -> Result<()> {
        let steps = in_process(|| {
            process::become_user(uid, uid).context("changing the user")?;
            let mut script = Script::new(&self.dir);
            part(&mut script)?;
            Ok(script.steps)
        })?;
        self.steps.extend(steps.into_iter().map(|s| Step {
            what: format!("as user {uid}: {}", s.what),
            ..s
        }));
        Ok(())
    }

    /// Runs a part of the script in a process that may use nothing but the script's directory.
    pub fn confined(
        &mut self,
        by: Confinement,
        part: impl Fn(&mut Script) -> Result<()>,
    ) -> Result<()> {
        if by == Confinement::AppArmor {
            apparmor::load(PROFILE, &self.dir)?;
        }
        let steps = in_process(|| {
            match by {
                Confinement::Landlock => {
                    landlock::confine_to(&self.dir).context("confining the process")?;
                }
                Confinement::AppArmor => apparmor::enter(PROFILE)?,
            }
            let mut script = Script::new(&self.dir);
            part(&mut script)?;
            Ok(script.steps)
        })?;
        self.steps.extend(steps);
        Ok(())
    }

    /// Runs a part in a process of its own and records how it ended: for what kills it.
    pub fn in_process(&mut self, what: &str, part: impl FnOnce()) -> Result<()> {
        let (exit, said) = process::run(Duration::from_secs(20), || {
            part();
            Vec::new()
        })?;
        if let Some(panic) = said.strip_prefix(PANICKED) {
            bail!("{what}: {}", String::from_utf8_lossy(panic));
        }
        self.see(what, exit);
        Ok(())
    }
}

/// Runs `f` in a child and brings its steps back.
fn in_process(f: impl FnOnce() -> Result<Vec<Step>>) -> Result<Vec<Step>> {
    let (exit, answer) = process::run(Duration::from_secs(30), || match f() {
        Ok(steps) => steps
            .iter()
            .flat_map(|s| [&s.what, "\t", &s.answer, "\n"])
            .collect::<String>()
            .into_bytes(),
        Err(e) => format!("\0{e:#}").into_bytes(),
    })?;
    if exit != Exit::Code(0) {
        bail!("the process ended by {exit:?}");
    }
    let text = String::from_utf8_lossy(&answer);
    if let Some(error) = text.strip_prefix('\0') {
        bail!("{error}");
    }
    Ok(text
        .lines()
        .filter_map(|l| l.split_once('\t'))
        .map(|(what, answer)| Step {
            what: what.to_string(),
            answer: answer.to_string(),
        })
        .collect())
}

/// Runs a script on the bare lower and on the filesystem under test and compares.
pub fn twin(ctx: &Ctx, script: impl Fn(&mut Script) -> Result<()>) -> Result<()> {
    // A directory inside, as the root of a mount is a special one.
    let dirs = [&ctx.twin, &ctx.up].map(|d| d.join("script"));
    for dir in &dirs {
        crate::sys::path::mkdir(dir, 0o755)?;
    }
    let mut bare = Script::new(&dirs[0]);
    script(&mut bare).context("on the bare lower")?;
    let mut ours = Script::new(&dirs[1]);
    let result = script(&mut ours);
    if ctx.show_steps {
        bare.steps
            .iter()
            .for_each(|s| println!("  {}: {}", s.what, s.answer));
    }
    compare(&bare.steps, &ours.steps, ctx.fs)?;
    result
}

fn compare(bare: &[Step], ours: &[Step], fs: FsKind) -> Result<()> {
    let name = format!("{fs:?}").to_lowercase();
    for (i, b) in bare.iter().enumerate() {
        let o = ours.get(i).ok_or_else(|| {
            anyhow!(
                "step {i} '{}': bare {}, {name} did not get there",
                b.what,
                b.answer
            )
        })?;
        if b.what != o.what {
            bail!("step {i}: bare did '{}', {name} '{}'", b.what, o.what);
        }
        if b.answer != o.answer {
            bail!(
                "step {i} '{}': bare {}, {name} {}",
                b.what,
                b.answer,
                o.answer
            );
        }
    }
    if ours.len() > bare.len() {
        bail!("{name} went on after step {}", bare.len());
    }
    Ok(())
}

/// Expects a call to fail in one way only.
pub fn expect_errno<T: Answer>(what: &str, answer: Res<T>, errno: i32) -> Result<()> {
    match answer {
        Err(Errno(e)) if e == errno => Ok(()),
        other => bail!("{what}: expected {}, saw {}", Errno(errno), other.show()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(what: &str, answer: &str) -> Step {
        Step {
            what: what.to_string(),
            answer: answer.to_string(),
        }
    }

    #[test]
    fn equal_records_agree_and_the_first_difference_is_named() {
        let bare = [step("open", "ok"), step("read", "5")];
        assert!(compare(&bare, &bare, FsKind::Diofs).is_ok());
        let ours = [step("open", "ok"), step("read", "EIO")];
        let error = compare(&bare, &ours, FsKind::Diofs).unwrap_err();
        assert_eq!(error.to_string(), "step 1 'read': bare 5, diofs EIO");
    }

    #[test]
    fn a_record_that_stops_early_or_goes_on_differs() {
        let bare = [step("open", "ok")];
        assert!(compare(&bare, &[], FsKind::Bare).is_err());
        assert!(compare(&[], &bare, FsKind::Bare).is_err());
    }

    #[test]
    fn contents_are_told_apart_beyond_what_is_shown() {
        let (mut a, b) = (vec![1u8; 100], vec![1u8; 100]);
        a[99] = 2;
        assert_ne!(a.show(), b.show());
    }
}
