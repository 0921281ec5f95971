// SPDX-License-Identifier: GPL-2.0

//! How upper dentries follow the lower ones.
//!
//! Somebody may change the lower filesystem directly. So a name is trusted only as long as the
//! lower dentry is what it was when it was looked up: hashed, by that name, in the lower directory
//! of the upper parent, with the lower inode of the upper inode. Our own changes make this untrue
//! for a moment as well, between the change below and the one above. Each directory has a count of
//! changes that is odd during one ([`DirChange`]); a mismatch seen then means nothing.
//!
//! With the name, what decides about access is brought up to date ([`follow_access`]).
//!
//! C headers: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::{
    inode_cache::Storage,
    lower::LowerInode,
    owner::{
        follow_access,
        Held, //
    },
    superblock::SuperOperations,
    FileSystem,
    SuperBlock, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        rcu, //
    }, //
};

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
pub(super) struct DentryOps<T: SuperOperations>(PhantomData<T>);

impl<T: SuperOperations> DentryOps<T> {
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
            // Or it was over before the count was looked at, but not before the name was found.
            // SAFETY: As this function's requirements.
            return Ok(ours || unsafe { was_moved(dir, name, dentry) });
        }
        // SAFETY: As this function's requirements; in RCU mode nothing is called. What the lower
        // filesystem finds changed, this one follows.
        unsafe {
            if !revalidate_lower(lower.as_ptr(), flags, false)? {
                return Ok(false);
            }
            if !follow::<T>(dentry, flags) {
                return Err(ECHILD);
            }
        }
        Ok(true)
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
        let valid = unsafe { revalidate_lower(lower.as_ptr(), flags, true) };
        // SAFETY: As this function's requirements.
        unsafe { follow::<T>(dentry, flags) };
        match valid {
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

/// Brings owner, mode and flags of the inode of `dentry` up to date, if it has one. Returns whether it
/// could; without `LOOKUP_RCU` it can.
///
/// Whoever asks about a name may have locked directories, but not yet what has the name, if that is a
/// regular file.
///
/// # Safety
///
/// `dentry` must be of `T` and referenced or, with `LOOKUP_RCU` and like the superblock, kept by RCU.
unsafe fn follow<T: SuperOperations>(dentry: *mut bindings::dentry, flags: c_uint) -> bool {
    let held = match flags & bindings::LOOKUP_RCU {
        0 => Held::No,
        _ => Held::Atomic,
    };
    // SAFETY: By the function's requirements. An inode that a dentry has, or had in this RCU section,
    // is set up, and its memory and that of its lower inode are freed by RCU.
    unsafe {
        let inode = (&raw const (*dentry).d_inode).read_volatile();
        if inode.is_null() {
            return true;
        }
        let sb: &SuperBlock<T> = SuperBlock::from_raw((*dentry).d_sb);
        let lower = LowerInode::from_raw(Storage::<T>::lower_of(inode));
        follow_access(inode, lower, &T::lower_root(sb.data()).mount, held)
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
    // SAFETY: By the function's requirements.
    unsafe {
        stable(lower, || {
            !bindings::d_unhashed(lower)
                && is_named(lower, Storage::<T>::lower_of(dir), name)
                && (&raw const (*lower).d_inode).read_volatile()
                    == Storage::<T>::lower_of((&raw const (*dentry).d_inode).read_volatile())
        })
    }
}

/// Whether `dentry`, which was found by `name` in `dir`, has another name by now or stands elsewhere.
///
/// Nobody but us moves it, and with the count of changes even, after the change below.
///
/// # Safety
///
/// `dir` and `dentry` must be referenced or kept by RCU.
unsafe fn was_moved(
    dir: *mut bindings::inode,
    name: *const bindings::qstr,
    dentry: *mut bindings::dentry,
) -> bool {
    // SAFETY: By the function's requirements.
    !unsafe { stable(dentry, || is_named(dentry, dir, name)) }
}

/// What `look` says of `dentry` while nobody changes its name, place or inode, by its sequence count.
///
/// # Safety
///
/// `dentry` must be referenced or kept by RCU.
unsafe fn stable(dentry: *mut bindings::dentry, look: impl Fn() -> bool) -> bool {
    // What a racing change takes away is not freed before the last look at it.
    let _rcu = rcu::read_lock();
    loop {
        // SAFETY: By the function's requirements.
        let seq = unsafe { bindings::dentry_seq_begin(dentry) };
        let seen = look();
        // SAFETY: As above.
        if !unsafe { bindings::dentry_seq_retry(dentry, seq) } {
            return seen;
        }
    }
}

/// Whether `dentry` has the name `name` in the directory `dir`.
///
/// # Safety
///
/// Within [`stable`], with `name` valid.
unsafe fn is_named(
    dentry: *mut bindings::dentry,
    dir: *mut bindings::inode,
    name: *const bindings::qstr,
) -> bool {
    // SAFETY: Under RCU the parent is not freed either.
    unsafe {
        let parent = (&raw const (*dentry).d_parent).read_volatile();
        (&raw const (*parent).d_inode).read_volatile() == dir
            && bindings::d_same_name(dentry, parent, name)
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
