// SPDX-License-Identifier: GPL-2.0

//! Memory that cannot be had and requests that fail, at every point where that can happen.
//!
//! A call is made again and again; the first time, the first thing in it fails that can, then the
//! second, and so on until a call comes to its end without a fault. After each fault: the call has
//! succeeded, or said so with an errno that may be; the same call without a fault succeeds; the
//! contents are right; what `fsync` has acknowledged is on disk.

mod data;
mod direct;
mod inject;
mod life;
mod names;
mod points;
mod requests;
mod stage;
mod workers;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    [
        life::TESTS,
        names::TESTS,
        data::TESTS,
        direct::TESTS,
        workers::TESTS,
        requests::TESTS,
    ]
    .concat()
    .into_iter()
    .map(Test::upsets)
    .collect()
}
