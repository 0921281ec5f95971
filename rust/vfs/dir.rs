// SPDX-License-Identifier: GPL-2.0

//! Open directories: reading them is reading the lower directory.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    file::Opening,
    lower::LowerFile,
    scope::with_creds,
    Dentry,
    FileSystem,
    FileTable,
    Inode, //
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    cred::Credential,
    error::from_result,
    prelude::*, //
};

/// What a filesystem says about its open directories.
pub trait DirOperations: Sized + 'static {
    /// The filesystem.
    type Fs: FileSystem;

    /// Opens the lower directory for one that is opened with `flags` (`O_*`) by the calling task.
    ///
    /// Context: process context, may sleep.
    ///
    /// # Errors
    ///
    /// Any, which `open(2)` returns.
    fn open(
        dentry: &Dentry<Self::Fs>,
        inode: &Inode<Self::Fs>,
        flags: u32,
        above: Opening<'_>,
    ) -> Result<LowerFile>;
}

/// The table of open directories.
///
/// `private_data` of such a file is the lower file, whose position follows the upper one's. The VFS
/// serialises reading and seeking in one open directory (`f_pos_lock`), so nobody else changes the
/// lower position.
pub struct DirOps<O: DirOperations>(PhantomData<O>);

impl<O: DirOperations> DirOps<O> {
    /// The table, to be installed in new directories.
    pub const fn table() -> FileTable<O::Fs> {
        // SAFETY: The functions below are sound for directories of `O::Fs`.
        unsafe { FileTable::new(&Self::TABLE) }
    }

    const TABLE: bindings::file_operations = bindings::file_operations {
        owner: kernel::module::this_module::<crate::LocalModule>().as_ptr(),
        open: Some(Self::open),
        release: Some(Self::release),
        llseek: Some(Self::llseek),
        read: Some(bindings::generic_read_dir),
        iterate_shared: Some(Self::iterate_shared),
        fsync: Some(Self::fsync),
        ..pin_init::zeroed()
    };

    /// The lower file of an open directory.
    ///
    /// # Safety
    ///
    /// `file` must have been opened by `open()` and not been released.
    unsafe fn lower(file: *mut bindings::file) -> *mut bindings::file {
        // SAFETY: `open()` left it there.
        unsafe { (*file).private_data.cast() }
    }

    /// # Safety
    ///
    /// Called by the VFS with a directory of `O::Fs` and a file of it that is being opened.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: As this function's requirements; the path of a file lasts as long as it.
        let (dentry, inode, flags, above) = unsafe {
            (
                Dentry::from_raw((*file).__bindgen_anon_1.f_path.dentry),
                Inode::from_raw(inode),
                (*file).f_flags,
                Opening::from_raw(file),
            )
        };
        match O::open(dentry, inode, flags, above) {
            Ok(lower) => {
                // SAFETY: The function that opens a file may set its private data.
                unsafe { (*file).private_data = lower.into_raw().cast() };
                0
            }
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS, once, with a file that `open()` opened.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: As this function's requirements.
        drop(unsafe { LowerFile::from_raw(Self::lower(file)) });
        0
    }

    /// # Safety
    ///
    /// Called by the VFS with a file that `open()` opened, its position locked.
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: As this function's requirements. Only reading and seeking use the positions.
        unsafe {
            let lower = Self::lower(file);
            (*lower).f_pos = (*file).f_pos;
            let result = bindings::vfs_llseek(lower, offset, whence);
            (*file).f_pos = (*lower).f_pos;
            result
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a file that `open()` opened, its position and its inode locked, and a
    /// context whose `pos` is the position.
    unsafe extern "C" fn iterate_shared(
        file: *mut bindings::file,
        context: *mut bindings::dir_context,
    ) -> c_int {
        // SAFETY: As this function's requirements. `iterate_dir()` starts at the position of the
        // lower file and leaves the new one in both. It asks security modules, so it is called as
        // the one who opened the lower directory; the VFS has asked them about the upper one.
        unsafe {
            let lower = Self::lower(file);
            (*lower).f_pos = (*context).pos;
            with_creds(Credential::from_ptr((*lower).f_cred), || {
                bindings::iterate_dir(lower, context)
            })
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a file that `open()` opened.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: i64,
        end: i64,
        datasync: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: As this function's requirements.
            kernel::error::to_result(unsafe {
                bindings::vfs_fsync_range(Self::lower(file), start, end, datasync)
            })
            .map(|()| 0)
        })
    }
}
