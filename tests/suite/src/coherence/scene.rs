// SPDX-License-Identifier: GPL-2.0

//! A file on disk, ways to write it and every way to read it.

use super::queue::{Engine, Queue};
use crate::harness::Ctx;
use crate::lower::device::Hold;
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ, READ_WRITE, Region, Slice};
use crate::sys::{file, fscall};
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Whose bytes the file holds in the beginning.
pub const OLD: u8 = 0x11;
/// Whose bytes a direct write puts there.
pub const NEW: u8 = 0x22;

/// How long a completion may take once nothing holds it.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A file of `len` bytes of [`OLD`], on disk and in no cache.
///
/// Threads share the descriptors. One of its own would be closed when its call is done, and to
/// close writes back what is dirty: then the call would end when that does, but the lower file is
/// not written through its cache while the device holds a direct write of it.
pub struct Scene<'a> {
    pub ctx: &'a Ctx<'a>,
    pub path: PathBuf,
    pub cached: Arc<OwnedFd>,
    pub direct: Arc<OwnedFd>,
    pub len: usize,
}

impl<'a> Scene<'a> {
    pub fn new(ctx: &'a Ctx<'a>, len: usize) -> Result<Self> {
        let path = ctx.at("scene");
        let cached = file::create(&path)?;
        file::ftruncate(&cached, 0)?;
        write_all(&cached, &pattern(OLD, 0, len), 0)?;
        Self::opened(ctx, &path, cached, len)
    }

    /// A file of `len` bytes that is one hole.
    pub fn hole(ctx: &'a Ctx<'a>, len: usize) -> Result<Self> {
        let path = ctx.at("scene");
        let cached = file::create(&path)?;
        file::ftruncate(&cached, 0)?;
        file::ftruncate(&cached, len as i64)?;
        Self::opened(ctx, &path, cached, len)
    }

    fn opened(ctx: &'a Ctx<'a>, path: &Path, cached: OwnedFd, len: usize) -> Result<Self> {
        file::fsync(&cached)?;
        let scene = Self {
            ctx,
            path: path.to_path_buf(),
            direct: Arc::new(file::open_direct(path)?),
            cached: Arc::new(cached),
            len,
        };
        scene.settle()?;
        scene.chill()?;
        Ok(scene)
    }

    /// Gets everything of the filesystem to disk, so that held requests are the test's own.
    pub fn settle(&self) -> Result<()> {
        file::syncfs(&self.cached)?;
        self.ctx.lower.settle()
    }

    /// Empties the caches of this file.
    pub fn chill(&self) -> Result<()> {
        fscall::fadvise(&self.cached, 0, 0, libc::POSIX_FADV_DONTNEED)?;
        let under = self.under()?;
        fscall::fadvise(&under, 0, 0, libc::POSIX_FADV_DONTNEED)?;
        Ok(())
    }

    /// Brings all of the file into the cache.
    pub fn warm(&self) -> Result<()> {
        file::pread_vec(&self.cached, self.len, 0)?;
        Ok(())
    }

    /// The same file, opened on the lower.
    pub fn under(&self) -> Result<OwnedFd> {
        let name = self.path.file_name().context("a scene has a name")?;
        Ok(file::open(&self.ctx.under.join(name), libc::O_RDONLY, 0)?)
    }

    pub fn map(&self) -> Result<Arc<Region>> {
        Ok(Region::shared(&self.cached, 0, self.len, READ_WRITE)?)
    }

    /// Starts a direct write of [`NEW`] and returns when the device holds it.
    pub fn fly(&self, engine: Engine, at: usize, len: usize) -> Result<Flight<'a>> {
        file::syncfs(&self.cached)?;
        let hold = self.ctx.lower.hold_writes()?;
        let mut queue = Queue::new(engine, 8)?;
        let data = Slice::of(&pattern(NEW, at as u64, len))?;
        queue.write(&self.direct, &data, at as u64)?;
        hold.wait_writes(1)?;
        Ok(Flight { hold, queue, len })
    }

    /// Reads a range in every way there is and checks that all of it is `tag`'s.
    pub fn all_modes(&self, tag: u8, at: usize, len: usize) -> Result<()> {
        for round in 1..=3 {
            for (name, bytes) in self.read_all_modes(at, len)? {
                let what = format!("{name}, round {round}");
                ensure!(
                    bytes.len() == len,
                    "{what}: expected {len} bytes, saw {}",
                    bytes.len()
                );
                check(&what, &bytes, tag, at as u64)?;
            }
        }
        Ok(())
    }

    /// What every way of reading gives for a range.
    pub fn read_all_modes(&self, at: usize, len: usize) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let fresh = file::open(&self.path, libc::O_RDONLY, 0)?;
        Ok(vec![
            (
                "cached read",
                file::pread_vec(&self.cached, len, at as u64)?,
            ),
            (
                "read by a new descriptor",
                file::pread_vec(&fresh, len, at as u64)?,
            ),
            (
                "new mapping",
                Region::shared(&fresh, 0, self.len, READ)?.load(at, len),
            ),
            ("direct read", direct_read(&self.direct, at, len)?),
            ("splice", splice(&self.cached, at, len)?),
            (
                "cached read again",
                file::pread_vec(&self.cached, len, at as u64)?,
            ),
        ])
    }

    /// Checks a range on disk: read by nobody's cache, above or below.
    pub fn on_disk(&self, what: &str, tag: u8, at: usize, len: usize) -> Result<()> {
        file::fsync(&self.cached)?;
        self.chill()?;
        let bytes = direct_read(&self.direct, at, len)?;
        check(&format!("{what}, on disk"), &bytes, tag, at as u64)?;
        let bytes = file::pread_vec(&self.cached, len, at as u64)?;
        check(
            &format!("{what}, read again from disk"),
            &bytes,
            tag,
            at as u64,
        )
    }
}

/// A direct write that the device holds.
pub struct Flight<'a> {
    hold: Hold<'a>,
    queue: Queue,
    len: usize,
}

impl Flight<'_> {
    /// Lets the device go on and waits for the completion.
    pub fn land(self) -> Result<()> {
        let Self {
            hold,
            mut queue,
            len,
        } = self;
        ensure!(
            queue.reap_now()?.is_empty(),
            "a write completed while the device held it"
        );
        hold.release()?;
        let done = queue
            .reap(1, LIMIT)
            .context("waiting for the direct write")?;
        let n = done[0].result.context("the direct write")?;
        ensure!(n == len, "a direct write of {len} bytes returned {n}");
        Ok(())
    }
}

/// Writes all of `data`, however many calls it takes.
pub fn write_all(fd: &OwnedFd, data: &[u8], at: u64) -> Result<()> {
    let mut done = 0;
    while done < data.len() {
        let n = file::pwrite(fd, &data[done..], at + done as u64)?;
        ensure!(n > 0, "a write returned 0");
        done += n;
    }
    Ok(())
}

/// A direct read of any range, by the sectors around it.
pub fn direct_read(fd: &OwnedFd, at: usize, len: usize) -> Result<Vec<u8>> {
    let from = at / 512 * 512;
    let buffer = Slice::zeroed((at + len - from).next_multiple_of(512))?;
    let n = file::pread_mem(fd, &buffer, from as u64).context("direct read")?;
    let bytes = buffer.bytes(n);
    Ok(bytes[(at - from).min(n)..(at + len - from).min(n)].to_vec())
}

/// Reads a range by way of a pipe.
pub fn splice(fd: &OwnedFd, at: usize, len: usize) -> Result<Vec<u8>> {
    let (reader, writer) = fscall::pipe()?;
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let place = (at + bytes.len()) as i64;
        let n = fscall::splice_out(fd, place, &writer, (len - bytes.len()).min(8 * PAGE))?;
        if n == 0 {
            break;
        }
        let mut part = vec![0; n];
        file::read(&reader, &mut part)?;
        bytes.extend(part);
    }
    Ok(bytes)
}
