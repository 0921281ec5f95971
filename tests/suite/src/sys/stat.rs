// SPDX-License-Identifier: GPL-2.0

//! `statx` and `statfs`, with every field the kernel has.

use super::errno::check_unit;
use super::{Res, cstr, cstring};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

pub const BASIC: u32 = 0x7ff;
pub const BTIME: u32 = 0x800;
pub const DIOALIGN: u32 = 0x2000;
pub const WRITE_ATOMIC: u32 = 0x10000;
pub const DIO_READ_ALIGN: u32 = 0x20000;
pub const ALL: u32 = BASIC | BTIME | DIOALIGN | WRITE_ATOMIC | DIO_READ_ALIGN;

/// A time of `statx`, ordered as time is.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub sec: i64,
    pub nsec: u32,
    pad: i32,
}

/// The kernel's `struct statx`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Stat {
    pub mask: u32,
    pub blksize: u32,
    pub attributes: u64,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
    spare0: u16,
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub attributes_mask: u64,
    pub atime: Stamp,
    pub btime: Stamp,
    pub ctime: Stamp,
    pub mtime: Stamp,
    pub rdev_major: u32,
    pub rdev_minor: u32,
    pub dev_major: u32,
    pub dev_minor: u32,
    pub mnt_id: u64,
    pub dio_mem_align: u32,
    pub dio_offset_align: u32,
    pub subvol: u64,
    pub atomic_min: u32,
    pub atomic_max: u32,
    pub atomic_segments: u32,
    pub dio_read_offset_align: u32,
    pub atomic_max_opt: u32,
    spare2: [u32; 1],
    spare3: [u64; 8],
}

const _: () = assert!(size_of::<Stat>() == 256);

fn statx(dirfd: i32, path: &std::ffi::CStr, flags: i32) -> Res<Stat> {
    let mut stat = Stat::default();
    // SAFETY: `path` is a live C string and `stat` has the kernel's layout and size.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_statx,
            dirfd,
            path.as_ptr(),
            flags,
            ALL,
            &raw mut stat,
        )
    })?;
    Ok(stat)
}

/// Attributes of what `path` names; a symbolic link is followed.
pub fn stat(path: &Path) -> Res<Stat> {
    statx(libc::AT_FDCWD, &cstr(path)?, 0)
}

/// Attributes of what `path` names; a symbolic link is not followed.
pub fn lstat(path: &Path) -> Res<Stat> {
    statx(libc::AT_FDCWD, &cstr(path)?, libc::AT_SYMLINK_NOFOLLOW)
}

/// Attributes of an open file.
pub fn fstat(fd: impl AsFd) -> Res<Stat> {
    statx(fd.as_fd().as_raw_fd(), &cstring("")?, libc::AT_EMPTY_PATH)
}

/// What `statfs` says, as far as tests compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    pub magic: i64,
    pub block_size: i64,
    pub blocks: u64,
    pub free: u64,
    pub available: u64,
    pub files: u64,
    pub files_free: u64,
    pub name_max: i64,
}

pub fn statfs(path: &Path) -> Res<StatFs> {
    let path = cstr(path)?;
    // SAFETY: `statfs` is plain data for which all zeroes is a value.
    let mut s: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a live C string and `s` is writable.
    check_unit(unsafe { libc::statfs(path.as_ptr(), &raw mut s) })?;
    Ok(StatFs {
        magic: s.f_type,
        block_size: s.f_bsize,
        blocks: s.f_blocks,
        free: s.f_bfree,
        available: s.f_bavail,
        files: s.f_files,
        files_free: s.f_ffree,
        name_max: s.f_namelen,
    })
}

/// The clock that filesystems take their times from.
pub fn coarse_time() -> Duration {
    // SAFETY: Zeros are a valid timespec.
    let mut now: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `now` is writable. The clock exists, so that this cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Waits until what is changed now gets another time than before. The clock of the filesystems
/// stands still while the host does not run the processor that moves it.
pub fn tick() {
    let start = coarse_time();
    while coarse_time().saturating_sub(start) < Duration::from_millis(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
}
