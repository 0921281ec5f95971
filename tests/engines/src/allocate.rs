// SPDX-License-Identifier: GPL-2.0
//! fallocate(2) and FICLONE: calls that change what blocks a file has.

use crate::errno::Errno;
use crate::file::File;

/// What fallocate(2) does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Reserve blocks; the file grows to hold the range.
    Reserve,
    /// Reserve blocks and leave the size alone.
    ReserveKeep,
    /// Free blocks; the range reads as zeroes.
    Punch,
    /// Make it read as zeroes; the file grows to hold the range.
    Zero,
    /// Make it read as zeroes and leave the size alone.
    ZeroKeep,
    /// Take the range out of the file.
    Collapse,
    /// Put a hole between two halves of the file.
    Insert,
}

impl Allocate {
    fn mode(self) -> i32 {
        let keep = libc::FALLOC_FL_KEEP_SIZE;
        match self {
            Self::Reserve => 0,
            Self::ReserveKeep => keep,
            Self::Punch => libc::FALLOC_FL_PUNCH_HOLE | keep,
            Self::Zero => libc::FALLOC_FL_ZERO_RANGE,
            Self::ZeroKeep => libc::FALLOC_FL_ZERO_RANGE | keep,
            Self::Collapse => libc::FALLOC_FL_COLLAPSE_RANGE,
            Self::Insert => libc::FALLOC_FL_INSERT_RANGE,
        }
    }
}

impl File {
    /// fallocate(2).
    ///
    /// # Errors
    /// What fallocate returns; `EOPNOTSUPP` where the filesystem has no such thing.
    pub fn fallocate(&self, how: Allocate, offset: u64, len: u64) -> Result<(), Errno> {
        let (at, n) = (offset as libc::off64_t, len as libc::off64_t);
        // SAFETY: no pointers involved.
        if unsafe { libc::fallocate64(self.fd(), how.mode(), at, n) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// Makes this file share all blocks of another one (FICLONE).
    ///
    /// # Errors
    /// What the ioctl returns.
    pub fn clone_from(&self, other: &File) -> Result<(), Errno> {
        // SAFETY: the argument is a descriptor, not a pointer.
        if unsafe { libc::ioctl(self.fd(), libc::FICLONE, other.fd()) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }
}
