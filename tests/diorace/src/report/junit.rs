// SPDX-License-Identifier: GPL-2.0
//! The result as JUnit XML: a test case for each scenario.
//!
//! A violation is a failure. A collision, or a request that was refused, is none under the profile
//! `bare`: it is what the filesystem does not promise to prevent, and stands in the properties and the
//! output of its test case. Under `strict` nothing is excused, and only what is legal succeeds.

use std::time::Duration;

use anyhow::Result;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use crate::klog::KernelLog;
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
    suite.add_test_cases(report.not_begun.iter().map(|name| not_begun(report, name)));
    suite.add_test_cases(report.kernel_log.iter().filter_map(|log| said(report, log)));
    let mut all = quick_junit::Report::new("diorace");
    all.add_test_suite(suite);
    Ok(all.to_string()?)
}

fn case(report: &Report, s: &ScenarioReport) -> TestCase {
    let strict = report.profile == "strict";
    let status = match s.status {
        Status::Violation => failure("violation", list(&s.violations)),
        Status::Collision if strict => failure("refused", list(&s.errors)),
        Status::Tool => because(TestCaseStatus::non_success(NonSuccessKind::Error), s),
        Status::Lacking => because(TestCaseStatus::skipped(), s),
        Status::Legal | Status::Collision => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(s.name.as_str(), status);
    case.set_classname(format!("diorace.{}", report.place.fstype));
    case.set_time(Duration::from_secs_f64(s.seconds.max(0.0)));
    let collisions: u64 = s.collisions.values().sum();
    case.add_property(("collisions", collisions.to_string().as_str()));
    case.add_property(("refused", s.refused.to_string().as_str()));
    case.set_system_out(scenario_text(s));
    case
}

/// A scenario whose turn did not come.
fn not_begun(report: &Report, name: &str) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_message(match report.interrupted {
        true => "a signal cut the run short before",
        false => "the run ended before, with what was found",
    });
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("diorace.{}", report.place.fstype));
    case
}

fn failure(kind: &str, message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(kind).set_message(message);
    status
}

/// The same with the reasons that a scenario gives.
fn because(mut status: TestCaseStatus, s: &ScenarioReport) -> TestCaseStatus {
    let why: Vec<_> = s.failures.iter().chain(&s.notes).cloned().collect();
    status.set_message(why.join("; "));
    status
}

/// What the kernel said, if that alone is a violation: the scenarios do not tell all of it.
fn said(report: &Report, log: &KernelLog) -> Option<TestCase> {
    if log.status(&report.profile) != Status::Violation {
        return None;
    }
    let status = failure("kernel", log.summary());
    let mut case = TestCase::new("kernel-log", status);
    case.set_classname(format!("diorace.{}", report.place.fstype));
    case.set_system_out(log.lines.join("\n"));
    Some(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use oracle::Profile;

    use crate::report::samples;

    /// Whether there is a failure in the result of a run in which requests failed so.
    fn fails(profile: Profile, error: &str) -> bool {
        let mut scenario = samples::legal("x");
        scenario.errors = BTreeMap::from([(error.to_owned(), 2)]);
        scenario.wonder(profile, &scenario.errors.clone());
        scenario.conclude();
        let name = match profile {
            Profile::Strict => "strict",
            Profile::Bare => "bare",
        };
        let text = render(&samples::report(name, vec![scenario])).unwrap();
        text.contains("<failure")
    }

    #[test]
    fn under_strict_only_what_is_legal_succeeds() {
        for error in ["direct EIO", "uring ENOMEM"] {
            assert!(fails(Profile::Strict, error), "{error}");
            assert!(!fails(Profile::Bare, error), "{error}");
        }
    }

    #[test]
    fn what_has_not_begun_is_skipped() {
        let mut report = samples::report("bare", vec![samples::legal("x")]);
        report.interrupted = true;
        report.not_begun = vec!["y".to_owned()];
        let text = render(&report).unwrap();
        assert!(
            text.contains("tests=\"2\"") && text.contains("<skipped"),
            "{text}"
        );
    }

    #[test]
    fn what_only_the_kernel_said_fails_as_well() {
        let text = |profile| {
            let mut report = samples::report(profile, vec![samples::legal("x")]);
            report.kernel_log = Some(KernelLog {
                collisions: 1,
                ..KernelLog::default()
            });
            report.conclude();
            (report.status, render(&report).unwrap())
        };
        let (status, strict) = text("strict");
        assert!(status == Status::Violation && strict.contains("<failure"));
        let (status, bare) = text("bare");
        assert!(status == Status::Collision && !bare.contains("<failure"));
    }
}
