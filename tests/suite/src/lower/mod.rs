// SPDX-License-Identifier: GPL-2.0

//! The filesystem below: made on a device that the tests can slow down, hold and break.

pub mod device;
pub mod disk;
pub mod kind;
pub mod mirror;
pub mod scsi;
pub mod stack;
pub mod tool;

pub use device::Device;
pub use kind::Kind;

use crate::patience;
use crate::sys::{Errno, file, mount};
use anyhow::{Context, Result, bail};
use device::Hold;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A mounted lower filesystem.
pub struct Lower {
    pub kind: Kind,
    pub device: Device,
    /// Where it is mounted.
    pub dir: PathBuf,
}

impl Lower {
    /// Makes a filesystem of `kind` on `device` and mounts it on `dir`.
    pub fn make(kind: Kind, device: Device, dir: &Path) -> Result<Self> {
        Self::make_with(kind, &[], device, dir)
    }

    /// Like [`Lower::make`], with more arguments for `mkfs.ext4`.
    pub fn make_with(kind: Kind, more: &[&str], device: Device, dir: &Path) -> Result<Self> {
        let node = device.node().display().to_string();
        let mut args: Vec<&str> = kind.mkfs_args().to_vec();
        args.extend(more);
        args.push(&node);
        tool::run("mkfs.ext4", &args)?;
        std::fs::create_dir_all(dir)?;
        let lower = Self {
            kind,
            device,
            dir: dir.to_path_buf(),
        };
        lower.mount()?;
        Ok(lower)
    }

    /// Mounts it, again after [`Lower::umount`].
    pub fn mount(&self) -> Result<()> {
        let node = self.device.node().display().to_string();
        mount::mount(
            &node,
            &self.dir,
            self.kind.mount_type(),
            0,
            self.kind.mount_options(),
        )
        .with_context(|| format!("mounting {node} as {}", self.kind.name()))
    }

    /// Gets all that the filesystem knows of to disk.
    pub fn settle(&self) -> Result<()> {
        let dir = file::open(&self.dir, libc::O_RDONLY, 0)?;
        Ok(file::syncfs(&dir)?)
    }

    /// Has the device hold every write from now on. The filesystem has nothing left to write by
    /// then, so that what is held is what the test has caused.
    pub fn hold_writes(&self) -> Result<Hold<'_>> {
        self.settle()?;
        self.device.hold_writes()
    }

    /// Has the device hold every read from now on, the filesystem having nothing left to write.
    pub fn hold_reads(&self) -> Result<Hold<'_>> {
        self.settle()?;
        self.device.hold_reads()
    }

    /// Unmounts it, and makes sure that nothing else holds it either.
    pub fn umount(&self) -> Result<()> {
        umount(&self.dir)?;
        let start = Instant::now();
        while self.is_held()? {
            if start.elapsed() > patience::at_most(Duration::from_secs(3)) {
                bail!("unmounted, but {} is still held", self.kind.name());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether the filesystem is in use, mounted somewhere or not.
    pub fn is_held(&self) -> Result<bool> {
        let flags = libc::O_RDONLY | libc::O_EXCL;
        match file::open(self.device.node(), flags, 0) {
            Ok(_) => Ok(false),
            Err(Errno(libc::EBUSY)) => Ok(true),
            Err(e) => Err(e).context("opening the device of the lower"),
        }
    }

    /// Checks the unmounted filesystem.
    pub fn check(&self) -> Result<()> {
        let node = self.device.node().display().to_string();
        tool::run("e2fsck", &["-fn", &node]).map(|_| ())
    }
}

impl Lower {
    /// Checks the unmounted filesystem after it was made to fail inside: what `e2fsck` mends without
    /// a question is what it has noted of its own trouble.
    pub fn mend_and_check(&self) -> Result<()> {
        const MENDED: i32 = 1;
        let node = self.device.node().display().to_string();
        tool::run_to("e2fsck", &["-fp", &node], &[0, MENDED])?;
        self.check()
    }
}

/// Unmounts; gives the last users a moment to go away, as closed files are released late.
pub fn umount(dir: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match mount::umount(dir, 0) {
            Ok(()) => return Ok(()),
            Err(Errno(libc::EBUSY))
                if start.elapsed() < patience::at_most(Duration::from_secs(3)) =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(e).with_context(|| format!("umount {}", dir.display())),
        }
    }
}

/// What is mounted below `dir`, the last mounted first.
pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from)
        .filter(|path| path.starts_with(dir))
        .collect();
    found.reverse();
    found
}
