// SPDX-License-Identifier: GPL-2.0

//! The filesystem under test, mounted over a directory of the lower.

use super::umount;
use crate::sys::mount::{self, Context, Refused};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// What is tested: diofs, or for the sake of the tests themselves something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FsKind {
    /// The module.
    Diofs,
    /// Nothing: the lower directory itself.
    Bare,
    /// The kernel's overlayfs, its upper directory on the lower.
    Overlay,
}

/// A mounted filesystem under test. It goes away with [`Stack::umount`], at the latest on drop.
pub struct Stack {
    /// The directory that tests work in.
    pub dir: PathBuf,
    mounted: bool,
}

impl Stack {
    /// Mounts `fs` over the directory `under`. `point` is where, and it is made.
    pub fn mount(fs: FsKind, under: &Path, point: &Path) -> Result<Self> {
        let dir = match fs {
            FsKind::Bare => under.to_path_buf(),
            FsKind::Diofs => {
                std::fs::create_dir_all(point)?;
                diofs(under, point, &[]).context("mounting diofs")?;
                point.to_path_buf()
            }
            FsKind::Overlay => {
                std::fs::create_dir_all(point)?;
                overlay(under, point)?;
                point.to_path_buf()
            }
        };
        Ok(Self {
            dir,
            mounted: fs != FsKind::Bare,
        })
    }

    pub fn umount(mut self) -> Result<()> {
        self.unmount()
    }

    /// Leaves it to somebody else.
    pub fn forget(mut self) {
        self.mounted = false;
    }

    fn unmount(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.mounted) {
            return Ok(());
        }
        umount(&self.dir)?;
        std::fs::remove_dir(&self.dir).context("removing the mount point")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

/// Mounts diofs with options, and returns what it says when it refuses.
pub fn diofs(lower: &Path, point: &Path, options: &[(&str, &str)]) -> Result<(), Refused> {
    let context = Context::new("diofs").map_err(|errno| Refused {
        errno,
        log: vec!["is the module loaded?".to_string()],
    })?;
    context.set("source", &lower.display().to_string())?;
    for (key, value) in options {
        context.set(key, value)?;
    }
    context.mount_on(point)
}

fn overlay(under: &Path, point: &Path) -> Result<()> {
    let beside = |name: &str| under.with_file_name(name);
    std::fs::create_dir_all(beside("empty"))?;
    std::fs::create_dir_all(beside("work"))?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        beside("empty").display(),
        under.display(),
        beside("work").display()
    );
    mount::mount("overlay", point, "overlay", 0, &options).context("mounting overlayfs")
}
