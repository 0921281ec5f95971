// SPDX-License-Identifier: GPL-2.0

//! Objects of the filesystem below: foreign, of any type, known by what the VFS offers for all.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

pub use super::lower_mount::{
    ErrorCursor,
    LowerMount,
    PrivateMount, //
};

use super::{
    file::Opening,
    scope::with_creds, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    cred::Credential,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

/// What a lower file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, FIFO or socket.
    Special,
}

impl FileType {
    /// The type that `mode` (`S_IF*`) says.
    ///
    /// # Errors
    ///
    /// `EIO` when it says none: the lower inode is broken.
    pub fn from_mode(mode: u16) -> Result<Self> {
        match u32::from(mode) & bindings::S_IFMT {
            bindings::S_IFREG => Ok(Self::Regular),
            bindings::S_IFDIR => Ok(Self::Directory),
            bindings::S_IFLNK => Ok(Self::Symlink),
            bindings::S_IFCHR | bindings::S_IFBLK | bindings::S_IFIFO | bindings::S_IFSOCK => {
                Ok(Self::Special)
            }
            _ => Err(EIO),
        }
    }
}

/// An inode of the lower filesystem.
#[repr(transparent)]
pub struct LowerInode(Opaque<bindings::inode>);

// SAFETY: The VFS allows the use of an inode from any task.
unsafe impl Send for LowerInode {}
// SAFETY: As above.
unsafe impl Sync for LowerInode {}

// SAFETY: `ihold()` and `iput()` count references on every inode.
unsafe impl AlwaysRefCounted for LowerInode {
    fn inc_ref(&self) {
        // SAFETY: The reference shows that the count is not zero.
        unsafe { bindings::ihold(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own; the wrapper is transparent.
        unsafe { bindings::iput(obj.as_ptr().cast()) };
    }
}

impl LowerInode {
    /// The wrapper of a C inode.
    ///
    /// # Safety
    ///
    /// `inode` must be referenced, or kept from being freed by RCU, for the duration of `'a`.
    pub unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*inode.cast() }
    }

    /// The C inode.
    pub fn as_raw(&self) -> *mut bindings::inode {
        self.0.get()
    }

    /// Waits until nobody holds the `i_rwsem` who would make the caller wait for it.
    ///
    /// Context: process context, sleeps; no lock of the lower filesystem is held.
    pub fn wait_unlocked(&self, exclusive: bool) {
        // SAFETY: The inode lives; what is taken is released.
        unsafe {
            if exclusive {
                bindings::inode_lock(self.as_raw());
                bindings::inode_unlock(self.as_raw());
            } else {
                bindings::inode_lock_shared(self.as_raw());
                bindings::inode_unlock_shared(self.as_raw());
            }
        }
    }

    /// Whether somebody waits for the `i_rwsem` of the inode, or may be waiting for that of an inode
    /// below, if there is one.
    ///
    /// Context: any. The answer can be history at once.
    pub fn is_contended(&self) -> bool {
        // SAFETY: The inode lives.
        self.stacks() || unsafe { bindings::inode_is_contended(self.as_raw()) }
    }

    /// Whether the filesystem stacks on another one. Some know it only when they are asked, long
    /// after they were mounted (FUSE).
    pub(super) fn stacks(&self) -> bool {
        // SAFETY: The inode lives, and its superblock as long as it does.
        unsafe { (&raw const (*(*self.as_raw()).i_sb).s_stack_depth).read_volatile() > 0 }
    }

    /// The file size.
    pub fn size(&self) -> i64 {
        // SAFETY: The inode lives.
        unsafe { bindings::i_size_read(self.as_raw()) }
    }

    /// File type and permission bits.
    pub fn mode(&self) -> u16 {
        // SAFETY: The inode lives. A racing change of permission bits yields either value.
        unsafe { (&raw const (*self.as_raw()).i_mode).read_volatile() }
    }

    /// What the inode is.
    ///
    /// # Errors
    ///
    /// As [`FileType::from_mode`].
    pub fn file_type(&self) -> Result<FileType> {
        FileType::from_mode(self.mode())
    }

    /// The flags `S_*`.
    pub fn flags(&self) -> u32 {
        // SAFETY: The inode lives.
        unsafe { (&raw const (*self.as_raw()).i_flags).read_volatile() }
    }

    /// Whether names in this directory are looked up without regard to case.
    pub fn is_casefolded(&self) -> bool {
        self.flags() & bindings::S_CASEFOLD != 0
    }

    /// Whether nobody may change the file, whatever the permissions.
    pub fn is_immutable(&self) -> bool {
        self.flags() & bindings::S_IMMUTABLE != 0
    }

    /// Whether the kernel swaps to the file.
    pub fn is_swapfile(&self) -> bool {
        self.flags() & bindings::S_SWAPFILE != 0
    }

    /// Whether the file may be appended to, and not be changed otherwise.
    pub fn is_append_only(&self) -> bool {
        self.flags() & bindings::S_APPEND != 0
    }

    /// The number of names.
    pub fn nlink(&self) -> u32 {
        // SAFETY: The inode lives. `i_nlink` is a read-only alias of the counter.
        unsafe { (&raw const (*self.as_raw()).__bindgen_anon_1.i_nlink).read_volatile() }
    }

    /// A dentry of the inode, one of its names or, when all are gone, a disconnected one.
    ///
    /// Context: process context, may sleep. C: `d_obtain_alias()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn alias(&self) -> Result<ARef<LowerDentry>> {
        self.inc_ref();
        // SAFETY: `d_obtain_alias()` takes over the reference taken above.
        let dentry = from_err_ptr(unsafe { bindings::d_obtain_alias(self.as_raw()) })?;
        // SAFETY: A dentry that is no error pointer comes with a reference of its own.
        unsafe { LowerDentry::take(dentry) }
    }

    /// A path to the inode in `mount`, whether or not it still has a name.
    ///
    /// Context and errors as [`LowerInode::alias`].
    pub fn alias_path(&self, mount: &LowerMount) -> Result<LowerPath> {
        Ok(LowerPath {
            dentry: self.alias()?,
            mount: mount.into(),
        })
    }
}

/// A dentry of the lower filesystem, positive or negative.
#[repr(transparent)]
pub struct LowerDentry(Opaque<bindings::dentry>);

// SAFETY: The VFS allows the use of a dentry from any task.
unsafe impl Send for LowerDentry {}
// SAFETY: As above.
unsafe impl Sync for LowerDentry {}

// SAFETY: `dget()` and `dput()` count references on every dentry.
unsafe impl AlwaysRefCounted for LowerDentry {
    fn inc_ref(&self) {
        // SAFETY: The reference shows that the count is not zero.
        unsafe { bindings::dget(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own; the wrapper is transparent.
        unsafe { bindings::dput(obj.as_ptr().cast()) };
    }
}

impl LowerDentry {
    /// The wrapper of a C dentry.
    ///
    /// # Safety
    ///
    /// `dentry` must be referenced for the duration of `'a`.
    pub unsafe fn from_raw<'a>(dentry: *mut bindings::dentry) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*dentry.cast() }
    }

    /// Takes over a reference to a C dentry.
    ///
    /// # Safety
    ///
    /// `dentry` must be null or come with a reference that the caller gives up.
    ///
    /// # Errors
    ///
    /// `ESTALE` when it is null.
    pub(super) unsafe fn take(dentry: *mut bindings::dentry) -> Result<ARef<Self>> {
        let dentry = NonNull::new(dentry).ok_or(ESTALE)?;
        // SAFETY: By the function's requirements.
        Ok(unsafe { ARef::from_raw(dentry.cast()) })
    }

    /// The C dentry.
    pub fn as_raw(&self) -> *mut bindings::dentry {
        self.0.get()
    }

    /// The inode, or nothing when the dentry is negative.
    ///
    /// The inode of a positive dentry stays while somebody holds a reference to the dentry:
    /// `d_delete()` only drops the name then.
    pub fn inode(&self) -> Option<&LowerInode> {
        // SAFETY: The dentry lives; the inode may be set meanwhile.
        let inode = unsafe { (&raw const (*self.as_raw()).d_inode).read_volatile() };
        // SAFETY: A positive, referenced dentry holds a reference to its inode.
        (!inode.is_null()).then(|| unsafe { LowerInode::from_raw(inode) })
    }

    /// The inode of a directory.
    ///
    /// # Errors
    ///
    /// `ESTALE` when the dentry is negative, `ENOTDIR` when it is something else.
    pub(super) fn directory(&self) -> Result<&LowerInode> {
        let inode = self.inode().ok_or(ESTALE)?;
        if inode.file_type()? == FileType::Directory {
            Ok(inode)
        } else {
            Err(ENOTDIR)
        }
    }

    /// Whether both are of one filesystem.
    pub(super) fn same_filesystem(&self, other: &Self) -> bool {
        // SAFETY: Both dentries live; `d_sb` is constant.
        unsafe { core::ptr::eq((*self.as_raw()).d_sb, (*other.as_raw()).d_sb) }
    }

    /// Whether names in this filesystem are hashed or compared in a way of its own, other than that
    /// of directories whose names are casefolded ([`LowerInode::is_casefolded`]).
    pub fn has_own_names(&self) -> bool {
        let own = bindings::dentry_flags_DCACHE_OP_HASH | bindings::dentry_flags_DCACHE_OP_COMPARE;
        // SAFETY: The dentry lives; these flags and its superblock are constant.
        unsafe {
            (&raw const (*self.as_raw()).d_flags).read_volatile() & own != 0
                && !bindings::sb_has_encoding((*self.as_raw()).d_sb)
        }
    }

    /// Whether the VFS would do more here than look up a name: cross into another filesystem, wait
    /// for an automounter.
    pub fn is_managed(&self) -> bool {
        let managed = bindings::dentry_flags_DCACHE_NEED_AUTOMOUNT
            | bindings::dentry_flags_DCACHE_MANAGE_TRANSIT;
        // SAFETY: The dentry lives.
        unsafe { (&raw const (*self.as_raw()).d_flags).read_volatile() & managed != 0 }
    }
}

/// A lower file by name: mount and dentry.
// The dentry goes first: with the mount's last reference the filesystem may go, and then no dentry
// may be in use.
#[derive(Clone)]
pub struct LowerPath {
    /// The dentry in it.
    pub dentry: ARef<LowerDentry>,
    /// The mount.
    pub mount: ARef<LowerMount>,
}

impl LowerPath {
    /// Looks `name` up from the calling task's root or working directory. It must be a directory.
    ///
    /// Context: process context, sleeps. C: `kern_path()`.
    ///
    /// # Errors
    ///
    /// Those of a path lookup: `ENOENT`, `ENOTDIR`, `EACCES` and so on.
    pub fn lookup_directory(name: &CStr) -> Result<Self> {
        let mut path = bindings::path::default();
        let flags = bindings::LOOKUP_FOLLOW | bindings::LOOKUP_DIRECTORY;
        // SAFETY: `name` is a C string and `path` may be written to.
        to_result(unsafe { bindings::kern_path(name.as_char_ptr(), flags, &mut path) })?;
        // SAFETY: On success both are valid and come with a reference each.
        Ok(unsafe {
            Self {
                dentry: ARef::from_raw(NonNull::new_unchecked(path.dentry.cast())),
                mount: ARef::from_raw(NonNull::new_unchecked(path.mnt.cast())),
            }
        })
    }

    /// The C path. It borrows the references of `self`.
    pub fn to_raw(&self) -> bindings::path {
        self.mount.at(&self.dentry)
    }
}

/// A file of the lower filesystem that was opened just now, and can still be told how to behave.
///
/// # Invariants
///
/// Nobody else has the file.
pub struct NewLowerFile(pub(super) LowerFile);

impl NewLowerFile {
    /// Opens `path` with `flags` (`O_*`) as `cred`, for the file `above` if there is one.
    ///
    /// The running task takes on `cred` meanwhile: a security module may label a file by the task
    /// that opens it.
    ///
    /// If nobody is to be notified of what is done with `above`, nobody is of this file either: it
    /// may be fanotify that opens it, for a listener that would have to answer itself.
    ///
    /// Context: process context, may sleep. C: `dentry_open()`, `backing_file_open()`. Checks no
    /// permissions beyond those of the lower filesystem's own `open` and of the security modules.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem; `ESTALE` when the dentry is negative.
    pub fn open(
        path: &LowerPath,
        flags: u32,
        cred: &Credential,
        above: Option<Opening<'_>>,
    ) -> Result<Self> {
        Self::open_at(&path.mount, &path.dentry, flags, cred, above)
    }

    /// As [`NewLowerFile::open`], by mount and dentry.
    pub fn open_at(
        mount: &LowerMount,
        dentry: &LowerDentry,
        flags: u32,
        cred: &Credential,
        above: Option<Opening<'_>>,
    ) -> Result<Self> {
        let inode = dentry.inode().ok_or(ESTALE)?;
        let raw = mount.at(dentry);
        let (flags, creds) = (flags as c_int, cred.as_ptr().cast());
        // SAFETY: Path and credentials live during the call, and the dentry is positive; both
        // functions take references of their own. The file above lives, and has its path.
        let open = || unsafe {
            match above.filter(|above| above.is_silent()) {
                Some(above) => {
                    let flags = if inode.is_immutable() || inode.is_append_only() {
                        // That function would refuse to open it for writing, though the file above
                        // was not. With neither can it be written by such a file.
                        flags & !(bindings::O_ACCMODE as c_int)
                    } else {
                        flags
                    };
                    bindings::backing_file_open(above.as_raw(), flags, &raw, creds)
                }
                None => bindings::dentry_open(&raw, flags, creds),
            }
        };
        let file = from_err_ptr(with_creds(cred, open))?;
        let file = NonNull::new(file).ok_or(EIO)?;
        // SAFETY: A file that is no error pointer was made just now, with one reference, which
        // goes to the new object, and has no `fdget_pos()` user.
        // INVARIANT: So nobody else has it.
        Ok(Self(LowerFile(unsafe { ARef::from_raw(file.cast()) })))
    }

    /// The file, for everybody, as it behaves now.
    pub fn share(self) -> LowerFile {
        self.0
    }
}

/// An open file of the lower filesystem.
#[derive(Clone)]
pub struct LowerFile(ARef<File>);

impl LowerFile {
    /// Opens a file as [`NewLowerFile::open`] does, as it is.
    ///
    /// Context and errors as there.
    pub fn open(
        path: &LowerPath,
        flags: u32,
        cred: &Credential,
        above: Option<Opening<'_>>,
    ) -> Result<Self> {
        NewLowerFile::open(path, flags, cred, above).map(NewLowerFile::share)
    }

    /// The kernel crate's view of the file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// The C file.
    pub fn as_raw(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// Gives the reference up to a raw pointer.
    pub(super) fn into_raw(self) -> *mut bindings::file {
        ARef::into_raw(self.0).as_ptr().cast()
    }

    /// Takes back a reference that [`LowerFile::into_raw`] gave up.
    ///
    /// # Safety
    ///
    /// `file` must come from [`LowerFile::into_raw`], and be taken back once.
    pub(super) unsafe fn from_raw(file: *mut bindings::file) -> Self {
        // SAFETY: `into_raw()` returned a pointer that is not null, with a reference.
        Self(unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) })
    }

    /// The file's inode.
    pub fn inode(&self) -> &LowerInode {
        // SAFETY: `f_inode` is constant, and the file holds a reference to it.
        unsafe { LowerInode::from_raw((*self.as_raw()).f_inode) }
    }
}
