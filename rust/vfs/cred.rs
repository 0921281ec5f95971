// SPDX-License-Identifier: GPL-2.0

//! Credentials to act with.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use super::{
    scope::with_creds,
    FileSystem,
    Inode, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    cred::Credential,
    prelude::*,
    sync::aref::ARef, //
};

/// Credentials that nobody uses yet.
///
/// # Invariants
///
/// The pointer is to credentials of which this is the only reference, which it owns.
struct NewCreds(ARef<Credential>);

impl NewCreds {
    /// A copy of the running task's. C: `prepare_creds()`.
    fn prepare() -> Result<Self> {
        // SAFETY: Task context.
        let cred = NonNull::new(unsafe { bindings::prepare_creds() }).ok_or(ENOMEM)?;
        // INVARIANT: Made just now.
        // SAFETY: The copy comes with a reference. `Credential` is a transparent wrapper.
        Ok(Self(unsafe { ARef::from_raw(cred.cast()) }))
    }

    fn as_raw(&mut self) -> *mut bindings::cred {
        self.0.as_ptr().cast_mut().cast()
    }
}

/// A copy of the running task's credentials that cannot exceed quotas.
///
/// C: `prepare_creds()`, `cap_lower()`.
///
/// # Errors
///
/// `ENOMEM`.
pub fn without_resource_cap() -> Result<ARef<Credential>> {
    let mut new = NewCreds::prepare()?;
    // SAFETY: By the type invariant they may be changed.
    unsafe { bindings::cap_lower_sys_resource(new.as_raw()) };
    Ok(new.0)
}

/// A copy of `cred` that uses files in no group but root's, to which filesystems give nothing special.
///
/// C: `prepare_creds()`, `set_groups()`.
///
/// # Errors
///
/// `ENOMEM`.
pub fn without_groups(cred: &Credential) -> Result<ARef<Credential>> {
    let mut new = with_creds(cred, NewCreds::prepare)?;
    // SAFETY: By the type invariant the credentials may be changed. They take a reference of their
    // own to the empty list, and the one that it came with is dropped.
    unsafe {
        let none = NonNull::new(bindings::groups_alloc(0)).ok_or(ENOMEM)?;
        bindings::set_groups(new.as_raw(), none.as_ptr());
        bindings::put_group_info(none.as_ptr());
        (*new.as_raw()).fsgid.val = 0;
    }
    Ok(new.0)
}

/// `cred`, with the owner of `inode` as the user who uses files.
///
/// Filesystems look at this user (`current_fsuid()`) when they give away what is reserved for
/// somebody, root for example.
///
/// C: `prepare_creds()`.
///
/// # Errors
///
/// `ENOMEM`.
pub fn as_owner<T: FileSystem>(cred: &Credential, inode: &Inode<T>) -> Result<ARef<Credential>> {
    // SAFETY: The inode lives. A racing change of the owner leaves either one.
    let owner = unsafe { (&raw const (*inode.as_raw()).i_uid).read_volatile() };
    // SAFETY: The credentials are in use, so that they do not change.
    if unsafe { (*cred.as_ptr().cast::<bindings::cred>()).fsuid.val } == owner.val {
        return Ok(cred.into());
    }
    let mut new = with_creds(cred, NewCreds::prepare)?;
    // SAFETY: By the type invariant they may be changed.
    unsafe { (*new.as_raw()).fsuid = owner };
    Ok(new.0)
}
