// SPDX-License-Identifier: GPL-2.0

//! AppArmor: a process is confined by a profile, which names files by path.

use super::{Errno, mount};
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const PARSER: &str = "/usr/sbin/apparmor_parser";
const SECURITYFS: &str = "/sys/kernel/security";

/// Whether the running kernel confines by AppArmor, and profiles can be made.
pub fn available() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.trim() == "Y") && Path::new(PARSER).exists()
}

/// Loads the profile `name`, with which a process may use files below `dir` only.
pub fn load(name: &str, dir: &Path) -> Result<()> {
    match mount::mount("none", Path::new(SECURITYFS), "securityfs", 0, "") {
        Ok(()) | Err(Errno(libc::EBUSY)) => {}
        Err(errno) => return Err(errno).context("mounting securityfs"),
    }
    let dir = dir.display();
    let profile = format!("profile {name} {{ \"{dir}/\" r, \"{dir}/**\" rwkl, }}\n");
    let mut parser = Command::new(PARSER)
        .args(["--replace", "--skip-cache"])
        .stdin(Stdio::piped())
        .spawn()
        .context(PARSER)?;
    let mut input = parser
        .stdin
        .take()
        .context("apparmor_parser has an input")?;
    input.write_all(profile.as_bytes())?;
    drop(input);
    let status = parser.wait()?;
    ensure!(status.success(), "apparmor_parser ends with {status}");
    Ok(())
}

/// From now on the profile `name` confines this process.
pub fn enter(name: &str) -> Result<()> {
    std::fs::write("/proc/self/attr/current", format!("changeprofile {name}"))
        .with_context(|| format!("changing to the profile {name}"))
}
