// SPDX-License-Identifier: GPL-2.0

//! Attributes: permission checks, `stat`, changes, and copies from the lower to the upper inode.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/stat.h`](srctree/include/linux/stat.h)

use super::{
    lower::{
        LowerDentry,
        LowerInode,
        LowerMount,
        LowerPath, //
    },
    namei::WriteAccess,
    owner::{
        copy_access,
        Held, //
    },
    Dentry,
    FileSystem,
    Inode,
    SuperBlock, //
};
use crate::bindings;
use core::ptr::null_mut;
use kernel::{
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

/// What somebody wants to do with an inode: `MAY_*`.
#[derive(Clone, Copy)]
pub struct Access(pub(super) c_int);

impl LowerMount {
    /// Whether the calling task may do `access` to `inode`, which is in this mount.
    ///
    /// Context: may sleep unless `access` says otherwise; then it may be called under RCU, with an
    /// inode that is kept by nothing else. C: `inode_permission()`.
    ///
    /// # Errors
    ///
    /// `EACCES`, `EPERM`, `EROFS`; `ECHILD` when it would have to sleep and must not.
    pub fn permission(&self, inode: &LowerInode, access: Access) -> Result {
        // SAFETY: The inode is referenced or kept by RCU, which the call is made for.
        to_result(unsafe { bindings::inode_permission(self.idmap(), inode.as_raw(), access.0) })
    }
}

/// Which attributes `stat` wants, and how fresh.
#[derive(Clone, Copy)]
pub struct Query {
    pub(super) mask: u32,
    pub(super) flags: u32,
}

/// The attributes of a file, as `statx(2)` shows them.
pub struct Stat(pub(super) bindings::kstat);

/// Seconds and nanoseconds, comparable.
type Time = (i64, i64);

fn time(ts: &bindings::timespec64) -> Time {
    (ts.tv_sec, ts.tv_nsec as i64)
}

impl LowerMount {
    /// The attributes of `dentry`, which is in this mount.
    ///
    /// The security modules are not asked: the VFS has asked them about the upper file, and by a path
    /// in a mount of nobody's they cannot decide.
    ///
    /// Context: process context, may sleep. C: `vfs_getattr_nosec()`.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem.
    pub fn getattr(&self, dentry: &LowerDentry, query: Query) -> Result<Stat> {
        if dentry.inode().is_none() {
            return Err(ESTALE);
        }
        let path = self.at(dentry);
        let mut stat = Stat(bindings::kstat::default());
        // SAFETY: The path is referenced and its dentry positive; `stat` may be written to.
        to_result(unsafe {
            bindings::vfs_getattr_nosec(&path, &mut stat.0, query.mask, query.flags)
        })?;
        Ok(stat)
    }
}

impl Stat {
    /// Makes the attributes those of a file of `sb`: its device number, and nothing that is true
    /// of the lower inode alone.
    ///
    /// Direct access to memory (DAX) is such a thing, because the upper inode has a page cache.
    /// Untorn writes are another, because write-back may split and merge what was written.
    pub fn move_to<T: FileSystem>(&mut self, sb: &SuperBlock<T>) {
        // SAFETY: The superblock lives; the number is constant.
        self.0.dev = unsafe { (*sb.as_raw()).s_dev };
        let hidden = bindings::STATX_ATTR_DAX | bindings::STATX_ATTR_WRITE_ATOMIC;
        self.0.attributes &= !u64::from(hidden);
        self.0.result_mask &= !bindings::STATX_WRITE_ATOMIC;
        self.0.atomic_write_unit_min = 0;
        self.0.atomic_write_unit_max = 0;
        self.0.atomic_write_unit_max_opt = 0;
        self.0.atomic_write_segments_max = 0;
    }

    /// Takes the size from the upper inode, and its times of change where they are later: it may
    /// hold data that the lower one has not seen yet.
    pub fn refresh_from<T: FileSystem>(&mut self, inode: &Inode<T>) {
        self.0.size = inode.size();
        // SAFETY: The inode lives. A racing update yields either time.
        let (mtime, ctime) = unsafe {
            (
                bindings::inode_get_mtime(inode.as_raw()),
                bindings::inode_get_ctime(inode.as_raw()),
            )
        };
        if time(&mtime) > time(&self.0.mtime) {
            self.0.mtime = mtime;
        }
        if time(&ctime) > time(&self.0.ctime) {
            self.0.ctime = ctime;
        }
    }

    /// Whether the file has a size, but no blocks.
    pub fn is_without_blocks(&self) -> bool {
        self.0.size > 0 && self.0.blocks == 0
    }

    /// Says how many blocks the data may take that are in the cache of `inode`.
    pub fn count_cached_blocks<T: FileSystem>(&mut self, inode: &Inode<T>) {
        // SAFETY: The mapping lives as long as the inode; any value of a racing update will do.
        let pages = unsafe { (&raw const (*inode.mapping_raw()).nrpages).read_volatile() } as u64;
        let by_size = u64::try_from(self.0.size).map_or(0, |size| size.div_ceil(SECTOR));
        self.0.blocks = by_size.min(pages.saturating_mul(PAGE_SIZE as u64 / SECTOR));
    }
}

/// The unit in which `stat` counts blocks.
const SECTOR: u64 = 512;

/// A change of attributes that was asked for.
pub struct SetAttr<'a>(pub(super) &'a mut bindings::iattr);

impl SetAttr<'_> {
    fn wants(&self, bits: u32) -> bool {
        self.0.ia_valid & bits != 0
    }

    /// The new size, if it is to change.
    pub fn size(&self) -> Option<i64> {
        self.wants(bindings::ATTR_SIZE).then_some(self.0.ia_size)
    }

    /// Whether times are set to something else than the present.
    pub fn sets_times(&self) -> bool {
        self.wants(bindings::ATTR_ATIME_SET | bindings::ATTR_MTIME_SET | bindings::ATTR_CTIME_SET)
    }

    /// Whether the calling task may make this change, judged by the upper inode.
    ///
    /// Context: the inode lock is held exclusively. C: `setattr_prepare()`.
    ///
    /// # Errors
    ///
    /// `EPERM`, `EFBIG`, `ETXTBSY`.
    pub fn prepare<T: FileSystem>(&mut self, dentry: &Dentry<T>) -> Result {
        // SAFETY: The dentry is referenced and positive. The filesystem type does not allow
        // idmapped mounts, so that the identity mapping is the right one.
        to_result(unsafe {
            bindings::setattr_prepare(
                &raw mut bindings::nop_mnt_idmap,
                dentry.as_raw(),
                &mut *self.0,
            )
        })
    }

    /// Makes the request one that the lower filesystem can be asked.
    ///
    /// The open file belongs to the upper layer. The VFS turned requests to drop the set-id bits
    /// into a new mode for the upper inode and left them in; the lower call does that again and
    /// does not allow both. Whether there are file capabilities to drop only the lower inode knows.
    fn pass_on(&mut self) {
        let valid = &mut self.0.ia_valid;
        *valid &= !(bindings::ATTR_FILE | bindings::ATTR_OPEN);
        if *valid & (bindings::ATTR_KILL_SUID | bindings::ATTR_KILL_SGID) != 0 {
            *valid &= !bindings::ATTR_MODE;
        }
        if *valid & (bindings::ATTR_SIZE | bindings::ATTR_UID | bindings::ATTR_GID) != 0 {
            *valid |= bindings::ATTR_KILL_PRIV;
        }
    }
}

impl WriteAccess<'_> {
    /// Changes attributes of `dentry`, which is in the mount that may be written to.
    ///
    /// Context: process context, sleeps. Takes the lower `i_rwsem`, exclusively: not to be called
    /// under an upper `invalidate_lock` or folio lock. C: `notify_change()`.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem. `ESTALE` when the dentry is negative.
    pub fn notify_change(&self, dentry: &LowerDentry, attr: &mut SetAttr<'_>) -> Result {
        let inode = dentry.inode().ok_or(ESTALE)?.as_raw();
        attr.pass_on();
        // A truncation must not go on while somebody executes the lower file.
        let _writer = attr.size().map(|_| ExecGuard::new(inode)).transpose()?;
        // SAFETY: The inode is positive and stays while the dentry is referenced.
        to_result(unsafe {
            bindings::inode_lock(inode);
            let ret = bindings::notify_change(
                self.mount().idmap(),
                dentry.as_raw(),
                &mut *attr.0,
                null_mut(),
            );
            bindings::inode_unlock(inode);
            ret
        })
    }
}

/// Nobody executes the file while this lives. C: `get_write_access()`.
struct ExecGuard(*mut bindings::inode);

impl ExecGuard {
    fn new(inode: *mut bindings::inode) -> Result<Self> {
        // SAFETY: The caller passes a live inode and drops the guard before it lets go of it.
        to_result(unsafe { bindings::get_write_access(inode) })?;
        Ok(Self(inode))
    }
}

impl Drop for ExecGuard {
    fn drop(&mut self) {
        // SAFETY: `new()` succeeded on the same inode.
        unsafe { bindings::put_write_access(self.0) };
    }
}

/// Which times a copy of attributes brings over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// All: the lower inode is right about them.
    All,
    /// The access time, and times of change that are later than the upper ones: the upper inode
    /// may know of writes that the lower one does not.
    Later,
}

/// Copies owner, mode, times, link count and flags from the lower to the upper inode; not the size.
///
/// Context: process context, may sleep. Takes the lower `i_rwsem`, shared, of a regular file that has
/// set-id bits above or below; the upper one is held exclusively, or nobody else uses the inode yet.
///
/// # Safety
///
/// `inode` must live, and belong to a filesystem that stacks on `mount`, where `lower` is.
pub(super) unsafe fn copy_attributes(
    inode: *mut bindings::inode,
    lower: &LowerInode,
    mount: &LowerMount,
    times: Times,
) {
    let idmap = mount.idmap();
    let lower = lower.as_raw();
    // SAFETY: Both inodes live. Writers of the upper inode's fields are serialised by its `i_lock`.
    // The lower one may change meanwhile; then whoever changed it copies again.
    unsafe {
        copy_access(inode, lower, idmap, Held::Yes);
        bindings::inode_spin_lock(inode);
        copy_times(inode, lower, times);
        // `set_nlink()` counts inodes without a name itself, which must not happen twice.
        bindings::set_nlink(inode, (*lower).__bindgen_anon_1.i_nlink);
        bindings::inode_spin_unlock(inode);
    }
}

/// The block size of a file, as a power of two, over a lower one of which it is `lower`.
///
/// A filesystem without blocks of its own (overlayfs) says zero.
pub(super) fn block_bits(lower: u8) -> u8 {
    let (sector, page) = (9, kernel::page::PAGE_SHIFT as u8);
    match lower >= sector {
        true => lower.min(page),
        false => page,
    }
}

/// # Safety
///
/// Both inodes must live, and `inode`'s `i_lock` be held.
unsafe fn copy_times(inode: *mut bindings::inode, lower: *mut bindings::inode, times: Times) {
    // SAFETY: By the function's requirements.
    unsafe {
        bindings::inode_set_atime(inode, bindings::inode_get_atime(lower));
        let mtime = bindings::inode_get_mtime(lower);
        if times == Times::All || time(&mtime) > time(&bindings::inode_get_mtime(inode)) {
            bindings::inode_set_mtime(inode, mtime);
        }
        let ctime = bindings::inode_get_ctime(lower);
        if times == Times::All || time(&ctime) > time(&bindings::inode_get_ctime(inode)) {
            bindings::inode_set_ctime_to_ts(inode, ctime);
        }
    }
}

impl<T: FileSystem> Inode<T> {
    /// Copies owner, mode, times, link count and flags from the lower inode, which is in `mount`; not
    /// the size.
    ///
    /// Context: process context, may sleep. Of a regular file the inode lock is held exclusively, and
    /// the lower one is taken.
    pub fn copy_attributes(&self, mount: &LowerMount, times: Times) {
        // SAFETY: The inode lives.
        unsafe { copy_attributes(self.as_raw(), self.lower(), mount, times) };
    }

    /// Copies times of change from the lower inode that are later than those here, which do not know
    /// of each write. Whether an access is to be noted depends on them.
    ///
    /// Context: any that may take a spinlock.
    pub fn follow_times(&self) {
        let (inode, lower) = (self.as_raw(), self.lower().as_raw());
        // SAFETY: Both inodes live. A racing update is seen now or the next time.
        unsafe {
            let behind = time(&bindings::inode_get_mtime(lower))
                > time(&bindings::inode_get_mtime(inode))
                || time(&bindings::inode_get_ctime(lower))
                    > time(&bindings::inode_get_ctime(inode));
            if behind {
                bindings::inode_spin_lock(inode);
                copy_times(inode, lower, Times::Later);
                bindings::inode_spin_unlock(inode);
            }
        }
    }

    /// Copies the size from the lower inode, for anything but a regular file.
    ///
    /// The size of a regular file is the upper inode's to know, which has the data.
    pub fn copy_size(&self) {
        if !self.is_regular() {
            self.set_size(self.lower().size());
        }
    }

    /// Copies the access time from the lower inode.
    pub fn copy_atime(&self) {
        // SAFETY: Both inodes live. A racing update leaves either time.
        unsafe {
            bindings::inode_set_atime(
                self.as_raw(),
                bindings::inode_get_atime(self.lower().as_raw()),
            )
        };
    }
}

impl LowerInode {
    /// Sets the times of change to the present, unless the filesystem keeps them itself
    /// (`S_NOCMTIME`). C: `inode_operations::update_time()`.
    ///
    /// Context: process context, may sleep; the filesystem is kept from being frozen.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem. `EAGAIN` as `flags` (`IOCB_*`) say.
    pub fn update_change_times(&self, flags: u32) -> Result {
        if self.flags() & bindings::S_NOCMTIME != 0 {
            return Ok(());
        }
        let kind = bindings::fs_update_time_FS_UPD_CMTIME;
        // SAFETY: The inode is referenced; its operations are constant.
        to_result(unsafe {
            match (*(*self.as_raw()).i_op).update_time {
                Some(update) => update(self.as_raw(), kind, flags),
                None => bindings::generic_update_time(self.as_raw(), kind, flags),
            }
        })
    }
}

impl LowerPath {
    /// Notes an access, as far as the options of the mount ask for that. C: `touch_atime()`.
    ///
    /// Context: process context, may sleep.
    pub fn touch_atime(&self) {
        let path = self.to_raw();
        if self.dentry.inode().is_some() {
            // SAFETY: The path is referenced and its dentry positive.
            unsafe { bindings::touch_atime(&path) };
        }
    }
}
