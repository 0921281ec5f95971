// SPDX-License-Identifier: GPL-2.0

//! Calls on names: create, remove, rename, link, attributes by path.

use super::errno::{check_size, check_unit};
use super::{Res, cstr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

pub const RENAME_NOREPLACE: u32 = 1;
pub const RENAME_EXCHANGE: u32 = 2;
pub const RENAME_WHITEOUT: u32 = 4;

pub fn mkdir(path: &Path, mode: u32) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::mkdir(path.as_ptr(), mode) })
}

pub fn rmdir(path: &Path) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::rmdir(path.as_ptr()) })
}

pub fn unlink(path: &Path) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::unlink(path.as_ptr()) })
}

pub fn rename(from: &Path, to: &Path) -> Res<()> {
    rename2(from, to, 0)
}

pub fn rename2(from: &Path, to: &Path, flags: u32) -> Res<()> {
    let (from, to) = (cstr(from)?, cstr(to)?);
    // SAFETY: Both paths are live C strings.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            flags,
        )
    })
}

pub fn link(from: &Path, to: &Path) -> Res<()> {
    let (from, to) = (cstr(from)?, cstr(to)?);
    // SAFETY: Both paths are live C strings.
    check_unit(unsafe { libc::link(from.as_ptr(), to.as_ptr()) })
}

/// Gives an open file (also one without a name) a name, through `/proc/self/fd`.
pub fn link_fd(fd: BorrowedFd<'_>, to: &Path) -> Res<()> {
    let from = cstr(&PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())))?;
    let to = cstr(to)?;
    // SAFETY: Both paths are live C strings.
    check_unit(unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    })
}

pub fn symlink(target: &str, path: &Path) -> Res<()> {
    let (target, path) = (super::cstring(target)?, cstr(path)?);
    // SAFETY: Both strings are live C strings.
    check_unit(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) })
}

/// Reads a symbolic link into a buffer of `size` bytes, cut as the kernel cuts it.
pub fn readlink(path: &Path, size: usize) -> Res<String> {
    let path = cstr(path)?;
    let mut buf = vec![0u8; size];
    // SAFETY: `path` is a live C string and `buf` is writable for `size` bytes.
    let n = check_size(unsafe { libc::readlink(path.as_ptr(), buf.as_mut_ptr().cast(), size) })?;
    buf.truncate(n);
    Ok(String::from_utf8_lossy(&buf).into_owned())
}

pub fn mknod(path: &Path, mode: u32, dev: u64) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::mknod(path.as_ptr(), mode, dev) })
}

pub fn chmod(path: &Path, mode: u32) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::chmod(path.as_ptr(), mode) })
}

pub fn lchown(path: &Path, uid: u32, gid: u32) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::lchown(path.as_ptr(), uid, gid) })
}

pub fn truncate(path: &Path, len: i64) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::truncate(path.as_ptr(), len) })
}

/// A time for [`utimens`]: seconds and nanoseconds, or one of the special values.
#[derive(Clone, Copy)]
pub enum Time {
    At(i64, i64),
    Now,
    Omit,
}

impl Time {
    fn timespec(self) -> libc::timespec {
        let (tv_sec, tv_nsec) = match self {
            Self::At(sec, nsec) => (sec, nsec),
            Self::Now => (0, libc::UTIME_NOW),
            Self::Omit => (0, libc::UTIME_OMIT),
        };
        libc::timespec { tv_sec, tv_nsec }
    }
}

/// Sets access and modification time of what `path` names, a symbolic link itself included.
pub fn utimens(path: &Path, atime: Time, mtime: Time) -> Res<()> {
    let path = cstr(path)?;
    let times = [atime.timespec(), mtime.timespec()];
    // SAFETY: `path` is a live C string and `times` an array of two.
    check_unit(unsafe {
        libc::utimensat(
            libc::AT_FDCWD,
            path.as_ptr(),
            times.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
        )
    })
}

/// Asks with the effective ids whether `path` may be used as `mode` says.
pub fn access(path: &Path, mode: i32) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS) })
}

pub fn chdir(path: &Path) -> Res<()> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    check_unit(unsafe { libc::chdir(path.as_ptr()) })
}

pub fn setxattr(path: &Path, name: &str, value: &[u8]) -> Res<()> {
    let (path, name) = (cstr(path)?, super::cstring(name)?);
    // SAFETY: Both strings are live C strings, `value` is readable for its length.
    check_unit(unsafe {
        libc::lsetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    })
}

pub fn getxattr(path: &Path, name: &str) -> Res<Vec<u8>> {
    let (path, name) = (cstr(path)?, super::cstring(name)?);
    let mut buf = vec![0u8; 4096];
    // SAFETY: Both strings are live C strings, `buf` is writable for its length.
    let n = check_size(unsafe {
        libc::lgetxattr(
            path.as_ptr(),
            name.as_ptr(),
            buf.as_mut_ptr().cast(),
            buf.len(),
        )
    })?;
    buf.truncate(n);
    Ok(buf)
}

pub fn removexattr(path: &Path, name: &str) -> Res<()> {
    let (path, name) = (cstr(path)?, super::cstring(name)?);
    // SAFETY: Both strings are live C strings.
    check_unit(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) })
}

/// The size of a file's handle, if the filesystem gives one.
pub fn file_handle(path: &Path) -> Res<u32> {
    let path = cstr(path)?;
    #[repr(C)]
    struct Handle {
        bytes: u32,
        _kind: i32,
        _data: [u8; 128],
    }
    let mut handle = Handle {
        bytes: 128,
        _kind: 0,
        _data: [0; 128],
    };
    let mut mount_id = 0i32;
    // SAFETY: `handle` has room for the 128 bytes it announces; all pointers are live.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw mut handle,
            &raw mut mount_id,
            0,
        )
    })?;
    Ok(handle.bytes)
}
