// SPDX-License-Identifier: GPL-2.0

//! Every operation, compared with the bare lower.

mod attributes;
mod below;
mod data;
mod directories;
mod later;
mod lifetime;
mod limits;
mod links;
mod locks;
mod mapping;
mod mounting;
mod names;
mod opening;
mod permissions;
mod remounting;
mod renames;
mod seeking;
mod setattr;
mod special;
mod splicing;
mod stacks;
mod states;
mod statistics;
mod syncing;

use crate::harness::Test;

pub fn tests() -> Vec<Test> {
    [
        names::TESTS,
        renames::TESTS,
        links::TESTS,
        special::TESTS,
        directories::TESTS,
        attributes::TESTS,
        setattr::TESTS,
        permissions::TESTS,
        opening::TESTS,
        data::TESTS,
        mapping::TESTS,
        splicing::TESTS,
        syncing::TESTS,
        seeking::TESTS,
        lifetime::TESTS,
        limits::TESTS,
        locks::TESTS,
        later::TESTS,
        statistics::TESTS,
        mounting::TESTS,
        remounting::TESTS,
        stacks::TESTS,
        states::TESTS,
        below::TESTS,
    ]
    .concat()
}
