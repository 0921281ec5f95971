// SPDX-License-Identifier: GPL-2.0
//! diorace: races every way to read and write one file, and proves the result legal or not.

mod again;
mod arena;
mod bench;
mod cli;
mod commands;
mod crew;
mod klog;
mod liar;
mod live;
mod place;
mod race;
mod record;
mod report;
mod rng;
mod scenarios;
mod stack;
mod stats;
mod status;

use std::process::ExitCode;

use clap::Parser;
use engines::supervise;

use crate::cli::{Cli, Command};
use crate::status::Status;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::explain(&error).into(),
    };
    let result = match cli.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Replay(args) => commands::replay::replay(&args),
        Command::Doctor(args) => commands::doctor::doctor(&args),
        Command::Report(args) => commands::render::render(&args),
        Command::Schema(args) => commands::describe::schema(&args),
        Command::Man => commands::describe::man(),
        Command::Completions(args) => commands::describe::completions(&args),
        Command::List(args) => commands::list::list(&args),
        Command::Compare(args) => commands::compare::compare(&args),
        Command::Selftest(args) => commands::selftest::selftest(&args),
    };
    let status = result.unwrap_or_else(|error| {
        eprintln!("diorace: {error:#}");
        Status::of_error(&error)
    });
    // What is stuck in the kernel may keep this process from ending, but not its parent, nor those who
    // read what it says.
    supervise::give_up(status.code().into());
    supervise::fall_silent();
    status.into()
}
