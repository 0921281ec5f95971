// SPDX-License-Identifier: GPL-2.0

//! Mounting: the classic call, and the configuration interface that returns messages.

use super::errno::{Errno, check, check_unit};
use super::{Res, cstr, cstring, process};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const SET_FLAG: u32 = 0;
const SET_STRING: u32 = 1;
const CMD_CREATE: u32 = 6;
const CMD_RECONFIGURE: u32 = 7;

/// `mount(2)`.
pub fn mount(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> Res<()> {
    let (source, target) = (cstring(source)?, cstr(target)?);
    let (kind, data) = (cstring(kind)?, cstring(data)?);
    // SAFETY: All four are live C strings.
    check_unit(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    })
}

/// `umount2(2)`.
pub fn umount(target: &Path, flags: i32) -> Res<()> {
    let target = cstr(target)?;
    // SAFETY: `target` is a live C string.
    check_unit(unsafe { libc::umount2(target.as_ptr(), flags) })
}

/// Mounts `source` on `target` once more, with user and group numbers shown `shift` higher.
pub fn idmapped(source: &Path, target: &Path, shift: u32) -> Res<()> {
    const OPEN_TREE_CLONE: u32 = 1;
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let space = process::user_namespace(shift)?;
    let (empty, path) = (cstring("")?, cstr(source)?);
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as u32;
    // SAFETY: `path` is a live C string.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let tree = check(tree)?;
    // SAFETY: The kernel just gave us this descriptor.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as i32) };
    let attr = [MOUNT_ATTR_IDMAP, 0, 0, space.as_raw_fd() as u64];
    // SAFETY: `empty` is a live C string, `attr` is a `struct mount_attr`, of the size given.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            empty.as_ptr(),
            libc::AT_EMPTY_PATH,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    })?;
    attach(&tree, target)
}

/// Mounts what a descriptor stands for, which is not mounted anywhere yet.
fn attach(mount: &OwnedFd, target: &Path) -> Res<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
    let (empty, target) = (cstring("")?, cstr(target)?);
    // SAFETY: Both strings are live.
    check_unit(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            empty.as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
}

/// Why a mount or remount was refused: the error and what the filesystem said about it.
#[derive(Debug, Clone)]
pub struct Refused {
    pub errno: Errno,
    pub log: Vec<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.errno, self.log.join("; "))
    }
}

impl std::error::Error for Refused {}

/// A filesystem context, which collects options and then mounts or reconfigures.
pub struct Context {
    fd: OwnedFd,
}

impl Context {
    /// A context for a new mount of type `kind`.
    pub fn new(kind: &str) -> Res<Self> {
        let kind = cstring(kind)?;
        // SAFETY: `kind` is a live C string.
        let fd = check(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1) })?;
        // SAFETY: The kernel just gave us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(Self { fd })
    }

    /// A context for changing the mounted filesystem whose root is `path`.
    pub fn pick(path: &Path) -> Res<Self> {
        let path = cstr(path)?;
        // SAFETY: `path` is a live C string; flag 1 is `FSPICK_CLOEXEC`.
        let fd = unsafe { libc::syscall(libc::SYS_fspick, libc::AT_FDCWD, path.as_ptr(), 1) };
        let fd = check(fd)?;
        // SAFETY: The kernel just gave us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(Self { fd })
    }

    fn config(&self, cmd: u32, key: Option<&str>, value: Option<&str>) -> Result<(), Refused> {
        let key = key.map(cstring).transpose().map_err(|e| self.refused(e))?;
        let value = value
            .map(cstring)
            .transpose()
            .map_err(|e| self.refused(e))?;
        let ptr =
            |s: &Option<std::ffi::CString>| s.as_ref().map_or(std::ptr::null(), |s| s.as_ptr());
        // SAFETY: Both strings are live or null, as each command wants it.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.fd.as_raw_fd(),
                cmd,
                ptr(&key),
                ptr(&value),
                0,
            )
        };
        check_unit(ret).map_err(|e| self.refused(e))
    }

    fn refused(&self, errno: Errno) -> Refused {
        Refused {
            errno,
            log: self.log(),
        }
    }

    /// Sets `key=value`.
    pub fn set(&self, key: &str, value: &str) -> Result<(), Refused> {
        self.config(SET_STRING, Some(key), Some(value))
    }

    /// Sets an option without a value.
    pub fn flag(&self, key: &str) -> Result<(), Refused> {
        self.config(SET_FLAG, Some(key), None)
    }

    /// Makes the filesystem and mounts it on `target`.
    pub fn mount_on(&self, target: &Path) -> Result<(), Refused> {
        self.config(CMD_CREATE, None, None)?;
        self.attach(target).map_err(|e| self.refused(e))
    }

    fn attach(&self, target: &Path) -> Res<()> {
        const FSMOUNT_CLOEXEC: u32 = 1;
        // SAFETY: Plain descriptor call.
        let mount = check(unsafe {
            libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), FSMOUNT_CLOEXEC, 0)
        })?;
        // SAFETY: The kernel just gave us this descriptor.
        let mount = unsafe { OwnedFd::from_raw_fd(mount as i32) };
        attach(&mount, target)
    }

    /// Applies the options to the picked filesystem.
    pub fn reconfigure(&self) -> Result<(), Refused> {
        self.config(CMD_RECONFIGURE, None, None)
    }

    /// The messages that the filesystem has left for us.
    pub fn log(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut buf = [0u8; 1024];
        while let Ok(n) = super::file::read(&self.fd, &mut buf) {
            if n == 0 {
                break;
            }
            lines.push(String::from_utf8_lossy(&buf[..n]).trim().to_string());
        }
        lines
    }
}
