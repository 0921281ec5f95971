// SPDX-License-Identifier: GPL-2.0
//! Writes a record.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cli::Choices;
use crate::crew::pulse::Role;
use crate::record::MAGIC;

/// What there is to know about a record before its requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Version of the program.
    pub program: String,
    /// The choices, with the seed.
    pub choices: Choices,
    /// Directory that was raced in.
    pub dir: String,
    /// Release of the kernel.
    pub kernel: String,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The thread's number.
    pub thread: usize,
    /// Whether it wrote.
    pub write: bool,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Bytes moved, if it succeeded.
    pub result: Option<u64>,
}

/// A record being written by several threads.
#[derive(Debug)]
pub struct Log {
    clock: AtomicU64,
    out: Mutex<BufWriter<File>>,
    failed: Mutex<Option<std::io::Error>>,
}

impl Log {
    /// Begins a record.
    pub fn create(path: &Path, header: &Header) -> Result<Self> {
        let what = || format!("cannot write {}", path.display());
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path).with_context(what)?);
        let header = serde_json::to_string(header)?;
        writeln!(out, "{MAGIC}\n{header}").with_context(what)?;
        Ok(Self {
            clock: AtomicU64::new(0),
            out: Mutex::new(out),
            failed: Mutex::new(None),
        })
    }

    /// The next ordinal.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// A scenario begins.
    pub fn scenario(&self, name: &str) {
        self.line(&format!("scenario {name}\n"));
    }

    /// A thread is about to begin.
    pub fn thread(&self, nth: usize, engine: &str, role: Role) {
        self.line(&format!("thread {nth} {engine} {}\n", role.name()));
    }

    /// A request has ended.
    pub fn request(&self, entry: &Entry) {
        self.line(&entry.line());
    }

    fn line(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = out.write_all(text.as_bytes()) {
            self.keep(error);
        }
    }

    fn keep(&self, error: std::io::Error) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(error);
    }

    /// Whether everything was written.
    pub fn finish(&self) -> Result<()> {
        let flushed = self
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush();
        if let Err(error) = flushed {
            self.keep(error);
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match failed.take() {
            Some(error) => Err(error).context("the record is not complete"),
            None => Ok(()),
        }
    }
}

impl Entry {
    fn line(&self) -> String {
        let Self {
            thread,
            offset,
            len,
            start,
            end,
            ..
        } = self;
        let what = if self.write { 'w' } else { 'r' };
        let result = self.result.map_or("-".to_owned(), |n| n.to_string());
        format!("{thread} {what} {offset} {len} {start} {end} {result}\n")
    }

    /// Reads a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut next = || words.next();
        let entry = Self {
            thread: next()?.parse().ok()?,
            write: match next()? {
                "w" => true,
                "r" => false,
                _ => return None,
            },
            offset: next()?.parse().ok()?,
            len: next()?.parse().ok()?,
            start: next()?.parse().ok()?,
            end: next()?.parse().ok()?,
            result: match next()? {
                "-" => None,
                n => Some(n.parse().ok()?),
            },
        };
        next().is_none().then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for result in [None, Some(512)] {
            let entry = Entry {
                thread: 3,
                write: true,
                offset: 4096,
                len: 512,
                start: 7,
                end: 9,
                result,
            };
            assert_eq!(Entry::parse(entry.line().trim_end()), Some(entry));
        }
        for wrong in ["", "1 x 0 0 0 0 0", "1 w 0 0 0 0", "1 w 0 0 0 0 0 0"] {
            assert_eq!(Entry::parse(wrong), None, "{wrong}");
        }
    }
}
