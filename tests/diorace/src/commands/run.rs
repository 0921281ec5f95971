// SPDX-License-Identifier: GPL-2.0
//! `diorace run`

use anyhow::Result;

use crate::cli::RunArgs;
use crate::commands::minimise::minimise;
use crate::commands::repeat::repeat;
use crate::commands::session::Session;
use crate::report::table;
use crate::scenarios;
use crate::status::Status;

/// Races on files in a directory.
pub fn run(args: &RunArgs) -> Result<Status> {
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
        outputs: args.outputs.clone(),
        live: !args.quiet,
        command: None,
        record: args.record.clone(),
        script: None,
    };
    session.race(&chosen, table::render)
}
