// SPDX-License-Identifier: GPL-2.0
//! `diorace replay`

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use crate::cli::{ReplayArgs, quote};
use crate::commands::session::Session;
use crate::record::Script;
use crate::report::table;
use crate::scenarios;
use crate::status::Status;

/// Makes the requests of a record again.
pub fn replay(args: &ReplayArgs) -> Result<Status> {
    let (header, script) = Script::read(&args.file, args.in_order)?;
    let chosen = scenarios::select(&header.choices.scenario)?;
    let dir = args.dir.clone();
    let dir = dir.unwrap_or_else(|| PathBuf::from(&header.dir));
    let session = Session {
        command: Some(format!(
            "diorace replay {} {}{}",
            quote(&args.file.to_string_lossy()),
            quote(&dir.to_string_lossy()),
            if args.in_order { " --in-order" } else { "" }
        )),
        dir,
        choices: header.choices,
        keep: false,
        outputs: args.outputs.clone(),
        live: !args.quiet,
        record: None,
        script: Some(Arc::new(script)),
    };
    session.race(&chosen, table::render)
}
