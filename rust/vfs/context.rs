// SPDX-License-Identifier: GPL-2.0

//! Mounting and remounting: `struct fs_context`.
//!
//! Messages go to the log of the context, where `mount(8)` picks them up.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h),
//! [`include/linux/fs_parser.h`](srctree/include/linux/fs_parser.h)

use super::{
    superblock::{
        SuperOperations,
        SuperOps, //
    },
    SuperBlock, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::null, //
};
use kernel::{
    error::from_result,
    fmt,
    prelude::*,
    str::CString,
    types::ForeignOwnable, //
};

/// Mount flags that have changes made durable before the call returns that makes them.
#[derive(Clone, Copy)]
pub struct SyncFlags(usize);

impl SyncFlags {
    const BOTH: usize = bindings::SB_SYNCHRONOUS | bindings::SB_DIRSYNC;

    /// Those among the `SB_*` in `flags`. The first implies the second.
    pub(super) fn new(flags: usize) -> Self {
        match flags & bindings::SB_SYNCHRONOUS {
            0 => Self(flags & bindings::SB_DIRSYNC),
            _ => Self(Self::BOTH),
        }
    }

    /// Whether changes of data are among them.
    fn has_data(self) -> bool {
        self.0 & bindings::SB_SYNCHRONOUS != 0
    }

    /// Whether all of these are among the others.
    pub fn are_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }
}

/// What a filesystem does to be mounted.
pub trait Mount: SuperOperations {
    /// The mount options, as they are while they are being collected.
    type Options: Send + Sync + 'static;

    /// The mount options by name, ended by [`Parameter::END`], which is checked when this is built.
    const PARAMETERS: &'static [Parameter];

    /// The options of a new mount, or, to be changed, those of `sb`.
    fn options(sb: Option<&SuperBlock<Self>>) -> Self::Options;

    /// Takes in the option number `number` of the table.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a bad value, with a message in the context's log.
    fn parse(
        options: &mut Self::Options,
        number: u8,
        value: &CStr,
        context: &Context<'_>,
    ) -> Result;

    /// Makes the private data of a new superblock.
    ///
    /// Context: process context, sleeps; runs as the one who mounts, with no lock but that of the
    /// context (`fsconfig(2)`).
    ///
    /// # Errors
    ///
    /// Any, which `mount(2)` returns, with a message in the context's log.
    fn mount(options: &Self::Options, context: &mut Context<'_>) -> Result<Pin<KBox<Self::Super>>>;

    /// Changes the options of a superblock.
    ///
    /// Context: process context, sleeps; `s_umount` is held exclusively.
    ///
    /// # Errors
    ///
    /// Any, which `mount(2)` returns, with a message in the context's log.
    fn remount(sb: &SuperBlock<Self>, options: &Self::Options, context: &mut Context<'_>)
        -> Result;
}

/// A mount option: its name, the type of its value, its number.
#[repr(transparent)]
pub struct Parameter(bindings::fs_parameter_spec);

// SAFETY: The structure is only read; its pointers point to static data.
unsafe impl Sync for Parameter {}

impl Parameter {
    /// The end of a table.
    pub const END: Self = Self(bindings::fs_parameter_spec {
        name: null(),
        type_: None,
        opt: 0,
        flags: 0,
        data: null(),
    });

    /// An option `name=text`.
    pub const fn string(name: &'static CStr, number: u8) -> Self {
        Self(bindings::fs_parameter_spec {
            name: kernel::str::as_char_ptr_in_const_context(name),
            type_: Some(bindings::fs_param_is_string),
            opt: number,
            flags: 0,
            data: null(),
        })
    }
}

/// A mount or remount that is being prepared.
///
/// # Invariants
///
/// `fc` is valid and used by the running task alone.
pub struct Context<'a> {
    fc: *mut bindings::fs_context,
    _context: PhantomData<&'a mut bindings::fs_context>,
}

impl Context<'_> {
    /// # Safety
    ///
    /// `fc` must be valid, and used by the running task alone, for the lifetime of the object.
    unsafe fn from_raw(fc: *mut bindings::fs_context) -> Self {
        // INVARIANT: By the function's requirements.
        Self {
            fc,
            _context: PhantomData,
        }
    }

    /// What is to be mounted.
    pub fn source(&self) -> Option<&CStr> {
        // SAFETY: By the type invariant; a source is a C string that belongs to the context.
        unsafe {
            let source = (*self.fc).source;
            (!source.is_null()).then(|| CStr::from_char_ptr(source))
        }
    }

    /// Leaves an error message in the log.
    pub fn error(&self, message: fmt::Arguments<'_>) {
        if let Ok(text) = CString::try_from_fmt(message) {
            // SAFETY: By the type invariant; the message is copied.
            unsafe { bindings::errorf(self.fc, text.as_char_ptr()) };
        }
    }

    /// Leaves a message in the log that is no error.
    pub fn info(&self, message: fmt::Arguments<'_>) {
        if let Ok(text) = CString::try_from_fmt(message) {
            // SAFETY: By the type invariant; the message is copied.
            unsafe { bindings::infof(self.fc, text.as_char_ptr()) };
        }
    }

    /// Whether the result is to be read-only.
    pub fn is_read_only(&self) -> bool {
        let is_set = |flags: usize| flags & bindings::SB_RDONLY != 0;
        // SAFETY: By the type invariant; a context for a remount has its root from the beginning.
        unsafe {
            // A remount leaves the flags that are not in the mask as they are.
            if self.is_remount() && !is_set((*self.fc).sb_flags_mask as usize) {
                return is_set((*(*(*self.fc).root).d_sb).s_flags);
            }
            is_set((*self.fc).sb_flags as usize)
        }
    }

    /// Makes the result read-only.
    pub fn set_read_only(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { (*self.fc).sb_flags |= bindings::SB_RDONLY as u32 };
    }

    /// Which of `MS_SYNCHRONOUS` and `MS_DIRSYNC` are asked for.
    pub fn sync_flags(&self) -> SyncFlags {
        // SAFETY: By the type invariant.
        let flags = unsafe {
            match self.is_remount() {
                true => (*self.fc).sb_flags & (*self.fc).sb_flags_mask,
                false => (*self.fc).sb_flags,
            }
        };
        SyncFlags::new(flags as usize)
    }

    /// Makes the VFS have changes of data durable by itself, or not. Names are not its business.
    pub fn set_sync_flags(&mut self, flags: SyncFlags) {
        const BOTH: u32 = SyncFlags::BOTH as u32;
        // SAFETY: By the type invariant. On a remount the mask says which flags change. It stays for
        // the next one, and then must not have any that a remount does not change.
        unsafe {
            (*self.fc).sb_flags &= !BOTH;
            if flags.has_data() {
                (*self.fc).sb_flags |= bindings::SB_SYNCHRONOUS as u32;
            }
            if self.is_remount() {
                (*self.fc).sb_flags_mask |= bindings::SB_SYNCHRONOUS as u32;
            }
        }
    }

    fn is_remount(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { (*self.fc).purpose() == bindings::fs_context_purpose_FS_CONTEXT_FOR_RECONFIGURE }
    }

    /// The superblock that is to be remounted.
    ///
    /// # Safety
    ///
    /// The context must be one of `T`.
    unsafe fn super_block<T: Mount>(&self) -> Option<&SuperBlock<T>> {
        if !self.is_remount() {
            return None;
        }
        // SAFETY: By the type invariant and the function's requirements; a context for a remount
        // has its root from the beginning.
        Some(unsafe { SuperBlock::from_raw((*(*self.fc).root).d_sb) })
    }
}

/// The context operations of `T`.
pub(super) struct ContextOps<T: Mount>(PhantomData<T>);

impl<T: Mount> ContextOps<T> {
    const TABLE: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free),
        dup: None,
        parse_param: Some(Self::parse_param),
        parse_monolithic: None,
        get_tree: Some(Self::get_tree),
        reconfigure: Some(Self::reconfigure),
    };

    /// The VFS reads the table of mount options up to its end.
    const ENDED: () = assert!(
        matches!(T::PARAMETERS, [.., last] if last.0.name.is_null()),
        "PARAMETERS must end with Parameter::END"
    );

    /// The table of mount options, as the filesystem type wants it.
    pub(super) fn parameters() -> *const kernel::bindings::fs_parameter_spec {
        let () = Self::ENDED;
        T::PARAMETERS.as_ptr().cast()
    }

    /// # Safety
    ///
    /// `fc` must be a context of `T` that `init_fs_context()` has set up.
    unsafe fn options<'a>(fc: *mut bindings::fs_context) -> &'a mut T::Options {
        // SAFETY: By the function's requirements; contexts are used by one task at a time.
        unsafe { &mut *(*fc).fs_private.cast() }
    }

    /// # Safety
    ///
    /// Called by the VFS with a new context of `T`.
    pub(super) unsafe extern "C" fn init_fs_context(
        fc: *mut kernel::bindings::fs_context,
    ) -> c_int {
        let fc: *mut bindings::fs_context = fc.cast();
        // SAFETY: As this function's requirements.
        let context = unsafe { Context::from_raw(fc) };
        from_result(|| {
            // SAFETY: As this function's requirements.
            let options = T::options(unsafe { context.super_block() });
            let options = KBox::new(options, GFP_KERNEL)?;
            // SAFETY: As this function's requirements.
            unsafe {
                (*fc).fs_private = options.into_foreign();
                (*fc).ops = &Self::TABLE;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS, once, with a context that `init_fs_context()` has set up.
    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: As this function's requirements. The private data of the superblock are here only
        // while no superblock has them.
        unsafe {
            drop(KBox::<T::Options>::from_foreign((*fc).fs_private));
            drop(Pin::<KBox<T::Super>>::try_from_foreign((*fc).s_fs_info));
        }
    }

    /// # Safety
    ///
    /// Called by the VFS with a context that `init_fs_context()` has set up, and a parameter.
    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        let (context, options) = unsafe { (Context::from_raw(fc), Self::options(fc)) };
        // SAFETY: As this function's requirements; a key is a C string.
        let key = unsafe { CStr::from_char_ptr((*param).key) };
        if context.is_remount() && key.to_bytes() == b"source" {
            context.error(fmt!("the lower directory cannot be changed by a remount"));
            return EINVAL.to_errno();
        }
        let mut result = bindings::fs_parse_result::default();
        // SAFETY: As this function's requirements; the table is static and ended.
        let number = unsafe {
            bindings::__fs_parse(
                &raw mut (*fc).log,
                T::PARAMETERS.as_ptr().cast(),
                param,
                &mut result,
            )
        };
        // Negative: an error, or that we do not know the parameter, and then the VFS tries to.
        let Ok(number) = u8::try_from(number) else {
            return number;
        };
        // SAFETY: All parameters of the table are strings, which the parser has checked.
        let value = unsafe { CStr::from_char_ptr((*param).__bindgen_anon_1.string) };
        from_result(|| T::parse(options, number, value, &context).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with a context for a new mount, without locks held.
    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: As this function's requirements.
        let (mut context, options) = unsafe { (Context::from_raw(fc), Self::options(fc)) };
        match T::mount(options, &mut context) {
            // SAFETY: As this function's requirements. The superblock takes the data over.
            Ok(data) => unsafe {
                (*fc).s_fs_info = data.into_foreign();
                bindings::get_tree_nodev(fc, Some(Self::fill_super))
            },
            Err(error) => error.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by `get_tree_nodev()` with a new superblock, locked, that has taken over `s_fs_info`.
    unsafe extern "C" fn fill_super(
        sb: *mut kernel::bindings::super_block,
        _fc: *mut bindings::fs_context,
    ) -> c_int {
        // SAFETY: As this function's requirements.
        from_result(|| unsafe { SuperOps::<T>::fill(sb) }.map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by the VFS with a context for a remount, with `s_umount` held exclusively.
    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: As this function's requirements.
        let (mut context, options, sb) = unsafe {
            (
                Context::from_raw(fc),
                Self::options(fc),
                SuperBlock::<T>::from_raw((*(*fc).root).d_sb),
            )
        };
        from_result(|| {
            // What was written before a change to read-only goes out before it.
            // SAFETY: As this function's requirements: `s_umount` is held.
            kernel::error::to_result(unsafe { bindings::sync_filesystem(sb.as_raw()) })
                .inspect_err(|_| context.error(fmt!("the filesystem cannot be synced first")))?;
            T::remount(sb, options, &mut context).map(|()| 0)
        })
    }
}
