// SPDX-License-Identifier: GPL-2.0

//! The less common calls on open files: locks, leases, space, copies, the state of the page cache.

use super::Res;
use super::errno::{check, check_size, check_unit};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

pub const FALLOC_KEEP_SIZE: i32 = 0x01;
pub const FALLOC_PUNCH_HOLE: i32 = 0x02;
pub const FALLOC_COLLAPSE_RANGE: i32 = 0x08;
pub const FALLOC_ZERO_RANGE: i32 = 0x10;
pub const FALLOC_INSERT_RANGE: i32 = 0x20;

pub const FS_IOC_GETFLAGS: u64 = 0x8008_6601;
pub const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
pub const FS_IOC_FIEMAP: u64 = 0xc020_660b;
pub const FICLONE: u64 = 0x4004_9409;

fn raw(fd: &impl AsFd) -> i32 {
    fd.as_fd().as_raw_fd()
}

pub fn fallocate(fd: impl AsFd, mode: i32, offset: i64, len: i64) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::fallocate(raw(&fd), mode, offset, len) })
}

/// An ioctl that reads or writes up to 256 bytes at its argument; returns those bytes.
pub fn ioctl_buf(fd: impl AsFd, request: u64, input: &[u8]) -> Res<Vec<u8>> {
    let mut buf = vec![0u8; 256];
    buf[..input.len()].copy_from_slice(input);
    // SAFETY: The requests used here read and write far less than the 256 bytes of `buf`.
    check_unit(unsafe { libc::ioctl(raw(&fd), request, buf.as_mut_ptr()) })?;
    Ok(buf)
}

/// Where the bytes at `offset` of a file lie on its device, in bytes. The file is synced first.
pub fn device_offset(fd: impl AsFd, offset: u64) -> Res<u64> {
    const FIEMAP_FLAG_SYNC: u32 = 1;
    let mut map = [0u64; 32];
    map[0] = offset;
    map[1] = 1;
    map[2] = u64::from(FIEMAP_FLAG_SYNC);
    map[3] = 1;
    // SAFETY: `map` is a `struct fiemap` with room for the one extent it asks for.
    check_unit(unsafe { libc::ioctl(raw(&fd), FS_IOC_FIEMAP, map.as_mut_ptr()) })?;
    let (extents, logical, physical) = (map[2] >> 32, map[4], map[5]);
    if extents == 0 || logical > offset {
        return Err(super::Errno(libc::ENODATA));
    }
    Ok(physical + (offset - logical))
}

/// `FICLONE`: makes `to` share the blocks of `from`.
pub fn reflink(to: impl AsFd, from: impl AsFd) -> Res<()> {
    // SAFETY: The argument of this request is a descriptor, not memory.
    check_unit(unsafe { libc::ioctl(raw(&to), FICLONE, raw(&from)) })
}

pub fn getfl(fd: impl AsFd) -> Res<i32> {
    // SAFETY: Plain descriptor call.
    check(unsafe { libc::fcntl(raw(&fd), libc::F_GETFL) }).map(|n| n as i32)
}

pub fn setfl(fd: impl AsFd, flags: i32) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::fcntl(raw(&fd), libc::F_SETFL, flags) })
}

pub fn setlease(fd: impl AsFd, kind: i32) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::fcntl(raw(&fd), libc::F_SETLEASE, kind) })
}

/// Takes or drops a POSIX record lock without waiting.
pub fn lock(fd: impl AsFd, kind: i32, start: i64, len: i64) -> Res<()> {
    // SAFETY: `flock` is plain data for which all zeroes is a value.
    let mut l: libc::flock = unsafe { std::mem::zeroed() };
    l.l_type = kind as i16;
    l.l_whence = libc::SEEK_SET as i16;
    l.l_start = start;
    l.l_len = len;
    // SAFETY: `l` is live for the call.
    check_unit(unsafe { libc::fcntl(raw(&fd), libc::F_SETLK, &raw const l) })
}

/// The kind of lock that would keep [`lock`] from succeeding, `F_UNLCK` for none.
pub fn getlock(fd: impl AsFd, kind: i32, start: i64, len: i64) -> Res<i32> {
    // SAFETY: `flock` is plain data for which all zeroes is a value.
    let mut l: libc::flock = unsafe { std::mem::zeroed() };
    l.l_type = kind as i16;
    l.l_whence = libc::SEEK_SET as i16;
    l.l_start = start;
    l.l_len = len;
    // SAFETY: `l` is live for the call.
    check_unit(unsafe { libc::fcntl(raw(&fd), libc::F_GETLK, &raw mut l) })?;
    Ok(i32::from(l.l_type))
}

pub fn flock(fd: impl AsFd, operation: i32) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::flock(raw(&fd), operation) })
}

pub fn fadvise(fd: impl AsFd, offset: i64, len: i64, advice: i32) -> Res<()> {
    // SAFETY: Plain descriptor call.
    match unsafe { libc::posix_fadvise(raw(&fd), offset, len, advice) } {
        0 => Ok(()),
        e => Err(super::Errno(e)),
    }
}

pub fn readahead(fd: impl AsFd, offset: i64, len: usize) -> Res<()> {
    // SAFETY: Plain descriptor call.
    check_unit(unsafe { libc::readahead(raw(&fd), offset, len) })
}

/// Copies between two files inside the kernel, by whatever way the kernel finds.
pub fn copy_file_range(
    from: impl AsFd,
    at: i64,
    to: impl AsFd,
    to_at: i64,
    len: usize,
) -> Res<usize> {
    let (mut at, mut to_at) = (at, to_at);
    // SAFETY: Both offsets are live for the call.
    check_size(unsafe {
        libc::copy_file_range(raw(&from), &raw mut at, raw(&to), &raw mut to_at, len, 0)
    })
}

pub fn sendfile(to: impl AsFd, from: impl AsFd, at: i64, len: usize) -> Res<usize> {
    let mut at = at;
    // SAFETY: The offset is live for the call.
    check_size(unsafe { libc::sendfile(raw(&to), raw(&from), &raw mut at, len) })
}

/// `splice` from a file at `at` into a pipe.
pub fn splice_out(from: impl AsFd, at: i64, pipe: impl AsFd, len: usize) -> Res<usize> {
    splice_out_flags(from, at, pipe, len, 0)
}

/// [`splice_out`] with flags, `SPLICE_F_*`.
pub fn splice_out_flags(
    from: impl AsFd,
    at: i64,
    pipe: impl AsFd,
    len: usize,
    flags: u32,
) -> Res<usize> {
    let mut at = at;
    let null = std::ptr::null_mut();
    // SAFETY: The offset is live for the call; a pipe takes none.
    check_size(unsafe { libc::splice(raw(&from), &raw mut at, raw(&pipe), null, len, flags) })
}

/// `splice` from a pipe into a file at `at`.
pub fn splice_in(pipe: impl AsFd, to: impl AsFd, at: i64, len: usize) -> Res<usize> {
    splice_in_flags(pipe, to, at, len, 0)
}

/// [`splice_in`] with flags, `SPLICE_F_*`.
pub fn splice_in_flags(
    pipe: impl AsFd,
    to: impl AsFd,
    at: i64,
    len: usize,
    flags: u32,
) -> Res<usize> {
    let mut at = at;
    let null = std::ptr::null_mut();
    // SAFETY: The offset is live for the call; a pipe takes none.
    check_size(unsafe { libc::splice(raw(&pipe), null, raw(&to), &raw mut at, len, flags) })
}

/// `splice` between two descriptors that have no position, one of them a pipe.
pub fn splice_on(from: impl AsFd, to: impl AsFd, len: usize) -> Res<usize> {
    let null = std::ptr::null_mut();
    // SAFETY: Neither takes an offset.
    check_size(unsafe { libc::splice(raw(&from), null, raw(&to), null, len, 0) })
}

/// A pipe: the end to read from and the end to write to.
pub fn pipe() -> Res<(OwnedFd, OwnedFd)> {
    let mut fds = [0i32; 2];
    // SAFETY: `fds` has room for two descriptors.
    check_unit(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: The kernel just gave us both and nobody else knows them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// What the page cache holds of a range of a file, in pages.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct CacheStat {
    pub cached: u64,
    pub dirty: u64,
    pub writeback: u64,
    pub evicted: u64,
    pub recently_evicted: u64,
}

const SYS_CACHESTAT: i64 = 451;

pub fn cachestat(fd: impl AsFd, offset: u64, len: u64) -> Res<CacheStat> {
    let range = [offset, len];
    let mut stat = CacheStat::default();
    // SAFETY: `range` is the kernel's two-word range, `stat` has its layout.
    check_unit(unsafe {
        libc::syscall(SYS_CACHESTAT, raw(&fd), range.as_ptr(), &raw mut stat, 0)
    })?;
    Ok(stat)
}

/// The size in bytes of a block device.
pub fn device_size(fd: impl AsFd) -> Res<u64> {
    const BLKGETSIZE64: u64 = 0x8008_1272;
    let mut size = 0u64;
    // SAFETY: The request writes one 64-bit number.
    check_unit(unsafe { libc::ioctl(raw(&fd), BLKGETSIZE64, &raw mut size) })?;
    Ok(size)
}
