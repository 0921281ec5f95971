// SPDX-License-Identifier: GPL-2.0

//! Dentries of the filesystem that is being implemented, and how they follow the lower ones.
//!
//! Each upper dentry holds a reference to the lower dentry of the same name, negative ones too. It
//! is set once, before anybody else can find the upper dentry, and released with it.
//!
//! [`super::revalidate`] says how long a name is trusted.
//!
//! C headers: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::{
    lower::LowerDentry,
    namei::Name,
    FileSystem,
    Inode, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::null_mut, //
};
use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

/// A dentry of the filesystem `T`.
///
/// # Invariants
///
/// Referenced. `d_fsdata` is null or owns a reference to a lower dentry, and does not change once
/// others can find the dentry.
#[repr(transparent)]
pub struct Dentry<T: FileSystem>(Opaque<bindings::dentry>, PhantomData<T>);

impl<T: FileSystem> Dentry<T> {
    /// The wrapper of a C dentry.
    ///
    /// # Safety
    ///
    /// `dentry` must belong to a superblock of `T` and be referenced for the duration of `'a`. If
    /// its inode is not null, it must be set up completely.
    pub unsafe fn from_raw<'a>(dentry: *mut bindings::dentry) -> &'a Self {
        // SAFETY: By the function's requirements; the wrapper is transparent.
        unsafe { &*dentry.cast() }
    }

    /// The C dentry.
    pub fn as_raw(&self) -> *mut bindings::dentry {
        self.0.get()
    }

    /// The lower dentry.
    ///
    /// # Errors
    ///
    /// `ESTALE` for a dentry that was not made by a lookup.
    pub fn lower(&self) -> Result<&LowerDentry> {
        // SAFETY: By the type invariant.
        unsafe {
            let lower: *mut bindings::dentry = (*self.as_raw()).d_fsdata.cast();
            if lower.is_null() {
                return Err(ESTALE);
            }
            Ok(LowerDentry::from_raw(lower))
        }
    }

    /// The inode, or nothing when the dentry is negative.
    pub fn inode(&self) -> Option<&Inode<T>> {
        // SAFETY: The dentry is referenced, so that its inode, once there, stays.
        let inode = unsafe { (&raw const (*self.as_raw()).d_inode).read_volatile() };
        // SAFETY: An inode gets a dentry only when it is set up.
        (!inode.is_null()).then(|| unsafe { Inode::from_raw(inode) })
    }
}

/// A dentry whose parent's inode lock is held, so that it stays where it is.
///
/// # Invariants
///
/// As said, for as long as the object lives.
pub struct ChildDentry<'a, T: FileSystem>(&'a Dentry<T>);

impl<'a, T: FileSystem> ChildDentry<'a, T> {
    /// Wraps a dentry.
    ///
    /// # Safety
    ///
    /// The type's invariants, and those of [`Dentry::from_raw`].
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        // SAFETY: By the function's requirements.
        // INVARIANT: By the function's requirements.
        Self(unsafe { Dentry::from_raw(dentry) })
    }

    /// Takes the dentry out of the dcache, so that it dies with its last user. C: `d_drop()`.
    ///
    /// Kept as a negative one, it would keep the lower dentry, and with that the removed lower
    /// inode and its blocks.
    pub fn unhash(&self) {
        // SAFETY: The dentry is referenced.
        unsafe { bindings::d_drop(self.0.as_raw()) };
    }

    /// The directory that the dentry is in.
    pub fn parent(&self) -> &Dentry<T> {
        // SAFETY: A dentry has a reference to its parent, which by the type invariant is the same
        // all the time. A parent has an inode that is set up.
        unsafe { Dentry::from_raw((*self.0.as_raw()).d_parent) }
    }
}

impl<T: FileSystem> Deref for ChildDentry<'_, T> {
    type Target = Dentry<T>;

    fn deref(&self) -> &Dentry<T> {
        self.0
    }
}

/// A negative dentry whose parent's inode lock is held exclusively, so that it stays negative
/// until it is given an inode.
///
/// # Invariants
///
/// As said, for as long as the object lives.
pub struct NegativeDentry<'a, T: FileSystem>(ChildDentry<'a, T>);

impl<'a, T: FileSystem> NegativeDentry<'a, T> {
    /// Wraps a dentry.
    ///
    /// # Safety
    ///
    /// The type's invariants.
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        // SAFETY: By the function's requirements.
        // INVARIANT: By the function's requirements.
        Self(unsafe { ChildDentry::from_raw(dentry) })
    }

    /// Gives the dentry its inode. C: `d_instantiate()`.
    pub fn instantiate(self, inode: ARef<Inode<T>>) {
        let inode = ARef::into_raw(inode).as_ptr().cast();
        // SAFETY: By the type invariant the dentry is negative; the call takes over the reference.
        unsafe { bindings::d_instantiate(self.0.as_raw(), inode) };
    }

    /// Leaves the dentry without an inode and out of the dcache, so that the next who wants the
    /// name looks it up. C: `d_drop()`.
    pub fn forget(self) {
        // SAFETY: The dentry is referenced.
        unsafe { bindings::d_drop(self.0.as_raw()) };
    }
}

impl<'a, T: FileSystem> Deref for NegativeDentry<'a, T> {
    type Target = ChildDentry<'a, T>;

    fn deref(&self) -> &ChildDentry<'a, T> {
        &self.0
    }
}

/// A dentry that is being looked up: nobody else can find it yet.
///
/// # Invariants
///
/// The dentry is unhashed and negative, its parent's inode lock is held (shared or exclusively),
/// and only the running task uses it.
pub struct UnhashedDentry<'a, T: FileSystem>(ChildDentry<'a, T>);

/// The answer to a lookup, made by [`UnhashedDentry::splice`].
pub struct Spliced(*mut bindings::dentry);

impl Spliced {
    /// What the VFS wants to have returned.
    pub(super) fn into_raw(self) -> *mut bindings::dentry {
        self.0
    }
}

impl<'a, T: FileSystem> UnhashedDentry<'a, T> {
    /// Wraps a dentry.
    ///
    /// # Safety
    ///
    /// The type's invariants.
    pub(super) unsafe fn from_raw(dentry: *mut bindings::dentry) -> Self {
        // SAFETY: By the function's requirements.
        // INVARIANT: By the function's requirements.
        Self(unsafe { ChildDentry::from_raw(dentry) })
    }

    /// The name to look up.
    pub fn name(&self) -> Name<'_> {
        // SAFETY: A dentry is not renamed before it can be found.
        unsafe { Name::from_raw((*self.0.as_raw()).__bindgen_anon_1.d_name) }
    }

    /// The directory in which to look.
    pub fn parent(&self) -> &Dentry<T> {
        self.0.parent()
    }

    /// Ends the lookup: the name stands for `lower`, and `inode` is its inode, if there is one.
    ///
    /// C: `d_splice_alias()`, which for a directory that is already known by another dentry moves
    /// that one here.
    ///
    /// # Errors
    ///
    /// `ELOOP`, `ESTALE` when such a directory cannot be moved.
    pub fn splice(
        self,
        lower: ARef<LowerDentry>,
        inode: Option<ARef<Inode<T>>>,
    ) -> Result<Spliced> {
        let raw = self.0.as_raw();
        // SAFETY: By the type invariant nobody else uses the dentry. `d_release()` takes the
        // reference back.
        unsafe { (*raw).d_fsdata = ARef::into_raw(lower).as_ptr().cast() };
        let inode = inode.map_or(null_mut(), |inode| ARef::into_raw(inode).as_ptr().cast());
        // SAFETY: By the type invariant the dentry is unhashed. The call takes over the inode's
        // reference, on error too.
        from_err_ptr(unsafe { bindings::d_splice_alias(inode, raw) }).map(Spliced)
    }
}
