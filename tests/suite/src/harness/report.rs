// SPDX-License-Identifier: GPL-2.0

//! One line for each test, one for the whole.

use std::io::Write;
use std::time::Duration;

/// How a test ended.
pub enum Verdict {
    Ok,
    Fail(String),
    Skip(String),
}

/// Counts and prints verdicts.
#[derive(Default)]
pub struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    pub fn add(&mut self, name: &str, verdict: &Verdict, took: Duration) {
        match verdict {
            Verdict::Ok => {
                self.passed += 1;
                say(&format!("ok {name} ({:.1} s)", took.as_secs_f32()));
            }
            Verdict::Fail(why) => {
                self.failed += 1;
                say(&format!("FAIL {name}: {}", one_line(why)));
            }
            Verdict::Skip(why) => {
                self.skipped += 1;
                say(&format!("skip {name}: {}", one_line(why)));
            }
        }
    }

    /// Prints the last line; true when nothing failed.
    pub fn finish(&self) -> bool {
        say(&self.summary());
        self.failed == 0
    }

    fn summary(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Prints a line at once, so that what was printed last before a crash is seen.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_each_verdict() {
        let mut report = Report::default();
        report.add("a", &Verdict::Ok, Duration::ZERO);
        report.add("b", &Verdict::Fail("x\n y".into()), Duration::ZERO);
        report.add("c", &Verdict::Skip("z".into()), Duration::ZERO);
        assert_eq!(report.summary(), "1 passed, 1 failed, 1 skipped");
        assert!(!report.finish());
    }

    #[test]
    fn reasons_are_put_on_one_line() {
        assert_eq!(one_line("a\n  b\n\nc"), "a; b; c");
    }
}
