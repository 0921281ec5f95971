// SPDX-License-Identifier: GPL-2.0

//! Requests from above: one read or write of an open file.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h) (`struct kiocb`)
//!
//! A request ends in one of two ways, and the types keep them apart. Either the call returns its
//! result, or it returns [`Outcome::Queued`] and somebody completes the request later, once. The
//! token inside `Queued` is only to be had for giving the duty to complete ([`PendingKiocb`]) away,
//! and an error cannot take its place afterwards.

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

    /// The duty to complete the request later, for one who queues it.
    ///
    /// # Safety
    ///
    /// To be called at most once for a request, and only if it is going to be queued: from then on
    /// the result of the call must be [`Outcome::Queued`].
    pub(super) unsafe fn defer(&self) -> PendingKiocb {
        PendingKiocb { raw: self.raw }
    }
}

/// What became of a request that did not fail at once.
#[must_use]
pub enum Outcome {
    /// It goes on, and will be completed by whoever holds its [`PendingKiocb`].
    Queued(QueuedToken),
    /// It is done, and so many bytes were transferred.
    Done(usize),
}

/// Proof that the duty to complete a request was given away.
pub struct QueuedToken(());

impl Outcome {
    /// A queued request; `vfs` alone can say so.
    pub(super) fn queued() -> Self {
        Outcome::Queued(QueuedToken(()))
    }

    /// The value that the VFS expects.
    pub(super) fn into_c(result: Result<Self>) -> isize {
        match result {
            Ok(Outcome::Queued(_)) => -(bindings::EIOCBQUEUED as isize),
            Ok(Outcome::Done(bytes)) => bytes as isize,
            Err(error) => error.to_errno() as isize,
        }
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
