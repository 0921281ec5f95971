// SPDX-License-Identifier: GPL-2.0

//! Splicing from a pipe into a file.
//!
//! C headers: [`include/linux/splice.h`](srctree/include/linux/splice.h),
//! [`include/linux/pipe_fs_i.h`](srctree/include/linux/pipe_fs_i.h)
//!
//! The kernel's own `iter_file_splice_write()` calls `write_iter` with the pipe locked. A stack
//! cannot use it: under its inode lock it enters the lower filesystem's freeze protection, and a
//! splice to a file of the lower locks the pipe inside that protection. So the inode lock is taken
//! first here. But nobody may wait for a pipe with it held: who has the pipe locked can be waiting
//! for data itself (a splice from a socket), or for somebody who wants this very file. Hence the
//! pipe is waited for with no lock, and locked under the inode lock only if that can be had at once.

use super::{
    bvec::{
        BvecIter,
        Direction, //
    },
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
use kernel::{
    error::to_result,
    prelude::*, //
};

/// How many buffers of a pipe are written at once: as many as a pipe has unless somebody has asked
/// for more.
const BATCH: usize = bindings::PIPE_DEF_BUFFERS as usize;

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
        let mut pipe = LockedPipe::lock(self);
        pipe.feed(self.len, self.flags, &mut |_| {
            found = true;
            Ok(0)
        })?;
        Ok(found)
    }

    /// Has `write` write what is in the pipe to the file of `kiocb`, at the position of `kiocb`,
    /// which moves on. What it wrote has left the pipe. Returns how many bytes that are, and
    /// nothing if the pipe was empty or somebody else had it locked.
    ///
    /// Context: process context, may sleep; does not wait for the pipe. `write` runs with the pipe
    /// locked.
    ///
    /// # Errors
    ///
    /// `ERESTARTSYS` if a signal came, and what `write` returned when it was called first: an error
    /// after that ends the splice early.
    pub fn drain<T: RegularFile>(
        &mut self,
        kiocb: &mut Kiocb<'_, T>,
        mut write: impl FnMut(&mut Kiocb<'_, T>, &mut IovIter<'_>) -> Result<usize>,
    ) -> Result<Option<usize>> {
        let mut bvecs = KVec::with_capacity(BATCH, GFP_KERNEL)?;
        let Some(mut pipe) = LockedPipe::try_lock(self) else {
            return Ok(None);
        };
        let mut asked = false;
        // Bytes that are written, but still in the pipe.
        let mut written = 0usize;
        let flags = self.flags | bindings::SPLICE_F_NONBLOCK;
        let result = pipe.feed(self.len, flags, &mut |pieces| {
            if written == 0 {
                asked = true;
                let len = pieces.collect(&mut bvecs)?;
                // SAFETY: The pipe is locked, which keeps the pages and what is in them.
                let mut iter = unsafe { BvecIter::new(Direction::FromPages, &bvecs, len) };
                // SAFETY: The iterator lives through the call, and nobody else uses it.
                let mut iter = unsafe { IovIter::from_raw(iter.as_raw()) };
                written = write(kiocb, &mut iter)?;
            }
            let taken = written.min(pieces.first_len());
            written = written.saturating_sub(taken);
            Ok(taken)
        });
        match result {
            Err(error) if error == EAGAIN && !asked => Ok(None),
            result => result.map(Some),
        }
    }
}

/// A pipe, locked. A pipe that belongs to one task (`sendfile`) needs no lock and has none taken.
///
/// # Invariants
///
/// `raw` is a valid pipe for `'a`, and the running task has locked it if it needs that.
struct LockedPipe<'a> {
    raw: NonNull<bindings::pipe_inode_info>,
    _source: PhantomData<&'a bindings::pipe_inode_info>,
}

impl<'a> LockedPipe<'a> {
    /// Locks the pipe. Context: process context, may sleep for long; no locks held.
    fn lock(source: &PipeSource<'a>) -> Self {
        // SAFETY: By the type invariants of `source` the pipe is valid.
        unsafe { bindings::pipe_lock(source.raw.as_ptr()) };
        // INVARIANT: Locked just now.
        Self {
            raw: source.raw,
            _source: PhantomData,
        }
    }

    /// Locks the pipe if nobody else has.
    fn try_lock(source: &PipeSource<'a>) -> Option<Self> {
        // SAFETY: By the type invariants of `source` the pipe is valid.
        let locked = unsafe { bindings::pipe_trylock(source.raw.as_ptr()) };
        // INVARIANT: Locked just now. (Not `then_some`: what that discards would unlock.)
        locked.then(|| Self {
            raw: source.raw,
            _source: PhantomData,
        })
    }

    /// Has `take` see what is in the pipe, until it takes nothing or has taken `len` bytes. C:
    /// `__splice_from_pipe()`.
    fn feed(&mut self, len: usize, flags: u32, take: &mut Take<'_>) -> Result<usize> {
        let mut take = take;
        let mut desc = bindings::splice_desc {
            total_len: len,
            flags,
            ..Default::default()
        };
        desc.u.data = ptr::from_mut(&mut take).cast();
        // SAFETY: By the type invariants the pipe is valid and locked. `actor` finds in `desc` what
        // it expects, which lives through the call.
        let ret =
            unsafe { bindings::__splice_from_pipe(self.raw.as_ptr(), &mut desc, Some(actor)) };
        usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
    }
}

impl Drop for LockedPipe<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the pipe is valid and locked.
        unsafe { bindings::pipe_unlock(self.raw.as_ptr()) };
    }
}

/// What is in a pipe and is wanted of it.
///
/// # Invariants
///
/// `pipe` is locked, `buf` is its first buffer, confirmed, and `desc` says how much is wanted of
/// that buffer and of all.
struct Pieces<'a> {
    pipe: &'a mut bindings::pipe_inode_info,
    buf: &'a bindings::pipe_buffer,
    desc: &'a bindings::splice_desc,
}

impl Pieces<'_> {
    /// How many bytes are wanted of the first buffer.
    fn first_len(&self) -> usize {
        self.desc.len as usize
    }

    /// Fills `bvecs`, as far as there is room, with buffers that follow each other and whose data
    /// are there. Returns how many bytes those are.
    fn collect(&mut self, bvecs: &mut KVec<bindings::bio_vec>) -> Result<usize> {
        bvecs.clear();
        let mut len = self.first_len();
        bvecs.push(part_of(self.buf, self.desc.len), GFP_KERNEL)?;
        while bvecs.len() < bvecs.capacity() {
            let left = self.desc.total_len.saturating_sub(len);
            // SAFETY: The pipe is locked.
            let buf = unsafe { bindings::pipe_buf_after(self.pipe, bvecs.len() as u32) };
            // SAFETY: The pipe is locked, so that its buffers stay what they are.
            let Some(more) = (unsafe { buf.as_ref() }) else {
                break;
            };
            let more_len = (more.len as usize).min(left);
            // An empty buffer, or the end of what is wanted.
            if more_len == 0 {
                break;
            }
            // SAFETY: The pipe is locked and `buf` is one of its buffers.
            if to_result(unsafe { bindings::pipe_buf_confirm(self.pipe, buf) }).is_err() {
                // It is told when it is the first.
                break;
            }
            bvecs.push(part_of(more, more_len as u32), GFP_KERNEL)?;
            len = len.saturating_add(more_len);
        }
        Ok(len)
    }
}

/// The first `len` bytes of a pipe's buffer.
fn part_of(buf: &bindings::pipe_buffer, len: u32) -> bindings::bio_vec {
    bindings::bio_vec {
        bv_page: buf.page,
        bv_len: len,
        bv_offset: buf.offset,
    }
}

/// Takes from the start of what is in a pipe, from the first buffer only, and returns how many
/// bytes.
type Take<'a> = dyn FnMut(&mut Pieces<'_>) -> Result<usize> + 'a;

/// `splice_actor`: hands what is in a pipe to the [`Take`] that the description names.
///
/// # Safety
///
/// Called by [`LockedPipe::feed`] by way of `__splice_from_pipe()`: with the pipe locked, `buf` its
/// first buffer, confirmed, and `desc->u.data` a pointer to a reference to a [`Take`].
unsafe extern "C" fn actor(
    pipe: *mut bindings::pipe_inode_info,
    buf: *mut bindings::pipe_buffer,
    desc: *mut bindings::splice_desc,
) -> c_int {
    // SAFETY: The caller guarantees all of them.
    let (take, mut pieces) = unsafe {
        (
            &mut *(*desc).u.data.cast::<&mut Take<'_>>(),
            // INVARIANT: As the caller guarantees.
            Pieces {
                pipe: &mut *pipe,
                buf: &*buf,
                desc: &*desc,
            },
        )
    };
    match take(&mut pieces) {
        // No more than the length of a buffer.
        Ok(bytes) => bytes as c_int,
        Err(error) => error.to_errno(),
    }
}
