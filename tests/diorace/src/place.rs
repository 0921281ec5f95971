// SPDX-License-Identifier: GPL-2.0
//! On what filesystem a directory lies.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oracle::Profile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cli::ProfileArg;

/// A directory and the filesystem that it is on, for the report.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The directory.
    pub path: String,
    /// Type of the filesystem, as in /proc/self/mountinfo.
    pub fstype: String,
    /// What is mounted.
    pub source: String,
    /// Mount options of the filesystem.
    pub options: String,
    /// Release of the running kernel.
    pub kernel: String,
}

impl Place {
    /// Looks a directory up.
    pub fn find(dir: &Path) -> Result<Self> {
        let meta = fs::metadata(dir).with_context(|| format!("cannot use {}", dir.display()))?;
        if !meta.is_dir() {
            bail!("{} is not a directory", dir.display());
        }
        let path =
            fs::canonicalize(dir).with_context(|| format!("cannot use {}", dir.display()))?;
        let info = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let text = path.to_string_lossy().into_owned();
        let mount = best_mount(&info, &text).unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            path: text,
            fstype: mount.fstype,
            source: mount.source,
            options: mount.options,
            kernel: kernel.trim().to_owned(),
        })
    }

    /// What to hold the filesystem to.
    pub fn profile(&self, wish: ProfileArg) -> Profile {
        match wish {
            ProfileArg::Strict => Profile::Strict,
            ProfileArg::Bare => Profile::Bare,
            ProfileArg::Auto if self.fstype == "diofs" => Profile::Strict,
            ProfileArg::Auto => Profile::Bare,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Mount {
    fstype: String,
    source: String,
    options: String,
}

/// The mount that holds a path: the longest mount point above it, the last one where several are
/// mounted over each other.
fn best_mount(info: &str, path: &str) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in info.lines() {
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = front.split(' ').nth(4).map(unescape) else {
            continue;
        };
        let mut back = back.split(' ');
        let mount = Mount {
            fstype: back.next().unwrap_or_default().to_owned(),
            source: unescape(back.next().unwrap_or_default()),
            options: back.next().unwrap_or_default().to_owned(),
        };
        let above = point == "/" || path == point || path.starts_with(&format!("{point}/"));
        if above && best.as_ref().is_none_or(|(len, _)| point.len() >= *len) {
            best = Some((point.len(), mount));
        }
    }
    best.map(|(_, mount)| mount)
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) => {
                out.push(byte as char);
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /mnt rw - tmpfs tmpfs rw
31 30 0:31 / /mnt/a\\040b rw - diofs /lower rw,x
32 22 0:32 / /mn rw - proc proc rw
33 30 0:33 / /mnt/a\\040b rw - xfs /dev/vdb rw
";

    #[test]
    fn the_longest_and_last_mount_wins() {
        let fstype = |path| best_mount(INFO, path).map(|mount| mount.fstype);
        assert_eq!(fstype("/mnt/a b/c").as_deref(), Some("xfs"));
        assert_eq!(fstype("/mnt/a").as_deref(), Some("tmpfs"));
        assert_eq!(fstype("/mnty").as_deref(), Some("ext4"));
    }

    #[test]
    fn only_diofs_is_strict_by_itself() {
        let mut place = Place {
            path: "/".into(),
            fstype: "xfs".into(),
            source: String::new(),
            options: String::new(),
            kernel: String::new(),
        };
        assert_eq!(place.profile(ProfileArg::Auto), Profile::Bare);
        assert_eq!(place.profile(ProfileArg::Strict), Profile::Strict);
        place.fstype = "diofs".into();
        assert_eq!(place.profile(ProfileArg::Auto), Profile::Strict);
    }
}
