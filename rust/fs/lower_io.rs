// SPDX-License-Identifier: GPL-2.0

//! The lower file that the page cache of an inode reads from and writes to.
//!
//! It is apart from the files that users open, since the cache needs to read where a user may only
//! write, and to write when no user is there any more. It is opened on behalf of the mounter when
//! first needed, for writing not before somebody above writes, and closed with the last open file
//! above, so that a file that nobody uses does not hold up a remount of the lower filesystem.

use super::{
    registry::Registry,
    Diofs, //
};
use crate::{
    pure::flags,
    vfs::{
        cred,
        file::Opening,
        lower::{
            LowerFile,
            NewLowerFile, //
        },
        Inode, //
    },
};
use kernel::{
    bindings,
    cred::Credential,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Mutex, //
    },
};

/// What the cache wants to do with the lower file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Fill.
    Read,
    /// Fill and write back.
    Write,
}

/// The lower file, and what is known of it.
#[derive(Clone)]
pub struct CacheFile {
    /// The file.
    pub file: LowerFile,
    /// Who writes to it: the owner that it had when it was opened.
    pub writer: ARef<Credential>,
    /// The alignment of memory that its direct I/O needs; zero if it has none.
    pub mem_align: u32,
    /// Whether it was opened for a file that notifies nobody. It notifies nobody then, and holds on
    /// to the mount of that file.
    is_silent: bool,
}

struct Users {
    opens: u64,
    file: Option<CacheFile>,
}

impl Users {
    /// The lower file, if it is open for `access`, and for others than it should be for `above`.
    fn open_for(&self, access: Access, above: Option<Opening<'_>>) -> Option<CacheFile> {
        let file = self.file.as_ref()?;
        let enough = access == Access::Read || file.file.can_write();
        let fits = !file.is_silent || above.is_none_or(Opening::is_silent);
        (enough && fits).then(|| file.clone())
    }
}

/// The part of an inode's private data that input and output need.
#[pin_data]
pub struct IoState {
    /// Direct writes in flight.
    pub registry: Registry,
    #[pin]
    users: Mutex<Users>,
}

impl IoState {
    /// An initialiser of the state of a file that nobody has open.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registry: Registry::new()?,
            users <- new_mutex!(Users { opens: 0, file: None }, "IoState::users"),
        })
    }
}

/// Counts one more open file above.
pub fn opened(inode: &Inode<Diofs>) {
    let mut users = inode.data().io.users.lock();
    users.opens = users.opens.saturating_add(1);
}

/// Counts one open file above less; with the last one, the lower file is closed.
///
/// Context: process context, may sleep.
pub fn closed(inode: &Inode<Diofs>) {
    let file = {
        let mut users = inode.data().io.users.lock();
        users.opens = users.opens.saturating_sub(1);
        if users.opens == 0 {
            users.file.take()
        } else {
            None
        }
    };
    // Outside the lock: this can be the last reference.
    drop(file);
}

/// The lower file, opened if it is not open for `access`, perhaps because `above` is opened.
///
/// Context: process context, may sleep; a folio lock may be held.
///
/// # Errors
///
/// Those of opening the lower file.
pub fn cache_file(
    inode: &Inode<Diofs>,
    access: Access,
    above: Option<Opening<'_>>,
) -> Result<CacheFile> {
    let known = inode.data().io.users.lock().open_for(access, above);
    if let Some(file) = known {
        return Ok(file);
    }
    // Not under the lock: the lower file can be one of this filesystem too, with a lock of the same
    // class.
    let file = open_lower(inode, access, above)?;
    let mut users = inode.data().io.users.lock();
    if let Some(others) = users.open_for(access, above) {
        drop(users);
        return Ok(others);
    }
    // With no open file above there is nobody to close it.
    let old = if users.opens > 0 {
        users.file.replace(file.clone())
    } else {
        None
    };
    drop(users);
    drop(old);
    Ok(file)
}

/// Opens the lower file of an inode for the cache.
fn open_lower(
    inode: &Inode<Diofs>,
    access: Access,
    above: Option<Opening<'_>>,
) -> Result<CacheFile> {
    let sb = inode.super_block().data();
    let path = inode.data().lower.alias_path(&sb.root.mount)?;
    let mode = match access {
        Access::Read => bindings::O_RDONLY,
        Access::Write => bindings::O_RDWR,
    };
    let flags = flags::lower_file(mode);
    let mut file = NewLowerFile::open(&path, flags, &sb.mounter, above)?;
    file.disable_access_permission_events();
    file.disable_readahead();
    file.disable_time_updates();
    let file = file.share();
    let mem_align = file.direct_alignment()?;
    Ok(CacheFile {
        file,
        writer: cred::as_owner(&sb.writer, inode)?,
        mem_align,
        is_silent: above.is_some_and(Opening::is_silent),
    })
}
