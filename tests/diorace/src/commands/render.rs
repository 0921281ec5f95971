// SPDX-License-Identifier: GPL-2.0
//! `diorace report`

use std::fs;

use anyhow::{Context, Result, bail};

use crate::cli::ReportArgs;
use crate::commands::outputs;
use crate::report::{Report, SCHEMA, VERSION, table};
use crate::status::Status;

/// Writes a result in other forms.
pub fn render(args: &ReportArgs) -> Result<Status> {
    let path = args.file.display();
    let text = fs::read_to_string(&args.file).with_context(|| format!("cannot read {path}"))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{path} is no result of diorace run"))?;
    if report.schema != SCHEMA || report.version > VERSION {
        bail!(
            "{path} was written in format {} {}",
            report.schema,
            report.version
        );
    }
    outputs::prepare(&args.outputs)?;
    outputs::write(&args.outputs, &report, &table::render(&report))?;
    Ok(report.status)
}
