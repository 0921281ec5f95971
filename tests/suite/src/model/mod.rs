// SPDX-License-Identifier: GPL-2.0

//! A model of one file.

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    Vec::new()
}
