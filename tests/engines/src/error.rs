// SPDX-License-Identifier: GPL-2.0
//! What can go wrong apart from the I/O itself.

use std::path::PathBuf;

use crate::errno::Errno;

/// A failure to set something up, or of the machinery around requests. Errors of the requests
/// themselves come with their completions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be opened.
    #[error("cannot open {} ({how}): {errno}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What it was opened for.
        how: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// A system call failed that should not.
    #[error("{call}: {errno}")]
    Call {
        /// Its name.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
    /// The kernel told of the end of a request that nobody waits for any more.
    #[error("a request completed twice")]
    Twice,
    /// A process that does the I/O was killed, and not by us.
    #[error("the process that does the I/O was killed by signal {0}; the kernel log may say why")]
    Killed(i32),
    /// The kernel has no such engine, or forbids it.
    #[error("{engine} is not available here: {errno}")]
    Unavailable {
        /// Which engine.
        engine: &'static str,
        /// Why.
        errno: Errno,
    },
    /// No memory for a buffer of this size.
    #[error("no memory for a buffer of {0} bytes")]
    Buffer(usize),
}

impl Error {
    pub(crate) fn call(call: &'static str) -> Self {
        let errno = Errno::last();
        Self::Call { call, errno }
    }

    /// The error number behind it, if any.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Open { errno, .. }
            | Self::Call { errno, .. }
            | Self::Unavailable { errno, .. } => Some(*errno),
            Self::Twice | Self::Killed(_) | Self::Buffer(_) => None,
        }
    }
}
