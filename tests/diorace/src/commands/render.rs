// SPDX-License-Identifier: GPL-2.0
//! `diorace report`

use std::fs;

use anyhow::{Context, Result};

use crate::cli::ReportArgs;
use crate::commands::outputs;
use crate::report::{Report, table};
use crate::status::Status;

/// Writes a result in other forms.
pub fn render(args: &ReportArgs) -> Result<Status> {
    let path = args.file.display().to_string();
    let text = fs::read_to_string(&args.file).with_context(|| format!("cannot read {path}"))?;
    let report = Report::parse(&text, &path)?;
    outputs::prepare(&args.outputs)?;
    outputs::write(&args.outputs, &report, &table::render(&report))?;
    Ok(report.status)
}
