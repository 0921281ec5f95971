// SPDX-License-Identifier: GPL-2.0
//! Whether direct I/O really passes the page cache by.
//!
//! `O_DIRECT` is a wish: a filesystem may serve it through the page cache. After reads of a range
//! that was not cached, pages of it in the cache prove that; none prove the opposite. A write through
//! the cache may clean up behind itself, but it dirties pages, which the kernel counts for the whole
//! machine: if fewer were dirtied meanwhile than were written, the write was direct. If more were, it
//! may have been somebody else, and nothing is said.

use std::fs;
use std::path::Path;

use crate::advice::Advice;
use crate::buffer::Buffer;
use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::kind::Kind;
use crate::probe::page_size;
use crate::queue::{Op, PATIENCE, Queue, Request, drain};

/// Bytes that are read, and that are written.
const SPAN: u64 = 2 << 20;

/// Bytes of a request.
const PIECE: usize = 64 << 10;

/// How often a busy machine is given another chance.
const TRIES: usize = 3;

/// What was found out about one kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Around the page cache.
    Direct,
    /// Through it.
    Cached,
    /// Nobody can tell here.
    Unknown,
}

/// What was found out about an engine on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directness {
    /// Its reads.
    pub reads: Verdict,
    /// Its writes.
    pub writes: Verdict,
}

impl Verdict {
    /// A word for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Cached => "cached",
            Self::Unknown => "unknown",
        }
    }
}

impl Directness {
    /// Bytes of the file that is needed.
    pub const LEN: u64 = 2 * SPAN;

    /// Reads and writes a file of [`LEN`](Self::LEN) bytes, all of them written, that nobody else
    /// uses.
    ///
    /// # Errors
    /// As [`open`](crate::open); or what the requests return.
    pub fn observe(kind: Kind, path: &Path) -> Result<Self, Error> {
        let file = File::open(path, false)?;
        let mut queue = crate::open(kind, path, Self::LEN as usize, 1)?;
        let mut buffer = Some(queue.buffer(PIECE, PIECE)?);
        let reads = reads(&file, queue.as_mut(), &mut buffer)?;
        let writes = writes(&file, queue.as_mut(), &mut buffer)?;
        Ok(Self { reads, writes })
    }
}

fn reads(
    file: &File,
    queue: &mut dyn Queue,
    memory: &mut Option<Buffer>,
) -> Result<Verdict, Error> {
    if !drop_cache(file) {
        return Ok(Verdict::Unknown);
    }
    through(queue, Op::Read, SPAN, memory)?;
    Ok(match file.cached(SPAN, SPAN) {
        Ok(0) => Verdict::Direct,
        Ok(_) => Verdict::Cached,
        Err(_) => Verdict::Unknown,
    })
}

fn writes(
    file: &File,
    queue: &mut dyn Queue,
    memory: &mut Option<Buffer>,
) -> Result<Verdict, Error> {
    let pages = SPAN / page_size() as u64;
    for _ in 0..TRIES {
        if !drop_cache(file) {
            return Ok(Verdict::Unknown);
        }
        let before = dirtied();
        through(queue, Op::Write, 0, memory)?;
        let after = dirtied();
        if file.cached(0, SPAN).is_ok_and(|pages| pages > 0) {
            return Ok(Verdict::Cached);
        }
        // Each processor keeps a part of the count to itself for a while, far less than a half.
        match (before, after) {
            (Some(before), Some(after)) if after - before < pages / 2 => {
                return Ok(Verdict::Direct);
            }
            _ => {}
        }
    }
    Ok(Verdict::Unknown)
}

/// Whether nothing of the file is cached after it was written back and dropped.
fn drop_cache(file: &File) -> bool {
    let dropped = file.fsync();
    let dropped = dropped.and_then(|()| file.advise(Advice::DontNeed, 0, Directness::LEN));
    dropped.is_ok() && file.cached(0, Directness::LEN) == Ok(0)
}

/// Moves a whole span in pieces.
fn through(
    queue: &mut dyn Queue,
    op: Op,
    from: u64,
    memory: &mut Option<Buffer>,
) -> Result<(), Error> {
    let call = match op {
        Op::Read => "a direct read of a file just made",
        Op::Write => "a direct write to a file just made",
    };
    let fail = |errno| Error::Call { call, errno };
    for nth in 0..SPAN / PIECE as u64 {
        let buffer = memory.take().ok_or(fail(Errno::EIO))?;
        let offset = from + nth * PIECE as u64;
        let len = PIECE;
        let request = Request {
            id: 0,
            op,
            offset,
            len,
            buffer,
        };
        let submitted = queue.submit(request);
        submitted.map_err(|rejected| fail(rejected.errno))?;
        let mut done = Vec::new();
        drain(queue, PATIENCE, call, &mut done)?;
        let done = done.pop().ok_or(fail(Errno::EIO))?;
        done.result.map_err(fail)?;
        *memory = Some(done.buffer);
    }
    Ok(())
}

/// How many pages have been dirtied since the machine was started.
fn dirtied() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("nr_dirtied "));
    line?.trim().parse().ok()
}
