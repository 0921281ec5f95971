// SPDX-License-Identifier: GPL-2.0

//! Objects of the filesystem below: foreign, of any type, known by what the VFS offers for all.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/dcache.h`](srctree/include/linux/dcache.h),
//! [`include/linux/mount.h`](srctree/include/linux/mount.h)

use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    cred::Credential,
    error::from_err_ptr,
    fs::File,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

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
    /// `inode` must be referenced for the duration of `'a`.
    pub unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*inode.cast() }
    }

    /// The C inode.
    pub fn as_raw(&self) -> *mut bindings::inode {
        self.0.get()
    }

    /// The file size.
    pub fn size(&self) -> i64 {
        // SAFETY: The inode lives.
        unsafe { bindings::i_size_read(self.as_raw()) }
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
        // SAFETY: A dentry that is no error pointer comes with a reference, which goes to the ARef.
        NonNull::new(dentry)
            .map(|dentry| unsafe { ARef::from_raw(dentry.cast()) })
            .ok_or(ESTALE)
    }

    /// A path to the inode in `mount`, whether or not it still has a name.
    ///
    /// Context and errors as [`LowerInode::alias`].
    pub fn alias_path(&self, mount: &LowerMount) -> Result<LowerPath> {
        Ok(LowerPath {
            mount: mount.into(),
            dentry: self.alias()?,
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

    /// The C dentry.
    pub fn as_raw(&self) -> *mut bindings::dentry {
        self.0.get()
    }

    /// The inode, or nothing when the dentry is negative.
    ///
    /// The inode of a positive dentry stays while somebody holds a reference to the dentry.
    pub fn inode(&self) -> Option<&LowerInode> {
        // SAFETY: The dentry lives. `d_inode` may be set meanwhile but is not cleared while the
        // dentry is referenced by more than the one who deletes it.
        let inode = unsafe { core::ptr::addr_of!((*self.as_raw()).d_inode).read_volatile() };
        // SAFETY: A positive, referenced dentry holds a reference to its inode.
        (!inode.is_null()).then(|| unsafe { LowerInode::from_raw(inode) })
    }
}

/// The private mount of the lower filesystem, apart from every mount namespace.
#[repr(transparent)]
pub struct LowerMount(Opaque<bindings::vfsmount>);

// SAFETY: The VFS allows the use of a mount from any task.
unsafe impl Send for LowerMount {}
// SAFETY: As above.
unsafe impl Sync for LowerMount {}

// SAFETY: `mntget()` and `mntput()` count references on every mount.
unsafe impl AlwaysRefCounted for LowerMount {
    fn inc_ref(&self) {
        // SAFETY: The reference shows that the count is not zero.
        unsafe { bindings::mntget(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own; the wrapper is transparent.
        unsafe { bindings::mntput(obj.as_ptr().cast()) };
    }
}

impl LowerMount {
    /// The C mount.
    pub fn as_raw(&self) -> *mut bindings::vfsmount {
        self.0.get()
    }
}

/// A lower file by name: mount and dentry.
#[derive(Clone)]
pub struct LowerPath {
    /// The mount.
    pub mount: ARef<LowerMount>,
    /// The dentry in it.
    pub dentry: ARef<LowerDentry>,
}

impl LowerPath {
    /// The C path. It borrows the references of `self`.
    pub fn to_raw(&self) -> bindings::path {
        bindings::path {
            mnt: self.mount.as_raw(),
            dentry: self.dentry.as_raw(),
        }
    }
}

/// An open file of the lower filesystem.
#[derive(Clone)]
pub struct LowerFile(ARef<File>);

impl LowerFile {
    /// Opens `path` with `flags` (`O_*`) on behalf of `cred`.
    ///
    /// Context: process context, may sleep. C: `dentry_open()`. Checks no permissions beyond those
    /// of the lower filesystem's own `open` and of the security modules.
    ///
    /// # Errors
    ///
    /// Those of the lower filesystem.
    pub fn open(path: &LowerPath, flags: u32, cred: &Credential) -> Result<Self> {
        let raw = path.to_raw();
        // SAFETY: Path and credentials live during the call; `dentry_open()` takes references of
        // its own.
        let file = from_err_ptr(unsafe {
            bindings::dentry_open(&raw, flags as c_int, cred.as_ptr().cast())
        })?;
        let file = NonNull::new(file).ok_or(EIO)?;
        // SAFETY: The file was made just now, with one reference, which goes to the `ARef`, and no
        // `fdget_pos()` user.
        Ok(Self(unsafe { ARef::from_raw(file.cast()) }))
    }

    /// The kernel crate's view of the file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// The C file.
    pub fn as_raw(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// The file's inode.
    pub fn inode(&self) -> &LowerInode {
        // SAFETY: `f_inode` is constant, and the file holds a reference to it.
        unsafe { LowerInode::from_raw((*self.as_raw()).f_inode) }
    }
}
