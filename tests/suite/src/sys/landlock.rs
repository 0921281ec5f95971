// SPDX-License-Identifier: GPL-2.0

//! Landlock: a process gives up the right to use files outside of a directory.

use super::errno::{check, check_unit};
use super::{Res, file};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// All rights on files that the third version of the interface knows.
const ALL: u64 = (1 << 15) - 1;

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

fn version() -> Res<i64> {
    // SAFETY: Asked for the version, the call takes no structure.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u64>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    })
}

/// Whether the running kernel has what [`confine_to`] needs.
pub fn available() -> bool {
    version().is_ok_and(|version| version >= 3)
}

/// From now on this process can use files below `dir` only, and these as before.
pub fn confine_to(dir: &Path) -> Res<()> {
    let handled = ALL;
    // SAFETY: `handled` is the first field of `struct landlock_ruleset_attr`, whose size is given.
    let rules = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const handled,
            size_of_val(&handled),
            0,
        )
    })?;
    // SAFETY: The kernel just gave us this descriptor.
    let rules = unsafe { OwnedFd::from_raw_fd(rules as i32) };
    let parent = file::open(dir, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let beneath = Beneath {
        allowed: ALL,
        parent: parent.as_raw_fd(),
    };
    // SAFETY: `beneath` is the structure that this type of rule takes; the rest are plain calls
    // that change only this process.
    unsafe {
        check_unit(libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const beneath,
            0,
        ))?;
        check_unit(i64::from(libc::prctl(
            libc::PR_SET_NO_NEW_PRIVS,
            1,
            0,
            0,
            0,
        )))?;
        check_unit(libc::syscall(
            libc::SYS_landlock_restrict_self,
            rules.as_raw_fd(),
            0,
        ))
    }
}
