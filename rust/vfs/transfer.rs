// SPDX-License-Identifier: GPL-2.0

//! Direct transfers: a caller's pages to or from a lower file, past the upper page cache.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h) (`vfs_iocb_iter_read()`,
//! `vfs_iocb_iter_write()`)
//!
//! A `Transfer` is the container of one request to the lower file. It has two owners: the
//! submitter, until the lower call has returned (the lower filesystem looks at its kiocb and file
//! after it has queued a request, see `ext4_dio_read_iter()`), and the completion. Each holds an
//! [`Arc`], so the container dies with the later of the two.
//!
//! What the filesystem does when the lower file is done, [`DirectFile::finish`], runs exactly once:
//! on return of the lower call if it was not queued, else from the lower completion, there and then
//! or, if it has to sleep, on the upper superblock's work queue. (On the lower's it could wait for
//! work behind itself.)
//!
//! A lower filesystem that stacks itself (overlayfs, FUSE with passthrough) calls the one below it
//! through `vfs_iter_read()` and `vfs_iter_write()` if a request cannot be queued, and these transfer
//! directly only if the file below was opened for that. With a request that can be queued it passes
//! the flag on. Such a filesystem is given nothing else, and who wants to wait waits here.

use super::{
    bvec::Direction,
    kiocb::{
        Kiocb,
        PendingKiocb,
        Reply, //
    },
    lower::LowerFile,
    pin::PinnedBuffer,
    range_set::{
        ByteRange,
        RangeSet,
        RangeTicket, //
    },
    FileSystem,
    Inode, //
};
use crate::{
    bindings,
    pure::flags, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi, impl_has_work, new_work,
    prelude::*,
    sync::{
        Arc,
        Completion, //
    },
    types::Opaque,
    workqueue::{
        Queue,
        Work,
        WorkItem, //
    },
};

/// A filesystem whose regular files can be transferred directly.
pub trait DirectFile: FileSystem {
    /// Whether [`DirectFile::finish`] has to sleep.
    ///
    /// Context: any, hard interrupts included.
    fn finish_sleeps(inode: &Inode<Self>, done: &Finished) -> bool;

    /// Does what has to be done between the end of the lower transfer and the caller's learning of
    /// it, and says what the caller learns.
    ///
    /// Context: as [`Finished::context`] says. It is [`Context::Completion`] only if
    /// [`DirectFile::finish_sleeps`] answered that it does not sleep.
    fn finish(inode: &Inode<Self>, done: &Finished) -> Result<usize>;
}

/// A lower transfer that has ended.
pub struct Finished {
    /// Which way the data went.
    pub direction: Direction,
    /// The range that was submitted.
    pub range: ByteRange,
    /// What the lower file said.
    pub result: Result<usize>,
    /// Where this is.
    pub context: Context,
}

/// Where the end of a transfer is dealt with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// In the caller's call, which waits for the result.
    Caller,
    /// On a work queue. May sleep.
    Worker,
    /// In the lower file's completion, perhaps in an interrupt: must not sleep.
    Completion,
}

/// What the completion needs of the submission, and leaves for it.
struct State {
    file: Option<LowerFile>,
    buffer: Option<PinnedBuffer>,
    upper: Option<PendingKiocb>,
    result: ffi::c_long,
}

/// One direct transfer, see the module documentation.
///
/// # Invariants
///
/// - `inode` is referenced by the file of the request from above, which lives until the request is
///   completed, and at least until the call that made it has returned: whoever calls `read_iter` or
///   `write_iter` has a reference of the file for that long.
/// - `state` and `ticket` are used by one party at a time: [`Prepared`] until it submits, and from
///   then on whoever runs [`Transfer::end`].
#[pin_data]
struct Transfer<T: DirectFile> {
    kiocb: Opaque<bindings::kiocb>,
    inode: NonNull<Inode<T>>,
    direction: Direction,
    range: ByteRange,
    state: UnsafeCell<State>,
    #[pin]
    ticket: RangeTicket,
    #[pin]
    answer: Completion,
    #[pin]
    work: Work<Transfer<T>>,
}

impl_has_work! {
    impl{T: DirectFile} HasWork<Transfer<T>> for Transfer<T> { self.work }
}

// SAFETY: What is not itself shareable is used by one party at a time, by the type invariants.
unsafe impl<T: DirectFile> Send for Transfer<T> {}
// SAFETY: As above.
unsafe impl<T: DirectFile> Sync for Transfer<T> {}

/// A transfer that was not submitted yet, for a request that lives through the call `'a`. Dropping it
/// undoes everything.
///
/// # Invariants
///
/// Nobody else uses the transfer.
pub struct Prepared<'a, T: DirectFile> {
    transfer: Arc<Transfer<T>>,
    _call: PhantomData<Kiocb<'a, T>>,
}

impl<'a, T: DirectFile> Prepared<'a, T> {
    /// Prepares the transfer of `buffer`, cut to `range`, for the request `upper`.
    ///
    /// Context: process context, may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(
        upper: &Kiocb<'a, T>,
        file: LowerFile,
        buffer: PinnedBuffer,
        range: ByteRange,
    ) -> Result<Self> {
        let inode = upper.inode();
        init_work_queue(inode)?;
        let direction = buffer.direction();
        let writes = direction == Direction::FromPages;
        let mut kiocb = bindings::kiocb {
            ki_filp: file.as_raw(),
            ki_pos: range.start(),
            ki_flags: flags::lower_request(upper.flags(), writes),
            ..Default::default()
        };
        // SAFETY: The upper request is valid.
        unsafe {
            kiocb.ki_ioprio = (*upper.as_raw()).ki_ioprio;
            kiocb.ki_write_stream = (*upper.as_raw()).ki_write_stream;
        }
        let transfer = Arc::pin_init(
            // INVARIANT: The request's file pins the inode; nobody else has the transfer yet.
            pin_init!(Transfer {
                kiocb: Opaque::new(kiocb),
                inode: NonNull::from(inode),
                direction,
                range,
                state: UnsafeCell::new(State {
                    file: Some(file),
                    buffer: Some(buffer),
                    upper: None,
                    result: 0,
                }),
                ticket <- RangeTicket::new(),
                answer <- Completion::new(),
                work <- new_work!("Transfer::work"),
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: It was made just now.
        Ok(Self {
            transfer,
            _call: PhantomData,
        })
    }

    /// Makes the transfer's range a member of `set`, closed, until the transfer has ended.
    ///
    /// A second call does nothing. Contains a full barrier, see [`super::range_set`].
    pub fn enter(&mut self, set: &Arc<RangeSet>) {
        // SAFETY: By the type invariants nobody else uses the ticket.
        unsafe { self.transfer.ticket().enter(set, self.transfer.range) };
    }

    /// Closes the range again, or opens it halfway to make it ready for closing.
    ///
    /// Contains a full barrier, see [`super::range_set`].
    pub fn set_closed(&mut self, closed: bool) {
        // SAFETY: By the type invariants nobody else uses the ticket.
        unsafe { self.transfer.ticket().set_closed(closed) };
    }

    /// Submits the transfer to the lower file and waits for its end.
    ///
    /// Context: process context, may sleep (unless the request may not); the upper `i_rwsem` is
    /// held, no folio lock and no `invalidate_lock`.
    ///
    /// # Errors
    ///
    /// What [`DirectFile::finish`] makes of the lower file's.
    pub fn submit_and_wait(self) -> Result<usize> {
        let transfer = self.transfer;
        // SAFETY: Nobody else uses kiocb and state before the lower call.
        unsafe {
            if transfer.lower_stacks() {
                (*transfer.kiocb.get()).ki_complete = Some(Transfer::<T>::lower_complete);
            }
        }
        let mut ret = transfer.call_lower();
        if ret == -(bindings::EIOCBQUEUED as isize) {
            ret = transfer.wait();
        }
        transfer.end(lower_result(ret), Context::Caller)
    }

    /// Submits the transfer to the lower file, and lets it go on without `upper` having to wait for
    /// its end, if that is not what `upper` is for.
    ///
    /// Context: as [`Prepared::submit_and_wait`].
    pub fn submit(self, upper: Kiocb<'a, T>) -> Submitted<'a, T> {
        if upper.is_sync() {
            return Submitted::Ended(upper, self.submit_and_wait());
        }
        let transfer = self.transfer;
        // SAFETY: Nobody else uses kiocb and state before the lower call. The duty is taken back
        // below unless the lower file has queued the request.
        unsafe {
            (*transfer.state.get()).upper = Some(upper.defer());
            (*transfer.kiocb.get()).ki_complete = Some(Transfer::<T>::lower_complete);
        }
        // The completion's reference. It goes to `lower_complete`, or is taken back below.
        let completion = Arc::into_raw(transfer.clone());
        let ret = transfer.call_lower();
        if ret == -(bindings::EIOCBQUEUED as isize) {
            return Submitted::Queued(upper.queued());
        }
        // SAFETY: The lower file did not queue the request, so it does not complete it. Nobody else
        // uses the state.
        unsafe {
            drop(Arc::from_raw(completion));
            (*transfer.state.get()).upper = None;
        }
        Submitted::Ended(upper, transfer.end(lower_result(ret), Context::Caller))
    }
}

/// What became of a transfer that was submitted.
#[must_use]
pub enum Submitted<'a, T: DirectFile> {
    /// It goes on, and completes the request by itself.
    Queued(Reply<'a>),
    /// It has ended. The request is still to be answered.
    Ended(Kiocb<'a, T>, Result<usize>),
}

impl<'a, T: DirectFile> Submitted<'a, T> {
    /// Answers the request, if that was not done.
    pub fn reply(self) -> Reply<'a> {
        match self {
            Submitted::Queued(reply) => reply,
            Submitted::Ended(upper, result) => upper.reply(result),
        }
    }
}

impl<T: DirectFile> Transfer<T> {
    fn ticket(&self) -> Pin<&RangeTicket> {
        // SAFETY: The ticket is structurally pinned, and transfers only live in pinned `Arc`s.
        unsafe { Pin::new_unchecked(&self.ticket) }
    }

    fn inode(&self) -> &Inode<T> {
        // SAFETY: By the type invariants, as long as the upper request is not complete; nothing
        // looks at the inode afterwards.
        unsafe { self.inode.as_ref() }
    }

    /// Calls the lower file. Returns what it returns.
    fn call_lower(&self) -> isize {
        // SAFETY: The inode lives; `end` has the matching `inode_dio_end`.
        unsafe { bindings::inode_dio_begin(self.inode().as_raw()) };
        let len = usize::try_from(self.range.end().saturating_sub(self.range.start() as u64))
            .unwrap_or(usize::MAX);
        // SAFETY: The submitter alone uses the state until the lower call; the completion lets go of
        // the pages only after they were transferred, and of the array not at all.
        let (Some(file), Some(buffer)) = (unsafe {
            let state = self.state.get();
            ((*state).file.clone(), (*state).buffer.as_ref())
        }) else {
            return EIO.to_errno() as isize;
        };
        let mut iter = buffer.iter(len);
        // SAFETY: The kiocb is initialised, and lives until the lower file is done with it (module
        // documentation); so do the pages. The lower file may move the iterator, along the array of
        // the buffer, until it returns, though the pages may be gone by then; it may look at its file
        // as well. Of the transfer, and so of the array, the submitter has a reference, of the file
        // this function.
        unsafe {
            match self.direction {
                Direction::FromPages => file.write_iter(self.kiocb.get(), &mut iter),
                Direction::ToPages => file.read_iter(self.kiocb.get(), &mut iter),
            }
        }
    }

    /// Whether the lower filesystem stacks itself.
    ///
    /// # Safety
    ///
    /// The transfer was not submitted yet.
    unsafe fn lower_stacks(&self) -> bool {
        // SAFETY: By the function's requirements nobody else uses the state.
        let file = unsafe { (*self.state.get()).file.as_ref() };
        file.is_some_and(|file| file.inode().stacks())
    }

    /// Waits for the end of a request that was queued though it was not to be, and returns what the
    /// lower file says of it.
    fn wait(&self) -> isize {
        self.answer.wait_for_completion();
        // SAFETY: The completion has written this, and is done with the state.
        let (ret, file) = unsafe {
            let state = self.state.get();
            ((*state).result, (*state).file.as_ref())
        };
        if let (Some(file), true) = (file, ret > 0) {
            file.notify(self.direction);
        }
        ret
    }

    /// `kiocb::ki_complete` of the lower request. Context: any.
    ///
    /// # Safety
    ///
    /// Called by the lower file, once, with the kiocb of a transfer that it queued.
    unsafe extern "C" fn lower_complete(kiocb: *mut bindings::kiocb, ret: ffi::c_long) {
        let opaque = kiocb.cast::<Opaque<bindings::kiocb>>();
        // SAFETY: `Prepared::new` put the kiocb into a transfer.
        let this = unsafe { kernel::container_of!(opaque, Self, kiocb).cast_const() };
        // SAFETY: The transfer lives: `submit_and_wait` waits for the answer with a reference, or
        // `submit` has left one for this call. The lower file is done, and the submitter does not use the state until it
        // has the answer, or not any more. `LowerFile::write_iter` started the write and leaves its
        // end to the completion of a queued request.
        let is_awaited = unsafe {
            if (*this).direction == Direction::FromPages {
                bindings::kiocb_end_write(kiocb);
            }
            let state = (*this).state.get();
            (*state).result = ret;
            (*state).upper.is_none()
        };
        if is_awaited {
            // SAFETY: The one who waits does not go on before this lets go of the transfer.
            unsafe { (*this).answer.complete_all() };
            return;
        }
        // SAFETY: This is the reference that `submit` left.
        let this = unsafe { Arc::from_raw(this) };
        // SAFETY: As above.
        let buffer_sleeps = unsafe {
            let buffer = (*this.state.get()).buffer.as_ref();
            buffer.is_some_and(|buffer| buffer.is_long() || buffer.needs_redirty())
        };
        let done = this.finished(lower_result(ret), Context::Completion);
        let sleeps = buffer_sleeps || T::finish_sleeps(this.inode(), &done);
        if !sleeps {
            this.complete(Context::Completion);
            return;
        }
        // SAFETY: `Prepared::new` made sure of the queue, which lives as long as the superblock.
        let queue = unsafe { Queue::from_raw((*(*this.inode().as_raw()).i_sb).s_dio_done_wq) };
        // The work item was never queued before, so this cannot fail.
        let _ = queue.enqueue(this);
    }

    fn finished(&self, result: Result<usize>, context: Context) -> Finished {
        Finished {
            direction: self.direction,
            range: self.range,
            result,
            context,
        }
    }

    /// Ends the transfer: the filesystem's part, then the gate opens, then the pages and the lower
    /// file are let go.
    ///
    /// The lower file goes before the request from above completes. Until then the file above has
    /// it open as well, so that this is not its last reference: that would be put by deferred work
    /// if this is an interrupt, and could hold up an unmount of the lower filesystem.
    fn end(&self, result: Result<usize>, context: Context) -> Result<usize> {
        let result = T::finish(self.inode(), &self.finished(result, context));
        // SAFETY: By the type invariants this is the one who uses ticket and state now. The array of
        // the buffer stays: the lower call may not have returned, and its iterator is still there.
        let (file, buffer) = unsafe {
            self.ticket().leave();
            let state = self.state.get();
            ((*state).file.take(), (*state).buffer.as_mut())
        };
        if let Some(buffer) = buffer {
            // In the completion, the lower file's completion has found all pages dirty.
            let redirty = context != Context::Completion && buffer.needs_redirty();
            buffer.release(redirty);
        }
        drop(file);
        // SAFETY: The inode lives; this is the end of what `call_lower` began.
        unsafe { bindings::inode_dio_end(self.inode().as_raw()) };
        result
    }

    /// Ends a queued transfer and completes the request from above.
    fn complete(&self, context: Context) {
        // SAFETY: By the type invariants this is the one who uses the state now.
        let (upper, ret) = unsafe {
            let state = self.state.get();
            ((*state).upper.take(), (*state).result)
        };
        let result = self.end(lower_result(ret), context);
        if let Some(mut upper) = upper {
            if let Ok(bytes) = result {
                upper.set_pos(self.range.start().saturating_add_unsigned(bytes as u64));
            }
            upper.complete(result);
        }
    }
}

impl<T: DirectFile> WorkItem for Transfer<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.complete(Context::Worker);
    }
}

/// The result of a lower call or completion.
fn lower_result(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}

/// Makes sure that the upper superblock has a queue for completions that sleep.
fn init_work_queue<T: FileSystem>(inode: &Inode<T>) -> Result {
    // SAFETY: The superblock lives as long as its inode. The queue is set once, atomically.
    unsafe {
        let sb = (*inode.as_raw()).i_sb;
        let queue = core::ptr::addr_of!((*sb).s_dio_done_wq).read_volatile();
        if queue.is_null() {
            to_result(bindings::sb_init_dio_done_wq(sb))?;
        }
    }
    Ok(())
}
