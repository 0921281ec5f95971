// SPDX-License-Identifier: GPL-2.0

//! Superblocks of the filesystem that is being implemented.
//!
//! C headers: [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::{
    attr::block_bits,
    context::SyncFlags,
    inode_cache::{
        InodeCache,
        InodeMemory,
        Storage, //
    },
    lower::{
        LowerMount,
        LowerPath, //
    },
    registration::Registration,
    revalidate::DentryOps,
    FileSystem,
    Inode, //
};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::aref::ARef,
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

/// A superblock of the filesystem `T`.
///
/// # Invariants
///
/// `s_fs_info` points to the pinned `T::Super` of this superblock.
#[repr(transparent)]
pub struct SuperBlock<T: FileSystem>(Opaque<bindings::super_block>, PhantomData<T>);

// SAFETY: A superblock may be used from any task; the data are `Send` and `Sync` by the trait's
// bounds.
unsafe impl<T: FileSystem> Send for SuperBlock<T> {}
// SAFETY: As above.
unsafe impl<T: FileSystem> Sync for SuperBlock<T> {}

impl<T: FileSystem> SuperBlock<T> {
    /// The wrapper of a C superblock.
    ///
    /// # Safety
    ///
    /// `sb` must be a superblock of `T` whose `s_fs_info` is set, and it must stay so for `'a`.
    pub unsafe fn from_raw<'a>(sb: *mut bindings::super_block) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*sb.cast() }
    }

    /// The C superblock.
    pub fn as_raw(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// The filesystem's data of this superblock.
    pub fn data(&self) -> &T::Super {
        // SAFETY: By the type invariant, and the data live as long as the superblock is set up.
        unsafe { &*(*self.as_raw()).s_fs_info.cast() }
    }

    /// Records an error of write-back for the next `syncfs` of every open file.
    pub fn set_error(&self, error: Error) {
        // SAFETY: The superblock lives.
        unsafe { bindings::errseq_set(&raw mut (*self.as_raw()).s_wb_err, error.to_errno()) };
    }

    /// Which of `MS_SYNCHRONOUS` and `MS_DIRSYNC` it is mounted with.
    pub fn sync_flags(&self) -> SyncFlags {
        // SAFETY: The superblock lives; the flags may change under us, any value will do.
        SyncFlags::new(unsafe { (&raw const (*self.as_raw()).s_flags).read_volatile() })
    }

    /// How many filesystems are stacked below this one.
    pub fn stack_depth(&self) -> i32 {
        // SAFETY: The superblock lives; the depth is constant once inodes exist.
        unsafe { (*self.as_raw()).s_stack_depth }
    }
}

/// What `statfs(2)` shows.
pub struct FsStat(bindings::kstatfs);

impl LowerPath {
    /// What `statfs(2)` shows for the filesystem of this file. C: `vfs_statfs()`.
    ///
    /// Context: process context, may sleep.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem.
    pub fn statfs(&self) -> Result<FsStat> {
        let path = self.to_raw();
        let mut stat = FsStat(bindings::kstatfs::default());
        // SAFETY: The path is referenced; `kstatfs` is the same structure in both bindings, of
        // which the kernel's has only the name.
        to_result(unsafe { bindings::vfs_statfs(&path, (&raw mut stat.0).cast()) })?;
        Ok(stat)
    }

    /// The block size of the filesystem of this file, in bytes.
    ///
    /// Context: process context, may sleep.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem, if it has to be asked: it stacks itself.
    pub fn block_size(&self) -> Result<usize> {
        match self.mount.block_size() {
            0 => Ok(usize::try_from(self.statfs()?.0.f_bsize)?),
            size => Ok(size),
        }
    }
}

/// What a filesystem does with superblocks and with the life of inodes.
#[vtable]
pub trait SuperOperations: FileSystem {
    /// The number that tells the filesystem from others (`s_magic`).
    const MAGIC: u32;

    /// The lower directory, in a mount of our own.
    fn lower_root(data: &Self::Super) -> &LowerPath;

    /// The root inode.
    ///
    /// # Errors
    ///
    /// Any, which `mount(2)` returns.
    fn root_inode(sb: &SuperBlock<Self>) -> Result<ARef<Inode<Self>>>;

    /// The inode is on its way out: nobody references it, its pages go next, then its data.
    ///
    /// Context: process context, may sleep; possibly memory reclaim.
    fn evict(_inode: &Inode<Self>) {}

    /// Whether an inode that nobody uses should go at once, instead of being kept for the next who
    /// looks it up.
    ///
    /// Context: under the inode's `i_lock`, must not sleep.
    fn drop_now(inode: &Inode<Self>) -> bool;

    /// Makes what is in memory durable, apart from inodes and their pages, which the VFS wrote out.
    ///
    /// Context: process context, sleeps; `s_umount` is held, shared or exclusively.
    ///
    /// # Errors
    ///
    /// Any, which `syncfs(2)` returns.
    fn sync_fs(sb: &SuperBlock<Self>, wait: bool) -> Result;

    /// Shows the mount options that are not the default ones, each with a comma before it.
    fn show_options(sb: &SuperBlock<Self>, m: &SeqFile);

    /// Shows statistics in `/proc/<pid>/mountstats`.
    fn show_stats(sb: &SuperBlock<Self>, m: &SeqFile);
}

/// The superblock operations of `T`.
pub(super) struct SuperOps<T: SuperOperations>(PhantomData<T>);

impl<T: SuperOperations> SuperOps<T> {
    const TABLE: bindings::super_operations = bindings::super_operations {
        alloc_inode: Some(Self::alloc_inode),
        destroy_inode: Some(InodeMemory::<T>::destroy_inode),
        free_inode: Some(InodeMemory::<T>::free_inode),
        drop_inode: Some(Self::drop_inode),
        evict_inode: Some(Self::evict_inode),
        sync_fs: Some(Self::sync_fs),
        freeze_fs: Some(Self::freeze_fs),
        statfs: Some(Self::statfs),
        show_options: Some(Self::show_options),
        show_stats: Some(Self::show_stats),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the VFS with a superblock of `T`.
    unsafe extern "C" fn alloc_inode(sb: *mut bindings::super_block) -> *mut bindings::inode {
        // SAFETY: As this function's requirements; the type is registered while superblocks exist.
        unsafe {
            let cache: &InodeCache<T> = Registration::<T>::cache_of((*sb).s_type);
            cache.alloc(sb)
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `T` whose last reference goes, under its `i_lock`.
    unsafe extern "C" fn drop_inode(inode: *mut bindings::inode) -> c_int {
        // SAFETY: As this function's requirements. Nobody sets up an inode that has no references.
        let now = unsafe { !Storage::<T>::is_ready(inode) || T::drop_now(Inode::from_raw(inode)) };
        // SAFETY: As this function's requirements.
        (now || unsafe { bindings::inode_generic_drop(inode) } != 0).into()
    }

    /// # Safety
    ///
    /// Called by the VFS with an inode of `T` that has no references any more.
    unsafe extern "C" fn evict_inode(inode: *mut bindings::inode) {
        // SAFETY: As this function's requirements. The last two calls are what the VFS wants done
        // here, in this order.
        unsafe {
            if Storage::<T>::is_ready(inode) {
                T::evict(Inode::from_raw(inode));
            }
            bindings::truncate_inode_pages_final(&raw mut (*inode).i_data);
            bindings::clear_inode(inode);
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a superblock of `T` that is set up, with `s_umount` held.
    unsafe extern "C" fn sync_fs(sb: *mut bindings::super_block, wait: c_int) -> c_int {
        // SAFETY: As this function's requirements.
        let sb = unsafe { SuperBlock::from_raw(sb) };
        from_result(|| T::sync_fs(sb, wait != 0).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with a superblock of `T` in which nobody can change anything any more, and
    /// which is synced.
    unsafe extern "C" fn freeze_fs(_sb: *mut bindings::super_block) -> c_int {
        // Nothing is left to do. But who has no such function cannot be frozen by `ioctl(2)`.
        0
    }

    /// # Safety
    ///
    /// Called by the VFS with a dentry of `T` and a structure that nobody else uses.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        out: *mut kernel::bindings::kstatfs,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let sb: &SuperBlock<T> = unsafe { SuperBlock::from_raw((*dentry).d_sb) };
        // SAFETY: The superblock lives; its device number is constant.
        let device = unsafe { (*sb.as_raw()).s_dev };
        match T::lower_root(sb.data()).statfs() {
            Ok(mut stat) => {
                stat.0.f_type = T::MAGIC as c_long;
                // A number of our own: the lower one tells the lower filesystem apart.
                stat.0.f_fsid.val = [device as c_int, T::MAGIC as c_int];
                // SAFETY: As this function's requirements.
                unsafe { *out.cast() = stat.0 };
                0
            }
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a dentry of `T` and a `seq_file` that nobody else uses.
    unsafe extern "C" fn show_options(
        m: *mut bindings::seq_file,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        unsafe { T::show_options(SuperBlock::from_raw((*dentry).d_sb), SeqFile::from_raw(m)) };
        0
    }

    /// # Safety
    ///
    /// As `show_options()`.
    unsafe extern "C" fn show_stats(
        m: *mut bindings::seq_file,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        unsafe { T::show_stats(SuperBlock::from_raw((*dentry).d_sb), SeqFile::from_raw(m)) };
        0
    }

    /// Sets a new superblock up, whose `s_fs_info` is set already.
    ///
    /// # Safety
    ///
    /// `sb` must be a new superblock of `T`, locked, with the pinned `T::Super` in `s_fs_info`.
    pub(super) unsafe fn fill(sb: *mut bindings::super_block) -> Result {
        // SAFETY: By the function's requirements; the tables are static.
        let this = unsafe {
            (*sb).s_op = &Self::TABLE;
            (*sb).s_magic = T::MAGIC as usize;
            bindings::set_default_d_op(sb, DentryOps::<T>::TABLE);
            SuperBlock::<T>::from_raw(sb)
        };
        let lower = T::lower_root(this.data());
        // SAFETY: By the function's requirements.
        unsafe {
            to_result(bindings::super_setup_bdi(sb))?;
            copy_limits(sb, &lower.mount);
        }
        let inode = T::root_inode(this)?;
        // SAFETY: The call takes over the reference to the inode, on failure too. The new dentry is
        // nobody else's until `s_root` is set.
        unsafe {
            let root = bindings::d_make_root(ARef::into_raw(inode).as_ptr().cast());
            if root.is_null() {
                return Err(ENOMEM);
            }
            (*root).d_fsdata = ARef::into_raw(lower.dentry.clone()).as_ptr().cast();
            (*sb).s_root = root;
        }
        Ok(())
    }

    /// # Safety
    ///
    /// Called by the VFS, once, to end a superblock of `T`, set up or not.
    pub(super) unsafe extern "C" fn kill_sb(sb: *mut bindings::super_block) {
        // SAFETY: As this function's requirements.
        let data = unsafe { (*sb).s_fs_info };
        // Writes back and evicts all inodes. What they need of the superblock's data, the lower
        // mount and the credentials, goes after that.
        // SAFETY: As this function's requirements.
        unsafe { bindings::kill_anon_super(sb) };
        // A walk under RCU that began in a working directory which has gone meanwhile may still ask
        // for permission here.
        // SAFETY: Process context, and no lock is held that an RCU reader may want.
        unsafe { bindings::synchronize_rcu_expedited() };
        // SAFETY: The pointer is null or came from `into_foreign()` of the same type, and nobody
        // uses it any more.
        drop(unsafe { Pin::<KBox<T::Super>>::try_from_foreign(data) });
    }
}

/// Takes over the limits of the lower filesystem and its mount, and the read-ahead of its device.
///
/// # Safety
///
/// `sb` must be a new superblock that stacks on `lower`, with a backing device of its own.
unsafe fn copy_limits(sb: *mut bindings::super_block, lower: &LowerMount) {
    let iflags = lower.restrictions();
    let lower = lower.super_block_raw();
    // SAFETY: By the function's requirements; the lower superblock lives as long as its mount, and
    // these fields of it are constant while it is mounted.
    unsafe {
        (*sb).s_blocksize_bits = block_bits((*lower).s_blocksize_bits);
        (*sb).s_blocksize = 1 << (*sb).s_blocksize_bits;
        (*sb).s_maxbytes = (*lower).s_maxbytes;
        (*sb).s_time_gran = (*lower).s_time_gran;
        (*sb).s_time_min = (*lower).s_time_min;
        (*sb).s_time_max = (*lower).s_time_max;
        (*sb).s_stack_depth = (*lower).s_stack_depth.saturating_add(1);
        (*sb).s_iflags |= iflags;
        // The lower filesystem applies the umask, which it does not when there is a default ACL.
        (*sb).s_iflags |= bindings::SB_I_NOUMASK as usize;
        // The VFS may remember for an inode that a write need not drop privileges.
        (*sb).s_flags |= bindings::SB_NOSEC;
        if !(*lower).s_bdi.is_null() {
            (*(*sb).s_bdi).ra_pages = (*(*lower).s_bdi).ra_pages;
            (*(*sb).s_bdi).io_pages = (*(*lower).s_bdi).io_pages;
        }
        // The locks of a superblock are taken before those of the one below, which can be of the
        // same type: tell lockdep how high in the stack this one is. Nobody uses them yet, but for
        // `s_umount`, which the mounting task holds: lockdep goes by its address to release it.
        bindings::sb_set_lock_subclass(sb, (*lower).s_stack_depth);
    }
}
