// SPDX-License-Identifier: GPL-2.0
//! Error numbers, by name.

use std::fmt;

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub i32);

impl Errno {
    /// Not permitted.
    pub const EPERM: Errno = Errno(libc::EPERM);
    /// Input/output error.
    pub const EIO: Errno = Errno(libc::EIO);
    /// Structure needs cleaning: the filesystem has found damage.
    pub const EUCLEAN: Errno = Errno(libc::EUCLEAN);
    /// Bad message: a checksum does not fit.
    pub const EBADMSG: Errno = Errno(libc::EBADMSG);
    /// Interrupted.
    pub const EINTR: Errno = Errno(libc::EINTR);
    /// Try again.
    pub const EAGAIN: Errno = Errno(libc::EAGAIN);
    /// Invalid argument, which is also what misaligned direct I/O gets.
    pub const EINVAL: Errno = Errno(libc::EINVAL);
    /// Not supported, by this file or with this flag.
    pub const EOPNOTSUPP: Errno = Errno(libc::EOPNOTSUPP);
    /// No space.
    pub const ENOSPC: Errno = Errno(libc::ENOSPC);
    /// Read-only filesystem.
    pub const EROFS: Errno = Errno(libc::EROFS);
    /// Over quota.
    pub const EDQUOT: Errno = Errno(libc::EDQUOT);
    /// Canceled: the request before it in a chain did not do all it should.
    pub const ECANCELED: Errno = Errno(libc::ECANCELED);
    /// The process that had the request was killed: it may have happened or not.
    pub const EOWNERDEAD: Errno = Errno(libc::EOWNERDEAD);
    /// No memory, or more than may be locked.
    pub const ENOMEM: Errno = Errno(libc::ENOMEM);
    /// Too many open files, of this process.
    pub const EMFILE: Errno = Errno(libc::EMFILE);
    /// Too many open files, of the machine.
    pub const ENFILE: Errno = Errno(libc::ENFILE);
    /// No such file: somebody has removed it.
    pub const ENOENT: Errno = Errno(libc::ENOENT);
    /// The file may not become so large.
    pub const EFBIG: Errno = Errno(libc::EFBIG);
    /// Bad address, which is also what a load or store gets that the kernel answers with SIGBUS.
    pub const EFAULT: Errno = Errno(libc::EFAULT);

    /// Whether it says of a read that content is damaged: nothing that passes.
    pub fn is_damage(self) -> bool {
        matches!(self, Self::EIO | Self::EUCLEAN | Self::EBADMSG)
    }

    /// The calling thread's last error.
    pub fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// The result of a system call that returns a count or sets errno.
    pub(crate) fn check(result: libc::ssize_t) -> Result<usize, Errno> {
        usize::try_from(result).map_err(|_| Self::last())
    }

    /// The result of a request whose completion carries a count or a negated error number.
    pub(crate) fn decode(result: i64) -> Result<usize, Errno> {
        usize::try_from(result).map_err(|_| Self((-result) as i32))
    }

    /// The symbol, for the errors that file I/O is known to return.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::EINTR => "EINTR",
            libc::EIO => "EIO",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EMFILE => "EMFILE",
            libc::ENFILE => "ENFILE",
            libc::EEXIST => "EEXIST",
            libc::ENODEV => "ENODEV",
            libc::ENXIO => "ENXIO",
            libc::ENOTTY => "ENOTTY",
            libc::ETIMEDOUT => "ETIMEDOUT",
            libc::ETXTBSY => "ETXTBSY",
            libc::EUCLEAN => "EUCLEAN",
            libc::EBADMSG => "EBADMSG",
            libc::EILSEQ => "EILSEQ",
            libc::EOVERFLOW => "EOVERFLOW",
            libc::ENOLCK => "ENOLCK",
            libc::EACCES => "EACCES",
            libc::EFAULT => "EFAULT",
            libc::EBUSY => "EBUSY",
            libc::EINVAL => "EINVAL",
            libc::EFBIG => "EFBIG",
            libc::ENOSPC => "ENOSPC",
            libc::EROFS => "EROFS",
            libc::ENOSYS => "ENOSYS",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            libc::EDQUOT => "EDQUOT",
            libc::ESTALE => "ESTALE",
            libc::ECANCELED => "ECANCELED",
            libc::ENOTBLK => "ENOTBLK",
            libc::EOWNERDEAD => "EOWNERDEAD",
            libc::EXDEV => "EXDEV",
            libc::EPIPE => "EPIPE",
            libc::EBADF => "EBADF",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl std::error::Error for Errno {}
