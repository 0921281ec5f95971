// SPDX-License-Identifier: GPL-2.0
//! Performs the steps of a plan.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engines::{Buffer, Kind, Mapping, Op, Queue, Request};

use crate::plan::{Change, Mode, PROFILES, Piece, Step, Sync};
use crate::word::{WORD, encode};

const ALIGN: usize = 4096;
const DEPTH: usize = 8;

/// Zeroed memory that direct I/O accepts.
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` bytes.
    pub fn new(len: usize) -> Self {
        let memory = vec![0; len + ALIGN];
        let start = memory.as_ptr().align_offset(ALIGN);
        Self { memory, start, len }
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// One worker's descriptors, queues and mapping of its file, opened when first needed.
pub struct Hands {
    worker: usize,
    path: PathBuf,
    plain: File,
    files: HashMap<i32, File>,
    queues: HashMap<Kind, Box<dyn Queue>>,
    mapping: Option<Mapping>,
}

impl Hands {
    /// For the file of a worker in this directory.
    pub fn new(dir: &Path, worker: usize) -> Result<Self> {
        let path = dir.join(PROFILES[worker].file);
        let plain = open(&path, 0)?;
        Ok(Self {
            worker,
            path,
            plain,
            files: HashMap::new(),
            queues: HashMap::new(),
            mapping: None,
        })
    }

    /// Performs a step; when it returns the kernel has acknowledged it.
    pub fn perform(&mut self, number: u64, step: &Step) -> Result<()> {
        match &step.change {
            Change::Truncate(size) => self.plain.set_len(*size)?,
            Change::Write(pieces) => self.write(number, step, pieces)?,
        }
        match step.sync {
            Sync::None | Sync::Dsync => Ok(()),
            Sync::Fsync => self.plain.sync_all().context("fsync"),
            Sync::Fdatasync => self.plain.sync_data().context("fdatasync"),
            Sync::Syncfs => syncfs(&self.path),
            Sync::Msync => self.mapping()?.sync().context("msync"),
        }
    }

    fn write(&mut self, number: u64, step: &Step, pieces: &[Piece]) -> Result<()> {
        match step.mode {
            Mode::Mmap => self.store(number, pieces),
            Mode::Libaio => self.submit(Kind::LIBAIO, number, pieces),
            Mode::Uring => self.submit(Kind::URING, number, pieces),
            Mode::Buffered => self.pwrite(0, number, step.sync, pieces),
            Mode::Direct => self.pwrite(libc::O_DIRECT, number, step.sync, pieces),
        }
    }

    fn pwrite(&mut self, flags: i32, number: u64, sync: Sync, pieces: &[Piece]) -> Result<()> {
        let flags = flags
            | if sync == Sync::Dsync {
                libc::O_DSYNC
            } else {
                0
            };
        let file = match self.files.entry(flags) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(open(&self.path, flags)?),
        };
        for piece in pieces {
            let mut data = Aligned::new(piece.len as usize);
            let words = words(self.worker, number, piece);
            for (bytes, word) in data.bytes().chunks_exact_mut(8).zip(words) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            file.write_all_at(data.bytes(), piece.offset)
                .context("pwrite")?;
        }
        Ok(())
    }

    fn store(&mut self, number: u64, pieces: &[Piece]) -> Result<()> {
        for piece in pieces {
            let words: Vec<u64> = words(self.worker, number, piece).collect();
            self.mapping()?
                .store(piece.offset, &words)
                .context("store")?;
        }
        Ok(())
    }

    fn mapping(&mut self) -> Result<&Mapping> {
        if self.mapping.is_none() {
            let file = engines::File::open(&self.path, false)?;
            let len = file.size()? as usize;
            self.mapping = Some(Mapping::new(file, len)?);
        }
        self.mapping.as_ref().context("there is no mapping")
    }

    /// All pieces at once, then all completions.
    fn submit(&mut self, kind: Kind, number: u64, pieces: &[Piece]) -> Result<()> {
        let requests: Vec<_> = pieces
            .iter()
            .map(|piece| self.request(number, piece))
            .collect();
        let queue = match self.queues.entry(kind) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let len = self.plain.metadata()?.len() as usize;
                entry.insert(engines::open(kind, &self.path, len, DEPTH)?)
            }
        };
        for request in requests {
            let rejected = queue.submit(request?).err();
            ensure!(
                rejected.is_none(),
                "{kind} does not take a request: {rejected:?}"
            );
        }
        collect(queue.as_mut(), pieces)
    }

    fn request(&self, number: u64, piece: &Piece) -> Result<Request> {
        let mut buffer = Buffer::new(piece.len as usize, ALIGN)?;
        for (to, word) in buffer
            .words_mut()
            .iter_mut()
            .zip(words(self.worker, number, piece))
        {
            *to = word;
        }
        Ok(Request {
            id: piece.offset as usize,
            op: Op::Write,
            offset: piece.offset,
            len: piece.len as usize,
            buffer,
        })
    }
}

/// The words that a step writes to a piece.
fn words(worker: usize, number: u64, piece: &Piece) -> impl Iterator<Item = u64> + use<> {
    let places = piece.offset / WORD..(piece.offset + piece.len) / WORD;
    places.map(move |place| encode(worker, number, place))
}

fn collect(queue: &mut dyn Queue, pieces: &[Piece]) -> Result<()> {
    let mut done = Vec::new();
    while queue.in_flight() > 0 {
        queue.reap(Duration::from_secs(1), &mut done)?;
    }
    ensure!(
        done.len() == pieces.len(),
        "{} of {} requests completed",
        done.len(),
        pieces.len()
    );
    for completion in done {
        let piece = pieces
            .iter()
            .find(|piece| piece.offset as usize == completion.id);
        let written = completion.result.context("asynchronous write")?;
        ensure!(
            piece.is_some_and(|piece| piece.len == written as u64),
            "short asynchronous write"
        );
    }
    Ok(())
}

fn open(path: &Path, flags: i32) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

fn syncfs(path: &Path) -> Result<()> {
    let status = Command::new("sync")
        .arg("-f")
        .arg(path)
        .status()
        .context("cannot run sync")?;
    ensure!(status.success(), "sync -f says {status}");
    Ok(())
}
