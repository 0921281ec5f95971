// SPDX-License-Identifier: GPL-2.0
//! What the exit code means.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use engines::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verdict of a scenario, a run, or the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything seen was legal.
    Legal,
    /// Something forbidden was seen.
    Violation,
    /// Direct and cached I/O collided where nothing forbids it, or the filesystem refused.
    Collision,
    /// The environment lacks something, so nothing can be said.
    Lacking,
    /// The tool itself failed.
    Tool,
}

impl Status {
    /// Every one.
    const ALL: [Self; 5] = [
        Self::Legal,
        Self::Violation,
        Self::Collision,
        Self::Lacking,
        Self::Tool,
    ];

    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Legal => 0,
            Self::Violation => 1,
            Self::Collision => 2,
            Self::Lacking => 3,
            Self::Tool => 4,
        }
    }

    /// What an exit code of ours means; none if it is not ours, as after a panic.
    pub fn of_code(code: i32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| i32::from(status.code()) == code)
    }

    /// The status that a failed command ends with.
    pub fn of_error(error: &anyhow::Error) -> Self {
        let lacking = error.chain().any(|cause| {
            let errno = cause.downcast_ref::<Errno>().copied();
            let errno = errno.or_else(|| cause.downcast_ref::<engines::Error>()?.errno());
            let errno = errno.or_else(|| {
                let error = cause.downcast_ref::<std::io::Error>()?;
                error.raw_os_error().map(Errno)
            });
            let buffer = matches!(cause.downcast_ref(), Some(engines::Error::Buffer(_)));
            cause.is::<Lacking>() || buffer || errno.is_some_and(no_room)
        });
        if lacking { Self::Lacking } else { Self::Tool }
    }

    /// What the environment lacks, if that is what an error says.
    pub fn lack(error: &anyhow::Error) -> Option<String> {
        let mut why = format!("{error:#}");
        if why.contains("EMFILE") {
            why += " (more open files are needed: ulimit -n)";
        }
        (Self::of_error(error) == Self::Lacking).then_some(why)
    }

    /// The status of several scenarios together: the worst finding, which a failure of the tool
    /// elsewhere does not take back; lacking only if nothing ran.
    pub fn combine(all: &[Status]) -> Self {
        let order = [Self::Violation, Self::Tool, Self::Collision, Self::Legal];
        let worst = order.into_iter().find(|status| all.contains(status));
        worst.unwrap_or(Self::Lacking)
    }

    /// A word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legal => "legal",
            Self::Violation => "VIOLATION",
            Self::Collision => "collision",
            Self::Lacking => "skipped",
            Self::Tool => "tool error",
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status.code())
    }
}

/// Whether an error means that the environment lacks room, permission to write, memory, descriptors,
/// or processes.
fn no_room(errno: Errno) -> bool {
    let numbers = [
        Errno::ENOSPC,
        Errno::EDQUOT,
        Errno::EROFS,
        Errno::EFBIG,
        Errno::ENOMEM,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::EAGAIN,
    ];
    numbers.contains(&errno)
}

/// Prints to standard output. Nobody listening is no reason to fail: the exit code tells as much.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The environment lacks something.
#[derive(Debug)]
pub struct Lacking(pub String);

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_panic_is_none_of_ours() {
        let codes: Vec<_> = (0..=4)
            .map(|code| Status::of_code(code).unwrap().code())
            .collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        assert_eq!(Status::of_code(101), None);
    }

    #[test]
    fn a_violation_outweighs_and_a_skip_does_not() {
        use Status::*;
        assert_eq!(
            Status::combine(&[Legal, Collision, Violation, Lacking]),
            Violation
        );
        assert_eq!(Status::combine(&[Tool, Violation]), Violation);
        assert_eq!(Status::combine(&[Tool, Collision]), Tool);
        assert_eq!(Status::combine(&[Legal, Lacking]), Legal);
        assert_eq!(Status::combine(&[Lacking]), Lacking);
        let error = super::Lacking("room".into());
        assert_eq!(Status::of_error(&error.into()), Lacking);
        let error = engines::Error::Buffer(4096);
        assert_eq!(Status::of_error(&error.into()), Lacking);
    }
}
