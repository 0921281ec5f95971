// SPDX-License-Identifier: GPL-2.0

//! Credentials to act with.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    cred::Credential,
    prelude::*,
    sync::aref::ARef, //
};

/// A copy of the running task's credentials that cannot exceed quotas and use space that is
/// reserved for the administrator.
///
/// C: `prepare_creds()`, `cap_lower()`.
///
/// # Errors
///
/// `ENOMEM`.
pub fn without_reserves() -> Result<ARef<Credential>> {
    // SAFETY: Task context.
    let cred = NonNull::new(unsafe { bindings::prepare_creds() }).ok_or(ENOMEM)?;
    // SAFETY: The copy is not in use yet, so it may be changed, and comes with a reference.
    unsafe {
        bindings::cap_lower_sys_resource(cred.as_ptr());
        Ok(ARef::from_raw(cred.cast()))
    }
}
