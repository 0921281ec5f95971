// SPDX-License-Identifier: GPL-2.0

//! Calls on open files: open, read and write in every plain form, sync, seek, truncate.

use super::errno::{check, check_size, check_unit};
use super::mem::Slice;
use super::{Res, cstr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

pub const RWF_DSYNC: i32 = 0x2;
pub const RWF_NOWAIT: i32 = 0x8;
pub const RWF_APPEND: i32 = 0x10;
pub const RWF_DONTCACHE: i32 = 0x80;

pub const SEEK_DATA: i32 = 3;
pub const SEEK_HOLE: i32 = 4;

fn raw(fd: &impl AsFd) -> i32 {
    fd.as_fd().as_raw_fd()
}

/// Opens `path`; descriptors never leak into programs that a test starts.
pub fn open(path: &Path, flags: i32, mode: u32) -> Res<OwnedFd> {
    let path = cstr(path)?;
    // SAFETY: `path` is a live C string.
    let fd = check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) })?;
    // SAFETY: The kernel just gave us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Opens for reading and writing, creating the file where it does not exist.
pub fn create(path: &Path) -> Res<OwnedFd> {
    open(path, libc::O_RDWR | libc::O_CREAT, 0o644)
}

/// Opens an existing file for reading and writing past the page cache.
pub fn open_direct(path: &Path) -> Res<OwnedFd> {
    open(path, libc::O_RDWR | libc::O_DIRECT, 0)
}

/// Closes and says what `close` answered.
pub fn close(fd: OwnedFd) -> Res<()> {
    use std::os::fd::IntoRawFd;
    // SAFETY: We own the descriptor and give it up here.
    check_unit(unsafe { libc::close(fd.into_raw_fd()) })
}

pub fn dup(fd: impl AsFd) -> Res<OwnedFd> {
    // SAFETY: Plain descriptor call.
    let new = check(unsafe { libc::fcntl(raw(&fd), libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: The kernel just gave us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(new as i32) })
}

pub fn read(fd: impl AsFd, buf: &mut [u8]) -> Res<usize> {
    // SAFETY: `buf` is writable for its length.
    check_size(unsafe { libc::read(raw(&fd), buf.as_mut_ptr().cast(), buf.len()) })
}

pub fn write(fd: impl AsFd, data: &[u8]) -> Res<usize> {
    // SAFETY: `data` is readable for its length.
    check_size(unsafe { libc::write(raw(&fd), data.as_ptr().cast(), data.len()) })
}

pub fn pread(fd: impl AsFd, buf: &mut [u8], offset: u64) -> Res<usize> {
    let (ptr, len) = (buf.as_mut_ptr().cast(), buf.len());
    // SAFETY: `buf` is writable for its length.
    check_size(unsafe { libc::pread(raw(&fd), ptr, len, offset as i64) })
}

pub fn pwrite(fd: impl AsFd, data: &[u8], offset: u64) -> Res<usize> {
    let (ptr, len) = (data.as_ptr().cast(), data.len());
    // SAFETY: `data` is readable for its length.
    check_size(unsafe { libc::pwrite(raw(&fd), ptr, len, offset as i64) })
}

/// Reads up to `len` bytes at `offset` with one call and returns what came.
pub fn pread_vec(fd: impl AsFd, len: usize, offset: u64) -> Res<Vec<u8>> {
    let mut buf = vec![0; len];
    let n = pread(fd, &mut buf, offset)?;
    buf.truncate(n);
    Ok(buf)
}

/// `pread` into mapped memory, as direct I/O and buffers mapped from a file need it.
pub fn pread_mem(fd: impl AsFd, to: &Slice, offset: u64) -> Res<usize> {
    let (ptr, len) = (to.as_ptr().cast(), to.len());
    // SAFETY: A `Slice` lies inside a live mapping; a fault in it is the kernel's to report.
    check_size(unsafe { libc::pread(raw(&fd), ptr, len, offset as i64) })
}

/// `pwrite` from mapped memory.
pub fn pwrite_mem(fd: impl AsFd, from: &Slice, offset: u64) -> Res<usize> {
    let (ptr, len) = (from.as_ptr().cast(), from.len());
    // SAFETY: A `Slice` lies inside a live mapping; a fault in it is the kernel's to report.
    check_size(unsafe { libc::pwrite(raw(&fd), ptr, len, offset as i64) })
}

fn iovecs(parts: &[Slice]) -> Vec<libc::iovec> {
    parts
        .iter()
        .map(|p| libc::iovec {
            iov_base: p.as_ptr().cast(),
            iov_len: p.len(),
        })
        .collect()
}

/// `preadv2` into pieces of mapped memory.
pub fn preadv(fd: impl AsFd, parts: &[Slice], offset: u64, flags: i32) -> Res<usize> {
    let iov = iovecs(parts);
    let count = iov.len() as i32;
    // SAFETY: Every iovec lies inside a live mapping.
    let n = unsafe { libc::preadv2(raw(&fd), iov.as_ptr(), count, offset as i64, flags) };
    check_size(n)
}

/// A read that must not wait.
pub fn pread_nowait(fd: impl AsFd, to: &Slice, offset: u64) -> Res<usize> {
    preadv(fd, std::slice::from_ref(to), offset, RWF_NOWAIT)
}

/// `pwritev2` from pieces of mapped memory.
pub fn pwritev(fd: impl AsFd, parts: &[Slice], offset: u64, flags: i32) -> Res<usize> {
    let iov = iovecs(parts);
    let count = iov.len() as i32;
    // SAFETY: Every iovec lies inside a live mapping.
    let n = unsafe { libc::pwritev2(raw(&fd), iov.as_ptr(), count, offset as i64, flags) };
    check_size(n)
}

pub fn lseek(fd: impl AsFd, offset: i64, whence: i32) -> Res<i64> {
    // SAFETY: Plain descriptor call.
    check(unsafe { libc::lseek(raw(&fd), offset, whence) })
}

pub fn ftruncate(fd: impl AsFd, len: i64) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::ftruncate(raw(&fd), len) })
}

pub fn fsync(fd: impl AsFd) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::fsync(raw(&fd)) })
}

pub fn fdatasync(fd: impl AsFd) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::fdatasync(raw(&fd)) })
}

pub fn syncfs(fd: impl AsFd) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::syncfs(raw(&fd)) })
}

pub fn sync() {
    // SAFETY: Takes nothing and returns nothing.
    unsafe { libc::sync() }
}

pub fn fchmod(fd: impl AsFd, mode: u32) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::fchmod(raw(&fd), mode) })
}

pub fn fchown(fd: impl AsFd, uid: u32, gid: u32) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::fchown(raw(&fd), uid, gid) })
}
