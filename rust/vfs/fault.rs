// SPDX-License-Identifier: GPL-2.0

//! Stores through shared mappings.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    file::{
        OpenFile,
        RegularFile, //
    },
    fill::mapping_of,
    folio::folio_range,
    freeze::FaultAccess,
    mapping::gate_limit,
    range_set::{
        ByteRange,
        Gate, //
    },
    wait::Signals,
    Inode, //
};
use crate::{
    bindings,
    pure::gate::{
        self,
        Next, //
    },
};
use core::marker::PhantomData;
use kernel::prelude::*;

/// The operations on mappings of `T`'s regular files.
pub struct VmOps<T: RegularFile>(PhantomData<T>);

impl<T: RegularFile> VmOps<T> {
    /// The table.
    pub const TABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(bindings::filemap_fault),
        map_pages: Some(bindings::filemap_map_pages),
        page_mkwrite: Some(Self::page_mkwrite),
        ..pin_init::zeroed()
    };

    /// `vm_operations_struct::page_mkwrite`
    ///
    /// # Safety
    ///
    /// Called by the memory manager with a write fault on a clean page of a regular file of `T`.
    unsafe extern "C" fn page_mkwrite(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: The caller guarantees the fault, its area and its file.
        let file = unsafe { OpenFile::<T>::from_raw((*(*vmf).__bindgen_anon_1.vma).vm_file) };
        let inode = file.inode();
        // SAFETY: The file lives through the fault, and its superblock with it.
        let access = unsafe { FaultAccess::new((*inode.as_raw()).i_sb) };
        match access.and_then(|access| T::stored(file).map(|()| access)) {
            // SAFETY: The caller guarantees the fault.
            Ok(_access) => unsafe { Self::dirty(vmf, inode) },
            Err(_) => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
        }
    }

    /// Dirties the faulting folio, or waits at the gate and has the fault repeated.
    ///
    /// It waits for nothing but the folio lock and the gate: not for writeback, which may need the
    /// lower file's `i_rwsem`, which the faulting task may hold. Who has the folio locked may wait for
    /// that, so that it can be killed meanwhile.
    ///
    /// # Safety
    ///
    /// `vmf` is a write fault on a page of `inode`.
    unsafe fn dirty(vmf: *mut bindings::vm_fault, inode: &Inode<T>) -> bindings::vm_fault_t {
        // SAFETY: The caller guarantees the fault.
        let (gate, range) = match unsafe { Self::try_dirty(vmf, inode, Gate::Open) } {
            Ok(ret) => return ret,
            Err(stands) => stands,
        };
        // Whether the fault is one of user code or of the kernel is not to be seen here.
        let limit = Some(gate_limit::<T>(gate));
        let wake = T::gate_wait(inode, gate, range, Signals::Fatal, limit);
        match gate::after_store(gate, wake, || T::store_is_contended(inode)) {
            Next::LookAnew => bindings::vm_fault_reason_VM_FAULT_NOPAGE,
            Next::Fail => bindings::vm_fault_reason_VM_FAULT_SIGBUS,
            // SAFETY: The caller guarantees the fault.
            Next::GoOn(gate) => unsafe { Self::try_dirty(vmf, inode, gate) }
                .unwrap_or(bindings::vm_fault_reason_VM_FAULT_NOPAGE),
        }
    }

    /// Dirties the faulting folio, which stays locked, unless the gate stands worse than `gate`.
    ///
    /// # Errors
    ///
    /// How the gate stands, and over which range.
    ///
    /// # Safety
    ///
    /// `vmf` is a write fault on a page of `inode`.
    unsafe fn try_dirty(
        vmf: *mut bindings::vm_fault,
        inode: &Inode<T>,
        gate: Gate,
    ) -> Result<bindings::vm_fault_t, (Gate, ByteRange)> {
        // SAFETY: The memory manager holds a reference to the page.
        let folio = unsafe { bindings::page_folio((*vmf).page) };
        // SAFETY: As above.
        if unsafe { bindings::folio_lock_killable(folio) } != 0 {
            return Ok(bindings::vm_fault_reason_VM_FAULT_SIGBUS);
        }
        // SAFETY: The folio is locked and referenced.
        let range = unsafe {
            if mapping_of(folio) != inode.mapping_raw()
                || bindings::folio_mkwrite_check_truncate(folio, inode.as_raw()) < 0
            {
                bindings::folio_unlock(folio);
                return Ok(bindings::vm_fault_reason_VM_FAULT_NOPAGE);
            }
            folio_range(folio)
        };
        let Some(range) = range else {
            // SAFETY: The lock is ours.
            unsafe { bindings::folio_unlock(folio) };
            return Ok(bindings::vm_fault_reason_VM_FAULT_SIGBUS);
        };
        let stands = T::gate(inode, range);
        if stands <= gate {
            // SAFETY: The folio is locked, as `folio_mark_dirty` wants it.
            unsafe { bindings::folio_mark_dirty(folio) };
            return Ok(bindings::vm_fault_reason_VM_FAULT_LOCKED);
        }
        // SAFETY: The lock is ours.
        unsafe { bindings::folio_unlock(folio) };
        Err((stands, range))
    }
}
