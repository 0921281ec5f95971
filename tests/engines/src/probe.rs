// SPDX-License-Identifier: GPL-2.0
//! What a file asks of direct I/O.

use std::ops::RangeInclusive;

use crate::advice::Advice;
use crate::buffer::Buffer;
use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;

/// Bytes of a file that is read to find out something.
const PROBED: usize = 64 << 10;

/// Alignment that direct I/O needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DioAlign {
    /// Of the buffer in memory.
    pub memory: usize,
    /// Of offset and length.
    pub offset: u64,
    /// Whether the kernel told it (statx), or it was found by trying.
    pub told: bool,
}

/// Size of a page of memory.
pub fn page_size() -> usize {
    // SAFETY: no pointers involved.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

impl DioAlign {
    /// Finds the alignment for a file opened with `O_DIRECT` that is at least 64 KiB long.
    ///
    /// `None` if direct I/O does not work on it at all.
    ///
    /// # Errors
    /// If memory runs out, or the file cannot be read for another reason than alignment.
    pub fn probe(direct: &File) -> Result<Option<Self>, Error> {
        if let Some((memory, offset)) = statx_dioalign(direct) {
            if memory != 0 && offset != 0 {
                return Ok(Some(Self {
                    memory: memory as usize,
                    offset: u64::from(offset),
                    told: true,
                }));
            }
            // The kernel answers zero where direct I/O falls back to buffered; that it may still
            // accept is found out below.
        }
        let page = page_size();
        let mut buffer = Buffer::new(PROBED, page)?;
        for align in [512usize, 1024, 2048, 4096, 8192, 16384, 32768] {
            match direct.pread(&mut buffer.words_mut()[..align / 8], align as u64) {
                Ok(_) => {
                    return Ok(Some(Self {
                        memory: align.max(page.min(4096)),
                        offset: align as u64,
                        told: false,
                    }));
                }
                Err(Errno::EINVAL) => {}
                Err(errno) => {
                    let call = "direct read";
                    return Err(Error::Call { call, errno });
                }
            }
        }
        Ok(None)
    }

    /// The alignment of offset and length by which the page cache is passed by: what is aligned to less
    /// may go through it without a word. Where everything goes through it, or nobody can tell, that is
    /// what direct I/O needs at all. The file is 64 KiB long, on disk, and nobody else's: its pages are
    /// dropped.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn bypass(&self, direct: &File) -> Result<u64, Error> {
        let mut buffer = Buffer::new(PROBED, page_size())?;
        let all = PROBED as u64;
        let mut align = self.offset;
        while !self.told && align < all {
            let dropped = direct.advise(Advice::DontNeed, 0, all);
            if dropped.is_err() || direct.cached(0, all) != Ok(0) {
                break;
            }
            let words = &mut buffer.words_mut()[..(align / 8) as usize];
            if direct.pread(words, align).is_ok() && direct.cached(0, all) == Ok(0) {
                return Ok(align);
            }
            align *= 2;
        }
        Ok(self.offset)
    }
}

/// Memory and offset alignment as statx tells it; zeroes mean that direct I/O is not supported.
fn statx_dioalign(file: &File) -> Option<(u32, u32)> {
    let out = statx(file, libc::STATX_DIOALIGN)?;
    Some((out.stx_dio_mem_align, out.stx_dio_offset_align))
}

/// The sizes of writes that the file takes with `RWF_ATOMIC`, if any.
pub fn atomic_units(file: &File) -> Option<RangeInclusive<usize>> {
    let out = statx(file, libc::STATX_WRITE_ATOMIC)?;
    let units = out.stx_atomic_write_unit_min as usize..=out.stx_atomic_write_unit_max as usize;
    (*units.start() > 0 && !units.is_empty()).then_some(units)
}

/// What statx(2) tells of an open file, if it tells what was asked for.
fn statx(file: &File, mask: u32) -> Option<libc::statx> {
    // SAFETY: `statx` is plain data for which all zeroes are valid.
    let mut out: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is an empty terminated string, `out` is valid for writing one structure.
    let result =
        unsafe { libc::statx(file.fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &mut out) };
    (result == 0 && out.stx_mask & mask != 0).then_some(out)
}
