// SPDX-License-Identifier: GPL-2.0
//! `diorace run`

use anyhow::Result;

use crate::cli::RunArgs;
use crate::commands::session::Session;
use crate::status::Status;

/// Races on files in a directory.
pub fn run(args: &RunArgs) -> Result<Status> {
    let session = Session {
        dir: args.dir.clone(),
        choices: args.choices.clone(),
        outputs: args.outputs.clone(),
        live: !args.quiet,
        record: args.record.clone(),
        script: None,
    };
    session.race()
}
