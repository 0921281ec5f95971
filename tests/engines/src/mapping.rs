// SPDX-License-Identifier: GPL-2.0
//! Shared mappings: loads and stores as a kind of I/O.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::bus;
use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Completion, Op, Queue, Rejected, Request};

/// A shared, writable mapping of the beginning of a file.
///
/// # Invariants
/// `start` is the beginning of a mapping of `len` bytes that lasts as long as this value.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
    watch: bus::Watch,
    file: File,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: its memory is only accessed by atomic loads and stores and by the kernel.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of a file that was opened for reading and writing.
    ///
    /// # Errors
    /// What mmap(2) returns.
    pub fn new(file: File, len: usize) -> Result<Self, Error> {
        let start = map(&file, len, std::ptr::null_mut(), 0).ok_or_else(|| Error::call("mmap"))?;
        let watch = bus::Watch::new(start as usize, len);
        Ok(Self {
            start,
            len,
            watch,
            file,
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        self.start.wrapping_add(offset)
    }

    /// The mapped words from `offset` on.
    fn words(&self, offset: u64, count: usize) -> Result<&[AtomicU64], Errno> {
        let offset = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let end = count.checked_mul(8).and_then(|n| n.checked_add(offset));
        if offset % 8 != 0 || end.is_none_or(|end| end > self.len) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: by the invariant the range is mapped, it is aligned, and atomic words may be shared
        // with whoever else changes them. A page that cannot be had is dealt with by `bus`.
        Ok(unsafe { std::slice::from_raw_parts(self.at(offset).cast(), count) })
    }

    /// Loads words; `EFAULT` if the kernel answered with SIGBUS.
    ///
    /// # Errors
    /// As said.
    pub fn load(&self, offset: u64, out: &mut [u64]) -> Result<(), Errno> {
        let words = self.words(offset, out.len())?;
        for (word, from) in out.iter_mut().zip(words) {
            *word = from.load(Ordering::Relaxed);
        }
        self.verdict()
    }

    /// Stores words; `EFAULT` if the kernel answered with SIGBUS.
    ///
    /// # Errors
    /// As said.
    pub fn store(&self, offset: u64, data: &[u64]) -> Result<(), Errno> {
        for (word, to) in data.iter().zip(self.words(offset, data.len())?) {
            to.store(*word, Ordering::Relaxed);
        }
        self.verdict()
    }

    /// msync(2) of the whole mapping.
    ///
    /// # Errors
    /// What msync returns.
    pub fn sync(&self) -> Result<(), Errno> {
        // SAFETY: by the invariant the range is mapped.
        if unsafe { libc::msync(self.start.cast(), self.len, libc::MS_SYNC) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// After an access: whether it hit a page that the kernel could not provide. If so the mapping is
    /// made anew, because the handler has put other memory in the page's place.
    fn verdict(&self) -> Result<(), Errno> {
        if !self.watch.take() {
            return Ok(());
        }
        map(&self.file, self.len, self.start, libc::MAP_FIXED);
        Err(Errno::EFAULT)
    }
}

fn map(file: &File, len: usize, at: *mut u8, flags: i32) -> Option<*mut u8> {
    // SAFETY: without MAP_FIXED the kernel chooses unused addresses. With it, the caller owns the
    // mapping that is replaced, of the same length.
    let start = unsafe {
        libc::mmap(
            at.cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | flags,
            file.fd(),
            0,
        )
    };
    (start != libc::MAP_FAILED).then_some(start.cast())
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: by the invariant the range is mapped, and nobody can use it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Loads and stores as a queue of depth one.
#[derive(Debug)]
pub struct MmapQueue {
    mapping: Mapping,
    done: Option<Completion>,
}

impl MmapQueue {
    /// Maps the first `len` bytes of a file.
    ///
    /// # Errors
    /// What mmap(2) returns.
    pub fn new(file: File, len: usize) -> Result<Self, Error> {
        let mapping = Mapping::new(file, len)?;
        Ok(Self {
            mapping,
            done: None,
        })
    }
}

impl Queue for MmapQueue {
    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        usize::from(self.done.is_some())
    }

    fn submit(&mut self, mut request: Request) -> Result<(), Box<Rejected>> {
        if self.done.is_some() {
            let errno = Errno::EAGAIN;
            return Err(Box::new(Rejected { errno, request }));
        }
        let words = (request.len / 8).min(request.buffer.words().len());
        let result = match request.op {
            Op::Read => {
                let out = &mut request.buffer.words_mut()[..words];
                self.mapping.load(request.offset, out)
            }
            Op::Write => {
                let data = &request.buffer.words()[..words];
                self.mapping.store(request.offset, data)
            }
        };
        self.done = Some(Completion {
            id: request.id,
            result: result.map(|()| words * 8),
            buffer: request.buffer,
        });
        Ok(())
    }

    fn reap(&mut self, _wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        out.extend(self.done.take());
        Ok(())
    }
}
