// SPDX-License-Identifier: GPL-2.0

//! The values of a mount option.

/// `dio_busy=`: what a direct write does when the cached pages of its range cannot be invalidated
/// before it, because they are dirtied again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DioBusy {
    /// It fails with `EIO`, nothing having been written.
    Eio,
    /// It goes through the page cache, and is on disk before it returns.
    Sync,
}

impl DioBusy {
    /// The value of that name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"eio" => Some(Self::Eio),
            b"sync" => Some(Self::Sync),
            _ => None,
        }
    }

    /// Its name, as in `/proc/mounts`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eio => "eio",
            Self::Sync => "sync",
        }
    }
}
