// SPDX-License-Identifier: GPL-2.0

//! Splicing from a pipe into a file.
//!
//! C headers: [`include/linux/splice.h`](srctree/include/linux/splice.h),
//! [`include/linux/pipe_fs_i.h`](srctree/include/linux/pipe_fs_i.h)
//!
//! The kernel's own `iter_file_splice_write()` calls `write_iter` with the pipe locked. A stack
//! cannot use it: under its inode lock it enters the lower filesystem's freeze protection, and a
//! splice to a file of the lower locks the pipe inside that protection. So the pipe's lock comes
//! last here, inside the inode lock, and is never held while the pipe is waited for.

use super::{
    file::RegularFile,
    iov::IovIter,
    kiocb::Kiocb, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::prelude::*;

/// The pipe that a splice takes its data from, and how much of them.
///
/// # Invariants
///
/// `raw` is a valid pipe for `'a`.
pub struct PipeSource<'a> {
    raw: NonNull<bindings::pipe_inode_info>,
    len: usize,
    flags: u32,
    _call: PhantomData<&'a mut bindings::pipe_inode_info>,
}

impl PipeSource<'_> {
    /// Wraps a pipe of which up to `len` bytes are to be taken.
    ///
    /// # Safety
    ///
    /// `raw` is non-null and valid for `'a`, and not locked by the caller.
    pub(super) unsafe fn from_raw(
        raw: *mut bindings::pipe_inode_info,
        len: usize,
        flags: u32,
    ) -> Self {
        // INVARIANT: As the caller guarantees.
        Self {
            // SAFETY: The caller guarantees it.
            raw: unsafe { NonNull::new_unchecked(raw) },
            len,
            flags,
            _call: PhantomData,
        }
    }

    /// Whether an empty pipe is an error, rather than something to wait for.
    pub fn is_nonblocking(&self) -> bool {
        self.flags & bindings::SPLICE_F_NONBLOCK != 0
    }

    /// Waits until there are data in the pipe. Returns whether there are: there are none to come
    /// if nobody has the pipe open for writing.
    ///
    /// Another reader can be faster to take them.
    ///
    /// Context: process context, may sleep; no locks held.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the pipe is empty and the splice does not block, `ERESTARTSYS` if a signal came.
    pub fn wait(&mut self) -> Result<bool> {
        if self.len == 0 {
            return Ok(false);
        }
        let mut found = false;
        self.feed(self.flags, &mut |_| {
            found = true;
            Ok(0)
        })?;
        Ok(found)
    }

    /// Has `write` write what is in the pipe to the file of `kiocb`, a piece at a time, at the
    /// position of `kiocb`, which moves on. What it wrote has left the pipe.
    ///
    /// Context: process context, may sleep; `write` runs with the pipe locked.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the pipe is empty, `ERESTARTSYS` if a signal came, and what `write` returned for
    /// the first piece: an error after that ends the splice early.
    pub fn drain<T: RegularFile>(
        &mut self,
        kiocb: &mut Kiocb<'_, T>,
        mut write: impl FnMut(&mut Kiocb<'_, T>, &mut IovIter<'_>) -> Result<usize>,
    ) -> Result<usize> {
        self.feed(
            self.flags | bindings::SPLICE_F_NONBLOCK,
            &mut |bvec: &bindings::bio_vec| {
                let mut raw = bindings::iov_iter::default();
                // SAFETY: `raw` is valid for writes. The pipe is locked, which keeps the page and
                // what is in it; `bvec` and the iterator live through the call.
                let mut iter = unsafe {
                    bindings::iov_iter_bvec(
                        &mut raw,
                        bindings::ITER_SOURCE,
                        bvec,
                        1,
                        bvec.bv_len as usize,
                    );
                    IovIter::from_raw(&mut raw)
                };
                write(kiocb, &mut iter)
            },
        )
    }

    /// Locks the pipe and has `take` see its pieces, until it takes nothing.
    fn feed(&mut self, flags: u32, take: &mut Take<'_>) -> Result<usize> {
        let mut take = take;
        let mut desc = bindings::splice_desc {
            total_len: self.len,
            flags,
            ..Default::default()
        };
        desc.u.data = ptr::from_mut(&mut take).cast();
        // SAFETY: By the type invariants the pipe is valid, and the caller of `from_raw` has not
        // locked it. `actor` finds in `desc` what it expects, which lives through the call.
        let ret = unsafe {
            bindings::pipe_lock(self.raw.as_ptr());
            let ret = bindings::__splice_from_pipe(self.raw.as_ptr(), &mut desc, Some(actor));
            bindings::pipe_unlock(self.raw.as_ptr());
            ret
        };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }
}

/// Takes from the start of a piece of the pipe's data, and returns how many bytes.
type Take<'a> = dyn FnMut(&bindings::bio_vec) -> Result<usize> + 'a;

/// `splice_actor`: hands a piece to the [`Take`] that the description names.
///
/// # Safety
///
/// Called by [`PipeSource::feed`] by way of `__splice_from_pipe()`: with the pipe locked, `buf` one
/// of its buffers, confirmed, and `desc->u.data` a pointer to a reference to a [`Take`].
unsafe extern "C" fn actor(
    _pipe: *mut bindings::pipe_inode_info,
    buf: *mut bindings::pipe_buffer,
    desc: *mut bindings::splice_desc,
) -> c_int {
    // SAFETY: The caller guarantees all of them.
    let (take, bvec) = unsafe {
        (
            &mut *(*desc).u.data.cast::<&mut Take<'_>>(),
            bindings::bio_vec {
                bv_page: (*buf).page,
                bv_len: (*desc).len,
                bv_offset: (*buf).offset,
            },
        )
    };
    match take(&bvec) {
        // A piece is at most as long as a pipe's buffer.
        Ok(bytes) => bytes as c_int,
        Err(error) => error.to_errno(),
    }
}
