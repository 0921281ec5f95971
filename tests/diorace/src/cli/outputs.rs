// SPDX-License-Identifier: GPL-2.0
//! The files that a result is written to.

use std::path::PathBuf;

use clap::Args;

/// Where a result goes besides the terminal.
#[derive(Args, Clone, Debug, Default)]
pub struct Outputs {
    /// Also write the result as JSON; "-" for standard output, in place of the summary.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,

    /// Also write it as a web page that needs nothing else: timelines, rates, tables.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,

    /// Also write it as JUnit XML: a test case for each scenario.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub junit: Option<PathBuf>,
}
