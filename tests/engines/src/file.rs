// SPDX-License-Identifier: GPL-2.0
//! An open file and the calls that are not reads or writes.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::errno::Errno;
use crate::error::Error;

/// An open file.
#[derive(Debug)]
pub struct File(OwnedFd);

impl File {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// What open(2) returns; `EINVAL` where `direct` is not supported.
    pub fn open(path: &Path, direct: bool) -> Result<Self, Error> {
        let flags = if direct { libc::O_DIRECT } else { 0 };
        let how = if direct { "O_DIRECT" } else { "buffered" };
        Self::raw_open(path, libc::O_RDWR | flags, how)
    }

    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// What open(2) returns.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::raw_open(path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, "create")
    }

    fn raw_open(path: &Path, flags: i32, how: &'static str) -> Result<Self, Error> {
        let fail = |errno| Error::Open {
            path: path.to_owned(),
            how,
            errno,
        };
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| fail(Errno::EINVAL))?;
        // SAFETY: `name` is a terminated string that outlives the call.
        let fd = unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, 0o600) };
        if fd < 0 {
            return Err(fail(Errno::last()));
        }
        // SAFETY: the descriptor was opened just now and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Another descriptor of the same open file, as dup(2) makes it.
    ///
    /// # Errors
    /// What the call returns.
    pub fn duplicate(&self) -> Result<Self, Error> {
        let copy = self.0.try_clone();
        copy.map(Self).map_err(|_| Error::call("dup"))
    }

    /// Writes at the end, wherever that is by now (`RWF_APPEND`).
    ///
    /// # Errors
    /// What pwritev2 returns.
    pub fn append(&self, data: &[u64]) -> Result<usize, Errno> {
        let vector = libc::iovec {
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: size_of_val(data),
        };
        // SAFETY: the vector names `data`, which is only read.
        Errno::check(unsafe { libc::pwritev2(self.fd(), &vector, 1, 0, libc::RWF_APPEND) })
    }

    /// Makes this file share all blocks of another one of the same filesystem (`FICLONE`).
    ///
    /// # Errors
    /// What ioctl returns.
    pub fn clone_of(&self, other: &Self) -> Result<(), Errno> {
        // SAFETY: the argument is a descriptor.
        let done = unsafe { libc::ioctl(self.fd(), libc::FICLONE as _, other.fd()) };
        Errno::check(done as libc::ssize_t).map(|_| ())
    }

    /// The descriptor.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Its size, from fstat(2).
    ///
    /// # Errors
    /// What fstat returns.
    pub fn size(&self) -> Result<u64, Error> {
        Ok(self.stat()?.st_size as u64)
    }

    /// The preferred block size, from fstat(2).
    ///
    /// # Errors
    /// What fstat returns.
    pub fn block_size(&self) -> Result<u64, Error> {
        Ok(self.stat()?.st_blksize as u64)
    }

    fn stat(&self) -> Result<libc::stat, Error> {
        // SAFETY: `stat` is plain data for which all zeroes are valid.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is valid for writing one such structure.
        if unsafe { libc::fstat(self.fd(), &mut stat) } < 0 {
            return Err(Error::call("fstat"));
        }
        Ok(stat)
    }

    /// Sets the size.
    ///
    /// # Errors
    /// What ftruncate returns.
    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        // SAFETY: no pointers involved.
        if unsafe { libc::ftruncate(self.fd(), len as libc::off_t) } < 0 {
            return Err(Error::call("ftruncate"));
        }
        Ok(())
    }

    /// Sets or clears `O_DIRECT` on the open descriptor.
    ///
    /// # Errors
    /// What fcntl returns.
    pub fn set_direct(&self, direct: bool) -> Result<(), Errno> {
        let flags = if direct { libc::O_DIRECT } else { 0 };
        // SAFETY: no pointers involved. Of the flags of a descriptor that fcntl can change, ours never
        // have another than this one.
        if unsafe { libc::fcntl(self.fd(), libc::F_SETFL, flags) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// fsync(2). The error number is a result of interest, not a failure of the caller.
    ///
    /// # Errors
    /// What fsync returns.
    pub fn fsync(&self) -> Result<(), Errno> {
        // SAFETY: no pointers involved.
        if unsafe { libc::fsync(self.fd()) } < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// Reads at an offset.
    ///
    /// # Errors
    /// What pread returns.
    pub fn pread(&self, out: &mut [u64], offset: u64) -> Result<usize, Errno> {
        let len = size_of_val(out);
        // SAFETY: `out` is valid for writing `len` bytes, and any bytes are valid words.
        Errno::check(unsafe {
            libc::pread64(
                self.fd(),
                out.as_mut_ptr().cast(),
                len,
                offset as libc::off64_t,
            )
        })
    }

    /// Writes at an offset.
    ///
    /// # Errors
    /// What pwrite returns.
    pub fn pwrite(&self, data: &[u64], offset: u64) -> Result<usize, Errno> {
        let len = size_of_val(data);
        // SAFETY: `data` is valid for reading `len` bytes.
        Errno::check(unsafe {
            libc::pwrite64(
                self.fd(),
                data.as_ptr().cast(),
                len,
                offset as libc::off64_t,
            )
        })
    }
}
