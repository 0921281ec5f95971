// SPDX-License-Identifier: GPL-2.0

//! Writing into the page cache: `write(2)` without `O_DIRECT`.
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

use super::{
    bvec::{
        BvecIter,
        Direction, //
    },
    fill::{
        fill_to_end,
        IOMAP_OPS, //
    },
    folio::{
        offset_within,
        LockedFolio, //
    },
    iov::IovIter,
    kiocb::Kiocb,
    mapping::CachedFile,
    range_set::Gate,
    scope::NofsGuard,
    wait::{
        Signals,
        Wake, //
    },
    Inode, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
    slice,
};
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

/// Copies from `iter` into the page cache at the position of `kiocb`, which moves on.
///
/// Returns how many bytes were copied, which is less than asked for if an error came later.
///
/// Context: process context, may sleep unless the request may not; the inode's `i_rwsem` is held
/// exclusively.
///
/// # Errors
///
/// `EAGAIN` if the request may not sleep and would have to, `EINTR` if a fatal signal ended a wait
/// at the gate, `EFAULT` if nothing could be copied, and what filling folios returns.
pub fn write<T: CachedFile>(kiocb: &mut Kiocb<'_, T>, iter: &mut IovIter<'_>) -> Result<usize> {
    // SAFETY: Both are valid for the call; the operations are those of this mapping.
    let ret = unsafe {
        bindings::iomap_file_buffered_write(
            kiocb.as_raw(),
            iter.as_raw(),
            &IOMAP_OPS,
            const { &WriteOps::<T>::TABLE },
            ptr::null_mut(),
        )
    };
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}

/// The callbacks of iomap's buffered writes.
struct WriteOps<T: CachedFile>(PhantomData<T>);

impl<T: CachedFile> WriteOps<T> {
    const TABLE: bindings::iomap_write_ops = bindings::iomap_write_ops {
        get_folio: Some(Self::get_folio),
        put_folio: None,
        iomap_valid: None,
        read_folio_range: Some(Self::read_folio_range),
    };

    /// `iomap_write_ops::get_folio`: a locked folio at which the gate is open.
    ///
    /// # Safety
    ///
    /// Called by iomap with the iterator of a write to a regular file of `T`.
    unsafe extern "C" fn get_folio(
        iter: *mut bindings::iomap_iter,
        pos: i64,
        len: u32,
    ) -> *mut bindings::folio {
        // SAFETY: The caller guarantees `iter`, whose inode is one of `T`.
        let (inode, nowait) = unsafe {
            (
                Inode::<T>::from_raw((*iter).inode),
                (*iter).flags & bindings::IOMAP_NOWAIT != 0,
            )
        };
        // SAFETY: As above.
        let result = unsafe { Self::open_folio(inode, iter, pos, len as usize, nowait) };
        match result {
            Ok(folio) => folio.into_raw(),
            Err(error) => error.to_ptr(),
        }
    }

    /// See [`Self::get_folio`].
    ///
    /// # Safety
    ///
    /// `iter` is the iterator of a write to `inode`.
    unsafe fn open_folio(
        inode: &Inode<T>,
        iter: *mut bindings::iomap_iter,
        pos: i64,
        len: usize,
        nowait: bool,
    ) -> Result<LockedFolio> {
        loop {
            // SAFETY: The caller guarantees `iter`.
            let raw = from_err_ptr(unsafe { bindings::iomap_get_folio(iter, pos, len) })?;
            // SAFETY: iomap returns the folio locked and with a reference for the caller.
            let folio = unsafe { LockedFolio::from_raw(NonNull::new(raw).ok_or(ENOMEM)?) };
            let range = folio.range().ok_or(EFBIG)?;
            if T::gate(inode, range) == Gate::Open {
                return Ok(folio);
            }
            drop(folio);
            if nowait {
                return Err(EAGAIN);
            }
            if T::gate_wait(inode, Gate::Closing, range, Signals::Fatal, None) == Wake::Killed {
                return Err(EINTR);
            }
        }
    }

    /// `iomap_write_ops::read_folio_range`: what a partial write leaves standing.
    ///
    /// # Safety
    ///
    /// Called by iomap with a locked folio of a regular file of `T` and a range within it.
    unsafe extern "C" fn read_folio_range(
        iter: *const bindings::iomap_iter,
        folio: *mut bindings::folio,
        pos: i64,
        len: usize,
    ) -> c_int {
        let mut bvec = bindings::bio_vec::default();
        // SAFETY: The caller guarantees the folio.
        let Some(offset) = (unsafe { offset_within(folio, pos, len) }) else {
            return EIO.to_errno();
        };
        // SAFETY: The range lies within the folio.
        let inode = unsafe {
            bindings::bvec_set_folio(&mut bvec, folio, len, offset);
            Inode::<T>::from_raw((*iter).inode)
        };
        // Under a folio lock, memory may not be had from a filesystem.
        let _nofs = NofsGuard::enter();
        // SAFETY: The folio stays locked through the call.
        let mut dst = unsafe { BvecIter::new(Direction::ToPages, slice::from_ref(&bvec), len) };
        match fill_to_end(inode, pos, &mut dst) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }
}
