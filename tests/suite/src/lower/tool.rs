// SPDX-License-Identifier: GPL-2.0

//! Running the system's own programs.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program and returns what it printed; anything but exit code 0 is an error.
pub fn run(program: &str, args: &[&str]) -> Result<String> {
    run_to(program, args, &[0])
}

/// Like [`run`], where each of these exit codes is fine.
pub fn run_to(program: &str, args: &[&str], codes: &[i32]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_string();
    if !output.status.code().is_some_and(|c| codes.contains(&c)) {
        bail!("{program} {}: {}: {text}", args.join(" "), output.status);
    }
    Ok(text)
}
