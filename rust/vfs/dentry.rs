// SPDX-License-Identifier: GPL-2.0

//! Dentries of the filesystem that is being implemented, and how they follow the lower ones.
//!
//! Each upper dentry holds a reference to the lower dentry of the same name, negative ones too. It
//! is set once, before anybody else can find the upper dentry, and released with it.
//!
//! Somebody may change the lower filesystem directly. So a name is trusted only as long as the
//! lower dentry is what it was when it was looked up: hashed, by that name, in the lower directory
//! of the upper parent, with the lower inode of the upper inode. Our own changes make this untrue
//! for a moment as well, between the change below and the one above. Each directory has a count of
//! changes that is odd during one ([`DirChange`]); a mismatch seen then means nothing.
//!
//! C headers: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::{
    inode::Storage,
    lower::LowerDentry,
    namei::Name,
    FileSystem,
    Inode, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};
use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        rcu, //
    },
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

/// Marks a directory as being changed by us, from the change below to the one above.
///
/// Does nothing more than that: changes are serialised by the directory's inode lock.
pub(super) struct DirChange<'a>(&'a Atomic<u32>);

impl<'a> DirChange<'a> {
    /// Begins a change.
    ///
    /// # Safety
    ///
    /// `dir` must be a directory inode of `T` that is set up, referenced and locked exclusively
    /// during `'a`.
    pub(super) unsafe fn begin<T: FileSystem>(dir: *mut bindings::inode) -> Self {
        // SAFETY: By the function's requirements.
        let count = unsafe { Storage::<T>::changes(dir) };
        // Full order: the count is odd before the change below can be seen.
        count.fetch_add(1, Full);
        Self(count)
    }
}

impl Drop for DirChange<'_> {
    fn drop(&mut self) {
        // Release: the change above can be seen before the count is even.
        self.0.fetch_add(1, Release);
    }
}

/// The operations of dentries of `T`.
pub(super) struct DentryOps<T: FileSystem>(PhantomData<T>);

impl<T: FileSystem> DentryOps<T> {
    /// The table.
    pub(super) const TABLE: &'static bindings::dentry_operations = &bindings::dentry_operations {
        d_revalidate: Some(Self::d_revalidate),
        d_weak_revalidate: Some(Self::d_weak_revalidate),
        d_release: Some(Self::d_release),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by the VFS with a dentry of `T` that was found by `name` in `dir`, referenced or,
    /// with `LOOKUP_RCU`, under RCU.
    unsafe extern "C" fn d_revalidate(
        dir: *mut bindings::inode,
        name: *const bindings::qstr,
        dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        match unsafe { Self::revalidate(dir, name, dentry, flags) } {
            Ok(valid) => valid.into(),
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// As `d_revalidate()`.
    unsafe fn revalidate(
        dir: *mut bindings::inode,
        name: *const bindings::qstr,
        dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> Result<bool> {
        // SAFETY: `d_fsdata` does not change once the dentry can be found. The lower dentry is kept
        // by the upper one's reference, or is freed by RCU after the upper one let go of it.
        let Some(lower) = (unsafe { NonNull::new((*dentry).d_fsdata.cast()) }) else {
            return Ok(true);
        };
        // SAFETY: The directory is kept like the dentry.
        let changes = unsafe { Storage::<T>::changes(dir) };
        let before = changes.load(Acquire);
        // SAFETY: As this function's requirements.
        let same = unsafe { is_same::<T>(dir, name, dentry, lower.as_ptr()) };
        if !same {
            // Odd, or another value than before: one of our own changes was going on, and the
            // lookup counts as one that came before it.
            let ours = before % 2 == 1 || changes.fetch_add(0, Full) != before;
            return Ok(ours);
        }
        // SAFETY: As above; in RCU mode nothing is called.
        unsafe { revalidate_lower(lower.as_ptr(), flags, false) }
    }

    /// # Safety
    ///
    /// Called by the VFS with a referenced dentry of `T`.
    unsafe extern "C" fn d_weak_revalidate(dentry: *mut bindings::dentry, flags: c_uint) -> c_int {
        // SAFETY: As in `revalidate()`.
        let Some(lower) = (unsafe { NonNull::new((*dentry).d_fsdata.cast()) }) else {
            return 1;
        };
        // SAFETY: The lower dentry is kept by the upper one's reference.
        match unsafe { revalidate_lower(lower.as_ptr(), flags, true) } {
            Ok(valid) => valid.into(),
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS, once, when nobody uses the dentry of `T` any more, except under RCU.
    unsafe extern "C" fn d_release(dentry: *mut bindings::dentry) {
        // The pointer stays: a walk under RCU may still read it, and the lower dentry is freed by
        // RCU too.
        // SAFETY: By the invariant of `Dentry` the pointer is null or owns a reference.
        unsafe {
            let lower: *mut bindings::dentry = (*dentry).d_fsdata.cast();
            bindings::dput(lower);
        }
    }
}

/// Whether `lower` is still what `dentry`, found by `name` in `dir`, stands for.
///
/// # Safety
///
/// `dir` and `dentry` must be of `T` and, like `lower`, referenced or kept by RCU.
unsafe fn is_same<T: FileSystem>(
    dir: *mut bindings::inode,
    name: *const bindings::qstr,
    dentry: *mut bindings::dentry,
    lower: *mut bindings::dentry,
) -> bool {
    let _rcu = rcu::read_lock();
    // SAFETY: Under RCU the lower parent is not freed either. Reading races with changes of the
    // lower dentry; its sequence count tells.
    unsafe {
        loop {
            let seq = bindings::dentry_seq_begin(lower);
            let parent = (&raw const (*lower).d_parent).read_volatile();
            let same = !bindings::d_unhashed(lower)
                && (&raw const (*parent).d_inode).read_volatile() == Storage::<T>::lower_of(dir)
                && (&raw const (*lower).d_inode).read_volatile()
                    == Storage::<T>::lower_of((&raw const (*dentry).d_inode).read_volatile())
                && bindings::d_same_name(lower, parent, name);
            if !bindings::dentry_seq_retry(lower, seq) {
                return same;
            }
        }
    }
}

/// Asks the lower filesystem whether its dentry is valid.
///
/// # Safety
///
/// Without `LOOKUP_RCU` `lower` must be referenced, with it kept by RCU.
unsafe fn revalidate_lower(
    lower: *mut bindings::dentry,
    flags: c_uint,
    weak: bool,
) -> Result<bool> {
    let wants = if weak {
        bindings::dentry_flags_DCACHE_OP_WEAK_REVALIDATE
    } else {
        bindings::dentry_flags_DCACHE_OP_REVALIDATE
    };
    // SAFETY: The dentry lives; these flags are constant.
    if unsafe { (&raw const (*lower).d_flags).read_volatile() } & wants == 0 {
        return Ok(true);
    }
    if flags & bindings::LOOKUP_RCU != 0 {
        return Err(ECHILD);
    }
    // SAFETY: The dentry is referenced, and its flags say that it has the operation.
    unsafe {
        if weak {
            weak_revalidate_lower(lower, flags)
        } else {
            full_revalidate_lower(lower, flags)
        }
    }
}

/// # Safety
///
/// `lower` must be referenced.
unsafe fn weak_revalidate_lower(lower: *mut bindings::dentry, flags: c_uint) -> Result<bool> {
    // SAFETY: By the function's requirements; the operations are constant.
    unsafe {
        let Some(revalidate) = (*(*lower).d_op).d_weak_revalidate else {
            return Ok(true);
        };
        truth(revalidate(lower, flags))
    }
}

/// # Safety
///
/// `lower` must be referenced.
unsafe fn full_revalidate_lower(lower: *mut bindings::dentry, flags: c_uint) -> Result<bool> {
    // SAFETY: By the function's requirements; the operations are constant. The name is a snapshot
    // and the parent referenced, so that both last for the call.
    unsafe {
        let Some(revalidate) = (*(*lower).d_op).d_revalidate else {
            return Ok(true);
        };
        let parent = bindings::dget_parent(lower);
        let mut name = bindings::name_snapshot::default();
        bindings::take_dentry_name_snapshot(&mut name, lower);
        let ret = revalidate((*parent).d_inode, &name.name, lower, flags);
        bindings::release_dentry_name_snapshot(&mut name);
        bindings::dput(parent);
        if ret == 0 {
            // The next lookup below shall not find it again.
            bindings::d_invalidate(lower);
        }
        truth(ret)
    }
}

fn truth(ret: c_int) -> Result<bool> {
    if ret < 0 {
        Err(Error::from_errno(ret))
    } else {
        Ok(ret > 0)
    }
}
