// SPDX-License-Identifier: GPL-2.0
//! Power cuts, and what fsync had acknowledged before them.
//!
//! Three steps. In a guest, `workload` writes by every interface to files of a mounted directory and
//! notes each acknowledged sync on a device of its own. The disk below logs every write and every
//! flush, the notes among them, so that their order is known. On the host, `cut` turns such a log into
//! images: what a disk with a volatile cache could hold had the power failed at that entry. In another
//! guest, `verify` compares the files on such an image with what had been acknowledged by then.
//!
//! What each worker does is computed from the seed alone ([`plan`]), so nothing else need be recorded.

mod acks;
mod control;
mod cut;
mod hands;
mod history;
mod image;
mod log;
mod names;
mod plan;
mod rng;
mod verify;
mod word;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "powerloss", about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write to the files of a directory until killed, noting what was acknowledged
    Workload {
        /// A directory of the filesystem under test
        dir: PathBuf,
        /// A device (or file) for the notes, whose writes are logged with the filesystem's
        #[arg(long)]
        acks: PathBuf,
        /// What the plans of the workers are computed from
        #[arg(long)]
        seed: u64,
        /// Create this file once the workers run
        #[arg(long)]
        started: Option<PathBuf>,
        /// End after so many seconds
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Make images of what cuts would leave from a log of writes
    Cut(cut::Args),
    /// Compare a directory with what had been acknowledged
    Verify {
        /// The directory that the workload wrote to
        dir: PathBuf,
        /// What `cut` left beside the image
        #[arg(long)]
        acks: PathBuf,
        /// Read around the page cache
        #[arg(long)]
        direct: bool,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Workload {
            dir,
            acks,
            seed,
            started,
            seconds,
        } => workload::run(&dir, &acks, seed, started.as_deref(), seconds).map(|()| true),
        Command::Cut(args) => cut::run(&args).map(|()| true),
        Command::Verify { dir, acks, direct } => verify::run(&dir, &acks, direct),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("powerloss: {error:#}");
            ExitCode::from(2)
        }
    }
}
