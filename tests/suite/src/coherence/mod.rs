// SPDX-License-Identifier: GPL-2.0

//! The promises about cached and direct access to the same bytes, each with a trigger that makes
//! the rare race certain: the device holds what is to be in flight.

mod asynchronous;
mod bed;
mod before;
mod cost;
mod death;
mod durable;
mod errors;
mod flight;
mod found_after;
mod fresh;
pub mod full;
mod lost;
mod own_buffer;
pub mod queue;
pub mod race;
mod refused;
mod resize;
pub mod scene;
mod stale;
mod tail;
mod unyielding;
mod variant;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    [
        bed::TESTS,
        before::TESTS,
        flight::TESTS,
        stale::TESTS,
        lost::TESTS,
        fresh::TESTS,
        own_buffer::TESTS,
        resize::TESTS,
        tail::TESTS,
        durable::TESTS,
        errors::TESTS,
        refused::TESTS,
        asynchronous::TESTS,
        full::TESTS,
        death::TESTS,
        cost::TESTS,
        unyielding::TESTS,
        found_after::TESTS,
    ]
    .concat()
}
