// SPDX-License-Identifier: GPL-2.0

//! Modules that a patch of `tests/variants` has brought to do what the module as it is never does.

use crate::harness::{Ctx, skip};
use anyhow::Result;

/// Leaves the test unless this is the module that was built with `tests/variants/NAME.patch`.
pub fn need(ctx: &Ctx, name: &str) -> Result<()> {
    ctx.need_diofs()?;
    if std::env::var("DIOFS_VARIANT").as_deref() != Ok(name) {
        return skip(format!(
            "for a module that was built with tests/variants/{name}.patch"
        ));
    }
    ctx.need_direct()
}
