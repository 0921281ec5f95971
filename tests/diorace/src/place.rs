// SPDX-License-Identifier: GPL-2.0
//! On what filesystem a directory lies.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oracle::Profile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cli::ProfileArg;
use crate::stack;

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

    /// What is mounted there; and if that is a directory, what is mounted where it lies, and so on
    /// down.
    pub fn sources(&self) -> Vec<String> {
        let mounts = self.mounts().into_iter();
        mounts.map(|mount| mount.source).collect()
    }

    /// Whether it is NFS, or lies on it.
    pub fn is_nfs(&self) -> bool {
        lies_on_nfs(&self.mounts())
    }

    /// Whether what is written lands on several devices: md RAID1 and the like, somewhere below.
    pub fn is_mirrored(&self) -> bool {
        let source = self.sources().pop().unwrap_or_default();
        let named = fs::metadata(source).ok().map(|meta| meta.rdev());
        // The name may be one that only the kernel knows, such as /dev/root.
        let own = fs::metadata(&self.path).ok().map(|meta| meta.dev());
        named.into_iter().chain(own).any(|number| {
            let (major, minor) = (libc::major(number), libc::minor(number));
            let link = format!("/sys/dev/block/{major}:{minor}");
            fs::canonicalize(link).is_ok_and(|device| stack::is_mirror(&device))
        })
    }

    /// The mount that it lies on and those below.
    fn mounts(&self) -> Vec<Mount> {
        let info = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mounts(&info, &self.path, |path| Path::new(path).is_dir())
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
    let lines: Vec<_> = info.lines().collect();
    nth_best(&lines, path).map(|(_, mount)| mount)
}

/// The same with the number of its line.
fn nth_best(lines: &[&str], path: &str) -> Option<(usize, Mount)> {
    let mut best: Option<(usize, usize, Mount)> = None;
    for (nth, line) in lines.iter().enumerate() {
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
        if above && best.as_ref().is_none_or(|(len, ..)| point.len() >= *len) {
            best = Some((point.len(), nth, mount));
        }
    }
    best.map(|(_, nth, mount)| (nth, mount))
}

/// The mount that holds a path and those below it. What is mounted over its own source hides it: what is
/// below was mounted before.
fn mounts(info: &str, path: &str, is_dir: impl Fn(&str) -> bool) -> Vec<Mount> {
    let lines: Vec<_> = info.lines().collect();
    let (mut mounts, mut path, mut last) = (Vec::new(), path.to_owned(), lines.len());
    while let Some((nth, mount)) = nth_best(&lines[..last], &path) {
        let source = mount.source.clone();
        mounts.push(mount);
        if !source.starts_with('/') || !is_dir(&source) {
            break;
        }
        (path, last) = (source, nth);
    }
    mounts
}

fn lies_on_nfs(mounts: &[Mount]) -> bool {
    let nfs = |mount: &Mount| matches!(mount.fstype.as_str(), "nfs" | "nfs4");
    mounts.iter().any(nfs)
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
    fn below_a_directory_is_what_it_lies_on() {
        let info = "\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /lower rw - xfs /dev/vdb rw
31 22 0:31 / /upper rw - diofs /lower/part rw
32 30 0:32 / /lower rw - diofs /lower rw
33 22 0:33 / /twice rw - diofs /upper rw
34 22 0:34 / /tmp rw - tmpfs none rw
";
        let is_dir = |path: &str| !path.starts_with("/dev/");
        let all = |path| -> Vec<String> {
            let mounts = mounts(info, path, is_dir);
            mounts.into_iter().map(|mount| mount.source).collect()
        };
        assert_eq!(all("/upper/x"), ["/lower/part", "/dev/vdb"]);
        assert_eq!(all("/lower"), ["/lower", "/dev/vdb"]);
        assert_eq!(all("/twice"), ["/upper", "/lower/part", "/dev/vdb"]);
        assert_eq!(all("/tmp"), ["none"]);
        assert_eq!(all("/home"), ["/dev/vda"]);
    }

    #[test]
    fn nfs_is_known_also_below_another_filesystem() {
        let info = "\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /net rw - nfs4 server:/export rw
31 22 0:31 / /upper rw - diofs /net/part rw
";
        let is_dir = |path: &str| path.starts_with("/net");
        let on_nfs = |path| lies_on_nfs(&mounts(info, path, is_dir));
        assert!(on_nfs("/net/x") && on_nfs("/upper/x"));
        assert!(!on_nfs("/home"));
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
