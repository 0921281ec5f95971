// SPDX-License-Identifier: GPL-2.0
//! `diorace list`

use anyhow::Result;

use crate::cli::ListArgs;
use crate::scenarios;
use crate::status::Status;

/// Names all scenarios, or explains one.
pub fn list(args: &ListArgs) -> Result<Status> {
    match &args.scenario {
        Some(name) => {
            let scenario = scenarios::find(name)?;
            println!(
                "{}: {}\n\n{}",
                scenario.name, scenario.title, scenario.about
            );
        }
        None => {
            for scenario in scenarios::ALL {
                println!("{:<20} {}", scenario.name, scenario.title);
            }
            println!("\n\"diorace list NAME\" says more about one of them.");
        }
    }
    Ok(Status::Legal)
}
