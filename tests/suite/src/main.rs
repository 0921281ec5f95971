// SPDX-License-Identifier: GPL-2.0

//! `diofs-suite`: tests of the diofs that is loaded into the running kernel.
//!
//! Functional tests do the same calls on diofs and on the bare filesystem below it and compare the
//! answers. Coherence tests hold a direct write in flight on a device that waits, do something to
//! the same bytes meanwhile, and check what everybody sees afterwards. Both run on several lowers.

#![deny(unsafe_code)]

mod coherence;
mod faults;
mod functional;
mod harness;
mod lower;
mod model;
mod patience;
mod pattern;
mod stats;
#[expect(unsafe_code, reason = "system calls")]
mod sys;
mod twin;

use anyhow::{Result, anyhow, bail};
use clap::{Parser, Subcommand};
use harness::{Plan, Scope, Test};
use lower::Kind;
use lower::stack::FsKind;
use std::path::PathBuf;
use std::process::ExitCode;

/// Tests of a loaded diofs: functional and coherence, on several lower filesystems
#[derive(Parser)]
#[command(version, after_help = "The disks are overwritten.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run tests, all of them or those whose name contains one of the filters
    Run(RunArgs),
    /// List the tests and the lower filesystems
    List,
}

#[derive(clap::Args)]
struct RunArgs {
    /// A disk to make filesystems on; overwritten. Default: DIOFS_DISK0, DIOFS_DISK1, ...
    #[arg(long, value_name = "DEV")]
    disk: Vec<PathBuf>,
    /// A lower filesystem to test on; default: each
    #[arg(long, value_name = "NAME")]
    lower: Vec<String>,
    /// What to test; the others are for testing the tests
    #[arg(long, value_enum, default_value = "diofs")]
    fs: FsKind,
    /// Leave out tests whose name contains this
    #[arg(long, value_name = "FILTER")]
    without: Vec<String>,
    /// Seed of what is chosen at random; default: from the clock
    #[arg(long)]
    seed: Option<u64>,
    /// Print what the bare lower answers to each call of a functional test
    #[arg(long)]
    steps: bool,
    /// Multiply every time limit, for a slow kernel or machine. Default: DIOFS_PATIENCE, or 1
    #[arg(long, value_name = "FACTOR")]
    patience: Option<u32>,
    /// Run only tests whose name contains one of these
    filters: Vec<String>,
}

impl RunArgs {
    fn plan(self) -> Result<Plan> {
        let lowers = match &self.lower[..] {
            [] => Kind::ALL.to_vec(),
            names => names
                .iter()
                .map(|n| Kind::named(n).ok_or_else(|| anyhow!("no lower is named '{n}'")))
                .collect::<Result<_>>()?,
        };
        Ok(Plan {
            fs: self.fs,
            disks: if self.disk.is_empty() {
                disks_from_environment()
            } else {
                self.disk
            },
            lowers,
            filters: self.filters,
            without: self.without,
            show_steps: self.steps,
            seed: self.seed.unwrap_or_else(seed_from_clock),
        })
    }
}

fn disks_from_environment() -> Vec<PathBuf> {
    (0..)
        .map_while(|n| std::env::var_os(format!("DIOFS_DISK{n}")))
        .map(PathBuf::from)
        .collect()
}

fn seed_from_clock() -> u64 {
    std::time::UNIX_EPOCH
        .elapsed()
        .map_or(1, |t| t.as_nanos() as u64 % 1_000_000_007)
}

fn all_tests() -> Vec<Test> {
    [
        functional::tests(),
        coherence::tests(),
        model::tests(),
        faults::tests(),
    ]
    .concat()
}

fn list() {
    for kind in Kind::ALL {
        println!("lower {}", kind.name());
    }
    for test in all_tests() {
        let scope = match test.scope {
            Scope::Every => "every lower",
            Scope::Once => "one lower",
        };
        println!("test {} ({scope})", test.name);
    }
}

fn run(args: RunArgs) -> Result<bool> {
    if !sys::process::is_root() {
        bail!("the tests mount filesystems and must be run as root");
    }
    patience::set(args.patience.unwrap_or_else(patience::from_environment));
    harness::run(&args.plan()?, &all_tests())
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::List => {
            list();
            Ok(true)
        }
        Command::Run(args) => run(args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("diofs-suite: {e:#}");
            ExitCode::from(2)
        }
    }
}
