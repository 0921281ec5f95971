// SPDX-License-Identifier: GPL-2.0

//! Disk quotas of users.

use super::Res;
use super::errno::check_unit;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Of users, not of groups or projects.
const USERS: i32 = 0;

/// The unit of limits, in bytes.
const BLOCK: u64 = 1024;

fn call(command: i32, device: &Path, id: u32, data: *mut libc::c_char) -> Res<()> {
    let device = CString::new(device.as_os_str().as_bytes()).unwrap_or_default();
    let command = (command << 8) | USERS;
    // SAFETY: Both pointers are valid through the call, or null where the command needs none.
    check_unit(unsafe { libc::quotactl(command, device.as_ptr(), id as i32, data) })
}

/// Has the filesystem on `device`, which counts what users have, keep them to their limits.
pub fn enforce(device: &Path) -> Res<()> {
    // Where the quotas are the filesystem knows by itself.
    call(libc::Q_QUOTAON, device, 4, std::ptr::null_mut())
}

/// Lets a user have so many bytes.
pub fn limit(device: &Path, user: u32, bytes: u64) -> Res<()> {
    // SAFETY: Plain numbers.
    let mut limits: libc::dqblk = unsafe { std::mem::zeroed() };
    limits.dqb_bhardlimit = bytes / BLOCK;
    limits.dqb_valid = libc::QIF_BLIMITS;
    call(libc::Q_SETQUOTA, device, user, (&raw mut limits).cast())
}

/// How many bytes a user has.
pub fn used(device: &Path, user: u32) -> Res<u64> {
    // SAFETY: Plain numbers.
    let mut limits: libc::dqblk = unsafe { std::mem::zeroed() };
    call(libc::Q_GETQUOTA, device, user, (&raw mut limits).cast())?;
    Ok(limits.dqb_curspace)
}
