// SPDX-License-Identifier: GPL-2.0

//! The system calls the tests make, as safe functions that return the kernel's errno.
//!
//! All `unsafe` of this program is in here. Nothing is retried, nothing is smoothed over: a test
//! wants to see exactly what the kernel answered.

pub mod aio;
pub mod apparmor;
pub mod dir;
pub mod dm;
pub mod errno;
pub mod fanotify;
pub mod file;
pub mod fscall;
pub mod landlock;
pub mod mem;
pub mod mount;
pub mod path;
pub mod process;
pub mod quota;
pub mod stat;
pub mod trace;
pub mod uring;

pub use errno::{Errno, Res};

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as the kernel takes it. A path with a NUL inside cannot be asked for: `EINVAL`.
fn cstr(path: &Path) -> Res<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno(libc::EINVAL))
}

/// A string as the kernel takes it.
fn cstring(text: &str) -> Res<CString> {
    CString::new(text).map_err(|_| Errno(libc::EINVAL))
}
