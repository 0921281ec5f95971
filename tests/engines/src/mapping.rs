// SPDX-License-Identifier: GPL-2.0
//! Shared mappings.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bus;
use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::probe::page_size;

/// A shared, writable mapping of a part of a file.
///
/// # Invariants
/// `start` is the beginning of a mapping of `len` bytes that lasts as long as this value.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
    /// Offset in the file of its first byte.
    base: u64,
    watch: bus::Watch,
    file: Arc<File>,
    /// Memory that is none of the file's has come into it and could not be taken out again.
    broken: AtomicBool,
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
        Self::part(Arc::new(file), 0, len).map_err(|errno| Error::Call {
            call: "mmap",
            errno,
        })
    }

    /// Maps `len` bytes from a page of the file on.
    pub(crate) fn part(file: Arc<File>, base: u64, len: usize) -> Result<Self, Errno> {
        let start = map(&file, base, len, std::ptr::null_mut(), 0)?;
        let watch = bus::Watch::new(start as usize, len);
        Ok(Self {
            start,
            len,
            base,
            watch,
            file,
            broken: AtomicBool::new(false),
        })
    }

    /// The same mapping at another address.
    pub(crate) fn moved(self) -> Result<Self, Errno> {
        let place = reserve(self.len)?;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: by the invariant the old range is this mapping; the new one was reserved just now.
        let start = unsafe { libc::mremap(self.start.cast(), self.len, self.len, flags, place) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let moved = Self {
            start: start.cast(),
            len: self.len,
            base: self.base,
            watch: bus::Watch::new(start as usize, self.len),
            file: Arc::clone(&self.file),
            broken: AtomicBool::new(self.is_broken()),
        };
        // What is left of the old one must not be unmapped: somebody may have got the addresses.
        let mut old = self;
        old.len = 0;
        Ok(moved)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is the file's no more: what is stored there goes nowhere.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        self.start.wrapping_add(offset)
    }

    /// The mapped words from an offset in the file on.
    fn words(&self, offset: u64, count: usize) -> Result<&[AtomicU64], Errno> {
        let offset = offset.checked_sub(self.base).ok_or(Errno::EINVAL)?;
        let offset = usize::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let end = count.checked_mul(8).and_then(|n| n.checked_add(offset));
        if offset % 8 != 0 || end.is_none_or(|end| end > self.len) {
            return Err(Errno::EINVAL);
        }
        if self.is_broken() {
            return Err(Errno::EFAULT);
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
        self.sync_range(self.base, self.len, libc::MS_SYNC)
    }

    /// msync(2) of the pages around a range of the file.
    pub(crate) fn sync_range(&self, offset: u64, len: usize, flags: i32) -> Result<(), Errno> {
        let pages = self.pages(offset, len);
        // SAFETY: by the invariant the range is mapped.
        if unsafe { libc::msync(self.at(pages.start).cast(), pages.len(), flags) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// madvise(2) of the pages around a range of the file.
    pub(crate) fn advise(&self, offset: u64, len: usize, advice: i32) -> Result<(), Errno> {
        let pages = self.pages(offset, len);
        // SAFETY: by the invariant the range is mapped, and no advice that callers give takes a page
        // of a shared mapping away for good.
        if unsafe { libc::madvise(self.at(pages.start).cast(), pages.len(), advice) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// The pages around a range of the file, as a range of the mapping.
    fn pages(&self, offset: u64, len: usize) -> Range<usize> {
        let first = (offset.saturating_sub(self.base) as usize).min(self.len);
        let end = (first + len).min(self.len).next_multiple_of(page_size());
        first / page_size() * page_size()..end
    }

    /// After an access: whether it hit a page that the kernel could not provide. If so the mapping is
    /// made anew, because the handler has put other memory in the page's place.
    fn verdict(&self) -> Result<(), Errno> {
        if !self.watch.take() {
            return Ok(());
        }
        let again = map(&self.file, self.base, self.len, self.start, libc::MAP_FIXED);
        if again.is_err() {
            // The other memory stays, and raises no SIGBUS: no access may succeed there.
            self.broken.store(true, Ordering::SeqCst);
        }
        Err(Errno::EFAULT)
    }
}

fn map(file: &File, base: u64, len: usize, at: *mut u8, flags: i32) -> Result<*mut u8, Errno> {
    // SAFETY: without MAP_FIXED the kernel chooses unused addresses. With it, the caller owns the
    // mapping that is replaced, of the same length.
    let start = unsafe {
        libc::mmap(
            at.cast(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | flags,
            file.fd(),
            base as libc::off_t,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    Ok(start.cast())
}

/// Addresses that nobody else gets.
fn reserve(len: usize) -> Result<*mut libc::c_void, Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel chooses unused addresses.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    Ok(place)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: by the invariant the range is mapped, and nobody can use it any more.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::PathBuf;

    use crate::buffer::Buffer;

    /// A file in memory, mapped, and then too short for that.
    fn cut() -> (File, Mapping) {
        // SAFETY: the name is a terminated string.
        let fd = unsafe { libc::memfd_create(c"cut".as_ptr(), libc::MFD_ALLOW_SEALING) };
        assert!(fd >= 0);
        let path = PathBuf::from(format!("/proc/self/fd/{fd}"));
        let file = File::open(&path, false).unwrap();
        file.set_len(4096).unwrap();
        let mapping = Mapping::new(File::open(&path, false).unwrap(), 4096).unwrap();
        // SAFETY: nobody else knows the descriptor.
        unsafe { libc::close(fd) };
        mapping.store(0, &[7]).unwrap();
        file.set_len(0).unwrap();
        (file, mapping)
    }

    #[test]
    fn a_page_that_comes_back_is_the_files_again() {
        let (file, mapping) = cut();
        assert_eq!(mapping.store(0, &[8]), Err(Errno::EFAULT));
        file.set_len(4096).unwrap();
        assert_eq!(mapping.store(0, &[9]), Ok(()));
        let mut words = [0];
        assert_eq!(file.pread(&mut words, 0), Ok(8));
        assert_eq!(words, [9]);
    }

    #[test]
    fn nothing_succeeds_in_memory_that_is_not_the_files() {
        let (file, mapping) = cut();
        // From now on it cannot be mapped for writing any more.
        // SAFETY: no pointers involved.
        let sealed =
            unsafe { libc::fcntl(file.fd(), libc::F_ADD_SEALS, libc::F_SEAL_FUTURE_WRITE) };
        assert_eq!(sealed, 0);
        for _ in 0..3 {
            assert_eq!(mapping.store(0, &[8]), Err(Errno::EFAULT));
            assert_eq!(mapping.load(0, &mut [0]), Err(Errno::EFAULT));
        }
        assert!(Buffer::from_mapping(Arc::new(mapping), 0, 4096).is_err());
    }
}
