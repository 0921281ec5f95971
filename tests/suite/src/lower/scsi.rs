// SPDX-License-Identifier: GPL-2.0

//! A disk in memory with a latency that can be set while it is in use.
//!
//! Unlike a delaying device-mapper device it takes requests that must not wait, so io_uring treats
//! it like a real disk.

use super::{Kind, tool};
use crate::patience;
use crate::sys::mount;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DRIVER: &str = "/sys/bus/pseudo/drivers/scsi_debug";

/// The disk of the kernel's `scsi_debug` driver.
pub struct SlowDisk {
    node: PathBuf,
}

impl SlowDisk {
    /// The longest latency that the driver takes in nanoseconds.
    pub const MOST: Duration = Duration::from_nanos(999_999_999);

    /// Loads the driver with one disk of `mib` MiB.
    pub fn make(mib: u64) -> Result<Self> {
        let size = format!("dev_size_mb={mib}");
        tool::run("modprobe", &["sd_mod"])?;
        tool::run(
            "modprobe",
            &["scsi_debug", &size, "delay=0", "max_queue=64"],
        )?;
        let start = Instant::now();
        loop {
            if let Some(node) = find_disk() {
                return Ok(Self { node });
            }
            if start.elapsed() > patience::at_most(Duration::from_secs(15)) {
                bail!("the disk of scsi_debug did not appear");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes a filesystem, mounts it on `dir` and returns a directory in it.
    pub fn mount(&self, kind: Kind, dir: &Path) -> Result<PathBuf> {
        let node = self.node.display().to_string();
        let mut args = kind.mkfs_args().to_vec();
        args.push(&node);
        tool::run("mkfs.ext4", &args)?;
        std::fs::create_dir_all(dir)?;
        mount::mount(&node, dir, kind.mount_type(), 0, kind.mount_options())
            .with_context(|| format!("mounting {node}"))?;
        let under = dir.join("under");
        std::fs::create_dir(&under)?;
        Ok(under)
    }

    /// Sets the latency of every request from now on.
    pub fn set_delay(&self, delay: Duration) -> Result<()> {
        let value = delay.as_nanos().to_string();
        // The driver refuses while requests are under way.
        patience::repeat(Duration::from_secs(10), || {
            std::fs::write(format!("{DRIVER}/ndelay"), &value)
                .context("setting the latency of scsi_debug")
        })
    }

    pub fn remove(self) -> Result<()> {
        // Who looks at new disks may have this one open.
        patience::repeat(Duration::from_secs(5), || {
            tool::run("modprobe", &["-r", "scsi_debug"]).map(|_| ())
        })
    }
}

/// The block device of the driver's disk.
fn find_disk() -> Option<PathBuf> {
    for entry in std::fs::read_dir("/sys/block").ok()?.flatten() {
        let model = std::fs::read_to_string(entry.path().join("device/model"));
        if model.is_ok_and(|m| m.trim() == "scsi_debug") {
            let node = Path::new("/dev").join(entry.file_name());
            return node.exists().then_some(node);
        }
    }
    None
}
