// SPDX-License-Identifier: GPL-2.0
//! What one may tell the kernel about a file's cached pages, or do to them, without changing the
//! content.

use std::fs;

use crate::errno::Errno;
use crate::file::File;
use crate::probe::page_size;
use crate::signals;

/// An advice, or a call that flushes, fetches or drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Advice {
    /// posix_fadvise: will be needed.
    WillNeed,
    /// posix_fadvise: will not be needed, drop it.
    DontNeed,
    /// posix_fadvise: read ahead much.
    Sequential,
    /// posix_fadvise: do not read ahead.
    Random,
    /// readahead(2).
    ReadAhead,
    /// sync_file_range(2): start and wait for write-back.
    SyncRange,
    /// sync_file_range(2): start write-back.
    StartSync,
    /// fsync(2).
    Fsync,
    /// fdatasync(2).
    Fdatasync,
    /// syncfs(2).
    Syncfs,
    /// Drops every clean page of the machine. Only root may.
    DropCaches,
    /// cachestat(2), which looks and touches nothing; mincore(2) where there is no cachestat.
    Residency,
    /// No advice: a signal for every thread of the process, which interrupts its system call.
    Interrupt,
}

impl Advice {
    /// Every one.
    pub const ALL: [Advice; 13] = [
        Self::WillNeed,
        Self::DontNeed,
        Self::Sequential,
        Self::Random,
        Self::ReadAhead,
        Self::SyncRange,
        Self::StartSync,
        Self::Fsync,
        Self::Fdatasync,
        Self::Syncfs,
        Self::DropCaches,
        Self::Residency,
        Self::Interrupt,
    ];

    /// Those about a range that cost little.
    pub const RANGE: [Advice; 4] = [
        Self::DontNeed,
        Self::WillNeed,
        Self::ReadAhead,
        Self::SyncRange,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::WillNeed => "willneed",
            Self::DontNeed => "dontneed",
            Self::Sequential => "sequential",
            Self::Random => "random",
            Self::ReadAhead => "readahead",
            Self::SyncRange => "sync_file_range",
            Self::StartSync => "start write-back",
            Self::Fsync => "fsync",
            Self::Fdatasync => "fdatasync",
            Self::Syncfs => "syncfs",
            Self::DropCaches => "drop_caches",
            Self::Residency => "cachestat",
            Self::Interrupt => "signals",
        }
    }

    /// Whether its error is one that the file had before: what fsync reports.
    pub fn syncs(self) -> bool {
        matches!(
            self,
            Self::Fsync | Self::Fdatasync | Self::Syncfs | Self::SyncRange | Self::StartSync
        )
    }
}

impl File {
    /// Advises the kernel about a range. A refusal has no consequence for the content.
    ///
    /// # Errors
    /// What the call returns.
    pub fn advise(&self, advice: Advice, offset: u64, len: u64) -> Result<(), Errno> {
        let (fd, at, n) = (self.fd(), offset as libc::off64_t, len as libc::off64_t);
        // posix_fadvise returns the error number, the others set errno.
        // SAFETY: none of these calls takes a pointer.
        let told = |how| match unsafe { libc::posix_fadvise(fd, at, n, how) } {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        };
        // SAFETY: as above.
        let range = |flags| unsafe { libc::sync_file_range(fd, at, n, flags) } as libc::ssize_t;
        let result = match advice {
            Advice::WillNeed => return told(libc::POSIX_FADV_WILLNEED),
            Advice::DontNeed => return told(libc::POSIX_FADV_DONTNEED),
            Advice::Sequential => return told(libc::POSIX_FADV_SEQUENTIAL),
            Advice::Random => return told(libc::POSIX_FADV_RANDOM),
            Advice::DropCaches => return drop_caches(),
            Advice::Interrupt => {
                signals::interrupt_all();
                return Ok(());
            }
            Advice::Residency => return self.cached(offset, len).map(|_| ()),
            // SAFETY: none of these calls takes a pointer.
            Advice::ReadAhead => unsafe { libc::readahead(fd, at, len as usize) },
            Advice::SyncRange => range(
                libc::SYNC_FILE_RANGE_WAIT_BEFORE
                    | libc::SYNC_FILE_RANGE_WRITE
                    | libc::SYNC_FILE_RANGE_WAIT_AFTER,
            ),
            Advice::StartSync => range(libc::SYNC_FILE_RANGE_WRITE),
            // SAFETY: as above.
            Advice::Fsync => unsafe { libc::fsync(fd) as libc::ssize_t },
            // SAFETY: as above.
            Advice::Fdatasync => unsafe { libc::fdatasync(fd) as libc::ssize_t },
            // SAFETY: as above.
            Advice::Syncfs => unsafe { libc::syncfs(fd) as libc::ssize_t },
        };
        Errno::check(result).map(|_| ())
    }

    /// How many pages of a range are in the page cache.
    ///
    /// # Errors
    /// What cachestat(2) returns, or mincore(2) where the kernel has no cachestat.
    pub fn cached(&self, offset: u64, len: u64) -> Result<u64, Errno> {
        let range = [offset, len];
        let mut stat = [0u64; 5];
        // SAFETY: the range is two numbers, as the call reads, and the result five, as it writes.
        let got = unsafe {
            libc::syscall(
                SYS_CACHESTAT,
                self.fd(),
                range.as_ptr(),
                stat.as_mut_ptr(),
                0,
            )
        };
        match Errno::check(got as libc::ssize_t) {
            Ok(_) => Ok(stat[0]),
            Err(Errno(libc::ENOSYS)) => self.resident(offset, len),
            Err(errno) => Err(errno),
        }
    }

    /// The same by mincore(2).
    fn resident(&self, offset: u64, len: u64) -> Result<u64, Errno> {
        let page = page_size();
        let base = offset / page as u64 * page as u64;
        let len = (offset - base + len) as usize;
        let mut pages = vec![0u8; len.div_ceil(page)];
        // SAFETY: the kernel chooses the addresses, the vector has a byte for each page of the range,
        // and the mapping is gone before anybody else can know of it.
        unsafe {
            let none = std::ptr::null_mut();
            let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED);
            let start = libc::mmap(none, len, prot, flags, self.fd(), base as libc::off_t);
            if start == libc::MAP_FAILED {
                return Err(Errno::last());
            }
            let got = Errno::check(libc::mincore(start, len, pages.as_mut_ptr()) as libc::ssize_t);
            libc::munmap(start, len);
            got?;
        }
        Ok(pages.iter().filter(|page| **page & 1 != 0).count() as u64)
    }

    /// Whether its pages are all there is of it, as on tmpfs: then nothing drops them.
    ///
    /// # Errors
    /// What fstatfs returns.
    pub fn is_in_memory(&self) -> Result<bool, Errno> {
        // SAFETY: `stat` is plain data for which all zeroes are valid.
        let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is valid for writing one such structure.
        if unsafe { libc::fstatfs(self.fd(), &mut stat) } < 0 {
            return Err(Errno::last());
        }
        Ok(MEMORY.contains(&(stat.f_type as u32)))
    }
}

/// What tmpfs and ramfs call themselves in statfs(2).
const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// The number of cachestat(2), the same on all architectures.
const SYS_CACHESTAT: libc::c_long = 451;

/// Drops clean pages.
fn drop_caches() -> Result<(), Errno> {
    let dropped = fs::write("/proc/sys/vm/drop_caches", "1");
    dropped.map_err(|error| Errno(error.raw_os_error().unwrap_or(0)))
}
