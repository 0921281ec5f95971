// SPDX-License-Identifier: GPL-2.0
//! What the device is made of that a filesystem lies on.

use std::fs;
use std::path::{Path, PathBuf};

/// The md levels that keep data more than once without putting writes of one place in order. RAID5 and
/// RAID6 do that.
const MIRRORS: [&str; 2] = ["raid1", "raid10"];

/// What LVM calls the parts of a mirror, among others: those of RAID5 have the same names.
const LEGS: [&str; 2] = ["_rimage_", "_mimage_"];

/// Whether a device, or one below it, is a mirror: `device` is its directory below /sys.
pub fn is_mirror(device: &Path) -> bool {
    let whole = match device.join("partition").exists() {
        true => device.parent().unwrap_or(device),
        false => device,
    };
    let level = text(&whole.join("md/level"));
    MIRRORS.contains(&level.as_str())
        || below(whole)
            .iter()
            .any(|part| is_leg(part) || is_mirror(part))
}

fn is_leg(device: &Path) -> bool {
    let name = text(&device.join("dm/name"));
    LEGS.iter().any(|leg| name.contains(leg))
}

/// The devices that one consists of.
fn below(device: &Path) -> Vec<PathBuf> {
    let slaves = fs::read_dir(device.join("slaves")).into_iter().flatten();
    slaves
        .flatten()
        .filter_map(|slave| fs::canonicalize(slave.path()).ok())
        .collect()
}

fn text(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;

    /// Devices as /sys shows them.
    struct Sys(PathBuf);

    impl Sys {
        fn new() -> Self {
            let name = format!("diorace-sys-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        fn file(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn consists_of(&self, device: &str, part: &str) {
            let slaves = self.0.join(device).join("slaves");
            fs::create_dir_all(&slaves).unwrap();
            fs::create_dir_all(self.0.join(part)).unwrap();
            let name = Path::new(part).file_name().unwrap();
            symlink(self.0.join(part), slaves.join(name)).unwrap();
        }

        fn says(&self, device: &str) -> bool {
            is_mirror(&self.0.join(device))
        }
    }

    impl Drop for Sys {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_mirror_is_found_wherever_it_is_in_the_stack() {
        let sys = Sys::new();
        sys.file("vda/vda1/partition", "1\n");
        sys.file("md0/md/level", "raid1\n");
        sys.file("md0/md0p1/partition", "1\n");
        sys.file("md5/md/level", "raid5\n");
        sys.consists_of("md0", "vda/vda1");
        sys.consists_of("dm-0", "md0/md0p1");
        sys.consists_of("dm-1", "vda/vda1");
        sys.consists_of("dm-2", "dm-3");
        sys.file("dm-3/dm/name", "group-volume_rimage_0\n");
        let mirrors = ["md0", "md0/md0p1", "dm-0", "dm-2"];
        assert_eq!(mirrors.map(|device| sys.says(device)), [true; 4]);
        let others = ["vda", "vda/vda1", "md5", "dm-1", "none"];
        assert_eq!(others.map(|device| sys.says(device)), [false; 5]);
    }
}
