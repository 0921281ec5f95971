// SPDX-License-Identifier: GPL-2.0
//! `diorace run`

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cli::{Choices, RunArgs};
use crate::commands::minimise::minimise;
use crate::commands::repeat::repeat;
use crate::commands::session::Session;
use crate::report::table;
use crate::scenarios;
use crate::status::Status;

/// Races on files in a directory.
pub fn run(args: &RunArgs) -> Result<Status> {
    let like = args
        .like
        .as_ref()
        .map(|path| choices_of(path))
        .transpose()?;
    let mut args = args.clone();
    args.choices = like.unwrap_or(args.choices);
    let args = &args;
    if let Some(times) = args.repeat {
        return repeat(args, times);
    }
    if args.minimise {
        return minimise(args);
    }
    let chosen = scenarios::select(&args.choices.scenario)?;
    let session = Session {
        dir: args.dir.clone(),
        choices: args.choices.clone(),
        keep: args.keep,
        outputs: args.outputs.clone(),
        live: !args.quiet,
        command: None,
        record: args.record.clone(),
        script: None,
    };
    session.race(&chosen, table::render)
}

/// The choices that a JSON result or a record was made with.
fn choices_of(path: &Path) -> Result<Choices> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    // A record has them on its second line.
    let whole = serde_json::from_str(&text).ok();
    let value: Option<Value> =
        whole.or_else(|| serde_json::from_str(text.lines().nth(1).unwrap_or_default()).ok());
    let choices = value.and_then(|value| value.get("choices").cloned());
    let choices = choices.and_then(|choices| serde_json::from_value(choices).ok());
    choices
        .filter(|choices: &Choices| scenarios::select(&choices.scenario).is_ok())
        .with_context(|| format!("{name} is neither a result nor a record of `diorace run`"))
}
