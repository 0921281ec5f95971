// SPDX-License-Identifier: GPL-2.0
//! What is raced on: a real file, or something that lies about one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use engines::{Advice, Allocate, Errno, Fate, File, Job, Kind, Queue, Remote};
use oracle::Change;

/// How often the cache is dropped: somebody may just be busy with a page.
const TRIES: usize = 5;

/// How long such a one is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// A thing with content that engines can be opened on.
pub trait Store: Send + Sync {
    /// Opens an engine.
    ///
    /// # Errors
    /// As [`engines::open`].
    fn open(&self, kind: Kind, depth: usize) -> Result<Box<dyn Queue>, engines::Error>;

    /// Opens an engine in a process of its own, for requests of at most `longest` bytes.
    ///
    /// # Errors
    /// As [`Remote::start`].
    fn open_apart(
        &self,
        kind: Kind,
        _depth: usize,
        _longest: usize,
        _fate: Fate,
    ) -> Result<Box<dyn Queue>, engines::Error> {
        Err(engines::Error::Unavailable {
            engine: kind.name(),
            errno: Errno::EOPNOTSUPP,
        })
    }

    /// Opens an engine on a duplicate of a descriptor that all engines of its mode share.
    ///
    /// # Errors
    /// As [`engines::open`].
    fn open_together(&self, kind: Kind, depth: usize) -> Result<Box<dyn Queue>, engines::Error> {
        self.open(kind, depth)
    }

    /// Makes a file that shares all blocks.
    ///
    /// # Errors
    /// What the call reports.
    fn twin(&self) -> Result<Twin, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Flushes, and reports what went wrong with the file since it was made.
    ///
    /// # Errors
    /// What fsync reports.
    fn fsync(&self) -> Result<(), Errno>;

    /// Advises about the cache.
    ///
    /// # Errors
    /// What the call reports; it has no consequence.
    fn advise(&self, advice: Advice, offset: u64, len: u64) -> Result<(), Errno>;

    /// The same by a duplicate of the descriptor that direct engines share.
    ///
    /// # Errors
    /// What the call reports.
    fn advise_together(&self, advice: Advice, offset: u64, len: u64) -> Result<(), Errno> {
        self.advise(advice, offset, len)
    }

    /// Drops what is cached of it, and says how many pages stay all the same; none where nobody can
    /// tell, or where there is nothing behind the cache.
    fn drop_cache(&self) -> Option<u64> {
        None
    }

    /// Changes the size, or content without data.
    ///
    /// # Errors
    /// What the call reports.
    fn change(&self, change: Change) -> Result<(), Errno>;

    /// The size, as fstat tells it.
    ///
    /// # Errors
    /// What the call reports.
    fn size(&self) -> Result<u64, Errno>;

    /// What to call it in reports.
    fn label(&self) -> String;
}

/// A file that shared all blocks of another one when it was made. It has no name any more.
#[derive(Debug)]
pub struct Twin {
    /// Opened for direct I/O.
    pub direct: File,
    /// Opened for the cache.
    pub cached: File,
}

/// A file. Its descriptor for fsync is opened before anything happens, because an error of
/// write-back is reported once to each descriptor that was open at the time.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    len: u64,
    sentinel: File,
    /// For advice: what fsync tells one descriptor it still tells the other.
    hand: File,
    /// Descriptors that several share: cached and direct.
    shared: [OnceLock<File>; 2],
    twins: AtomicU64,
}

impl FileStore {
    /// Takes a file as it is.
    pub fn new(path: PathBuf, len: u64) -> Result<Self> {
        Ok(Self {
            sentinel: File::open(&path, false)?,
            hand: File::open(&path, false)?,
            shared: Default::default(),
            twins: AtomicU64::new(0),
            path,
            len,
        })
    }

    /// A duplicate of the descriptor that all share in a mode.
    fn together(&self, direct: bool) -> Result<File, engines::Error> {
        let cell = &self.shared[usize::from(direct)];
        if cell.get().is_none() {
            // Who comes second finds the first one's.
            let _ = cell.set(File::open(&self.path, direct)?);
        }
        cell.get().unwrap_or(&self.hand).duplicate()
    }

    fn make_twin(&self, path: &Path) -> Result<Twin, engines::Error> {
        let cached = File::create(path)?;
        cached
            .clone_of(&self.hand)
            .map_err(|errno| engines::Error::Call {
                call: "FICLONE",
                errno,
            })?;
        let direct = File::open(path, true)?;
        Ok(Twin { direct, cached })
    }
}

impl Store for FileStore {
    fn open(&self, kind: Kind, depth: usize) -> Result<Box<dyn Queue>, engines::Error> {
        engines::open(kind, &self.path, self.len as usize, depth)
    }

    fn open_apart(
        &self,
        kind: Kind,
        depth: usize,
        longest: usize,
        fate: Fate,
    ) -> Result<Box<dyn Queue>, engines::Error> {
        let remote = Remote::start(&Job {
            kind,
            path: &self.path,
            len: self.len as usize,
            depth,
            longest,
            fate,
        })?;
        Ok(Box::new(remote))
    }

    fn open_together(&self, kind: Kind, depth: usize) -> Result<Box<dyn Queue>, engines::Error> {
        let file = self.together(kind.direct)?;
        engines::open_on(kind, file, &self.path, self.len as usize, depth)
    }

    fn twin(&self) -> Result<Twin, Errno> {
        let nth = self.twins.fetch_add(1, Ordering::Relaxed);
        let path = self.path.with_extension(format!("clone{nth}"));
        let made = plain(self.make_twin(&path));
        // It is not there if that failed early.
        let _ = std::fs::remove_file(&path);
        made
    }

    fn advise_together(&self, advice: Advice, offset: u64, len: u64) -> Result<(), Errno> {
        plain(self.together(true))?.advise(advice, offset, len)
    }

    fn fsync(&self) -> Result<(), Errno> {
        self.sentinel.fsync()
    }

    fn advise(&self, advice: Advice, offset: u64, len: u64) -> Result<(), Errno> {
        self.hand.advise(advice, offset, len)
    }

    fn drop_cache(&self) -> Option<u64> {
        if self.hand.is_in_memory() == Ok(true) {
            return None;
        }
        let mut left = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(PAUSE);
            }
            // Pages that somebody maps or writes back are passed over, which is no error.
            let _ = self.hand.advise(Advice::DontNeed, 0, self.len);
            left = self.hand.cached(0, self.len).ok();
            if left.is_none_or(|pages| pages == 0) {
                break;
            }
        }
        left
    }

    fn change(&self, change: Change) -> Result<(), Errno> {
        let (how, offset, len) = match change {
            Change::Truncate { len } => return plain(self.hand.set_len(len)),
            Change::Allocate { offset, len, keep } => match keep {
                true => (Allocate::ReserveKeep, offset, len),
                false => (Allocate::Reserve, offset, len),
            },
            Change::Zero { offset, len, keep } => match keep {
                true => (Allocate::ZeroKeep, offset, len),
                false => (Allocate::Zero, offset, len),
            },
            Change::Punch { offset, len } => (Allocate::Punch, offset, len),
            Change::Collapse { offset, len } => (Allocate::Collapse, offset, len),
            Change::Insert { offset, len } => (Allocate::Insert, offset, len),
        };
        self.hand.fallocate(how, offset, len)
    }

    fn size(&self) -> Result<u64, Errno> {
        plain(self.hand.size())
    }

    fn label(&self) -> String {
        let name = self
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_default()
    }
}

fn plain<T>(result: Result<T, engines::Error>) -> Result<T, Errno> {
    result.map_err(|error| error.errno().unwrap_or(Errno::EIO))
}
