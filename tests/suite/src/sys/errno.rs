// SPDX-License-Identifier: GPL-2.0

//! The kernel's error numbers, printed by name.

use std::fmt;

/// An error number as a system call returns it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// What a system call answers.
pub type Res<T> = Result<T, Errno>;

impl Errno {
    /// The error of the last system call of this thread.
    pub fn last() -> Self {
        Self(
            std::io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO),
        )
    }
}

/// The integers that libc's functions return.
pub trait Returned {
    fn wide(self) -> i64;
}

impl Returned for i32 {
    fn wide(self) -> i64 {
        i64::from(self)
    }
}

impl Returned for i64 {
    fn wide(self) -> i64 {
        self
    }
}

impl Returned for isize {
    fn wide(self) -> i64 {
        self as i64
    }
}

/// Turns the `-1 and errno` convention of libc into a result.
pub fn check(ret: impl Returned) -> Res<i64> {
    match ret.wide() {
        -1 => Err(Errno::last()),
        n => Ok(n),
    }
}

/// Like [`check`], for calls whose success carries no value.
pub fn check_unit(ret: impl Returned) -> Res<()> {
    check(ret).map(|_| ())
}

/// Like [`check`], for calls that return a count of bytes.
pub fn check_size(ret: impl Returned) -> Res<usize> {
    check(ret).map(|n| n as usize)
}

const NAMES: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::E2BIG, "E2BIG"),
    (libc::EBADF, "EBADF"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::EXDEV, "EXDEV"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::EMFILE, "EMFILE"),
    (libc::ENOTTY, "ENOTTY"),
    (libc::ETXTBSY, "ETXTBSY"),
    (libc::EFBIG, "EFBIG"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::ESPIPE, "ESPIPE"),
    (libc::EROFS, "EROFS"),
    (libc::EMLINK, "EMLINK"),
    (libc::EPIPE, "EPIPE"),
    (libc::ERANGE, "ERANGE"),
    (libc::EDEADLK, "EDEADLK"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ENOTEMPTY, "ENOTEMPTY"),
    (libc::ELOOP, "ELOOP"),
    (libc::ENODATA, "ENODATA"),
    (libc::ETIME, "ETIME"),
    (libc::EREMOTE, "EREMOTE"),
    (libc::EOVERFLOW, "EOVERFLOW"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
    (libc::ESTALE, "ESTALE"),
    (libc::EUCLEAN, "EUCLEAN"),
    (libc::EDQUOT, "EDQUOT"),
    (libc::ECANCELED, "ECANCELED"),
];

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(n, _)| *n == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_print_by_name_and_others_by_number() {
        assert_eq!(Errno(libc::ENOTEMPTY).to_string(), "ENOTEMPTY");
        assert_eq!(Errno(4095).to_string(), "errno 4095");
    }

    #[test]
    fn minus_one_is_the_last_error() {
        // SAFETY: Closing an invalid descriptor touches nothing.
        let ret = unsafe { libc::close(-1) };
        assert_eq!(check(ret), Err(Errno(libc::EBADF)));
    }
}
