// SPDX-License-Identifier: GPL-2.0

//! Requests from above: one read or write of an open file.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h) (`struct kiocb`)
//!
//! A call owns its request and has to answer it with a [`Reply`], which is only to be had for the
//! request: either for its result ([`Kiocb::reply`]), or for queueing it, when the duty to complete
//! it ([`PendingKiocb`]) goes to somebody else. Once it is queued nothing is left to make another
//! reply of, an error above all; nor can it be queued twice, or looked at any more.

use super::{
    FileSystem,
    Inode, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    ffi,
    prelude::*, //
};

/// A request, for the duration of the call that brings it.
///
/// # Invariants
///
/// `raw` is a valid kiocb of an open file of `T`, for this wrapper alone during `'a`.
pub struct Kiocb<'a, T: FileSystem> {
    raw: NonNull<bindings::kiocb>,
    _call: PhantomData<&'a mut bindings::kiocb>,
    _fs: PhantomData<T>,
}

impl<'a, T: FileSystem> Kiocb<'a, T> {
    /// Wraps a request.
    ///
    /// # Safety
    ///
    /// `raw` is non-null, a valid kiocb of an open file of `T`, and for this wrapper alone during
    /// `'a`.
    pub(super) unsafe fn from_raw(raw: *mut bindings::kiocb) -> Self {
        Self {
            // SAFETY: The caller guarantees it.
            raw: unsafe { NonNull::new_unchecked(raw) },
            _call: PhantomData,
            _fs: PhantomData,
        }
    }

    /// The raw request.
    pub(super) fn as_raw(&self) -> *mut bindings::kiocb {
        self.raw.as_ptr()
    }

    /// The C file that the request is for.
    pub(super) fn file_raw(&self) -> *mut bindings::file {
        // SAFETY: By the type invariants; `ki_filp` does not change.
        unsafe { (*self.raw.as_ptr()).ki_filp }
    }

    /// The inode of the file.
    pub fn inode(&self) -> &'a Inode<T> {
        // SAFETY: The file pins its inode. For `'a`, which is the call that made the request, its
        // caller has a reference of the file, also if the request is completed meanwhile.
        unsafe { Inode::from_raw((*self.file_raw()).f_inode) }
    }

    /// Where the transfer starts.
    pub fn pos(&self) -> i64 {
        // SAFETY: By the type invariants.
        unsafe { (*self.raw.as_ptr()).ki_pos }
    }

    /// Moves the position on.
    pub fn advance(&mut self, bytes: usize) {
        // SAFETY: By the type invariants, nobody else looks meanwhile.
        unsafe {
            let pos = &mut (*self.raw.as_ptr()).ki_pos;
            *pos = pos.saturating_add_unsigned(bytes as u64);
        }
    }

    /// The raw flags, `IOCB_*`.
    pub fn flags(&self) -> i32 {
        // SAFETY: By the type invariants.
        unsafe { (*self.raw.as_ptr()).ki_flags }
    }

    fn has(&self, flag: i32) -> bool {
        self.flags() & flag != 0
    }

    /// Whether the page cache is to be bypassed.
    pub fn is_direct(&self) -> bool {
        self.has(bindings::IOCB_DIRECT)
    }

    /// Whether the request must not sleep.
    pub fn is_nowait(&self) -> bool {
        self.has(bindings::IOCB_NOWAIT)
    }

    /// Whether the data are to be written at the end of the file.
    pub fn is_append(&self) -> bool {
        self.has(bindings::IOCB_APPEND)
    }

    /// Whether data must be durable before the request completes.
    pub fn is_dsync(&self) -> bool {
        self.has(bindings::IOCB_DSYNC)
    }

    /// Whether all metadata must be durable as well, not just what it takes to read the data.
    pub fn is_fully_synchronous(&self) -> bool {
        self.has(bindings::IOCB_SYNC)
    }

    /// Whether the caller waits for the result, so that the request cannot be queued.
    pub fn is_sync(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::is_sync_kiocb(self.raw.as_ptr()) }
    }

    /// The duty to complete the request later, for one who is about to queue it.
    ///
    /// # Safety
    ///
    /// The duty is either done, once, and then the request has become [`Kiocb::queued`]; or it is
    /// forgotten, and then the request gets another reply.
    pub(super) unsafe fn defer(&self) -> PendingKiocb {
        PendingKiocb { raw: self.raw }
    }

    /// Answers a request that was queued: it may be complete already, and is not looked at.
    pub(super) fn queued(self) -> Reply<'a> {
        Reply::new(-(bindings::EIOCBQUEUED as isize))
    }

    /// Answers the request with its result, the number of bytes that were transferred.
    pub fn reply(self, result: Result<usize>) -> Reply<'a> {
        Reply::new(match result {
            Ok(bytes) => bytes as isize,
            Err(error) => error.to_errno() as isize,
        })
    }
}

/// What a call returns for the request that it owned.
#[must_use]
pub struct Reply<'a> {
    ret: isize,
    _request: PhantomData<&'a mut bindings::kiocb>,
}

impl Reply<'_> {
    fn new(ret: isize) -> Self {
        Self {
            ret,
            _request: PhantomData,
        }
    }

    /// The value that the VFS expects.
    pub(super) fn into_c(self) -> isize {
        self.ret
    }
}

/// The duty to complete a queued request, exactly once.
#[must_use]
pub(super) struct PendingKiocb {
    raw: NonNull<bindings::kiocb>,
}

// SAFETY: A queued request may be completed from any task or interrupt.
unsafe impl Send for PendingKiocb {}

impl PendingKiocb {
    /// Completes the request. Neither it nor its file may be touched afterwards.
    ///
    /// Context: any.
    pub(super) fn complete(self, result: Result<usize>) {
        let ret = match result {
            Ok(bytes) => bytes as ffi::c_long,
            Err(error) => error.to_errno() as ffi::c_long,
        };
        // SAFETY: The request was queued and not completed, since completing consumes `self`. A
        // request that is not synchronous has a completion function.
        unsafe {
            if let Some(complete) = (*self.raw.as_ptr()).ki_complete {
                complete(self.raw.as_ptr(), ret);
            }
        }
    }

    /// Sets the position that the completed request reports.
    pub(super) fn set_pos(&mut self, pos: i64) {
        // SAFETY: The request is queued: it is ours until it is completed.
        unsafe { (*self.raw.as_ptr()).ki_pos = pos };
    }
}
