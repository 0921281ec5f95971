// SPDX-License-Identifier: GPL-2.0
//! What the tests of the program share.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

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
