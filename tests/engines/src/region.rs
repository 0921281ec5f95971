// SPDX-License-Identifier: GPL-2.0
//! Anonymous shared memory: what a forked process sees as well, and what the kernel may keep pinned.

use std::ptr::NonNull;

use crate::error::Error;
use crate::probe::page_size;

/// Some pages.
///
/// # Invariants
/// `start` is the beginning of a shared, writable mapping of `len` bytes, a multiple of the page
/// size, that lasts as long as this value.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Region {}
// SAFETY: this type gives out its address only; whoever makes references answers for them.
unsafe impl Sync for Region {}

impl Region {
    /// Zeroed pages that are present.
    pub(crate) fn new(len: usize) -> Result<Self, Error> {
        let len = len.max(1).next_multiple_of(page_size());
        // SAFETY: the kernel chooses unused addresses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::Buffer(len));
        }
        let start = NonNull::new(start.cast()).ok_or(Error::Buffer(len))?;
        Ok(Self { start, len })
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of a byte.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset <= self.len);
        // SAFETY: by the invariant the region reaches that far.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: by the invariant the range is mapped, and nobody can use it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
