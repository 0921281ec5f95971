// SPDX-License-Identifier: GPL-2.0
//! The program as a person meets it: exit codes, one line for a mistake, nothing left behind.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{diorace, scratch};

#[test]
fn every_lie_is_seen() {
    let out = diorace(&["selftest"]);
    assert_eq!(
        out.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
}

#[test]
fn a_mistake_gets_one_line_and_its_code() {
    let dir = scratch("mistakes");
    let dir = dir.to_str().unwrap();
    let gone = format!("{dir}/nonesuch");
    let mistakes: [&[&str]; 8] = [
        &["run", &gone],
        &["run"],
        &["fly"],
        &["run", dir, "--scenario", "nonesuch"],
        &["run", dir, "--size", "many"],
        &["run", dir, "--duration", "0"],
        &["list", "nonesuch"],
        &["compare", "no-label"],
    ];
    for args in mistakes {
        let out = diorace(args);
        assert_eq!(out.status.code(), Some(4), "{args:?}");
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
        assert!(text.starts_with("diorace: "), "{args:?}: {text}");
    }
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn help_is_no_mistake() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["list"],
        &["list", "readahead"],
        &["--version"],
    ] {
        let out = diorace(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        assert!(!out.stdout.is_empty() && out.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_run_leaves_a_result_and_nothing_else() {
    let dir = scratch("run");
    let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("run.json");
    let (dir_name, file) = (dir.to_str().unwrap(), json.to_str().unwrap());
    let args = [
        "run",
        dir_name,
        "--duration",
        "0.5",
        "--size",
        "1M",
        "--seed",
        "5",
        "--json",
        file,
    ];
    let out = diorace(&args);
    let text = String::from_utf8_lossy(&out.stdout);
    let code = out.status.code().unwrap();
    assert_ne!(code, 1, "{text}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    if code == 3 {
        // No O_DIRECT here: nothing more to see.
        return;
    }
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report["schema"], "diorace.report");
    assert_eq!(report["version"], 1);
    assert_eq!(report["seed"], 5);
    assert!(report["scenarios"].as_array().unwrap().len() >= 6);
    let out = diorace(&["compare", &format!("one={file}"), &format!("two={file}")]);
    assert_eq!(out.status.code(), Some(code));
    assert!(String::from_utf8_lossy(&out.stdout).contains("verdict: one"));
}
