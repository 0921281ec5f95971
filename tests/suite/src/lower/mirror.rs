// SPDX-License-Identifier: GPL-2.0

//! A directory that a program serves through FUSE.

use super::tool::PATH;
use super::umount;
use crate::patience;
use crate::sys::stat;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A mirror of a directory. It goes away with [`Mirror::umount`], at the latest on drop.
pub struct Mirror {
    /// Where it is.
    pub dir: PathBuf,
    server: Child,
}

impl Mirror {
    /// Mirrors `source` by a program that may write no file beyond `limit` bytes; none if there is no
    /// such program. `point` is where, and it is made.
    pub fn limited(source: &Path, point: &Path, limit: u64) -> Result<Option<Self>> {
        let there = |path: &str| Path::new(path).exists();
        if !there("/usr/bin/bindfs") || !there("/dev/fuse") {
            return Ok(None);
        }
        std::fs::create_dir_all(point)?;
        let before = stat::statfs(point)?.magic;
        // What does not fit is refused; it is no reason to die.
        let script = r#"trap '' XFSZ; exec prlimit --fsize="$0" bindfs -f "$1" "$2""#;
        let server = Command::new("/bin/sh")
            .args(["-c", script, &limit.to_string()])
            .args([source, point])
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .spawn()
            .context("starting bindfs")?;
        let mirror = Self {
            dir: point.to_path_buf(),
            server,
        };
        patience::wait_for("mirror", || Ok(stat::statfs(point)?.magic != before))?;
        Ok(Some(mirror))
    }

    /// Unmounts it; the program ends by that.
    pub fn umount(mut self) -> Result<()> {
        umount(&self.dir)?;
        self.server.wait().context("waiting for bindfs")?;
        Ok(())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = umount(&self.dir);
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
