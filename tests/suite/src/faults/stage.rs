// SPDX-License-Identifier: GPL-2.0

//! The file that calls are made on, as it was before each of them.

use crate::coherence::scene::{NEW, OLD, Scene, direct_read, write_all};
use crate::harness::Ctx;
use crate::pattern::{check, check_any, check_zero, pattern};
use crate::sys::mem::PAGE;
use crate::sys::{file, stat};
use anyhow::{Context, Result, ensure};
use std::ops::Range;

/// How long the file is.
pub const LEN: usize = 16 * PAGE;

/// Errors that a call may answer with when memory is short.
pub const NOMEM: &[i32] = &[libc::ENOMEM];

/// A file of [`LEN`] bytes of [`OLD`] before each round.
pub struct Stage<'a>(pub Scene<'a>);

impl<'a> Stage<'a> {
    pub fn new(ctx: &'a Ctx<'a>) -> Result<Self> {
        Ok(Self(Scene::new(ctx, LEN)?))
    }

    /// The file is all [`OLD`] again, on disk and in no cache.
    pub fn reset(&self) -> Result<()> {
        file::ftruncate(&self.0.cached, LEN as i64)?;
        write_all(&self.0.cached, &pattern(OLD, 0, LEN), 0)?;
        file::fsync(&self.0.cached)?;
        self.0.chill()
    }

    /// [`Stage::reset`], and then `dirty` is [`NEW`] in the cache only.
    pub fn reset_dirty(&self, dirty: &Range<usize>) -> Result<()> {
        self.reset()?;
        self.write_cached(dirty)
    }

    /// Writes [`NEW`] into the cache.
    pub fn write_cached(&self, range: &Range<usize>) -> Result<()> {
        let data = pattern(NEW, range.start as u64, range.len());
        write_all(&self.0.cached, &data, range.start as u64)
    }

    /// Every way of reading gives the first `len` bytes, which are old.
    pub fn reads_old(&self, len: usize) -> Result<()> {
        for (what, bytes) in self.0.read_all_modes(0, len)? {
            ensure!(bytes.len() == len, "{what}: {} bytes", bytes.len());
            check(what, &bytes, OLD, 0)?;
        }
        Ok(())
    }

    /// Each byte is old or, inside `range`, perhaps new; cached and direct readers agree.
    pub fn is_old_or_new(&self, range: &Range<usize>) -> Result<()> {
        let cached = file::pread_vec(&self.0.cached, LEN, 0)?;
        let direct = direct_read(&self.0.direct, 0, LEN)?;
        ensure!(
            cached == direct,
            "cached and direct reads differ at byte {:?}",
            cached.iter().zip(&direct).position(|(a, b)| a != b)
        );
        ensure!(cached.len() == LEN, "{} bytes are left", cached.len());
        check("before", &cached[..range.start], OLD, 0)?;
        let within = &cached[range.clone()];
        check_any("within", within, &[OLD, NEW], range.start as u64)?;
        check("behind", &cached[range.end..], OLD, range.end as u64)
    }

    /// The file is old, but for `range`, which is new: for everybody and on disk.
    pub fn is_new(&self, range: &Range<usize>) -> Result<()> {
        file::fsync(&self.0.cached).context("fsync without a fault")?;
        self.is_on_disk(range)
    }

    /// Like [`Stage::is_new`], but somebody has synced it already.
    pub fn is_on_disk(&self, range: &Range<usize>) -> Result<()> {
        let len = LEN.max(range.end);
        let cached = file::pread_vec(&self.0.cached, 2 * len, 0)?;
        self.0.chill()?;
        let lower = file::pread_vec(&self.0.under()?, 2 * len, 0)?;
        let direct = direct_read(&self.0.direct, 0, len)?;
        for (who, bytes) in [("cached", cached), ("lower", lower), ("direct", direct)] {
            ensure!(
                bytes.len() == len,
                "{who}: {} bytes instead of {len}",
                bytes.len()
            );
            let old = range.start.min(LEN);
            check(&format!("{who}, before"), &bytes[..old], OLD, 0)?;
            check_zero(
                &format!("{who}, hole"),
                &bytes[old..range.start],
                old as u64,
            )?;
            let new = &bytes[range.clone()];
            check(&format!("{who}, within"), new, NEW, range.start as u64)?;
            let end = range.end as u64;
            check(&format!("{who}, behind"), &bytes[range.end..], OLD, end)?;
        }
        Ok(())
    }

    /// The size is the same above and below, and one of these.
    pub fn has_size(&self, sizes: &[usize]) -> Result<()> {
        let above = stat::fstat(&self.0.cached)?.size;
        let below = stat::fstat(self.0.under()?)?.size;
        ensure!(above == below, "size {above} above, {below} below");
        ensure!(
            sizes.contains(&(above as usize)),
            "size {above}, expected one of {sizes:?}"
        );
        Ok(())
    }
}
