// SPDX-License-Identifier: GPL-2.0

//! The model against itself.

use diofs_model::{
    config::{self, CONFIGS},
    explore::explore,
    machine::{System, Watch},
    mutant::{BESIDES, Mutant, REDUNDANT},
    property::Property,
    trace,
};

#[test]
fn mutants_name_configurations() {
    let harmful = Mutant::harmful().map(Mutant::config);
    let besides = BESIDES.iter().map(|(_, name, _)| *name);
    let redundant = REDUNDANT.iter().map(|(_, name)| *name);
    for name in harmful.chain(besides).chain(redundant) {
        assert!(config::find(name).is_some(), "no configuration {name}");
    }
}

/// A direct request is the last of its actor, since there is one container and one ticket for each.
#[test]
fn direct_requests_come_last() {
    for config in CONFIGS {
        assert!(config.actors.len() <= 4 && config.actors.concat().len() < 8);
        for ops in config.actors {
            let first = ops.iter().position(|op| op.is_direct());
            assert!(
                first.is_none_or(|at| at + 1 == ops.len()),
                "{}",
                config.name
            );
        }
    }
}

#[test]
fn the_order_of_2007_completes_a_request_twice() {
    let config = config::find("stores").expect("it is there");
    let system = System::real(config).with(Mutant::Order2007);
    let report = explore(system.watching(Watch::Only(Property::Once)), 1);
    let (_, actions) = report.broken.first().expect("a request completes twice");
    let lines = trace::lines(&system, actions);
    assert_eq!(lines.len(), actions.len());
    assert!(
        lines
            .iter()
            .any(|line| line.contains("takes the place of -EIOCBQUEUED"))
    );
    assert!(
        lines
            .last()
            .is_some_and(|line| line.contains("VIOLATION: C2"))
    );
}

#[test]
fn the_real_order_breaks_nothing() {
    for name in ["reads", "writes", "stores", "sync", "extend", "truncate"] {
        let config = config::find(name).expect("it is there");
        let report = explore(System::real(config), 1);
        assert!(report.states > 1000, "{name} was not explored");
        assert!(report.broken.is_empty(), "{name}: {:?}", report.broken);
    }
}
