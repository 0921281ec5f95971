// SPDX-License-Identifier: GPL-2.0
//! `diorace compare`

use std::fs;

use anyhow::{Context, Result, bail};

use crate::cli::CompareArgs;
use crate::report::Report;
use crate::report::compare::{Column, render, status};
use crate::status::{Status, say};

/// Puts results side by side. The verdict is that of the columns that were held to strict rules, or
/// of all if none was: that an ordinary filesystem collides is no failure of the one beside it.
pub fn compare(args: &CompareArgs) -> Result<Status> {
    let columns: Result<Vec<Column>> = args.columns.iter().map(|column| read(column)).collect();
    let columns = columns?;
    say(&render(&columns));
    let strict: Vec<Column> = columns
        .iter()
        .filter(|(_, report)| report.profile == "strict")
        .cloned()
        .collect();
    Ok(status(if strict.is_empty() { &columns } else { &strict }))
}

fn read(column: &str) -> Result<Column> {
    let Some((label, path)) = column.split_once('=') else {
        bail!("\"{column}\" is not LABEL=FILE");
    };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok((label.to_owned(), Report::parse(&text, path)?))
}
