// SPDX-License-Identifier: GPL-2.0

//! Input and output on open lower files.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bvec::{
        BvecIter,
        Direction, //
    },
    file::Owner,
    freeze::FaultAccess,
    lower::{
        LowerFile,
        NewLowerFile, //
    },
    scope::with_creds, //
};
use crate::bindings;
use core::mem::MaybeUninit;
use kernel::{
    error::to_result,
    prelude::*, //
};

impl NewLowerFile {
    /// Switches the lower filesystem's own readahead off.
    ///
    /// The layer above reads ahead itself. And what the lower read ahead would cover bytes that
    /// nobody asked for, which a direct write may be changing.
    ///
    /// A file of a filesystem that stacks (overlayfs) passes the advice on to the one it reads from.
    ///
    /// Context: process context, may sleep.
    pub fn disable_readahead(&mut self) {
        let advice = bindings::POSIX_FADV_RANDOM as c_int;
        // SAFETY: By the type invariants nobody else looks at the mode. Whose device is none refuses
        // the advice, or forgets it, and reads nothing ahead.
        unsafe {
            bindings::file_mode_set(self.0.as_raw(), bindings::FMODE_RANDOM);
            bindings::vfs_fadvise(self.0.as_raw(), 0, 0, advice);
        }
    }

    /// Leaves modification and change time alone when this file is written.
    ///
    /// For write-back: what it writes was modified when it was written above.
    pub fn disable_time_updates(&mut self) {
        // SAFETY: As above.
        unsafe { bindings::file_mode_set(self.0.as_raw(), bindings::FMODE_NOCMTIME) };
    }

    /// Asks nobody for permission when this file is read.
    ///
    /// A listener of fanotify, which decides in user space, would be waited for with folio locks
    /// held. Content that has to be brought first (`FAN_PRE_ACCESS`) is asked for all the same.
    pub fn disable_access_permission_events(&mut self) {
        if self.0.mode() & LowerFile::NOTIFY_MASK == 0 {
            // SAFETY: As above.
            unsafe { bindings::file_mode_set(self.0.as_raw(), LowerFile::NOTIFY_MASK) };
        }
    }
}

impl LowerFile {
    /// Both bits mean: all events but `FAN_ACCESS_PERM`. The second alone: no questions at all.
    /// C: `FMODE_FSNOTIFY_MASK`.
    const NOTIFY_MASK: u32 = bindings::FMODE_NONOTIFY | bindings::FMODE_NONOTIFY_PERM;

    fn mode(&self) -> u32 {
        // SAFETY: The file lives.
        unsafe { bindings::file_mode(self.as_raw()) }
    }

    fn operation_flags(&self) -> u32 {
        // SAFETY: The file lives, and has operations.
        unsafe { bindings::fop_flags(self.as_raw()) }
    }

    /// Whether the file was opened for writing.
    pub fn can_write(&self) -> bool {
        self.mode() & bindings::FMODE_WRITE != 0
    }

    /// Whether the file can be read and written past its page cache.
    pub fn can_direct(&self) -> bool {
        self.mode() & bindings::FMODE_CAN_ODIRECT != 0
    }

    /// Whether the file honours requests that must not sleep.
    pub fn can_nowait(&self) -> bool {
        self.mode() & bindings::FMODE_NOWAIT != 0
    }

    /// Whether somebody may have to bring the content before it is read (`FAN_PRE_ACCESS`).
    ///
    /// C: `FMODE_FSNOTIFY_HSM()`.
    fn awaits_content(&self) -> bool {
        matches!(self.mode() & Self::NOTIFY_MASK, 0 | Self::NOTIFY_MASK)
    }

    fn super_block_raw(&self) -> *mut bindings::super_block {
        // SAFETY: The file pins its inode, and the inode its superblock.
        unsafe { (*self.inode().as_raw()).i_sb }
    }

    /// Sets modification and change time to now, as `file_update_time()` does.
    ///
    /// Context: process context, may sleep; no lock of the lower filesystem is held.
    pub fn modified(&self) -> Result {
        let sb = self.super_block_raw();
        // SAFETY: File and superblock live; the first and the last call pair.
        unsafe {
            bindings::sb_start_write(sb);
            let ret = bindings::file_update_time(self.as_raw());
            bindings::sb_end_write(sb);
            to_result(ret)
        }
    }

    /// As [`LowerFile::modified`], for a store through a mapping.
    ///
    /// Context: a page fault; may sleep, no folio lock is held.
    ///
    /// # Errors
    ///
    /// `EINTR` if the running task is being killed, and those of the lower filesystem.
    pub fn modified_by_store(&self) -> Result {
        // SAFETY: File and superblock live.
        unsafe {
            let _access = FaultAccess::new(self.super_block_raw())?;
            to_result(bindings::file_update_time(self.as_raw()))
        }
    }

    /// The alignment of memory that direct I/O needs, as `statx` tells it; zero if the file has no
    /// direct I/O, or one (which is none) if the filesystem does not say.
    ///
    /// The security modules are not asked, see [`LowerMount::getattr`](super::lower::LowerMount).
    ///
    /// Context: process context, may sleep. C: `vfs_getattr_nosec()`.
    pub fn direct_alignment(&self) -> Result<u32> {
        let mut stat = MaybeUninit::<bindings::kstat>::zeroed();
        // SAFETY: The path lives as long as the file, and `stat` is valid for writes.
        unsafe {
            to_result(bindings::vfs_getattr_nosec(
                &(*self.as_raw()).__bindgen_anon_1.__f_path,
                stat.as_mut_ptr(),
                bindings::STATX_DIOALIGN,
                0,
            ))?;
            let stat = stat.assume_init();
            if stat.result_mask & bindings::STATX_DIOALIGN == 0 {
                return Ok(1);
            }
            Ok(stat.dio_mem_align)
        }
    }

    /// Asks whether this file is open for `mode` (`FMODE_*`), and whether `len` bytes at `pos` may
    /// be transferred, on behalf of whoever opened it.
    ///
    /// The VFS has asked about the file above, on behalf of the running task. About this one, in a
    /// mount of nobody's, security modules that decide by path could say nothing to that task.
    ///
    /// Context: process context, may sleep; fanotify may ask user space. C: `rw_verify_area()`.
    fn verify(&self, mode: u32, direction: u32, pos: i64, len: usize) -> Result {
        if self.mode() & mode == 0 {
            return Err(EBADF);
        }
        let direction = direction as c_int;
        // SAFETY: The file lives, and `pos` through the call.
        to_result(with_creds(self.file().cred(), || unsafe {
            bindings::rw_verify_area(direction, self.as_raw(), &pos, len)
        }))
    }

    /// Reads into `iter`, as `vfs_iocb_iter_read()` does, but see [`LowerFile::verify`]. The running
    /// task keeps its credentials.
    ///
    /// Context: that of `kiocb`.
    ///
    /// # Safety
    ///
    /// `kiocb` is a request on this file, which lives until the call returns, and what `iter` reads
    /// into until the request is complete.
    pub(super) unsafe fn read_iter(
        &self,
        kiocb: *mut bindings::kiocb,
        iter: &mut BvecIter<'_>,
    ) -> isize {
        let len = iter.remaining();
        // SAFETY: The request is valid before the call.
        let pos = unsafe { (*kiocb).ki_pos };
        if len == 0 {
            return 0;
        }
        match self.verify(bindings::FMODE_READ, bindings::READ, pos, len) {
            // SAFETY: By this function's requirements.
            Ok(()) => unsafe { self.read_iter_unasked(kiocb, iter) },
            Err(error) => error.to_errno() as isize,
        }
    }

    /// Reads into `iter` what the running task may read.
    ///
    /// Context: that of `kiocb`.
    ///
    /// # Safety
    ///
    /// As for [`LowerFile::read_iter`].
    unsafe fn read_iter_unasked(
        &self,
        kiocb: *mut bindings::kiocb,
        iter: &mut BvecIter<'_>,
    ) -> isize {
        // SAFETY: A file has operations.
        let Some(read) = (unsafe { (*(*self.as_raw()).f_op).read_iter }) else {
            return EINVAL.to_errno() as isize;
        };
        // SAFETY: By this function's requirements. If the request was queued it is not looked at
        // any more; the file lives as long as `self`.
        unsafe {
            let ret = read(kiocb, iter.as_raw());
            if ret >= 0 {
                self.notify(Direction::ToPages);
            }
            ret
        }
    }

    /// Writes from `iter`, as `vfs_iocb_iter_write()` does, but see [`LowerFile::verify`]. The
    /// running task keeps its credentials, of which quotas depend.
    ///
    /// If the request is queued, its completion calls `kiocb_end_write()`.
    ///
    /// Context: that of `kiocb`; takes freeze protection, for which one that must not sleep does not
    /// wait.
    ///
    /// # Safety
    ///
    /// As for [`LowerFile::read_iter`].
    pub(super) unsafe fn write_iter(
        &self,
        kiocb: *mut bindings::kiocb,
        iter: &mut BvecIter<'_>,
    ) -> isize {
        if iter.remaining() == 0 {
            return 0;
        }
        // SAFETY: The request is valid before the call; a file has operations.
        let (pos, write) = unsafe { ((*kiocb).ki_pos, (*(*self.as_raw()).f_op).write_iter) };
        let may = self.verify(
            bindings::FMODE_WRITE,
            bindings::WRITE,
            pos,
            iter.remaining(),
        );
        let write = match may.and(write.ok_or(EINVAL)) {
            Ok(write) => write,
            Err(error) => return error.to_errno() as isize,
        };
        // SAFETY: By this function's requirements. What is started is ended here, or by the
        // completion of a queued request; that is not looked at any more then.
        unsafe {
            if !self.start_write(kiocb) {
                return EAGAIN.to_errno() as isize;
            }
            let ret = write(kiocb, iter.as_raw());
            if ret != -(bindings::EIOCBQUEUED as isize) {
                bindings::kiocb_end_write(kiocb);
            }
            if ret > 0 {
                self.notify(Direction::FromPages);
            }
            ret
        }
    }

    /// Tells those who watch the file that something was transferred.
    ///
    /// Context: process context, may sleep.
    pub(super) fn notify(&self, direction: Direction) {
        // SAFETY: The file lives.
        unsafe {
            match direction {
                Direction::FromPages => bindings::fsnotify_modify(self.as_raw()),
                Direction::ToPages => bindings::fsnotify_access(self.as_raw()),
            }
        }
    }

    /// Takes the freeze protection of a request, as `kiocb_start_write()` does, and says whether it
    /// could be had without waiting if the request must not wait.
    ///
    /// Context: that of `kiocb`.
    ///
    /// # Safety
    ///
    /// `kiocb` is a request on this file, on which `kiocb_end_write()` is called if this returns true.
    unsafe fn start_write(&self, kiocb: *mut bindings::kiocb) -> bool {
        let sb = self.super_block_raw();
        // SAFETY: By this function's requirements; the superblock lives as long as its file. For
        // lockdep the protection is no longer the task's: whoever completes the request ends it.
        unsafe {
            if (*kiocb).ki_flags & bindings::IOCB_NOWAIT == 0 {
                bindings::kiocb_start_write(kiocb);
                return true;
            }
            let started = bindings::sb_start_write_trylock(sb);
            if started {
                bindings::__sb_writers_release(sb, bindings::SB_FREEZE_WRITE as c_int);
            }
            started
        }
    }

    /// A synchronous request at `pos` that uses the lower page cache but leaves nothing in it.
    fn cached_request(&self, pos: i64) -> bindings::kiocb {
        let mut kiocb = bindings::kiocb::default();
        // SAFETY: `kiocb` is valid for writes, and the file lives.
        unsafe { bindings::init_sync_kiocb(&mut kiocb, self.as_raw()) };
        kiocb.ki_pos = pos;
        if self.operation_flags() & bindings::FOP_DONTCACHE != 0 {
            kiocb.ki_flags |= bindings::IOCB_DONTCACHE;
        }
        kiocb
    }

    /// Reads at `pos` through the lower page cache until `dst` is full or the file ends, for a page
    /// cache above.
    ///
    /// As when a filesystem fills its own cache, security modules are not asked, nor is fanotify:
    /// whoever wants the data was, when they came to read or to map them. A fault may come while
    /// the lower filesystem is protected against freezing, and then nobody may be asked
    /// (`fsnotify_file_area_perm()`). Content that has to be brought first is the exception, as
    /// there would be nothing to read.
    ///
    /// Context: process context, may sleep; a folio lock may be held. Takes no `i_rwsem` on the
    /// filesystems that read cached data without it (ext2, ext3, ext4 and all that use
    /// `filemap_read()` alone), but for DAX files.
    pub fn read_cached(&self, pos: i64, dst: &mut BvecIter<'_>) -> Result {
        if self.awaits_content() && dst.remaining() > 0 {
            self.verify(bindings::FMODE_READ, bindings::READ, pos, dst.remaining())?;
        }
        let mut pos = pos;
        while dst.remaining() > 0 {
            let mut kiocb = self.cached_request(pos);
            // SAFETY: The request is initialised, and file and pages live through the call.
            let ret = unsafe { self.read_iter_unasked(&mut kiocb, &mut dst.fork()) };
            if ret <= 0 {
                return to_result(ret as c_int);
            }
            dst.advance(ret as usize);
            pos = pos.saturating_add(ret as i64);
        }
        Ok(())
    }

    /// Writes some of `src`, at least a byte, at `pos` through the lower page cache, and moves it on
    /// by what was written.
    ///
    /// What counts is what the lower filesystem says. Its iterator can be anywhere after a write that
    /// was short or failed: FUSE leaves it behind all that it has tried to send, and
    /// `generic_write_checks()` cuts what the limits do not allow.
    ///
    /// Context: process context, may sleep; takes the lower `i_rwsem`.
    pub fn write_cached(&self, pos: i64, src: &mut BvecIter<'_>) -> Result {
        let mut kiocb = self.cached_request(pos);
        let mut all = src.fork();
        // SAFETY: The request is initialised, and file and pages live through the call.
        let ret = unsafe { bindings::vfs_iocb_iter_write(self.as_raw(), &mut kiocb, all.as_raw()) };
        match ret {
            0 => Err(EIO),
            n if n < 0 => Err(Error::from_errno(n as c_int)),
            n => {
                src.advance(n as usize);
                Ok(())
            }
        }
    }

    /// Makes a range durable, as `vfs_fsync_range()` does; reports errors once to this file.
    ///
    /// Context: process context, may sleep; may take the lower `i_rwsem`.
    pub fn fsync(&self, start: i64, end: i64, datasync: bool) -> Result {
        // SAFETY: The file lives.
        to_result(unsafe {
            bindings::vfs_fsync_range(self.as_raw(), start, end, c_int::from(datasync))
        })
    }

    /// Tells the filesystem that somebody has closed a descriptor of the file above, as `close(2)`
    /// does.
    ///
    /// Context: process context, may sleep.
    ///
    /// # Errors
    ///
    /// Those of earlier writes that the filesystem tells here.
    pub fn flush(&self, owner: Owner) -> Result {
        // SAFETY: A file has operations.
        let Some(flush) = (unsafe { (*(*self.as_raw()).f_op).flush }) else {
            return Ok(());
        };
        // SAFETY: The file lives. The owner is a mere name.
        to_result(unsafe { flush(self.as_raw(), owner.0) })
    }

    /// Finds a position, as `vfs_llseek()` does.
    ///
    /// Context: process context, may sleep; may take the lower `i_rwsem`.
    pub fn llseek(&self, offset: i64, whence: i32) -> Result<i64> {
        // SAFETY: The file lives.
        let pos = unsafe { bindings::vfs_llseek(self.as_raw(), offset, whence) };
        if pos < 0 {
            return Err(Error::from_errno(pos as c_int));
        }
        Ok(pos)
    }
}
