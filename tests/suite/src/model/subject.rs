// SPDX-License-Identifier: GPL-2.0

//! The file under test, with every handle that operations use.

use super::image::Image;
use crate::coherence::queue::{Engine, Queue};
use crate::pattern::check_equal;
use crate::sys::mem::{PAGE, READ, READ_WRITE, Region, Slice};
use crate::sys::{file, fscall, stat};
use anyhow::{Result, ensure};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const LIMIT: Duration = Duration::from_secs(30);

/// Direct I/O moves whole sectors.
pub const SECTOR: usize = 512;

/// A file with a cached and a direct descriptor and a mapping that outlives both.
pub struct Subject {
    path: PathBuf,
    pub cached: OwnedFd,
    pub direct: OwnedFd,
    /// Reaches beyond the end; only what lies before it may be touched.
    pub map: Arc<Region>,
    pub queue: Queue,
    pub ring: Queue,
}

impl Subject {
    /// Opens a new file that will have at most `limit` bytes.
    pub fn open(path: &Path, limit: usize) -> Result<Self> {
        let cached = file::create(path)?;
        let len = limit.next_multiple_of(PAGE);
        Ok(Self {
            path: path.to_path_buf(),
            direct: file::open_direct(path)?,
            map: Region::shared(&cached, 0, len, READ_WRITE)?,
            cached,
            queue: Queue::new(Engine::Aio, 4)?,
            ring: Queue::new(Engine::Uring, 4)?,
        })
    }

    /// Closes both descriptors and opens the file anew. The mapping stays.
    pub fn reopen(&mut self) -> Result<()> {
        self.cached = file::open(&self.path, libc::O_RDWR, 0)?;
        self.direct = file::open_direct(&self.path)?;
        Ok(())
    }

    /// Gets everything to disk and out of the cache.
    pub fn chill(&self) -> Result<()> {
        file::fsync(&self.cached)?;
        Ok(fscall::fadvise(
            &self.cached,
            0,
            0,
            libc::POSIX_FADV_DONTNEED,
        )?)
    }

    pub fn check_size(&self, image: &Image) -> Result<()> {
        let size = stat::fstat(&self.cached)?.size;
        ensure!(
            size == image.len() as u64,
            "expected {} bytes, the size is {size}",
            image.len()
        );
        Ok(())
    }

    /// A direct read of a range of whole sectors.
    pub fn direct_read(&self, at: usize, len: usize) -> Result<Vec<u8>> {
        let buffer = Slice::zeroed(len.max(SECTOR))?;
        let n = file::pread_mem(&self.direct, &buffer, at as u64)?;
        Ok(buffer.bytes(n))
    }

    /// Compares all of the file in every mode, warm and cold.
    pub fn check_all(&self, image: &Image) -> Result<()> {
        self.check_size(image)?;
        let len = image.len();
        for state in ["warm", "cold"] {
            let what = |mode: &str| format!("{mode}, {state}");
            let all = image.read(0, len);
            check_equal(&what("mapping"), &self.map.load(0, len), all, 0)?;
            let fresh = Region::shared(&self.cached, 0, len.max(1), READ)?;
            check_equal(&what("new mapping"), &fresh.load(0, len), all, 0)?;
            let direct = self.direct_read(0, len.next_multiple_of(SECTOR))?;
            check_equal(&what("direct read"), &direct, all, 0)?;
            check_equal(&what("cached read"), &self.read_all(len)?, all, 0)?;
            self.chill()?;
        }
        Ok(())
    }

    fn read_all(&self, len: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < len {
            let some = file::pread_vec(&self.cached, len - all.len(), all.len() as u64)?;
            ensure!(
                !some.is_empty(),
                "a read at {} of {len} returned nothing",
                all.len()
            );
            all.extend(some);
        }
        Ok(all)
    }
}
