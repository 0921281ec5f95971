// SPDX-License-Identifier: GPL-2.0
//! The directory of our own in which files are made, and its removal.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use engines::{DioAlign, Directness, Errno, File, Kind, page_size, signals, supervise};
use oracle::History;

use crate::status::Lacking;

/// Bytes written at once when a file is filled.
const CHUNK: u64 = 1 << 20;

/// What the names of our directories begin with.
const PREFIX: &str = ".diorace-";

/// A new directory below the one that was given; removed with all it holds when dropped.
#[derive(Debug)]
pub struct Arena {
    dir: PathBuf,
    /// Set when what is in it shall stay.
    kept: AtomicBool,
    /// Which engines are really direct here; none where it could not be observed.
    direct: Mutex<BTreeMap<Kind, Option<Directness>>>,
}

/// What files here ask of those who use them.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Offset alignment of direct I/O.
    pub align: u64,
    /// Alignment of what passes the page cache by, no less than `align`; what is aligned to less may go
    /// through it without a word.
    pub bypass: u64,
    /// Memory alignment of direct I/O.
    pub memory: usize,
    /// Preferred block size of the filesystem.
    pub block: u64,
    /// Size of a page of memory.
    pub page: u64,
    /// The least size of a direct write that may be atomic, no less than `bypass`; none where there is no
    /// such thing.
    pub atomic: Option<u64>,
}

impl Geometry {
    /// That of most filesystems, for tests without one.
    #[cfg(test)]
    pub const USUAL: Self = Self {
        align: 512,
        bypass: 512,
        memory: 512,
        block: 4096,
        page: 4096,
        atomic: None,
    };

    /// What lies in different parts of this size shares no folio.
    pub fn granule(&self) -> u64 {
        oracle::granule(self.page)
    }
}

impl Arena {
    /// Makes the directory.
    pub fn new(parent: &Path) -> Result<Self> {
        tell_leftovers(parent);
        for attempt in 0..100 {
            let dir = parent.join(format!("{PREFIX}{}-{attempt}", std::process::id()));
            match fs::create_dir(&dir) {
                Ok(()) => {
                    // If this process is killed, its parent removes it.
                    supervise::owns(&fs::canonicalize(&dir).unwrap_or_else(|_| dir.clone()));
                    let direct = Mutex::default();
                    let kept = AtomicBool::new(false);
                    return Ok(Self { dir, kept, direct });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let what = format!("cannot make files in {}: {error}", parent.display());
                    return Err(Lacking(what).into());
                }
            }
        }
        Err(Lacking(format!("no free name in {}", parent.display())).into())
    }

    /// What is known of an engine, if it was observed.
    pub fn directness(&self, kind: Kind) -> Option<Option<Directness>> {
        let direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        direct.get(&kind).copied()
    }

    /// Keeps what was observed of an engine.
    pub fn remember(&self, kind: Kind, found: Option<Directness>) {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        direct.insert(kind, found);
    }

    /// Lets the directory stay.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Where a file of this name lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a file that holds the initial content of a history, on disk.
    pub fn fill(&self, name: &str, history: &History) -> Result<PathBuf> {
        self.make(name, |file| fill(file, history))
    }

    /// Makes a file and does something with it, without which it does not stay.
    pub fn make(&self, name: &str, begin: impl FnOnce(&File) -> Result<()>) -> Result<PathBuf> {
        let path = self.path(name);
        let file = File::create(&path)?;
        let begun = begin(&file);
        if begun.is_err() {
            // The room may be enough for the next one.
            fs::remove_file(&path)?;
        }
        begun.map(|()| path)
    }

    /// Finds out what direct I/O needs here; an error that says so if it does not work.
    pub fn geometry(&self) -> Result<Geometry> {
        let path = self.path("probe");
        let file = File::create(&path)?;
        let zeroes = vec![0u64; 8192];
        file.pwrite(&zeroes, 0)
            .map_err(|errno| no_room(errno, 65536))?;
        file.fsync().map_err(|errno| no_room(errno, 65536))?;
        let direct = match File::open(&path, true) {
            Err(error) if error.errno() == Some(Errno::EINVAL) => {
                return Err(Lacking("this filesystem has no O_DIRECT".into()).into());
            }
            other => other?,
        };
        let align = DioAlign::probe(&direct)?;
        let block = file.block_size()?;
        fs::remove_file(&path).context("cannot remove a file just made")?;
        let Some(align) = align else {
            let what = "direct I/O is accepted by open and refused by read at every alignment";
            return Err(Lacking(what.into()).into());
        };
        let bypass = align.bypass(&direct)?;
        let units = engines::atomic_units(&direct);
        Ok(Geometry {
            align: align.offset,
            bypass,
            memory: align.memory,
            block: block.clamp(align.offset, 65536.max(align.offset)),
            page: page_size() as u64,
            atomic: units.and_then(|units| least_atomic(&units, bypass)),
        })
    }
}

/// The least size that a filesystem which takes these with `RWF_ATOMIC` takes, and that is a multiple of
/// `unit`.
fn least_atomic(units: &RangeInclusive<usize>, unit: u64) -> Option<u64> {
    let least = units.start().next_power_of_two().max(unit as usize);
    units.contains(&least).then_some(least as u64)
}

/// Names what earlier runs have left, because they were killed or were told to.
fn tell_leftovers(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| is_leftover(name)) {
        let path = parent.join(name);
        eprintln!(
            "diorace: files of an earlier run, which was killed or had --keep, are here; \
             once nobody needs them: rm -r {}",
            path.display()
        );
    }
}

/// Whether a name is that of a directory of ours whose process is gone.
fn is_leftover(name: &str) -> bool {
    let process = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next());
    process.is_some_and(|process| {
        process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists()
    })
}

/// Writes the initial content of a history to a file.
fn fill(file: &File, history: &History) -> Result<()> {
    let len = history.initial_size();
    let mut words = vec![0u64; (CHUNK / 8) as usize];
    let mut at = 0;
    while at < len {
        if signals::stop_asked() {
            return Err(Lacking("a signal came before the file was filled".into()).into());
        }
        let n = CHUNK.min(len - at);
        let part = &mut words[..(n / 8) as usize];
        history.fill_initial(at, part);
        // After a short one the next says why.
        let done = file.pwrite(part, at).map_err(|errno| no_room(errno, len))?;
        if done < 8 {
            return Err(no_room(Errno::ENOSPC, len));
        }
        at += done as u64 / 8 * 8;
    }
    file.fsync().map_err(|errno| no_room(errno, len))?;
    Ok(())
}

/// An error that says that the environment lacks room.
pub fn no_room(errno: Errno, len: u64) -> anyhow::Error {
    let what = match errno {
        Errno::ENOSPC | Errno::EDQUOT => format!("no room for a file of {len} bytes: {errno}"),
        Errno::EFBIG => {
            format!("a file of {len} bytes is too large here (see ulimit -f): {errno}")
        }
        other => format!("cannot fill a file of {len} bytes: {other}"),
    };
    Lacking(what).into()
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Relaxed) {
            eprintln!("diorace: files are left in {}", self.dir.display());
            return;
        }
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if let Err(error) =
            fs::remove_dir_all(&self.dir).or_else(|e| if gone(&e) { Ok(()) } else { Err(e) })
        {
            eprintln!("diorace: cannot remove {}: {error}", self.dir.display());
        }
    }
}
