// SPDX-License-Identifier: GPL-2.0

//! The promises about cached and direct access to the same bytes.

pub mod race;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    Vec::new()
}
