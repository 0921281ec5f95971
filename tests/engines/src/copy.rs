// SPDX-License-Identifier: GPL-2.0
//! copy_file_range(2): by way of another file of the same filesystem.
//!
//! A write puts its words into the other file and has the kernel copy them to their place; a read has
//! the kernel copy into the other file and reads it there. Where the filesystem can, the two files
//! share extents afterwards, until one of them is written.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::queue::{Op, Request};
use crate::single::{Transfer, uninterrupted};

/// Numbers the other files of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The file and the other file, which has no name any more.
#[derive(Debug)]
pub(crate) struct CopyRange {
    file: File,
    other: File,
}

impl CopyRange {
    /// Makes the other file beside the one at `path`, and unlinks it at once.
    pub(crate) fn new(file: File, path: &Path) -> Result<Self, Error> {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".copy-{}-{nth}", std::process::id());
        let name = path.with_file_name(name);
        let other = File::create(&name)?;
        // If it cannot be unlinked it goes with its directory.
        let _ = fs::remove_file(&name);
        Ok(Self { file, other })
    }

    /// The range of the other file that stands for one of the file: at the same place within a page,
    /// so that whole blocks may be shared.
    fn place(offset: u64) -> u64 {
        offset % (64 << 10)
    }

    fn copy(from: (&File, u64), to: (&File, u64), len: usize) -> Result<usize, Errno> {
        let mut done = 0;
        while done < len {
            let mut at = [from.1 + done as u64, to.1 + done as u64].map(|at| at as libc::off64_t);
            let [source, target] = &mut at;
            // SAFETY: both offsets are valid for reading and writing.
            let moved = uninterrupted(|| unsafe {
                Errno::check(libc::copy_file_range(
                    from.0.fd(),
                    source,
                    to.0.fd(),
                    target,
                    len - done,
                    0,
                ))
            });
            match moved {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

impl Transfer for CopyRange {
    fn transfer(&mut self, request: &mut Request) -> Result<usize, Errno> {
        let (len, offset) = (request.bytes() / 8 * 8, request.offset);
        let place = Self::place(offset);
        match request.op {
            Op::Write => {
                let words = &request.buffer.words()[..len / 8];
                let put = self.other.pwrite(words, place)?;
                Self::copy((&self.other, place), (&self.file, offset), put)
            }
            Op::Read => {
                let got = Self::copy((&self.file, offset), (&self.other, place), len)?;
                let words = &mut request.buffer.words_mut()[..got / 8];
                self.other.pread(words, place)
            }
        }
    }
}
