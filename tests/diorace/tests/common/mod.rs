// SPDX-License-Identifier: GPL-2.0
//! What the tests of the program share.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

/// Why most of what can be skipped is.
#[allow(dead_code, reason = "not every test needs it")]
pub const NO_DIRECT: &str = "no direct I/O here";

/// Says that a test proves nothing here, also where it counts as passed.
#[allow(dead_code, reason = "not every test needs it")]
pub fn skipped(why: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not by eprintln, which is heard only if a test fails.
    let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
}

/// Runs the program.
pub fn diorace(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_diorace"))
        .args(args)
        .output()
        .unwrap()
}

/// An empty directory.
pub fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    dir
}
