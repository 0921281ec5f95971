// SPDX-License-Identifier: GPL-2.0

//! Raw bindings: the kernel's own, and over them the complement that this
//! crate generates (see `bindings.h` and `bindgen_parameters`).

#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    improper_ctypes,
    rust_2018_idioms
)]

pub use kernel::bindings::*;

include!(env!("DIOFS_BINDINGS"));
