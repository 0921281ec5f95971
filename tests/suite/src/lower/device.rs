// SPDX-License-Identifier: GPL-2.0

//! A block device that passes requests on, holds them until told otherwise, or fails them.
//!
//! To hold is what makes rare races certain: a direct write stays in flight for as long as a test
//! wants, and [`Hold`] says how many requests have arrived.

use super::disk::Span;
use crate::patience;
use crate::sys::Errno;
use crate::sys::dm::{Mapper, Target};
use anyhow::{Context, Result, bail};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any test: what is held stays held until it is let go.
const FOREVER_MS: u32 = 900_000;

/// A device-mapper device over a run of sectors of a disk.
pub struct Device {
    mapper: Arc<Mapper>,
    name: String,
    node: PathBuf,
    span: Span,
}

impl Device {
    /// Makes the device, after removing one of the same name that an earlier run left.
    pub fn make(mapper: &Arc<Mapper>, name: &str, span: &Span) -> Result<Self> {
        remove(mapper, name)?;
        let minor = mapper
            .create(name)
            .with_context(|| format!("making {name}"))?;
        let device = Self {
            mapper: Arc::clone(mapper),
            name: name.to_string(),
            node: PathBuf::from(format!("/dev/dm-{minor}")),
            span: span.clone(),
        };
        device.pass()?;
        device.wait_for_node()?;
        Ok(device)
    }

    fn wait_for_node(&self) -> Result<()> {
        let start = Instant::now();
        while !self.node.exists() {
            if start.elapsed() > patience::at_most(Duration::from_secs(10)) {
                bail!("{} did not appear", self.node.display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn node(&self) -> &Path {
        &self.node
    }

    /// All of it, to make another device of.
    pub fn span(&self) -> Span {
        Span {
            disk: self.node.clone(),
            start: 0,
            sectors: self.span.sectors,
        }
    }

    /// Puts another table in force. Whatever the old one holds back goes through first.
    fn table(&self, table: &[Target]) -> Result<()> {
        switch(&self.mapper, &self.name, table)
    }

    /// One target for the whole device.
    fn whole(&self, kind: &'static str, params: String) -> Result<()> {
        self.table(&[Target {
            start: 0,
            sectors: self.span.sectors,
            kind,
            params,
        }])
    }

    /// Where a sector of the device lies on the disk.
    fn origin(&self, sector: u64) -> String {
        format!("{} {}", self.span.disk.display(), self.span.start + sector)
    }

    /// Passes everything on.
    pub fn pass(&self) -> Result<()> {
        self.whole("linear", self.origin(0))
    }

    /// Adds a latency in milliseconds to reads and to writes.
    pub fn delay(&self, read: u32, write: u32) -> Result<()> {
        let origin = self.origin(0);
        self.whole("delay", format!("{origin} {read} {origin} {write}"))
    }

    /// Fails every request.
    pub fn fail(&self) -> Result<()> {
        self.whole("error", String::new())
    }

    /// Fails writes, passes reads on.
    pub fn fail_writes(&self) -> Result<()> {
        self.whole("flakey", format!("{} 0 1 1 error_writes", self.origin(0)))
    }

    /// Fails what touches the sectors of `bad`, and passes the rest on, also flushes.
    pub fn fail_sectors(&self, bad: &Range<u64>) -> Result<()> {
        let part = |kind, range: Range<u64>, params| Target {
            start: range.start,
            sectors: range.end - range.start,
            kind,
            params,
        };
        let pass = |range: Range<u64>| part("linear", range.clone(), self.origin(range.start));
        self.table(&[
            pass(0..bad.start),
            part("error", bad.clone(), String::new()),
            pass(bad.end..self.span.sectors),
        ])
    }

    /// Holds every write from now on.
    pub(super) fn hold_writes(&self) -> Result<Hold<'_>> {
        self.delay(0, FOREVER_MS)?;
        Ok(Hold { device: self })
    }

    /// Holds every read from now on.
    pub(super) fn hold_reads(&self) -> Result<Hold<'_>> {
        self.delay(FOREVER_MS, 0)?;
        Ok(Hold { device: self })
    }

    /// How many reads and writes a delaying table holds back now.
    fn held(&self) -> Result<(u64, u64)> {
        let status = self.mapper.status(&self.name)?;
        let mut counts = status
            .split_whitespace()
            .map_while(|n| n.parse::<u64>().ok());
        let reads = counts.next().unwrap_or(0);
        Ok((reads, counts.sum()))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = remove(&self.mapper, &self.name);
    }
}

fn switch(mapper: &Mapper, name: &str, table: &[Target]) -> Result<()> {
    mapper
        .load(name, table)
        .with_context(|| format!("loading a table of type {}", table[0].kind))?;
    mapper.suspend(name).context("suspending the device")?;
    mapper.resume(name).context("resuming the device")
}

/// Has a device that somebody else has made let go of what it holds, and fail every request: who
/// waits for it can die.
pub fn give_up(mapper: &Mapper, name: &str) -> Result<()> {
    let size = format!("/sys/block/dm-{}/size", mapper.minor(name)?);
    let error = Target {
        start: 0,
        sectors: std::fs::read_to_string(size)?.trim().parse()?,
        kind: "error",
        params: String::new(),
    };
    switch(mapper, name, &[error])
}

/// Removes a device; one that is still held open for a moment is waited for.
fn remove(mapper: &Mapper, name: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        match mapper.remove(name) {
            Ok(()) | Err(Errno(libc::ENXIO)) => return Ok(()),
            Err(Errno(libc::EBUSY))
                if start.elapsed() < patience::at_most(Duration::from_secs(5)) =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(e).with_context(|| format!("removing {name}")),
        }
    }
}

/// A device that holds requests. Letting go happens at the latest when this is dropped.
pub struct Hold<'a> {
    device: &'a Device,
}

impl Hold<'_> {
    /// How many writes are held.
    pub fn writes(&self) -> Result<u64> {
        Ok(self.device.held()?.1)
    }

    /// Waits until `count` writes have arrived and are held.
    pub fn wait_writes(&self, count: u64) -> Result<()> {
        self.wait("writes", count, |(_, writes)| writes)
    }

    /// Waits until `count` reads have arrived and are held.
    pub fn wait_reads(&self, count: u64) -> Result<()> {
        self.wait("reads", count, |(reads, _)| reads)
    }

    fn wait(&self, what: &str, count: u64, pick: fn((u64, u64)) -> u64) -> Result<()> {
        let start = Instant::now();
        loop {
            let held = pick(self.device.held()?);
            if held >= count {
                return Ok(());
            }
            if start.elapsed() > patience::at_most(Duration::from_secs(15)) {
                bail!("only {held} of {count} {what} reached the held device in time");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Lets everything go.
    pub fn release(self) -> Result<()> {
        self.device.pass()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let _ = self.device.pass();
    }
}
