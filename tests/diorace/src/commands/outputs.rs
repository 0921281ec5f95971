// SPDX-License-Identifier: GPL-2.0
//! Writes a result to where it was asked for.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cli::Outputs;
use crate::report::{Report, html, junit};
use crate::status::say;

/// Finds out whether the files can be written: better now than after the race.
pub fn prepare(outputs: &Outputs) -> Result<()> {
    let mut seen: Vec<&PathBuf> = Vec::new();
    for path in files(outputs) {
        if is_stdout(path) {
            bail!("only --json can go to standard output; a file of this name is ./-");
        }
        if seen.contains(&path) {
            bail!("two results cannot both go to {}", path.display());
        }
        seen.push(path);
        let open = OpenOptions::new().append(true).create(true).open(path);
        open.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// There will be no result: removes what [`prepare`] has made.
pub fn discard(outputs: &Outputs) {
    for path in files(outputs) {
        if fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Prints the result and writes the files.
pub fn write(outputs: &Outputs, report: &Report, text: &str) -> Result<()> {
    let json = || -> Result<String> { Ok(serde_json::to_string_pretty(report)? + "\n") };
    if outputs.json.as_deref().is_some_and(is_stdout) {
        say(&json()?);
    } else {
        say(text);
    }
    // One that cannot be written is no reason not to write the others.
    let mut done = Vec::new();
    if let Some(path) = outputs.json.as_ref().filter(|path| !is_stdout(path)) {
        done.push(json().and_then(|text| write_file(path, &text)));
    }
    if let Some(path) = &outputs.html {
        done.push(write_file(path, &html::render(report)));
    }
    if let Some(path) = &outputs.junit {
        done.push(junit::render(report).and_then(|text| write_file(path, &text)));
    }
    done.into_iter().collect()
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn files(outputs: &Outputs) -> impl Iterator<Item = &PathBuf> {
    let json = outputs.json.as_ref().filter(|path| !is_stdout(path));
    json.into_iter().chain(&outputs.html).chain(&outputs.junit)
}

/// Only JSON can go to standard output.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}
