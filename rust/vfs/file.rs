// SPDX-License-Identifier: GPL-2.0

//! Open regular files.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h) (`struct file_operations`)

use super::{
    bvec::Direction,
    fault::VmOps,
    iov::IovIter,
    kiocb::{
        Kiocb,
        Reply, //
    },
    mapping::CachedFile,
    splice::PipeSource,
    FileTable,
    Inode, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::Opaque, //
};

/// A file of ours, regular or a directory, that is being opened.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    raw: *mut bindings::file,
    _file: PhantomData<&'a bindings::file>,
}

impl Opening<'_> {
    /// Wraps a C file.
    ///
    /// # Safety
    ///
    /// `raw` is being opened, and has its path and its mode, for as long as the result lives.
    pub(super) unsafe fn from_raw(raw: *mut bindings::file) -> Self {
        Self {
            raw,
            _file: PhantomData,
        }
    }

    /// The C file.
    pub(super) fn as_raw(self) -> *mut bindings::file {
        self.raw
    }

    /// Whether nobody is to be notified of what is done with the file: fanotify opens files so that
    /// it hands to its listeners.
    ///
    /// C: `FMODE_FSNOTIFY_NONE()`.
    pub fn is_silent(self) -> bool {
        const MASK: u32 = bindings::FMODE_NONOTIFY | bindings::FMODE_NONOTIFY_PERM;
        // SAFETY: The file lives.
        unsafe { bindings::file_mode(self.raw) & MASK == bindings::FMODE_NONOTIFY }
    }
}

/// An open regular file of `T`.
#[repr(transparent)]
pub struct OpenFile<T: RegularFile> {
    raw: Opaque<bindings::file>,
    _fs: PhantomData<T>,
}

impl<T: RegularFile> OpenFile<T> {
    /// Wraps a C file.
    ///
    /// # Safety
    ///
    /// `raw` is an open file of `T`, referenced for `'a`.
    pub(super) unsafe fn from_raw<'a>(raw: *mut bindings::file) -> &'a Self {
        // SAFETY: The caller guarantees it; the wrapper is transparent.
        unsafe { &*raw.cast() }
    }

    /// The C file.
    pub(super) fn as_raw(&self) -> *mut bindings::file {
        self.raw.get()
    }

    /// The inode.
    pub fn inode(&self) -> &Inode<T> {
        // SAFETY: A file pins its inode.
        unsafe { Inode::from_raw((*self.as_raw()).f_inode) }
    }

    /// The flags of the open call, `O_*`.
    pub fn flags(&self) -> u32 {
        // SAFETY: The file lives; the flags may change under us, any value will do.
        unsafe { ptr::addr_of!((*self.as_raw()).f_flags).read_volatile() }
    }

    /// The file position.
    pub fn pos(&self) -> i64 {
        // SAFETY: The file lives; the position may change under us, any value will do.
        unsafe { ptr::addr_of!((*self.as_raw()).f_pos).read_volatile() }
    }

    /// Whether the file was opened for writing.
    pub fn is_writable(&self) -> bool {
        // SAFETY: The file lives.
        unsafe { bindings::file_mode(self.as_raw()) & bindings::FMODE_WRITE != 0 }
    }

    /// Whether whoever writes to this file leaves its times of change alone, as write-back does that
    /// was modified when it was written above. C: `FMODE_NOCMTIME`.
    pub fn keeps_times(&self) -> bool {
        // SAFETY: The file lives.
        unsafe { bindings::file_mode(self.as_raw()) & bindings::FMODE_NOCMTIME != 0 }
    }

    /// What [`RegularFile::open`] returned.
    pub fn data(&self) -> &T::Open {
        // SAFETY: `open` stored a box there, which `release` frees.
        unsafe { &*(*self.as_raw()).private_data.cast() }
    }

    /// Removes set-id bits and the like before a write, as `file_remove_privs()` does.
    ///
    /// Context: process context, may sleep; the inode's `i_rwsem` is held exclusively.
    pub fn remove_privs(&self) -> Result {
        // SAFETY: The file lives.
        to_result(unsafe { bindings::file_remove_privs(self.as_raw()) })
    }

    /// Notes an access, as far as the options of the mount ask for that. C: `file_accessed()`.
    ///
    /// Context: process context, may sleep.
    pub fn accessed(&self) {
        self.inode().follow_times();
        // SAFETY: The file lives.
        unsafe { bindings::file_accessed(self.as_raw()) };
    }

    /// A write-back error that was not reported to this file yet. It stays unreported.
    pub fn peek_writeback_error(&self) -> Result {
        // SAFETY: The file lives, and with it its mapping.
        to_result(unsafe {
            bindings::errseq_check(
                ptr::addr_of_mut!((*(*self.as_raw()).f_mapping).wb_err),
                (*self.as_raw()).f_wb_err,
            )
        })
    }

    /// Writes dirty folios of a range back, waits, and reports errors once to this file.
    pub fn write_and_wait(&self, start: i64, end: i64) -> Result {
        // SAFETY: The file lives.
        to_result(unsafe { bindings::file_write_and_wait_range(self.as_raw(), start, end) })
    }

    /// The common part of `llseek`, for positions that need no look at the data.
    pub fn generic_llseek(&self, offset: i64, whence: i32) -> Result<i64> {
        // SAFETY: The file lives.
        let pos = unsafe { bindings::generic_file_llseek(self.as_raw(), offset, whence) };
        if pos < 0 {
            return Err(Error::from_errno(pos as c_int));
        }
        Ok(pos)
    }

    /// Sets the file position to a non-negative offset.
    pub fn set_pos(&self, pos: i64) -> Result<i64> {
        // SAFETY: The file lives; `f_pos` is set as every `llseek` does, under `f_pos_lock`.
        let pos = unsafe { bindings::vfs_setpos(self.as_raw(), pos, i64::MAX) };
        if pos < 0 {
            return Err(Error::from_errno(pos as c_int));
        }
        Ok(pos)
    }
}

/// A regular file of `T` that is being opened.
///
/// # Invariants
///
/// What [`RegularFile::open`] is to return is not there yet. Nobody else uses the file.
pub struct NewFile<'a, T: RegularFile>(&'a OpenFile<T>);

impl<'a, T: RegularFile> NewFile<'a, T> {
    /// The inode.
    pub fn inode(&self) -> &'a Inode<T> {
        self.0.inode()
    }

    /// The flags of the open call, `O_*`.
    pub fn flags(&self) -> u32 {
        self.0.flags()
    }

    /// Whether the file is opened for writing.
    pub fn is_writable(&self) -> bool {
        self.0.is_writable()
    }

    /// The file, for what is opened below it.
    pub fn opening(&self) -> Opening<'a> {
        // SAFETY: The file lives as long as the borrow, and is being opened.
        unsafe { Opening::from_raw(self.0.as_raw()) }
    }

    /// Declares that requests which must not sleep are honoured.
    pub fn set_nowait(&mut self) {
        // SAFETY: By the type invariants nobody else looks at the mode.
        unsafe { bindings::file_mode_set(self.0.as_raw(), bindings::FMODE_NOWAIT) };
    }

    /// Whether the file may be opened as large as it is: some programs cannot count so far. C:
    /// `generic_file_open()`.
    ///
    /// # Errors
    ///
    /// `EOVERFLOW`.
    pub fn check_large(&self) -> Result {
        // SAFETY: The file lives, and with it its inode.
        to_result(unsafe { bindings::generic_file_open(self.inode().as_raw(), self.0.as_raw()) })
    }
}

/// Who has a descriptor of a file: a table of descriptors. C: `fl_owner_t`.
#[derive(Clone, Copy)]
pub struct Owner(pub(super) bindings::fl_owner_t);

/// What a filesystem does with open regular files.
pub trait RegularFile: CachedFile {
    /// Private data of an open file.
    type Open: Send + Sync + 'static;

    /// Opens a file.
    ///
    /// Context: process context, may sleep.
    fn open(file: NewFile<'_, Self>) -> Result<KBox<Self::Open>>;

    /// Is told that the last reference to an open file went away.
    ///
    /// Context: process context, may sleep.
    fn release(file: &OpenFile<Self>);

    /// Is told that a mapping of the file is about to be stored to, in a page that was clean.
    ///
    /// Context: a page fault; may sleep. `mmap_lock` is held, or the lock of the mapping alone, and no
    /// folio lock.
    fn stored(file: &OpenFile<Self>) -> Result;

    /// Is told of each `close(2)`, and who closes.
    ///
    /// Context: process context, may sleep.
    fn flush(file: &OpenFile<Self>, owner: Owner) -> Result;

    /// Makes a range durable, inclusive of `end`.
    ///
    /// Context: process context, may sleep.
    fn fsync(file: &OpenFile<Self>, start: i64, end: i64, datasync: bool) -> Result;

    /// Moves the file position.
    ///
    /// Context: process context, may sleep.
    fn llseek(file: &OpenFile<Self>, offset: i64, whence: i32) -> Result<i64>;

    /// Reads at the position of the request.
    ///
    /// Context: process context, may sleep unless the request may not; no locks are held.
    fn read<'a>(kiocb: Kiocb<'a, Self>, iter: &mut IovIter<'_>) -> Reply<'a>;

    /// Writes at the position of the request.
    ///
    /// Context: as [`RegularFile::read`].
    fn write<'a>(kiocb: Kiocb<'a, Self>, iter: &mut IovIter<'_>) -> Reply<'a>;

    /// Writes what is in a pipe, or comes into it, at the position of the request, which is
    /// synchronous. Moves the position on.
    ///
    /// Context: process context, may sleep; no locks are held.
    fn splice(kiocb: &mut Kiocb<'_, Self>, source: &mut PipeSource<'_>) -> Result<usize>;
}

impl<T: RegularFile> Kiocb<'_, T> {
    /// The file of the request.
    pub fn file(&self) -> &OpenFile<T> {
        // SAFETY: The request pins its file, an open file of `T`.
        unsafe { OpenFile::from_raw(self.file_raw()) }
    }

    /// Applies the limits on position and size to a write, as `generic_write_checks()` does:
    /// returns how many bytes of `iter` may be written, to which `iter` is cut.
    ///
    /// Context: process context; the inode's `i_rwsem` is held.
    pub fn write_checks(&mut self, iter: &mut IovIter<'_>) -> Result<usize> {
        let count = self.write_checks_count(iter.remaining())?;
        iter.truncate(count);
        Ok(count)
    }

    /// As [`Kiocb::write_checks`] for `count` bytes that are not in an iterator.
    pub fn write_checks_count(&mut self, count: usize) -> Result<usize> {
        let mut count = i64::try_from(count).map_err(|_| EINVAL)?;
        // SAFETY: Both are valid.
        to_result(unsafe { bindings::generic_write_checks_count(self.as_raw(), &mut count) })?;
        usize::try_from(count).map_err(|_| EINVAL)
    }

    /// Makes `count` bytes before the position durable if the request asks for it, as
    /// `generic_write_sync()` does.
    ///
    /// Context: process context, may sleep; no locks held.
    pub fn write_sync(&mut self, count: usize) -> Result<usize> {
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: The request is valid.
        let ret = unsafe { bindings::generic_write_sync(self.as_raw(), count as isize) };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }

    /// Reads through the page cache, as `filemap_read()` does.
    ///
    /// Context: process context, may sleep unless the request may not.
    pub fn read_cached(&mut self, iter: &mut IovIter<'_>) -> Result<usize> {
        let flags = self.flags();
        // What `filemap_read()` cuts off by itself would look as if it had been moved over.
        // SAFETY: The inode lives, and its superblock with it.
        let max = unsafe { (*(*self.inode().as_raw()).i_sb).s_maxbytes };
        if let Ok(rest @ 1..) = usize::try_from(max.saturating_sub(self.pos())) {
            iter.truncate(rest);
        }
        // Readahead waits for the store. One who must not sleep gets what is there.
        let noio = if self.is_nowait() {
            bindings::IOCB_NOIO
        } else {
            0
        };
        // SAFETY: Both are valid. The flags are put back, as a retry of the request needs them.
        let ret = unsafe {
            (*self.as_raw()).ki_flags = flags | noio;
            let ret = bindings::filemap_read(self.as_raw(), iter.as_raw(), 0);
            (*self.as_raw()).ki_flags = flags;
            ret
        };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }
}

/// The file operations of `T`'s regular files.
pub struct FileOps<T: RegularFile>(PhantomData<T>);

impl<T: RegularFile> FileOps<T> {
    const TABLE: bindings::file_operations = bindings::file_operations {
        owner: kernel::module::this_module::<crate::LocalModule>().as_ptr(),
        // Direct writes inside the file hold the inode lock shared.
        fop_flags: bindings::FOP_DIO_PARALLEL_WRITE,
        open: Some(Self::open),
        release: Some(Self::release),
        flush: Some(Self::flush),
        fsync: Some(Self::fsync),
        llseek: Some(Self::llseek),
        read_iter: Some(Self::read_iter),
        write_iter: Some(Self::write_iter),
        mmap_prepare: Some(Self::mmap_prepare),
        splice_read: Some(Self::splice_read),
        splice_write: Some(Self::splice_write),
        // Without huge pages (as with PREEMPT_RT) there is nothing to align mappings for.
        #[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
        get_unmapped_area: Some(bindings::thp_get_unmapped_area),
        ..pin_init::zeroed()
    };

    /// The table.
    pub const fn table() -> FileTable<T> {
        // SAFETY: The thunks below are sound on open regular files of `T`.
        unsafe { FileTable::new(const { &Self::TABLE }) }
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `T` and a file that is being opened.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The caller guarantees the file.
            // INVARIANT: It is being opened.
            let data = T::open(NewFile(unsafe { OpenFile::from_raw(file) }))?;
            // SAFETY: Nobody looks at the private data before the file is open.
            unsafe { (*file).private_data = KBox::into_raw(data).cast() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS, once, with a file that [`Self::open`] opened and nobody else uses.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The caller guarantees the file.
        T::release(unsafe { OpenFile::from_raw(file) });
        // SAFETY: `open` put a box there, and nobody uses the file any more.
        drop(unsafe { KBox::<T::Open>::from_raw((*file).private_data.cast()) });
        0
    }

    /// # Safety
    ///
    /// Called by the VFS with an open file of `T`.
    unsafe extern "C" fn flush(file: *mut bindings::file, id: bindings::fl_owner_t) -> c_int {
        // SAFETY: The caller guarantees the file.
        from_result(|| T::flush(unsafe { OpenFile::from_raw(file) }, Owner(id)).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with an open file of `T`.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: i64,
        end: i64,
        datasync: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The caller guarantees the file.
            let file = unsafe { OpenFile::from_raw(file) };
            T::fsync(file, start, end, datasync != 0).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS with an open file of `T`.
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: The caller guarantees the file.
        from_result(|| T::llseek(unsafe { OpenFile::from_raw(file) }, offset, whence))
    }

    /// # Safety
    ///
    /// Called by the VFS with a request for an open file of `T` and an iterator for the call.
    unsafe extern "C" fn read_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The caller guarantees both.
        let (kiocb, mut iter) = unsafe { (Kiocb::from_raw(kiocb), IovIter::from_raw(iter)) };
        if iter.direction() != Direction::ToPages {
            return EINVAL.to_errno() as isize;
        }
        T::read(kiocb, &mut iter).into_c()
    }

    /// # Safety
    ///
    /// As [`Self::read_iter`].
    unsafe extern "C" fn write_iter(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The caller guarantees both.
        let (kiocb, mut iter) = unsafe { (Kiocb::from_raw(kiocb), IovIter::from_raw(iter)) };
        if iter.direction() != Direction::FromPages {
            return EINVAL.to_errno() as isize;
        }
        T::write(kiocb, &mut iter).into_c()
    }

    /// # Safety
    ///
    /// Called by the VFS with an open file of `T`, a position and a pipe for the call.
    unsafe extern "C" fn splice_read(
        file: *mut bindings::file,
        pos: *mut bindings::loff_t,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        // SAFETY: The caller guarantees the file.
        unsafe { OpenFile::<T>::from_raw(file) }
            .inode()
            .follow_times();
        // SAFETY: The caller guarantees all of them. It notes the access itself.
        unsafe { bindings::filemap_splice_read(file, pos, pipe, len, flags) }
    }

    /// # Safety
    ///
    /// Called by the VFS with an open file of `T`, a position and an unlocked pipe for the call.
    unsafe extern "C" fn splice_write(
        pipe: *mut bindings::pipe_inode_info,
        file: *mut bindings::file,
        pos: *mut bindings::loff_t,
        len: usize,
        flags: c_uint,
    ) -> isize {
        let mut raw = bindings::kiocb::default();
        // SAFETY: The caller guarantees all of them; the request lives through the call.
        let (mut kiocb, mut source) = unsafe {
            bindings::init_sync_kiocb(&mut raw, file);
            raw.ki_pos = *pos;
            (
                Kiocb::from_raw(&mut raw),
                PipeSource::from_raw(pipe, len, flags),
            )
        };
        let result = T::splice(&mut kiocb, &mut source);
        if matches!(result, Ok(bytes) if bytes > 0) {
            // SAFETY: The caller guarantees the position.
            unsafe { *pos = kiocb.pos() };
        }
        kiocb.reply(result).into_c()
    }

    /// # Safety
    ///
    /// Called by the memory manager with the description of a mapping of an open file of `T`.
    unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        // SAFETY: The caller guarantees the description and its file.
        let file = unsafe {
            (*desc).vm_ops = const { &VmOps::<T>::TABLE };
            OpenFile::<T>::from_raw((*desc).file)
        };
        file.accessed();
        0
    }
}
