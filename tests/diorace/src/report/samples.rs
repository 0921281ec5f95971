// SPDX-License-Identifier: GPL-2.0
//! Results that tests are made of.

use crate::cli::{Choices, ProfileArg, Until};
use crate::place::Place;
use crate::report::{Report, SCHEMA, ScenarioReport, VERSION};
use crate::status::Status;

/// Choices with this seed and no wishes.
pub fn choices(seed: u64) -> Choices {
    Choices {
        scenario: vec!["all".to_owned()],
        duration: 1.0,
        seed: Some(seed),
        engines: Vec::new(),
        profile: ProfileArg::Auto,
        size: None,
        threads: None,
        depth: None,
        grace: 60.0,
        operations: None,
        processes: false,
        until: Until::End,
    }
}

/// A directory that there is not.
pub fn place() -> Place {
    let word = || "test".to_owned();
    Place {
        path: word(),
        fstype: word(),
        source: word(),
        options: word(),
        kernel: word(),
    }
}

/// A scenario in which something was done and nothing found.
pub fn legal(name: &str) -> ScenarioReport {
    let mut report = ScenarioReport::new(name);
    report.operations = 1;
    report
}

/// A run of these scenarios.
pub fn report(profile: &str, scenarios: Vec<ScenarioReport>) -> Report {
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        program: "test".to_owned(),
        place: place(),
        profile: profile.to_owned(),
        seed: 1,
        run: 1,
        command: String::new(),
        choices: None,
        started: 0,
        status: Status::Legal,
        interrupted: false,
        not_begun: Vec::new(),
        kernel_log: None,
        scenarios,
    };
    report.conclude();
    report
}
