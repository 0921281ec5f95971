// SPDX-License-Identifier: GPL-2.0

//! Which flags of a request or of an open file go on to the lower file.

use crate::bindings;

/// The flags of a request that mean the same to the lower file.
///
/// Not `IOCB_APPEND`, as the position is resolved above, and none that lets the lower filesystem
/// rely on who waits for the request, and how.
const REQUEST: i32 = bindings::IOCB_NOWAIT
    | bindings::IOCB_DSYNC
    | bindings::IOCB_SYNC
    | bindings::IOCB_DIRECT
    | bindings::IOCB_WRITE;

/// The flags of an open call that go to the lower file. `O_DIRECT`, `O_APPEND` and the kinds of
/// `O_SYNC` are properties of each request instead.
const OPEN: u32 = bindings::O_ACCMODE;

/// The flags of an open call that are for the upper file alone: what the VFS has done by the time
/// that a directory is opened.
const DONE: u32 = bindings::O_CREAT | bindings::O_EXCL | bindings::O_NOCTTY | bindings::O_TRUNC;

/// The flags of the request to the lower file, from those of a request (`IOCB_*`) that `writes`.
pub const fn lower_request(flags: i32, writes: bool) -> i32 {
    let write = if writes { bindings::IOCB_WRITE } else { 0 };
    flags & REQUEST | write
}

/// The flags to open a lower regular file with, from those of an open call (`O_*`). The upper file
/// notes accesses, for both.
pub const fn lower_file(flags: u32) -> u32 {
    flags & OPEN | bindings::O_NOATIME | bindings::O_LARGEFILE
}

/// The flags to open a lower directory with. The upper one notes accesses, for both.
pub const fn lower_directory(flags: u32) -> u32 {
    flags & !DONE | bindings::O_NOATIME | bindings::O_LARGEFILE
}
