// SPDX-License-Identifier: GPL-2.0

//! Mapped memory: aligned buffers for direct I/O and mappings of files.
//!
//! Other threads, other mappings and the kernel read and write such memory while we do, so it is
//! never lent out as a Rust slice. It is touched only by volatile loads and stores.

use super::Res;
use super::errno::{Errno, check_unit};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// Bytes in a page of memory.
pub const PAGE: usize = 4096;

pub const READ: i32 = libc::PROT_READ;
pub const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// A mapping that lives as long as somebody holds it.
///
/// # Invariants
///
/// `ptr..ptr + len` is one mapping that we made and that nobody else unmaps.
pub struct Region {
    ptr: *mut u8,
    len: usize,
}

// SAFETY: The memory is shared with the kernel and other threads by design; every access is a
// volatile load or store of a byte or word, and nobody holds references into it.
unsafe impl Send for Region {}
// SAFETY: As above.
unsafe impl Sync for Region {}

impl Region {
    /// Page-aligned zeroed memory of our own, in whole pages, at least `len` bytes.
    pub fn anon(len: usize) -> Res<Arc<Self>> {
        let len = len.next_multiple_of(PAGE).max(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Self::mmap(len, READ_WRITE, flags, -1, 0)
    }

    /// Zeroed memory that a forked process shares.
    pub fn anon_shared(len: usize) -> Res<Arc<Self>> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        Self::mmap(len, READ_WRITE, flags, -1, 0)
    }

    /// A shared mapping of `len` bytes of a file.
    pub fn shared(fd: impl AsFd, offset: u64, len: usize, prot: i32) -> Res<Arc<Self>> {
        let flags = libc::MAP_SHARED;
        Self::mmap(len, prot, flags, fd.as_fd().as_raw_fd(), offset)
    }

    /// A private (copy on write) mapping of `len` bytes of a file.
    pub fn private(fd: impl AsFd, offset: u64, len: usize) -> Res<Arc<Self>> {
        let flags = libc::MAP_PRIVATE;
        Self::mmap(len, READ_WRITE, flags, fd.as_fd().as_raw_fd(), offset)
    }

    fn mmap(len: usize, prot: i32, flags: i32, fd: i32, offset: u64) -> Res<Arc<Self>> {
        // SAFETY: A fresh mapping at an address that the kernel chooses harms nobody.
        let ptr = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                prot,
                flags,
                fd,
                offset as libc::off_t,
            )
        };
        if ptr == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // INVARIANT: The kernel just made this mapping for us.
        Ok(Arc::new(Self {
            ptr: ptr.cast(),
            len,
        }))
    }

    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "access outside a mapping"
        );
        // SAFETY: Just checked to lie inside the mapping.
        unsafe { self.ptr.add(offset) }
    }

    /// Stores bytes one after the other.
    pub fn store(&self, offset: usize, data: &[u8]) {
        let ptr = self.at(offset, data.len());
        for (i, byte) in data.iter().enumerate() {
            // SAFETY: Inside the mapping, see `at`.
            unsafe { ptr.add(i).write_volatile(*byte) };
        }
    }

    /// Loads bytes one after the other.
    pub fn load(&self, offset: usize, len: usize) -> Vec<u8> {
        let ptr = self.at(offset, len);
        (0..len)
            // SAFETY: Inside the mapping, see `at`.
            .map(|i| unsafe { ptr.add(i).read_volatile() })
            .collect()
    }

    pub fn msync(&self, offset: usize, len: usize, flags: i32) -> Res<()> {
        let ptr = self.at(offset, len);
        // SAFETY: The range lies inside our mapping.
        check_unit(unsafe { libc::msync(ptr.cast(), len, flags) })
    }

    pub fn madvise(&self, advice: i32) -> Res<()> {
        // SAFETY: The range is our whole mapping; the advice used here never unmaps it.
        check_unit(unsafe { libc::madvise(self.ptr.cast(), self.len, advice) })
    }

    pub fn protect(&self, prot: i32) -> Res<()> {
        // SAFETY: The range is our whole mapping.
        check_unit(unsafe { libc::mprotect(self.ptr.cast(), self.len, prot) })
    }

    /// For each page of the mapping, whether it is in memory.
    pub fn mincore(&self) -> Res<Vec<bool>> {
        let mut vec = vec![0u8; self.len.div_ceil(PAGE)];
        // SAFETY: `vec` has one byte for each page of our mapping.
        check_unit(unsafe { libc::mincore(self.ptr.cast(), self.len, vec.as_mut_ptr()) })?;
        Ok(vec.iter().map(|b| b & 1 == 1).collect())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is our mapping, and nobody holds it any more.
        unsafe { libc::munmap(self.ptr.cast(), self.len) };
    }
}

/// A part of a [`Region`], to be read into or written from.
#[derive(Clone)]
pub struct Slice {
    region: Arc<Region>,
    offset: usize,
    len: usize,
}

impl Slice {
    /// `len` bytes at `offset` of `region`.
    pub fn new(region: &Arc<Region>, offset: usize, len: usize) -> Self {
        region.at(offset, len);
        Self {
            region: Arc::clone(region),
            offset,
            len,
        }
    }

    /// A fresh aligned buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Res<Self> {
        Ok(Self::new(&Region::anon(len)?, 0, len))
    }

    /// A fresh aligned buffer that holds `data`.
    pub fn of(data: &[u8]) -> Res<Self> {
        let slice = Self::zeroed(data.len())?;
        slice.region.store(0, data);
        Ok(slice)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn as_ptr(&self) -> *mut u8 {
        self.region.at(self.offset, self.len)
    }

    /// The first `n` bytes.
    pub fn bytes(&self, n: usize) -> Vec<u8> {
        self.region.load(self.offset, n.min(self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_what_was_stored_and_slices_see_it() {
        let region = Region::anon(10).unwrap();
        assert_eq!(region.len, PAGE);
        region.store(4090, b"abcdef");
        assert_eq!(Slice::new(&region, 4092, 4).bytes(9), b"cdef");
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn access_past_the_end_is_refused() {
        let region = Region::anon(PAGE).unwrap();
        region.load(4095, 2);
    }
}
