// SPDX-License-Identifier: GPL-2.0
//! The result as JUnit XML: a test case for each scenario.
//!
//! A violation is a failure. A collision is none: under the profile `bare` it is what the filesystem
//! does not promise to prevent, and `strict` makes it a violation. It is in the properties and the
//! output of its test case.

use std::time::Duration;

use anyhow::Result;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use crate::report::table::{list, scenario_text};
use crate::report::{Report, ScenarioReport};
use crate::status::Status;

/// The whole file.
pub fn render(report: &Report) -> Result<String> {
    let place = &report.place;
    let mut suite = TestSuite::new(format!("diorace {}", place.fstype));
    for (name, value) in [
        ("directory", place.path.clone()),
        (
            "mount",
            format!("{} on {} ({})", place.fstype, place.source, place.options),
        ),
        ("kernel", place.kernel.clone()),
        ("profile", report.profile.clone()),
        ("command", report.command.clone()),
    ] {
        suite.add_property((name, value.as_str()));
    }
    let cases = report
        .scenarios
        .iter()
        .map(|scenario| case(report, scenario));
    suite.add_test_cases(cases);
    let mut all = quick_junit::Report::new("diorace");
    all.add_test_suite(suite);
    Ok(all.to_string()?)
}

fn case(report: &Report, s: &ScenarioReport) -> TestCase {
    let mut status = match s.status {
        Status::Violation => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Tool => TestCaseStatus::non_success(NonSuccessKind::Error),
        Status::Lacking => TestCaseStatus::skipped(),
        Status::Legal | Status::Collision => TestCaseStatus::success(),
    };
    match s.status {
        Status::Violation => {
            status.set_type("violation");
            status.set_message(list(&s.violations));
        }
        Status::Lacking | Status::Tool => {
            let why: Vec<_> = s.failures.iter().chain(&s.notes).cloned().collect();
            status.set_message(why.join("; "));
        }
        Status::Legal | Status::Collision => {}
    }
    let mut case = TestCase::new(s.name.as_str(), status);
    case.set_classname(format!("diorace.{}", report.place.fstype));
    case.set_time(Duration::from_secs_f64(s.seconds.max(0.0)));
    let collisions: u64 = s.collisions.values().sum();
    case.add_property(("collisions", collisions.to_string().as_str()));
    case.set_system_out(scenario_text(s));
    case
}
