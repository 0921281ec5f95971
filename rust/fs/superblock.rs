// SPDX-License-Identifier: GPL-2.0

//! The superblock: one for each mount of a lower directory.

use crate::vfs::lower::LowerPath;
use kernel::{
    cred::Credential,
    prelude::*,
    sync::aref::ARef, //
};

/// Private data of a superblock.
#[pin_data]
pub struct SuperData {
    /// The lower directory in a mount of our own, which nobody can unmount or change.
    pub root: LowerPath,
    /// Who mounted it, without the right to use reserved space and exceed quotas. Write-back
    /// uses these credentials, because it runs on behalf of nobody in particular.
    pub mounter: ARef<Credential>,
}
