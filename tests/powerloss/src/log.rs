// SPDX-License-Identifier: GPL-2.0
//! A log of writes in the format of dm-log-writes, which QEMU's `blklogwrites` writes as well.
//!
//! One sector of superblock, then for each entry a sector of header and its data. The superblock's
//! count lags behind when the writer was killed, so the entries themselves are followed until the
//! first that was not written. A later one may have been answered, as entries are written side by side,
//! but then it is as if the cut had come before it: who waits for an answer is further on in the log.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

const MAGIC: u64 = 0x6a_7366_7773_6872;
const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
const SECTOR: u64 = 512;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    flags: u64,
    /// Where on the disk its data belong, in bytes.
    pub offset: u64,
    /// How many bytes of data it has.
    pub len: u64,
    /// Where in the log they are.
    at: u64,
}

impl Entry {
    /// Whether what was written before it is durable after it.
    pub fn is_flush(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// Whether its own data are durable at once.
    pub fn is_fua(&self) -> bool {
        self.flags & FUA != 0
    }

    /// Where on the disk its data end.
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// A log.
pub struct Log {
    file: File,
    pub entries: Vec<Entry>,
}

impl Log {
    /// Reads all headers.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let head = header(&file, 0).context("the log is empty")?;
        if head[0] != MAGIC || head[1] != 1 || head[3] as u32 != SECTOR as u32 {
            bail!("{} is no log of writes in 512-byte sectors", path.display());
        }
        let size = file.metadata()?.len();
        let mut entries = Vec::new();
        let mut at = SECTOR;
        while let Some((entry, next)) = parse(&file, at, size) {
            entries.push(entry);
            at = next;
        }
        Ok(Self { file, entries })
    }

    /// The data of an entry.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>> {
        let mut data = vec![0; entry.len as usize];
        self.file.read_exact_at(&mut data, entry.at)?;
        Ok(data)
    }
}

fn header(file: &File, at: u64) -> Option<[u64; 4]> {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at).ok()?;
    let mut fields = [0; 4];
    for (field, raw) in fields.iter_mut().zip(bytes.chunks_exact(8)) {
        *field = u64::from_le_bytes(raw.try_into().ok()?);
    }
    Some(fields)
}

/// The entry at a place of the log and where the next one is, if it is there as a whole.
fn parse(file: &File, at: u64, size: u64) -> Option<(Entry, u64)> {
    let [sector, sectors, flags, private] = header(file, at)?;
    if sectors == 0 && flags == 0 {
        return None;
    }
    let len = if flags & (DISCARD | MARK) != 0 {
        0
    } else {
        sectors * SECTOR
    };
    let own = if flags & MARK != 0 { 0 } else { private };
    let data_at = at + SECTOR;
    let next = data_at + (len + own).next_multiple_of(SECTOR);
    let entry = Entry {
        flags,
        offset: sector * SECTOR,
        len,
        at: data_at,
    };
    (next <= size).then_some((entry, next))
}
