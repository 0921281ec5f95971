// SPDX-License-Identifier: GPL-2.0

//! One line for each test, one for the whole.

use std::io::{Stdout, Write};
use std::time::Duration;

/// How a test ended.
pub enum Verdict {
    Ok,
    Fail(String),
    Skip(String),
}

/// Counts and prints verdicts.
pub struct Report<W = Stdout> {
    out: W,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl<W: Write> Report<W> {
    pub fn to(out: W) -> Self {
        Self {
            out,
            passed: 0,
            failed: 0,
            skipped: 0,
        }
    }

    pub fn add(&mut self, name: &str, verdict: &Verdict, took: Duration) {
        let line = match verdict {
            Verdict::Ok => {
                self.passed += 1;
                format!("ok {name} ({:.1} s)", took.as_secs_f32())
            }
            Verdict::Fail(why) => {
                self.failed += 1;
                format!("FAIL {name}: {}", one_line(why))
            }
            Verdict::Skip(why) => {
                self.skipped += 1;
                format!("skip {name}: {}", one_line(why))
            }
        };
        say_to(&mut self.out, &line);
    }

    /// Prints the last line; true when nothing failed.
    pub fn finish(&mut self) -> bool {
        let line = format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        );
        say_to(&mut self.out, &line);
        self.failed == 0
    }
}

/// Prints a line at once, so that what was printed last before a crash is seen.
pub fn say(line: &str) {
    say_to(&mut std::io::stdout().lock(), line);
}

fn say_to(out: &mut impl Write, line: &str) {
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
    fn each_verdict_has_a_line_and_is_counted() {
        // Not printed: who reads the output of this test would take the lines for its own.
        let mut out = Vec::new();
        let mut report = Report::to(&mut out);
        report.add("a", &Verdict::Ok, Duration::ZERO);
        report.add("b", &Verdict::Fail("x\n y".into()), Duration::ZERO);
        report.add("c", &Verdict::Skip("z".into()), Duration::ZERO);
        assert!(!report.finish());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok a (0.0 s)\nFAIL b: x; y\nskip c: z\n1 passed, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn reasons_are_put_on_one_line() {
        assert_eq!(one_line("a\n  b\n\nc"), "a; b; c");
    }
}
