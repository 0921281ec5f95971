// SPDX-License-Identifier: GPL-2.0

//! Every point at which a call can be made to fail, one after the other.

use super::inject::Injector;
use crate::coherence::queue::{By, Engine, Queue};
use crate::harness::say;
use crate::sys::process::{self, Exit};
use crate::sys::{Errno, Res};
use anyhow::{Context, Result, bail, ensure};
use std::time::Duration;

/// More points than any call here has; one that never ends is a loop.
const MOST: u32 = 600;

/// What became of all points of one call.
#[derive(Default)]
pub struct Tally {
    /// Points tried.
    points: u32,
    /// Things that were made to fail.
    fired: usize,
    /// Calls that answered with an error.
    refused: usize,
}

impl Tally {
    /// Prints the count, in the words that a person or a script adds up.
    fn say(&self, what: &str) {
        say(&format!(
            "  {what}: {} points tried, {} faults fired, {} calls refused",
            self.points, self.fired, self.refused
        ));
    }
}

/// One point: the calls of one round, in which the n-th thing fails.
pub struct Round<'a> {
    injector: &'a Injector,
    /// The point, from one on; also good for names that are used once.
    pub n: u32,
    /// How many things were made to fail in this round.
    pub fired: usize,
    refused: usize,
}

impl<'a> Round<'a> {
    fn new(injector: &'a Injector, n: u32) -> Self {
        Self {
            injector,
            n,
            fired: 0,
            refused: 0,
        }
    }

    /// Makes a call in which the n-th thing fails, if it comes to as many. It succeeds, or fails
    /// with one of `allowed`; an error without a fault is a failure of the test.
    ///
    /// Returns what the call returned, nothing if it was refused.
    pub fn call<T>(&mut self, allowed: &[i32], call: impl FnOnce() -> Res<T>) -> Result<Option<T>> {
        let (answer, fired) = self.injector.during(self.n, call)?;
        self.fired += usize::from(fired);
        self.judge(allowed, answer)
    }

    /// Like [`Round::call`], where the fault is in the kernel's work queues.
    pub fn call_work<T>(
        &mut self,
        allowed: &[i32],
        call: impl FnOnce() -> Res<T>,
    ) -> Result<Option<T>> {
        let (answer, fired) = self.injector.during_work(self.n, call)?;
        self.fired += fired;
        self.judge(allowed, answer)
    }

    /// Like [`Round::raw`], for a call that may have the kernel's threads of io_uring at work.
    pub fn raw_pool<T>(&mut self, call: impl FnOnce() -> T) -> Result<T> {
        let (answer, fired) = self.injector.during_pool(self.n, call)?;
        self.fired += fired;
        Ok(answer)
    }

    /// Makes a call whose answer the test judges by itself.
    pub fn raw<T>(&mut self, call: impl FnOnce() -> T) -> Result<T> {
        let (answer, fired) = self.injector.during(self.n, call)?;
        self.fired += usize::from(fired);
        Ok(answer)
    }

    /// Does something in a process of its own, with the n-th thing failing there: what may end by
    /// `SIGBUS`. Returns its answer, nothing if it ended so.
    pub fn in_child(&mut self, work: impl FnOnce() -> Vec<u8>) -> Result<Option<Vec<u8>>> {
        let injector = self.injector;
        let (exit, answer) = process::run(Duration::from_secs(30), || {
            let done = injector
                .for_this_thread()
                .and_then(|own| own.during(self.n, work));
            done.map_or_else(
                |_| Vec::new(),
                |(answer, fired)| [&[u8::from(fired)], &answer[..]].concat(),
            )
        })?;
        match (exit, answer.split_first()) {
            (Exit::Code(0), Some((fired, answer))) => {
                self.fired += usize::from(*fired);
                Ok(Some(answer.to_vec()))
            }
            (Exit::Signal(libc::SIGBUS), _) => {
                self.fired += 1;
                self.refused += 1;
                Ok(None)
            }
            other => bail!("the process ended with {other:?}"),
        }
    }

    /// Says whether an answer may be.
    pub fn judge<T>(&mut self, allowed: &[i32], answer: Res<T>) -> Result<Option<T>> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(Errno(errno)) if self.fired > 0 && allowed.contains(&errno) => {
                self.refused += 1;
                Ok(None)
            }
            Err(errno) if self.fired > 0 => bail!("a call with a fault in it: {errno}"),
            Err(errno) => bail!("a call without a fault: {errno}"),
        }
    }
}

/// Does `round` with the first thing failing, then with the second, until nothing is left that
/// could fail: the last rounds are without a fault. There is at least one point.
pub fn every_point(
    what: &str,
    injector: &Injector,
    round: impl FnMut(&mut Round) -> Result<()>,
) -> Result<()> {
    let points = points(what, injector, round)?;
    ensure!(points > 0, "{what}: there is nothing in it that can fail");
    Ok(())
}

/// [`every_point`] of a direct request. What io_uring cannot do without waiting it hands to a thread
/// of its own, which has to be there before: so there is a round without a fault first.
pub fn every_point_by(
    by: By,
    what: &str,
    injector: &Injector,
    mut round: impl FnMut(&mut Round) -> Result<()>,
) -> Result<()> {
    let By::Queue(Engine::Uring) = by else {
        return every_point(what, injector, round);
    };
    // It stays as long as the process has a ring.
    let _ring = Queue::new(Engine::Uring, 1)?;
    round(&mut Round::new(injector, 0)).with_context(|| format!("{what}, no fault"))?;
    every_point(what, injector, round)
}

/// Like [`every_point`], but there may be no point; returns how many there are.
///
/// What a call comes to is not the same each time, and one may come to fewer points than the others
/// do: two have to in a row.
fn points(
    what: &str,
    injector: &Injector,
    mut round: impl FnMut(&mut Round) -> Result<()>,
) -> Result<u32> {
    let mut tally = Tally::default();
    let mut quiet = 0;
    for n in 1..=MOST {
        let mut this = Round::new(injector, n);
        round(&mut this).with_context(|| {
            let fired = if this.fired > 0 { "fault" } else { "no fault" };
            format!("{what}, point {n} ({fired})")
        })?;
        tally.refused += this.refused;
        if this.fired == 0 {
            quiet += 1;
            if quiet < 2 {
                continue;
            }
            tally.say(what);
            return Ok(tally.points);
        }
        quiet = 0;
        tally.points += 1;
        tally.fired += this.fired;
    }
    bail!("{what}: after {MOST} points there are still more")
}

/// Does `round` `count` times; which thing fails in which worker is left to chance.
pub fn many_rounds(
    what: &str,
    injector: &Injector,
    count: u32,
    mut round: impl FnMut(&mut Round) -> Result<()>,
) -> Result<()> {
    let mut tally = Tally::default();
    for n in 1..=count {
        let mut this = Round::new(injector, n);
        round(&mut this).with_context(|| format!("{what}, round {n} ({} faults)", this.fired))?;
        tally.points += 1;
        tally.fired += this.fired;
        tally.refused += this.refused;
    }
    tally.say(what);
    ensure!(tally.fired > 0, "{what}: no fault has fired");
    Ok(())
}
