// SPDX-License-Identifier: GPL-2.0
//! Loads and stores, and what else can be done with a mapping.

use std::sync::Arc;

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::kind::Touch;
use crate::mapping::Mapping;
use crate::probe::page_size;
use crate::queue::{Op, Request};
use crate::single::Transfer;

/// Advice that leaves the content alone.
const ADVICE: [i32; 10] = [
    libc::MADV_DONTNEED,
    libc::MADV_WILLNEED,
    libc::MADV_POPULATE_READ,
    libc::MADV_COLD,
    libc::MADV_PAGEOUT,
    libc::MADV_RANDOM,
    libc::MADV_SEQUENTIAL,
    libc::MADV_HUGEPAGE,
    libc::MADV_NORMAL,
    libc::MADV_NOHUGEPAGE,
];

/// Every so many requests of a writer its pages are made writable in advance.
const POPULATE: usize = 4;

/// A mapping and what is done with it.
#[derive(Debug)]
pub(crate) struct Mapped {
    mapping: Mapping,
    /// For mappings of single ranges.
    file: Arc<File>,
    touch: Touch,
    count: usize,
}

impl Mapped {
    /// Maps the first `len` bytes of a file.
    pub(crate) fn new(file: File, len: usize, touch: Touch) -> Result<Self, Error> {
        let file = Arc::new(file);
        let mapping = Mapping::part(Arc::clone(&file), 0, len);
        let mapping = mapping.map_err(|errno| Error::Call {
            call: "mmap",
            errno,
        })?;
        Ok(Self {
            mapping,
            file,
            touch,
            count: 0,
        })
    }

    /// Before an access: a load sees what it sees, whatever was asked.
    fn prepare(&mut self, op: Op, offset: u64, len: usize) {
        let advice = match self.touch {
            Touch::Plain | Touch::Remapped => return,
            Touch::Synced if op == Op::Read => {
                let flags = [libc::MS_ASYNC, libc::MS_INVALIDATE][self.count % 2];
                let _ = self.mapping.sync_range(offset, len, flags);
                return;
            }
            Touch::Synced => return,
            // It dirties pages, which is for writers to do.
            Touch::Advised if op == Op::Write && self.count % POPULATE == 0 => {
                libc::MADV_POPULATE_WRITE
            }
            Touch::Advised => ADVICE[self.count % ADVICE.len()],
        };
        // An advice that the kernel does not know changes nothing.
        let _ = self.mapping.advise(offset, len, advice);
    }

    /// After an access: an error of msync is an error of the store.
    fn conclude(&self, op: Op, offset: u64, len: usize) -> Result<(), Errno> {
        if self.touch != Touch::Synced || op == Op::Read {
            return Ok(());
        }
        let flags = [
            libc::MS_SYNC,
            libc::MS_ASYNC,
            libc::MS_SYNC | libc::MS_INVALIDATE,
        ];
        let flags = flags[self.count % flags.len()];
        match self.mapping.sync_range(offset, len, flags) {
            // Locked pages cannot be invalidated; they were written back all the same.
            Err(Errno(libc::EBUSY)) => Ok(()),
            result => result,
        }
    }

    /// Maps the pages of a request, accesses one half, moves the mapping, accesses the other half.
    fn remapped(&self, request: &mut Request, words: usize) -> Result<(), Errno> {
        let page = page_size() as u64;
        let base = request.offset / page * page;
        let len = (request.offset - base) as usize + words * 8;
        let mapping = Mapping::part(Arc::clone(&self.file), base, len)?;
        access(&mapping, request, 0, words / 2)?;
        let mapping = mapping.moved()?;
        access(&mapping, request, words / 2, words)
    }
}

/// Loads or stores the words of a request from one to another.
fn access(mapping: &Mapping, request: &mut Request, from: usize, to: usize) -> Result<(), Errno> {
    let offset = request.offset + from as u64 * 8;
    match request.op {
        Op::Read => mapping.load(offset, &mut request.buffer.words_mut()[from..to]),
        Op::Write => mapping.store(offset, &request.buffer.words()[from..to]),
    }
}

impl Transfer for Mapped {
    fn transfer(&mut self, request: &mut Request) -> Result<usize, Errno> {
        let words = (request.len / 8).min(request.buffer.words().len());
        let (op, offset, len) = (request.op, request.offset, words * 8);
        self.count += 1;
        if self.touch == Touch::Remapped {
            return self.remapped(request, words).map(|()| len);
        }
        self.prepare(op, offset, len);
        access(&self.mapping, request, 0, words)?;
        self.conclude(op, offset, len).map(|()| len)
    }
}
