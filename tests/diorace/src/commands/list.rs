// SPDX-License-Identifier: GPL-2.0
//! `diorace list`

use anyhow::Result;

use crate::cli::ListArgs;
use crate::scenarios::{self, Scenario};
use crate::status::{Status, say};

/// Names all scenarios, or explains one.
pub fn list(args: &ListArgs) -> Result<Status> {
    let text = match &args.scenario {
        Some(name) => {
            let scenario = scenarios::find(name)?;
            format!(
                "{}: {}\n\n{}\n",
                scenario.name, scenario.title, scenario.about
            )
        }
        None => {
            let line = |s: &&Scenario| format!("{:<20} {}\n", s.name, s.title);
            let lines: String = scenarios::ALL.iter().map(line).collect();
            lines + "\n\"diorace list NAME\" says more about one of them.\n"
        }
    };
    say(&text);
    Ok(Status::Legal)
}
