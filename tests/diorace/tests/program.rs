// SPDX-License-Identifier: GPL-2.0
//! The program as a person meets it: exit codes, one line for a mistake, nothing left behind.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{NO_DIRECT, diorace, scratch, skipped};

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
    assert!(matches!(code, 0 | 2 | 3), "{code}: {text}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    if code == 3 {
        return skipped(NO_DIRECT);
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

/// Processes would each open a file that is to be open once.
#[test]
fn one_descriptor_is_not_raced_by_processes() {
    let dir = scratch("apart");
    let args = ["run", dir.to_str().unwrap(), "-q", "-d", "0.5", "-s"];
    let out = diorace(&[&args[..], &["one-descriptor", "--processes"]].concat());
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(3), "{text}");
    // The other reason: no direct I/O.
    let told = text.contains("no descriptor that all could share");
    assert!(told || out.stdout.is_empty(), "{text}");
}

#[test]
fn a_size_that_is_not_taken_is_told() {
    let dir = scratch("sizes");
    let args = ["run", dir.to_str().unwrap(), "-q", "-d", "0.3", "-s"];
    for (scenario, size, says) in [
        ("append-flag", "1M", "--size 1048576 is of no effect here"),
        ("one-descriptor", "4096", "--size 4096 became 65536"),
        ("one-descriptor", "128K", ""),
        ("every-path", "2M", "--size 2097152 became "),
    ] {
        let out = diorace(&[&args[..], &[scenario, "--size", size]].concat());
        let text = String::from_utf8_lossy(&out.stdout);
        if out.stdout.is_empty() {
            return skipped(NO_DIRECT);
        }
        assert!(text.contains(says), "{scenario}: {text}");
        assert!(!says.is_empty() || !text.contains("became"), "{text}");
    }
}
