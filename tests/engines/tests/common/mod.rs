// SPDX-License-Identifier: GPL-2.0
//! Files to try engines on, and short ways to do so.

#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use engines::{Completion, Errno, Error, File, Kind, Op, Queue, Request};

pub const LEN: usize = 1 << 20;
pub const BLOCK: usize = 4096;

/// A file in the directory for tests of the whole workspace, removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str, len: u64) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("engines-{name}"));
        let _ = std::fs::remove_file(&path);
        File::create(&path).unwrap().set_len(len).unwrap();
        Self(path)
    }

    /// The file holds the number of each word.
    pub fn counted(name: &str, len: u64) -> Self {
        let scratch = Self::new(name, len);
        let words: Vec<u64> = (0..len / 8).collect();
        let file = File::open(&scratch.0, false).unwrap();
        assert_eq!(file.pwrite(&words, 0), Ok(words.len() * 8));
        file.fsync().unwrap();
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Says once what proves nothing here, although it counts as passed.
pub fn skipped(what: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap().insert(what.to_owned()) {
        // Not by eprintln, which is heard only if a test fails.
        let _ = writeln!(io::stderr(), "skipped: {what}");
    }
}

/// Opens an engine; none if this machine or this file lacks it, which is said.
pub fn engine(kind: Kind, scratch: &Scratch, depth: usize) -> Option<Box<dyn Queue>> {
    match engines::open(kind, &scratch.0, LEN, depth) {
        Ok(queue) => Some(queue),
        Err(error @ Error::Unavailable { .. }) => {
            skipped(&format!("{kind}: {error}"));
            None
        }
        Err(Error::Open { errno, .. }) if errno == Errno::EINVAL => {
            skipped(&format!("{kind}: no O_DIRECT here"));
            None
        }
        Err(error) => panic!("{kind}: {error}"),
    }
}

/// A request with memory of the engine's choice.
pub fn request(queue: &mut dyn Queue, id: usize, op: Op, offset: u64, len: usize) -> Request {
    Request {
        id,
        op,
        offset,
        len,
        buffer: queue.buffer(len.max(8), BLOCK).unwrap(),
    }
}

/// Everything outstanding, by the requests' names.
pub fn drain(queue: &mut dyn Queue) -> Vec<Completion> {
    let mut out = Vec::new();
    while queue.in_flight() > 0 {
        queue.reap(Duration::from_secs(5), &mut out).unwrap();
    }
    out.sort_unstable_by_key(|completion| completion.id);
    out
}

/// One read from beginning to end.
pub fn read(queue: &mut dyn Queue, offset: u64, len: usize) -> Completion {
    let request = request(queue, 0, Op::Read, offset, len);
    queue.submit(request).unwrap();
    drain(queue).pop().unwrap()
}

/// One write of the same word all over, from beginning to end.
pub fn write(queue: &mut dyn Queue, offset: u64, len: usize, word: u64) -> Completion {
    let mut request = request(queue, 0, Op::Write, offset, len);
    request.buffer.words_mut().fill(word);
    queue.submit(request).unwrap();
    drain(queue).pop().unwrap()
}
