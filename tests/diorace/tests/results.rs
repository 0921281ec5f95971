// SPDX-License-Identifier: GPL-2.0
//! The result in all its forms, and what the program says about itself.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{NO_DIRECT, diorace, scratch, skipped};
use serde_json::Value;

/// Runs once and returns its directory of results; none where direct I/O does not exist.
fn a_run(name: &str, more: &[&str]) -> Option<PathBuf> {
    let (dir, out) = (scratch(name), scratch(&format!("{name}-out")));
    let path = |file: &str| out.join(file).to_str().unwrap().to_owned();
    let (json, html, junit) = (path("r.json"), path("r.html"), path("r.xml"));
    let mut args = vec![
        "run",
        dir.to_str().unwrap(),
        "-q",
        "-s",
        "false-sharing,subblock-eof",
    ];
    args.extend([
        "-d", "0.5", "--seed", "7", "--json", &json, "--html", &html, "--junit", &junit,
    ]);
    args.extend(more);
    let done = diorace(&args);
    let code = done.status.code().unwrap();
    assert!(
        matches!(code, 0 | 2 | 3),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    if code == 3 {
        skipped(NO_DIRECT);
        return None;
    }
    Some(out)
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_form_tells_the_same() {
    let Some(out) = a_run("forms", &[]) else {
        return;
    };
    let json: Value = serde_json::from_str(&read(out.join("r.json"))).unwrap();
    let html = read(out.join("r.html"));
    assert!(html.contains("<svg") && html.contains("id=\"false-sharing\""));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    let junit = read(out.join("r.xml"));
    assert_eq!(junit.matches("<testcase ").count(), 2, "{junit}");
    assert_eq!(json["scenarios"].as_array().unwrap().len(), 2);
    let rates = &json["scenarios"][0]["rates"];
    assert_eq!(
        rates["seconds"].as_array().unwrap().len(),
        rates["operations"]["libaio"].as_array().unwrap().len()
    );
    // The JSON makes the other forms again.
    let (file, again) = (out.join("r.json"), out.join("again.html"));
    let args = [
        "report",
        file.to_str().unwrap(),
        "--html",
        again.to_str().unwrap(),
    ];
    diorace(&args);
    assert_eq!(read(again), html);
}

/// Checks what a result consists of against the schema: every field is known, every field that has to
/// be there is.
fn conforms(schema: &Value, root: &Value, value: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &root["$defs"][name.trim_start_matches("#/$defs/")],
        None => schema,
    };
    if let Some(all) = schema["anyOf"].as_array() {
        let other = all.iter().find(|one| one["type"] != "null").unwrap();
        if !value.is_null() {
            conforms(other, root, value, at);
        }
        return;
    }
    if let (Some(known), Some(object)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, part) in object {
            let field = known
                .get(name)
                .unwrap_or_else(|| panic!("{at}.{name} is not in the schema"));
            conforms(field, root, part, &format!("{at}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(
                object.contains_key(name.as_str().unwrap()),
                "{at} lacks {name}"
            );
        }
    } else if schema["properties"].is_object() {
        panic!("{at} is no object");
    }
    for (nth, part) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            conforms(&schema["items"], root, part, &format!("{at}[{nth}]"));
        }
    }
}

#[test]
fn a_result_is_what_the_schema_says() {
    let kept = read(repository("report.schema.json"));
    let printed = String::from_utf8(diorace(&["schema"]).stdout).unwrap();
    assert!(
        kept == printed,
        "diorace schema > tests/diorace/report.schema.json"
    );
    let Some(out) = a_run("schema", &[]) else {
        return;
    };
    let schema: Value = serde_json::from_str(&kept).unwrap();
    let result = serde_json::from_str(&read(out.join("r.json"))).unwrap();
    conforms(&schema, &schema, &result, "report");
}

#[test]
fn the_pages_know_how_many_scenarios_there_are() {
    let list = String::from_utf8(diorace(&["list"]).stdout).unwrap();
    let scenarios = list.lines().take_while(|line| !line.is_empty()).count();
    for page in ["README.md", "Documentation/diorace.rst"] {
        let text = read(repository(&format!("../../{page}")));
        assert!(
            text.contains(&format!("all {scenarios} scenarios")),
            "{page}: {scenarios}"
        );
    }
}

#[test]
fn the_manual_page_is_that_of_the_program() {
    let printed = String::from_utf8(diorace(&["man"]).stdout).unwrap();
    let kept = read(repository("diorace.1"));
    assert!(kept == printed, "diorace man > tests/diorace/diorace.1");
    let shell = String::from_utf8(diorace(&["completions", "bash"]).stdout).unwrap();
    assert!(shell.contains("--minimise"));
}

#[test]
fn a_replay_makes_the_recorded_requests() {
    let (dir, out) = (scratch("replay"), scratch("replay-out"));
    let record = out.join("record");
    let (dir, file) = (dir.to_str().unwrap(), record.to_str().unwrap());
    let args = [
        "run",
        dir,
        "-q",
        "-s",
        "false-sharing",
        "-d",
        "0.5",
        "--operations",
        "300",
        "--record",
        file,
    ];
    if diorace(&args).status.code() == Some(3) {
        return skipped(NO_DIRECT);
    }
    // Threads that only disturb are not replayed.
    let text = read(record.clone());
    let advice: Vec<_> = text
        .lines()
        .filter(|line| line.ends_with(" disturb"))
        .collect();
    let number = advice[0].split(' ').nth(1).unwrap();
    let requests = text
        .lines()
        .skip(2)
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let all = requests
        .filter(|line| line.split(' ').next() != Some(number))
        .count();
    let done = diorace(&["replay", file, dir, "-q", "--in-order"]);
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(
        said.contains(&format!("replayed {all} of {all} recorded requests")),
        "{said}"
    );
}

#[test]
fn repeating_gives_bounds() {
    let dir = scratch("repeat");
    let dir = dir.to_str().unwrap();
    let args = [
        "run",
        dir,
        "-q",
        "-s",
        "subblock-eof",
        "-d",
        "0.2",
        "--repeat",
        "3",
        "--json",
        "-",
    ];
    let done = diorace(&args);
    let result: Value = serde_json::from_slice(&done.stdout).unwrap();
    if done.status.code() == Some(3) {
        return skipped(NO_DIRECT);
    }
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(result["runs"].as_array().unwrap().len(), 3);
    assert_eq!(result["violation"]["found"], 0);
    let bound = result["violation"]["share_high"].as_f64().unwrap();
    assert!(
        (bound - (1.0 - 0.05f64.powf(1.0 / 3.0))).abs() < 1e-9,
        "{bound}"
    );
}

#[test]
fn the_doctor_says_what_it_could_not_test() {
    let dir = scratch("doctor");
    let done = diorace(&["doctor", dir.to_str().unwrap(), "-q", "-d", "5"]);
    let said = String::from_utf8_lossy(&done.stdout);
    let code = done.status.code().unwrap();
    assert!(matches!(code, 0 | 2 | 3), "{said}");
    assert!(code == 3 || said.contains("Not tested:"), "{said}");
    // Of an error that only fsync tells there is no more to be shown.
    let shown = said.contains("Evidence") || said.contains("fsync reported an error");
    assert!(code != 2 || shown, "{said}");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

/// A run is bounded by number, and what it chose can be taken from its result.
#[test]
fn choices_come_from_a_result() {
    let Some(out) = a_run("bounded", &["--operations", "200", "--processes"]) else {
        return;
    };
    let first: Value = serde_json::from_str(&read(out.join("r.json"))).unwrap();
    assert_eq!(first["choices"]["operations"], 200);
    let dir = scratch("like");
    let (from, to) = (out.join("r.json"), out.join("again.json"));
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    diorace(&[
        "run",
        dir.to_str().unwrap(),
        "-q",
        "--like",
        from,
        "--json",
        to,
    ]);
    let again: Value = serde_json::from_str(&read(out.join("again.json"))).unwrap();
    assert_eq!(again["choices"], first["choices"]);
    // What the first left on the disk must not pass for what the other wrote.
    assert_ne!(again["run"], first["run"]);
    let refused = diorace(&["run", dir.to_str().unwrap(), "--like", "/proc/self/status"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(4));
    assert!(said.contains("neither a result nor a record"), "{said}");
}
