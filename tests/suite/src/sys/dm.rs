// SPDX-License-Identifier: GPL-2.0

//! The device-mapper's ioctl interface, as much of it as the tests need.

use super::Res;
use super::errno::{Errno, check_unit};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

const CREATE: u64 = 3;
const REMOVE: u64 = 4;
const SUSPEND: u64 = 6;
const STATUS: u64 = 7;
const TABLE_LOAD: u64 = 9;
const TABLE_STATUS: u64 = 12;

const FLAG_SUSPEND: u32 = 1 << 1;
const FLAG_SKIP_LOCKFS: u32 = 1 << 10;
const FLAG_NOFLUSH: u32 = 1 << 11;

const HEADER: usize = 312;
const SPEC: usize = 40;
const BUFFER: usize = 4096;

/// The device-mapper itself.
pub struct Mapper {
    control: OwnedFd,
}

/// A target, which maps a run of sectors of a device.
pub struct Target {
    pub start: u64,
    pub sectors: u64,
    pub kind: &'static str,
    pub params: String,
}

impl Mapper {
    pub fn open() -> Res<Self> {
        let path = Path::new("/dev/mapper/control");
        let control = super::file::open(path, libc::O_RDWR, 0)?;
        Ok(Self { control })
    }

    /// Makes a device without a table; returns its minor number.
    pub fn create(&self, name: &str) -> Res<u64> {
        Ok(minor(&self.call(CREATE, name, 0, &[])?))
    }

    /// The minor number of a device that there is.
    pub fn minor(&self, name: &str) -> Res<u64> {
        Ok(minor(&self.call(STATUS, name, 0, &[])?))
    }

    pub fn remove(&self, name: &str) -> Res<()> {
        self.call(REMOVE, name, 0, &[]).map(|_| ())
    }

    /// Loads a table beside the one in force.
    pub fn load(&self, name: &str, table: &[Target]) -> Res<()> {
        self.call(TABLE_LOAD, name, 0, table).map(|_| ())
    }

    /// Stops the device without freezing the filesystem on it; what a target holds back is let go.
    pub fn suspend(&self, name: &str) -> Res<()> {
        let flags = FLAG_SUSPEND | FLAG_SKIP_LOCKFS | FLAG_NOFLUSH;
        self.call(SUSPEND, name, flags, &[]).map(|_| ())
    }

    /// Starts the device again, with the table loaded last.
    pub fn resume(&self, name: &str) -> Res<()> {
        self.call(SUSPEND, name, 0, &[]).map(|_| ())
    }

    /// The status line of the only target.
    pub fn status(&self, name: &str) -> Res<String> {
        let answer = self.call(TABLE_STATUS, name, FLAG_NOFLUSH, &[])?;
        let start = u32_at(&answer, 16) as usize + SPEC;
        let text = answer.get(start..).unwrap_or(&[]);
        let text = text.split(|b| *b == 0).next().unwrap_or(&[]);
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn call(&self, nr: u64, name: &str, flags: u32, table: &[Target]) -> Res<Vec<u8>> {
        let mut buf = request(name, flags, table)?;
        let number = (3 << 30) | ((HEADER as u64) << 16) | (0xfd << 8) | nr;
        // SAFETY: `buf` holds a request of as many bytes as its header says, all writable.
        check_unit(unsafe { libc::ioctl(self.control.as_raw_fd(), number, buf.as_mut_ptr()) })?;
        Ok(buf)
    }
}

/// The minor number in an answer of the kernel.
fn minor(answer: &[u8]) -> u64 {
    let dev = u64_at(answer, 40);
    (dev & 0xff) | ((dev >> 12) & 0xfff00)
}

/// A request as the kernel lays it out: a header, then for a table each target and its parameters.
fn request(name: &str, flags: u32, table: &[Target]) -> Res<Vec<u8>> {
    let mut buf = vec![0u8; BUFFER];
    if name.len() > 127 {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    put(&mut buf, 0, &4u32.to_ne_bytes());
    put(&mut buf, 12, &(BUFFER as u32).to_ne_bytes());
    put(&mut buf, 16, &(HEADER as u32).to_ne_bytes());
    put(&mut buf, 20, &(table.len() as u32).to_ne_bytes());
    put(&mut buf, 28, &flags.to_ne_bytes());
    put(&mut buf, 48, name.as_bytes());
    let mut at = HEADER;
    for target in table {
        let size = (SPEC + target.params.len() + 1).next_multiple_of(8);
        if target.kind.len() > 15 || at + size > BUFFER {
            return Err(Errno(libc::E2BIG));
        }
        put(&mut buf, at, &target.start.to_ne_bytes());
        put(&mut buf, at + 8, &target.sectors.to_ne_bytes());
        put(&mut buf, at + 20, &(size as u32).to_ne_bytes());
        put(&mut buf, at + 24, target.kind.as_bytes());
        put(&mut buf, at + SPEC, target.params.as_bytes());
        at += size;
    }
    Ok(buf)
}

fn put(buf: &mut [u8], at: usize, data: &[u8]) {
    buf[at..at + data.len()].copy_from_slice(data);
}

fn u32_at(buf: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&buf[at..at + 4]);
    u32::from_ne_bytes(word)
}

fn u64_at(buf: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&buf[at..at + 8]);
    u64::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_follow_the_header_and_point_to_the_next() {
        let target = |start, kind, params: &str| Target {
            start,
            sectors: 2048,
            kind,
            params: params.to_string(),
        };
        let table = [target(0, "linear", "/dev/x 0"), target(2048, "error", "")];
        let buf = request("name", FLAG_SUSPEND, &table).unwrap();
        assert_eq!(u32_at(&buf, 20), 2);
        assert_eq!(u64_at(&buf, 320), 2048);
        assert_eq!(&buf[336..342], b"linear");
        assert_eq!(&buf[352..360], b"/dev/x 0");
        let second = HEADER + u32_at(&buf, HEADER + 20) as usize;
        assert_eq!(u64_at(&buf, second), 2048);
        assert_eq!(&buf[second + 24..second + 29], b"error");
    }
}
