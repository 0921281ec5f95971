// SPDX-License-Identifier: GPL-2.0

//! diofs: a stacking filesystem whose direct, buffered and mmap I/O agree.

use crate::{
    fs::Diofs,
    vfs::registration::Registration, //
};
use kernel::prelude::*;

// Offsets in a file are keys of trees, which the kernel has of machine words.
const _: () = assert!(usize::BITS == 64, "diofs needs 64-bit machine words");

mod bindings;
pub mod fs;
pub mod pure;
pub mod vfs;

module! {
    type: DiofsModule,
    name: "diofs",
    authors: ["The diofs developers"],
    description: "Stacking filesystem with coherent direct and buffered I/O",
    license: "GPL",
    alias: ["fs-diofs"],
}

/// The module: the filesystem type is registered while it is loaded.
#[pin_data]
pub struct DiofsModule {
    #[pin]
    registration: Registration<Diofs>,
}

impl kernel::InPlaceModule for DiofsModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registration <- Registration::new(module),
        })
    }
}
