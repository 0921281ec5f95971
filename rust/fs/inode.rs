// SPDX-License-Identifier: GPL-2.0

//! Inodes: one for each lower inode that is in use, hard links shared.

use super::{
    attr::Attributes,
    dir::DirectoryOps,
    lower_io::IoState,
    symlink::SymlinkOps,
    Diofs, //
};
use crate::vfs::{
    attr::Times,
    dir::DirOps,
    file::FileOps,
    inode::{
        Found,
        NewInode, //
    },
    inode_ops::InodeOperations,
    inode_table::InodeOps,
    lower::{
        FileType,
        LowerDentry,
        LowerInode, //
    },
    mapping::MappingOps,
    Inode,
    SuperBlock, //
};
use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

/// Private data of an inode.
#[pin_data]
pub struct InodeData {
    /// The inode below.
    pub lower: ARef<LowerInode>,
    /// The state of input and output, for regular files.
    #[pin]
    pub io: IoState,
}

/// The inode that stacks on `lower`, made if it is not there.
///
/// # Errors
///
/// `ENOMEM`; `EIO` when the lower inode is of no known type.
pub fn get(sb: &SuperBlock<Diofs>, lower: &LowerInode) -> Result<ARef<Inode<Diofs>>> {
    match sb.inode_for(lower)? {
        Found::Known(inode) => Ok(inode),
        Found::New(inode) => set_up(sb, inode),
    }
}

fn set_up(sb: &SuperBlock<Diofs>, mut inode: NewInode<Diofs>) -> Result<ARef<Inode<Diofs>>> {
    let kind = inode.lower().file_type()?;
    inode.copy_attributes(&sb.data().root.mount);
    inode.set_lock_depth(sb.stack_depth());
    match kind {
        FileType::Regular => init_regular(&mut inode),
        FileType::Directory => init_directory(&mut inode),
        FileType::Symlink => inode.set_inode_table(InodeOps::<SymlinkOps>::table()),
        FileType::Special => {
            inode.set_special();
            inode.set_inode_table(InodeOps::<PlainOps>::table());
        }
    }
    let lower: ARef<LowerInode> = inode.lower().into();
    inode.init(try_pin_init!(InodeData {
        lower,
        io <- IoState::new(),
    }))
}

fn init_regular(inode: &mut NewInode<Diofs>) {
    inode.set_inode_table(InodeOps::<PlainOps>::table());
    inode.set_file_table(FileOps::table());
    MappingOps::install(inode);
}

fn init_directory(inode: &mut NewInode<Diofs>) {
    inode.set_inode_table(InodeOps::<DirectoryOps>::table());
    inode.set_file_table(DirOps::<DirectoryOps>::table());
}

/// Whether the lower `dentry` can be stacked on. Names that the lower filesystem compares by rules
/// of its own, or that lead elsewhere, cannot.
///
/// # Errors
///
/// `EREMOTE`.
pub fn check_directory(dentry: &LowerDentry) -> Result {
    let casefolded = dentry.inode().is_some_and(|inode| inode.is_casefolded());
    if casefolded || dentry.has_own_names() || dentry.is_managed() {
        return Err(EREMOTE);
    }
    Ok(())
}

impl Inode<Diofs> {
    /// Copies the attributes from the lower inode after something there was changed.
    pub fn refresh(&self) {
        let times = if self.is_regular() {
            Times::Later
        } else {
            Times::All
        };
        self.copy_attributes(&self.super_block().data().root.mount, times);
        self.copy_size();
    }

    /// Whether the data may be changed by those who have the file open already.
    ///
    /// # Errors
    ///
    /// `EPERM` for an immutable file, `ETXTBSY` for one that is swapped to. Asked too late, at
    /// write-back, it would cost the data.
    pub fn may_change(&self) -> Result {
        let lower = &self.data().lower;
        if lower.is_immutable() {
            return Err(EPERM);
        }
        if lower.is_swapfile() {
            return Err(ETXTBSY);
        }
        Ok(())
    }
}

/// Operations on inodes that are neither directories nor symbolic links.
pub struct PlainOps;

#[vtable]
impl InodeOperations for PlainOps {
    type Fs = Diofs;
    type Attributes = Attributes;
}
