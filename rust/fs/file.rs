// SPDX-License-Identifier: GPL-2.0

//! Open regular files.

use super::{
    direct,
    lower_io::{
        self,
        Access,
        CacheFile, //
    },
    Diofs, //
};
use crate::{
    pure::{
        bisect,
        flags, //
    },
    vfs::{
        buffered,
        file::{
            NewFile,
            OpenFile,
            Owner,
            RegularFile, //
        },
        iov::IovIter,
        kiocb::{
            Kiocb,
            Reply, //
        },
        lock::{
            Hold,
            InodeLock, //
        },
        lower::LowerFile,
        range_set::ByteRange,
        splice::PipeSource, //
    },
};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
};

/// Private data of an open file.
pub struct OpenData {
    /// The lower file, opened as this one was. Errors of the lower filesystem's own write-back are
    /// reported once to each open lower file, so each open file above has one.
    pub lower: LowerFile,
    /// Whether the lower file can be read and written directly at all.
    pub can_direct: bool,
    /// How many errors of write-back the inode had when this file was opened.
    old_errors: u32,
    /// The alignment of memory that direct I/O needs; zero if the lower file answers direct
    /// requests through its cache.
    mem_align: Atomic<u32>,
}

impl OpenData {
    /// The alignment of memory that direct I/O needs, or zero.
    ///
    /// A lower file that has answered through its cache, because it was small enough to have no
    /// blocks, say, can have changed its mind: it is asked again.
    ///
    /// Context: process context, may sleep.
    ///
    /// # Errors
    ///
    /// Those of asking the lower filesystem.
    pub fn mem_align(&self) -> Result<u32> {
        let known = self.mem_align.load(Relaxed);
        if known != 0 {
            return Ok(known);
        }
        let mem_align = self.lower.direct_alignment()?;
        self.mem_align.store(mem_align, Relaxed);
        Ok(mem_align)
    }

    /// Whether the lower file, when last asked, answered direct requests through its cache.
    pub fn falls_back(&self) -> bool {
        self.mem_align.load(Relaxed) == 0
    }
}

impl RegularFile for Diofs {
    type Open = OpenData;

    fn open(mut file: NewFile<'_, Self>) -> Result<KBox<OpenData>> {
        file.check_large()?;
        let inode = file.inode();
        let sb = inode.super_block().data();
        let path = inode.data().lower.alias_path(&sb.root.mount)?;
        let flags = flags::lower_file(file.flags());
        let above = Some(file.opening());
        let lower = LowerFile::open(&path, flags, &sb.mounter, above)?;
        let can_direct = lower.can_direct();
        if file.flags() & bindings::O_DIRECT != 0 && !can_direct {
            return Err(EINVAL);
        }
        if lower.can_nowait() {
            file.set_nowait();
        }
        let access = if file.is_writable() {
            Access::Write
        } else {
            Access::Read
        };
        lower_io::opened(inode);
        // Opened now rather than at the first fault, which can report less.
        lower_io::cache_file(inode, access, above)
            .and_then(|CacheFile { mem_align, .. }| {
                let data = OpenData {
                    lower,
                    can_direct,
                    old_errors: inode.write_back_errors(),
                    mem_align: Atomic::new(mem_align),
                };
                Ok(KBox::new(data, GFP_KERNEL)?)
            })
            .inspect_err(|_| lower_io::closed(inode))
    }

    fn release(file: &OpenFile<Self>) {
        let inode = file.inode();
        // Every `close` has written back, but mappings can have been stored to since. An error is
        // in the mapping's error sequence, for those who still have the file open.
        inode.settle_all();
        lower_io::closed(inode);
    }

    fn stored(file: &OpenFile<Self>) -> Result {
        file.inode().may_change()?;
        if file.keeps_times() {
            return Ok(());
        }
        file.data().lower.modified_by_store()
    }

    fn flush(file: &OpenFile<Self>, owner: Owner) -> Result {
        if !file.is_writable() {
            return Ok(());
        }
        // The error sequence, not this result, says what is news to this file. It stays news: who
        // closes can be a child that has inherited the descriptor and does not look.
        let _ = file.inode().flush_all();
        // Some lower filesystems learn only now what they could not keep.
        let below = file.data().lower.flush(owner);
        // To a file that was opened after an error that nobody has seen that is news as well, for
        // `fsync`. Of what was written before, `close` says nothing.
        if file.inode().write_back_errors() == file.data().old_errors {
            return below;
        }
        file.peek_writeback_error().and(below)
    }

    fn fsync(file: &OpenFile<Self>, start: i64, end: i64, datasync: bool) -> Result {
        let above = file.write_and_wait(start, end);
        // What did get written back is to be durable also if something else was not.
        let below = file.data().lower.fsync(start, end, datasync);
        above.and(below)
    }

    fn llseek(file: &OpenFile<Self>, offset: i64, whence: i32) -> Result<i64> {
        match whence as u32 {
            bindings::SEEK_DATA | bindings::SEEK_HOLE => {
                // The lower file knows what is a hole, once it has been told of all data.
                file.inode().flush_all()?;
                let pos = file.data().lower.llseek(offset, whence)?;
                file.set_pos(pos)
            }
            _ => {
                let base = match whence as u32 {
                    bindings::SEEK_SET => 0,
                    bindings::SEEK_CUR => file.pos(),
                    bindings::SEEK_END => file.inode().size(),
                    _ => return Err(EINVAL),
                };
                let pos = base.checked_add(offset).ok_or(EOVERFLOW)?;
                // The largest position can depend on the format of the lower file.
                file.data().lower.llseek(pos, bindings::SEEK_SET as i32)?;
                file.generic_llseek(offset, whence)
            }
        }
    }

    fn read<'a>(mut kiocb: Kiocb<'a, Self>, iter: &mut IovIter<'_>) -> Reply<'a> {
        if kiocb.is_direct() && !for_splice(&kiocb, iter) {
            return direct::read(kiocb, iter);
        }
        kiocb.inode().follow_times();
        let result = kiocb.read_cached(iter);
        kiocb.reply(result)
    }

    fn write<'a>(mut kiocb: Kiocb<'a, Self>, iter: &mut IovIter<'_>) -> Reply<'a> {
        if let Err(error) = kiocb.inode().may_change() {
            return kiocb.reply(Err(error));
        }
        if kiocb.is_direct() {
            return direct::write(kiocb, iter);
        }
        // As ext4: a cached write may have to wait for too many things.
        let result = if kiocb.is_nowait() {
            Err(EOPNOTSUPP)
        } else {
            write_cached(&mut kiocb, iter).and_then(|bytes| kiocb.write_sync(bytes))
        };
        kiocb.reply(result)
    }

    fn splice(kiocb: &mut Kiocb<'_, Self>, source: &mut PipeSource<'_>) -> Result<usize> {
        let bytes = loop {
            if !source.wait()? {
                return Ok(0);
            }
            // Somebody else can have locked or emptied the pipe in between.
            if let Some(bytes) = splice_locked(kiocb, source)? {
                break bytes;
            }
        };
        if kiocb.is_direct() && bytes > 0 {
            return finish_fallback(kiocb, bytes);
        }
        kiocb.write_sync(bytes)
    }
}

/// Counts a direct write that has gone through the cache, and makes what it has written durable,
/// so that it tells its errors as a direct write does.
pub fn finish_fallback(kiocb: &Kiocb<'_, Diofs>, bytes: usize) -> Result<usize> {
    kiocb.inode().super_block().data().stats.fallbacks.inc();
    // Appending has moved the position, so where the write began is known only now.
    let start = kiocb.pos().saturating_sub_unsigned(bytes as u64);
    if let Some(range) = ByteRange::new(start, bytes) {
        let datasync = !kiocb.is_fully_synchronous();
        Diofs::fsync(kiocb.file(), range.start(), range.last(), datasync)?;
    }
    Ok(bytes)
}

/// Whether a direct read is for a splice from a file with `O_DIRECT`.
///
/// A splice has locked the pipe that it reads into, and a direct read takes the inode lock and
/// writes back, both of which come before that lock ([`crate::vfs::splice`]). A cached read does
/// neither, and returns the same. Others in the kernel who read directly (a loop device, nfsd) ask
/// for that with each request, on a file without the flag.
fn for_splice(kiocb: &Kiocb<'_, Diofs>, iter: &IovIter<'_>) -> bool {
    kiocb.is_sync() && iter.is_kernel() && kiocb.file().flags() & bindings::O_DIRECT != 0
}

/// Writes into the page cache. Context: process context, may sleep; no locks held.
pub fn write_cached(kiocb: &mut Kiocb<'_, Diofs>, iter: &mut IovIter<'_>) -> Result<usize> {
    let _lock = InodeLock::acquire(kiocb.inode(), Hold::Exclusive, false)?;
    if check_write(kiocb, iter)? == 0 {
        return Ok(0);
    }
    start_write(kiocb)?;
    write_checked(kiocb, iter)
}

/// Writes what is in the pipe into the page cache, unless somebody else has locked or emptied it.
/// Context: process context, may sleep; no locks held.
fn splice_locked(
    kiocb: &mut Kiocb<'_, Diofs>,
    source: &mut PipeSource<'_>,
) -> Result<Option<usize>> {
    let _lock = InodeLock::acquire(kiocb.inode(), Hold::Exclusive, false)?;
    kiocb.inode().may_change()?;
    // Nothing of the file changes at a limit. How much fits is found out for each part.
    kiocb.write_checks_count(1)?;
    start_write(kiocb)?;
    source.drain(kiocb, |kiocb, iter| match check_write(kiocb, iter)? {
        0 => Ok(0),
        _ => write_checked(kiocb, iter),
    })
}

/// Cuts a write to what the limits allow, and returns how many bytes are left of it.
fn check_write(kiocb: &mut Kiocb<'_, Diofs>, iter: &mut IovIter<'_>) -> Result<usize> {
    if kiocb.write_checks(iter)? > 0 {
        limit_to_lower(kiocb, iter)?;
    }
    Ok(iter.remaining())
}

/// What comes before every write into the page cache. It enters the lower filesystem's freeze
/// protection.
fn start_write(kiocb: &Kiocb<'_, Diofs>) -> Result {
    let (inode, file) = (kiocb.inode(), kiocb.file());
    inode.follow_access(&inode.super_block().data().root.mount);
    file.remove_privs()?;
    if file.keeps_times() {
        return Ok(());
    }
    file.data().lower.modified()
}

fn write_checked(kiocb: &mut Kiocb<'_, Diofs>, iter: &mut IovIter<'_>) -> Result<usize> {
    let inode = kiocb.inode();
    if kiocb.pos() > inode.size() {
        inode.zero_past_end();
    }
    buffered::write(kiocb, iter)
}

/// Cuts a write that extends the file to what the lower file can grow to.
///
/// On a filesystem of the ext family the limit depends on the format of each file and is not to be
/// seen from outside, but its `llseek` knows. Asked too late, at write-back, it would turn into an
/// error that only `fsync` reports.
///
/// # Errors
///
/// `EFBIG` if not a byte can be written.
fn limit_to_lower(kiocb: &Kiocb<'_, Diofs>, iter: &mut IovIter<'_>) -> Result {
    let lower = &kiocb.file().data().lower;
    let fits = |bytes: usize| {
        kiocb
            .pos()
            .checked_add_unsigned(bytes as u64)
            .is_some_and(|end| lower.llseek(end, bindings::SEEK_SET as i32).is_ok())
    };
    let count = iter.remaining();
    let end = kiocb.pos().saturating_add_unsigned(count as u64);
    if end <= kiocb.inode().size() {
        return Ok(());
    }
    match bisect::largest(count, fits) {
        0 => Err(EFBIG),
        fit => {
            iter.truncate(fit);
            Ok(())
        }
    }
}
