// SPDX-License-Identifier: GPL-2.0
//! What happens when something is in the way, or somebody interrupts.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{NO_DIRECT, diorace, scratch, skipped};

/// Runs, and expects this exit code and one line that says this.
fn refused(args: &[&str], code: i32, says: &str) {
    let out = diorace(args);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    assert!(text.contains(says), "{args:?}: {text}");
}

#[test]
fn a_mistake_is_explained() {
    let dir = scratch("explained");
    let dir = dir.to_str().unwrap();
    refused(
        &["run", dir, "-s", "false-sharng"],
        4,
        "did you mean \"false-sharing\"?",
    );
    refused(
        &["run", dir, "--engines", "libao"],
        4,
        "did you mean \"libaio\"?",
    );
    refused(&["run", dir, "--engines", "mmap:rite"], 4, "is no role");
    refused(&["run", dir, "--duration", "soon"], 4, "length of time");
    refused(
        &["run", dir, "--minimise", "--repeat", "2"],
        4,
        "cannot be used with",
    );
    refused(&["run", dir, "--budget", "5"], 4, "--minimise");
    refused(
        &["run", dir, "--json", "/nonesuch/x"],
        4,
        "cannot write /nonesuch/x",
    );
    let repeat = [
        "run",
        dir,
        "--repeat",
        "2",
        "-s",
        "subblock-eof",
        "-d",
        "0.2",
    ];
    let unwritable = ["--json", "/nonesuch/x"];
    let args = [&repeat[..], &unwritable].concat();
    refused(&args, 4, "cannot write /nonesuch/x");
    // Better said before the runs than after them.
    assert!(diorace(&args).stdout.is_empty());
    refused(
        &["replay", "/proc/self/status"],
        4,
        "is no record of diorace",
    );
    refused(&["report", "/proc/self/status"], 4, "is no result");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn a_size_that_cannot_be_aligned_is_refused() {
    let dir = scratch("unaligned");
    let out = diorace(&["run", dir.to_str().unwrap(), "--size", "1000001"]);
    let text = String::from_utf8(out.stderr).unwrap();
    // 3: no direct I/O here.
    assert!(matches!(out.status.code(), Some(4 | 3)), "{text}");
    assert!(
        out.status.code() == Some(3) || text.contains("cannot be aligned"),
        "{text}"
    );
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn where_no_file_can_be_made_nothing_can_be_said() {
    refused(&["run", "/proc", "-q"], 3, "cannot make files in /proc");
    let minimise = ["run", "/proc", "-q", "--minimise"];
    refused(&minimise, 3, "cannot make files in /proc");
}

#[test]
fn a_run_that_leaves_no_result_does_not_take_the_others_along() {
    let args = ["run", "/proc", "-q", "--repeat", "3", "--json", "-"];
    refused(&args, 3, "run 1 of 3: cannot make files in /proc");
    let result: serde_json::Value = serde_json::from_slice(&diorace(&args).stdout).unwrap();
    assert_eq!(result["status"], "lacking");
    assert_eq!(result["runs"].as_array().unwrap().len(), 0);
}

/// Needs the right to mount, which the tests of the repository have.
#[test]
fn a_full_file_system_is_no_violation() {
    let dir = scratch("full");
    let script = "mount -t tmpfs -o size=1m none \"$1\" || exit 77
        exec \"$0\" run \"$1\" -q -s false-sharing --size 4M --duration 1";
    let out = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_diorace")])
        .arg(&dir)
        .output();
    let Ok(out) = out else {
        return skipped("no unshare(1)");
    };
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if out.status.code() == Some(77) || said.contains("unshare failed") {
        return skipped("nothing may be mounted here");
    }
    assert_eq!(out.status.code(), Some(3), "{said}");
    assert!(
        said.contains("no room") || said.contains("no O_DIRECT"),
        "{said}"
    );
}

/// The limit lets the file through by which the filesystem is probed, and no greater one.
#[test]
fn a_full_file_system_is_no_failure_of_the_tool() {
    let dir = scratch("limited");
    let run = |names: &str| {
        let script = "ulimit -f 128; exec \"$0\" run \"$1\" -q -s \"$2\" -d 0.5";
        let out = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_diorace")])
            .args([dir.to_str().unwrap(), names])
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        (
            out.status.code(),
            said + &String::from_utf8_lossy(&out.stderr),
        )
    };
    let (code, said) = run("changing-buffer");
    assert_eq!(code, Some(3), "{said}");
    let (code, said) = run("changing-buffer,subblock-eof");
    assert!(matches!(code, Some(0 | 3)), "{said}");
    let told = said.contains("cannot fill a file of") && said.contains("EFBIG");
    assert!(told || said.contains("no O_DIRECT"), "{said}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

/// Starts a long race in a directory with a file of somebody else's.
fn long_race(name: &str, more: &[&str]) -> (Child, PathBuf) {
    let dir = scratch(name);
    fs::write(dir.join("mine"), "not yours").unwrap();
    // Below nohup(1) a signal would be ignored.
    let mut child = Command::new("env")
        .args(["--default-signal", env!("CARGO_BIN_EXE_diorace")])
        .args(["run", dir.to_str().unwrap(), "-s", "false-sharing"])
        .args(["-d", "120"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut child);
    (child, dir)
}

/// Waits until both processes catch signals and threads race, or until it has ended.
fn wait_for(child: &mut Child) {
    let begin = Instant::now();
    while !(catches(child.id()) && child_of(child.id()).is_some_and(races)) {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "no race begins");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process catches signals and has a thread that writes.
fn races(process: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let mut names = tasks.into_iter().flatten().flatten().map(|task| {
        let name = fs::read_to_string(task.path().join("comm"));
        name.unwrap_or_default()
    });
    catches(process) && names.any(|name| name.starts_with("write "))
}

/// Whether a process has a handler for SIGTERM.
fn catches(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (libc::SIGTERM - 1)) != 0)
}

fn kill(signal: &str, target: u32) {
    kill_all(signal, &[target]);
}

/// At once, as a terminal does: two signals that come apart are two.
fn kill_all(signal: &str, targets: &[u32]) {
    let targets: Vec<String> = targets.iter().map(u32::to_string).collect();
    let kill = format!("kill -{signal} {}", targets.join(" "));
    Command::new("sh").args(["-c", &kill]).status().unwrap();
}

/// Only what was somebody else's is there.
fn is_tidy(dir: &Path) {
    assert_eq!(fs::read_to_string(dir.join("mine")).unwrap(), "not yours");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
}

/// A signal may come to the parent alone, as from kill(1), or to both, as from a terminal.
#[test]
fn a_signal_stops_verifies_reports_and_cleans_up() {
    for (signal, to_child) in [
        ("INT", true),
        ("INT", false),
        ("TERM", false),
        ("HUP", false),
    ] {
        let (child, dir) = long_race("signal", &[]);
        let begin = Instant::now();
        let worker = to_child.then(|| child_of(child.id())).flatten();
        let targets: Vec<u32> = worker.into_iter().chain([child.id()]).collect();
        kill_all(signal, &targets);
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(90), "{text}");
        is_tidy(&dir);
        if out.status.code() == Some(3) {
            skipped(NO_DIRECT);
            continue;
        }
        assert!(matches!(out.status.code(), Some(0 | 2)), "{text}");
        assert!(text.contains("cut short by a signal"), "{text}");
        assert!(text.contains("words judged"), "{text}");
    }
}

#[test]
fn a_race_that_is_killed_is_named_and_tidied_up() {
    let (child, dir) = long_race("killed", &[]);
    let Some(worker) = child_of(child.id()) else {
        return skipped(NO_DIRECT);
    };
    kill("KILL", worker);
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    is_tidy(&dir);
    if out.status.code() != Some(3) {
        assert_eq!(out.status.code(), Some(4), "{text}");
        assert!(text.contains("killed by signal 9"), "{text}");
    }
}

/// As after Ctrl-Z and fg: the pause is longer than what counts as a hang.
#[test]
fn a_race_that_is_stopped_for_a_while_does_not_hang() {
    let (child, dir) = long_race("stopped", &["--grace", "10"]);
    let Some(worker) = child_of(child.id()) else {
        return skipped(NO_DIRECT);
    };
    kill("STOP", worker);
    thread::sleep(Duration::from_secs(12));
    kill("CONT", worker);
    thread::sleep(Duration::from_secs(1));
    kill("TERM", child.id());
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    is_tidy(&dir);
    assert!(matches!(out.status.code(), Some(0 | 2 | 3)), "{text}");
}

#[test]
fn too_few_descriptors_are_no_failure_of_the_tool() {
    let dir = scratch("descriptors");
    let script = "ulimit -n 16; exec \"$0\" run \"$1\" -q -s everything --duration 1";
    let out = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_diorace")])
        .arg(&dir)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(3), "{text}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

/// What cannot be written does not take the verdict along.
#[test]
fn a_record_that_does_not_fit_leaves_the_verdict() {
    let dir = scratch("record-full");
    let args = ["-s", "subblock-eof", "-d", "0.2", "-q"];
    let record = ["run", dir.to_str().unwrap(), "--record", "/dev/full"];
    let out = diorace(&[&record[..], &args].concat());
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(matches!(out.status.code(), Some(3 | 4)), "{text}");
    if out.status.code() == Some(4) {
        assert!(text.contains("verdict: legal"), "{text}");
    }
}

/// The process that does the work.
fn child_of(parent: u32) -> Option<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    fs::read_to_string(path)
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[test]
fn what_a_dead_run_has_left_is_named_and_not_touched() {
    let dir = scratch("leftover");
    let left = dir.join(".diorace-4194305-0");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("false-sharing"), "old").unwrap();
    let out = diorace(&[
        "run",
        dir.to_str().unwrap(),
        "-s",
        "subblock-eof",
        "-d",
        "0.2",
        "-q",
    ]);
    let text = String::from_utf8(out.stderr).unwrap();
    let command = format!("rm -r {}", left.display());
    assert!(text.contains(&command), "{text}");
    assert!(Path::exists(&left.join("false-sharing")));
}
