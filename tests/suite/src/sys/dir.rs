// SPDX-License-Identifier: GPL-2.0

//! Reading directories by `getdents64`, with types, offsets and seeking.

use super::Res;
use super::errno::check_size;
use super::mem::Slice;
use std::os::fd::{AsFd, AsRawFd};

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub kind: u8,
    pub ino: u64,
    /// Where the directory is to be sought to for what follows this entry.
    pub next: i64,
}

/// Reads the next entries into a buffer of `size` bytes; an empty answer is the end.
pub fn getdents(fd: impl AsFd, size: usize) -> Res<Vec<Entry>> {
    let mut buf = vec![0u8; size];
    // SAFETY: `buf` is writable for its length.
    let n = check_size(unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            fd.as_fd().as_raw_fd(),
            buf.as_mut_ptr(),
            buf.len(),
        )
    })?;
    Ok(parse(&buf[..n]))
}

/// Reads the next entries into mapped memory, and says how many bytes they are.
pub fn getdents_mem(fd: impl AsFd, to: &Slice) -> Res<usize> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: A `Slice` lies inside a live mapping; a fault in it is the kernel's to report.
    check_size(unsafe { libc::syscall(libc::SYS_getdents64, fd, to.as_ptr(), to.len()) })
}

/// Reads everything from where the descriptor stands to the end.
pub fn read_all(fd: impl AsFd, size: usize) -> Res<Vec<Entry>> {
    let mut all = Vec::new();
    loop {
        let some = getdents(fd.as_fd(), size)?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

fn parse(mut buf: &[u8]) -> Vec<Entry> {
    const HEADER: usize = 19;
    let mut entries = Vec::new();
    while buf.len() > HEADER {
        let ino = u64::from_ne_bytes(word(buf, 0));
        let next = i64::from_ne_bytes(word(buf, 8));
        let len = usize::from(u16::from_ne_bytes([buf[16], buf[17]]));
        if len <= HEADER || len > buf.len() {
            break;
        }
        let name = buf[HEADER..len].split(|b| *b == 0).next().unwrap_or(&[]);
        entries.push(Entry {
            name: String::from_utf8_lossy(name).into_owned(),
            kind: buf[18],
            ino,
            next,
        });
        buf = &buf[len..];
    }
    entries
}

fn word(buf: &[u8], at: usize) -> [u8; 8] {
    let mut word = [0; 8];
    word.copy_from_slice(&buf[at..at + 8]);
    word
}
