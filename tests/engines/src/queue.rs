// SPDX-License-Identifier: GPL-2.0
//! Requests in, completions out.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::buffer::Buffer;
use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::libaio::Libaio;
use crate::mapping::MmapQueue;
use crate::sync::Sync;
use crate::uring::Uring;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// File to buffer.
    Read,
    /// Buffer to file.
    Write,
}

/// One request. The caller names it; it gets it back with the completion.
#[derive(Debug)]
pub struct Request {
    /// The caller's name for it.
    pub id: usize,
    /// What to do.
    pub op: Op,
    /// Offset in the file in bytes.
    pub offset: u64,
    /// Bytes; at most the buffer's length.
    pub len: usize,
    /// The data.
    pub buffer: Buffer,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Completion {
    /// The caller's name for the request.
    pub id: usize,
    /// Bytes transferred, or why none were.
    pub result: Result<usize, Errno>,
    /// The data.
    pub buffer: Buffer,
}

/// A request that was never handed to the kernel.
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub errno: Errno,
    /// The request.
    pub request: Request,
}

/// Executes requests on one file.
pub trait Queue: Send {
    /// How many requests may be outstanding.
    fn depth(&self) -> usize;

    /// How many are.
    fn in_flight(&self) -> usize;

    /// Hands a request to the kernel.
    ///
    /// # Errors
    /// With the request, if the kernel did not take it: nothing of it happened.
    fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>>;

    /// Waits up to `wait` for at least one completion, if any request is outstanding, and takes all
    /// that have arrived.
    ///
    /// # Errors
    /// If the queue itself is broken.
    fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error>;
}

/// By which interface requests reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// pread(2), pwrite(2).
    Sync,
    /// io_submit(2), io_getevents(2).
    Libaio,
    /// io_uring(7).
    Uring,
    /// Loads and stores in a shared mapping.
    Mmap,
}

/// An engine: an interface, and whether the page cache is passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The interface.
    pub path: Path,
    /// `O_DIRECT`.
    pub direct: bool,
}

impl Kind {
    /// pread and pwrite through the page cache.
    pub const BUFFERED: Kind = Kind::new(Path::Sync, false);
    /// pread and pwrite around the page cache.
    pub const DIRECT: Kind = Kind::new(Path::Sync, true);
    /// libaio around the page cache.
    pub const LIBAIO: Kind = Kind::new(Path::Libaio, true);
    /// io_uring around the page cache.
    pub const URING: Kind = Kind::new(Path::Uring, true);
    /// io_uring through the page cache.
    pub const URING_BUFFERED: Kind = Kind::new(Path::Uring, false);
    /// libaio through the page cache.
    pub const LIBAIO_BUFFERED: Kind = Kind::new(Path::Libaio, false);
    /// Loads and stores.
    pub const MMAP: Kind = Kind::new(Path::Mmap, false);

    /// Every engine with its name.
    pub const ALL: [(&'static str, Kind); 7] = [
        ("buffered", Self::BUFFERED),
        ("direct", Self::DIRECT),
        ("libaio", Self::LIBAIO),
        ("libaio-buffered", Self::LIBAIO_BUFFERED),
        ("uring", Self::URING),
        ("uring-buffered", Self::URING_BUFFERED),
        ("mmap", Self::MMAP),
    ];

    const fn new(path: Path, direct: bool) -> Self {
        Self { path, direct }
    }

    /// The engine's name.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, kind)| *kind == self)
            .map_or("mmap", |(name, _)| name)
    }

    /// Whether more than one request can be outstanding.
    pub fn is_async(self) -> bool {
        matches!(self.path, Path::Libaio | Path::Uring)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
            .ok_or_else(|| format!("no engine is called \"{name}\""))
    }
}

/// Opens a file for an engine. `len` is the file's length, which a mapping covers; `depth` is for
/// engines that can have more than one request outstanding.
///
/// # Errors
/// If the file cannot be opened in that mode, or the kernel lacks the engine.
pub fn open(
    kind: Kind,
    path: &std::path::Path,
    len: usize,
    depth: usize,
) -> Result<Box<dyn Queue>, Error> {
    let file = File::open(path, kind.direct)?;
    Ok(match kind.path {
        Path::Sync => Box::new(Sync::new(file)),
        Path::Libaio => Box::new(Libaio::new(file, depth)?),
        Path::Uring => Box::new(Uring::new(file, depth)?),
        Path::Mmap => Box::new(MmapQueue::new(file, len)?),
    })
}
