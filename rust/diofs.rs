// SPDX-License-Identifier: GPL-2.0

//! diofs: a stacking filesystem whose direct, buffered and mmap I/O agree.

use kernel::prelude::*;

mod bindings;
pub mod fs;
pub mod vfs;

module! {
    type: DiofsModule,
    name: "diofs",
    authors: ["The diofs developers"],
    description: "Stacking filesystem with coherent direct and buffered I/O",
    license: "GPL",
}

struct DiofsModule;

impl kernel::Module for DiofsModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
