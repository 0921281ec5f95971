// SPDX-License-Identifier: GPL-2.0

//! Running tests: each in a process of its own, bounded in time, with one line of result.

mod context;
pub mod hang;
mod klog;
mod plan;
mod report;
mod runner;

pub use context::{Ctx, Private};
pub use plan::Plan;
pub use report::say;
pub use runner::run;

use anyhow::{Result, bail};
use std::fmt;

/// A test.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    /// Seconds after which it counts as hung.
    pub limit: u64,
    pub scope: Scope,
    /// Whether it makes the lower fail inside, so that there can be something to mend afterwards.
    pub upsets: bool,
    pub run: fn(&Ctx) -> Result<()>,
}

/// On which lowers a test runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On each one.
    Every,
    /// On one, as what it looks at has nothing to do with the lower.
    Once,
}

/// A test of each lower with the usual time limit.
pub const fn test(name: &'static str, run: fn(&Ctx) -> Result<()>) -> Test {
    Test {
        name,
        limit: 60,
        scope: Scope::Every,
        upsets: false,
        run,
    }
}

impl Test {
    /// The same test, run on one lower only.
    pub const fn once(mut self) -> Self {
        self.scope = Scope::Once;
        self
    }

    /// The same test, which makes the lower fail inside.
    pub const fn upsets(mut self) -> Self {
        self.upsets = true;
        self
    }

    /// The same test with another time limit in seconds.
    pub const fn limit(mut self, seconds: u64) -> Self {
        self.limit = seconds;
        self
    }
}

/// Why a test did not apply here. Returned as an error, told apart by the runner.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Leaves a test for which the kernel lacks something. The one that is made for the tests
/// (`scripts/kernel`) has to have it: a checker that is missing there would go unnoticed.
pub fn lacking<T>(what: impl fmt::Display) -> Result<T> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    if release.contains("-debug-") {
        bail!("{what}, though this kernel is made to have it");
    }
    skip(what.to_string())
}

/// Leaves a test that does not apply here.
pub fn skip<T>(reason: impl Into<String>) -> Result<T> {
    Err(Skip(reason.into()).into())
}
