// SPDX-License-Identifier: GPL-2.0
//! The command line.

mod choices;
mod outputs;
mod parse;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use choices::{Choices, ProfileArg, Until, quote};
pub use outputs::Outputs;
pub use parse::nearest;

use crate::status::Status;

/// Races direct, buffered, mapped and asynchronous I/O on one file of any filesystem, and proves
/// the result legal or not.
///
/// Every 8-byte word written says which write made it and where it belongs. From the order in which
/// requests were submitted and completions seen follows, for each word of each read, the set of values
/// that are legal. What falls outside it is named, explained and counted.
///
/// Needs no root, no scratch device, no libaio.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Exit codes:
  0  everything that was read was legal
  1  a violation: wrong or unreadable content, a size, a hang, a request that completed twice,
     an error of fsync that nothing excuses, or a complaint of the kernel
  2  a collision: direct and cached I/O got in each other's way where the filesystem does not
     promise otherwise, or it refused a request (under --profile strict: or a request failed
     though nothing explains it)
  3  the environment lacks something, so nothing can be said
  4  the tool itself failed, or was called wrongly

Examples:
  Is this filesystem affected when direct and cached I/O mix? One minute, plain words:
    diorace doctor /mnt/data
  All scenarios, 30 seconds each:
    diorace run /mnt/data
  One scenario, longer, with everything on record:
    diorace run /mnt/data -s false-sharing -d 60 --html report.html --json report.json
  How often, and how soon? Twenty runs, with confidence intervals:
    diorace run /mnt/data -s false-sharing --repeat 20 --until collision
  The smallest command line that still fails:
    diorace run /mnt/data -s false-sharing --minimise
  The same requests again, in the recorded order:
    diorace run /mnt/data -s false-sharing --seed 7 --record race.log
    diorace replay race.log /mnt/data --in-order
  In CI, where collisions of an ordinary filesystem are no failure:
    diorace run . -d 10 --junit diorace.xml || [ $? = 2 ]
  Proof that violations would be seen:
    diorace selftest";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Race I/O on files in a directory and give a verdict.
    Run(RunArgs),
    /// Find out whether a filesystem is affected when direct and cached I/O mix: one minute, plain
    /// words.
    Doctor(DoctorArgs),
    /// Make the requests of a recorded run again.
    ///
    /// Each thread makes its recorded requests in their recorded order. What a replay repeats is the
    /// choices, not the timing: how long a request takes, which processor a thread runs on and when
    /// the kernel writes back are as they fall out. Scenarios without a record of requests, and the
    /// threads that only disturb the cache, are repeated by their seed.
    Replay(ReplayArgs),
    /// Name the scenarios, or explain one.
    List(ListArgs),
    /// Put the JSON results of several runs side by side.
    Compare(CompareArgs),
    /// Write a JSON result in other forms.
    Report(ReportArgs),
    /// Corrupt what is read, in every way there is a name for, and see whether it is noticed.
    Selftest(SelftestArgs),
    /// Print the JSON schema of the results.
    Schema(SchemaArgs),
    /// Print the manual page.
    Man,
    /// Print completions for a shell.
    Completions(CompletionsArgs),
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Directory on the filesystem under test. Files are made in a new directory below it and
    /// removed at the end; nothing else is touched.
    pub dir: PathBuf,

    /// What to race.
    #[command(flatten)]
    pub choices: Choices,

    /// Where the result goes.
    #[command(flatten)]
    pub outputs: Outputs,

    /// Run so many times with consecutive seeds, and say how often and how soon something is found,
    /// with confidence intervals; if nothing is found, what that proves. Of the outputs only --json
    /// goes with it.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["minimise", "record", "html", "junit"],
          value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: Option<u32>,

    /// If something is found, look for the smallest command line that still finds it: a violation if
    /// the first run ends with one or --until asks for it, otherwise also a collision. No output file
    /// and no --keep goes with it.
    #[arg(long, conflicts_with_all = ["record", "html", "junit", "json"])]
    pub minimise: bool,

    /// Seconds after which --minimise is content with what it has.
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, default_value_t = 600.0,
          requires = "minimise")]
    pub budget: f64,

    /// Record every request in this file, for `diorace replay`.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Leave the files of a scenario in which something was found, for other tools to look at. Not of
    /// those that make their files anew all the time, nor for what only the kernel log says.
    #[arg(long, conflicts_with_all = ["repeat", "minimise"])]
    pub keep: bool,

    /// Take all choices (scenarios, seed, sizes and so on) from a JSON result or a record of `run`. None
    /// can be given besides.
    #[arg(long, value_name = "FILE", conflicts_with = "Choices")]
    pub like: Option<PathBuf>,

    /// No progress, only the result.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// What `run --record` wrote.
    pub file: PathBuf,

    /// Directory to race in, if not the recorded one.
    pub dir: Option<PathBuf>,

    /// Begin a request only when all have ended that had ended before it in the record. What
    /// overlapped may overlap again, what did not will not.
    #[arg(long)]
    pub in_order: bool,

    /// Where the result goes.
    #[command(flatten)]
    pub outputs: Outputs,

    /// No progress, only the result.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Directory on the filesystem to be examined.
    pub dir: PathBuf,

    /// Seconds in all.
    #[arg(long, short, value_parser = parse::seconds, default_value_t = 60.0, value_name = "SECONDS")]
    pub duration: f64,

    /// Chooses offsets, sizes and order.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Where the result goes.
    #[command(flatten)]
    pub outputs: Outputs,

    /// No progress, only the result.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What `run --json` wrote.
    pub file: PathBuf,

    /// Where the result goes.
    #[command(flatten)]
    pub outputs: Outputs,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The schema of `run --repeat --json` instead.
    #[arg(long)]
    pub repeat: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The scenario to explain at length.
    pub scenario: Option<String>,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A column each: its heading, and the file that `run --json` wrote.
    #[arg(required = true, value_name = "LABEL=FILE")]
    pub columns: Vec<String>,
}

/// Arguments of `selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// Seconds within which each kind of corruption must be seen.
    #[arg(long, value_parser = parse::seconds, default_value_t = 20.0, value_name = "SECONDS")]
    pub duration: f64,

    /// Chooses what is corrupted.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
}

/// Prints what was asked for, or in one line what is wrong with the command line.
pub fn explain(error: &clap::Error) -> Status {
    if !error.use_stderr() {
        let _ = error.print();
        return Status::Legal;
    }
    let line = one_line(&error.render().to_string());
    eprintln!("diorace: {line} (see --help)");
    Status::Tool
}

/// What an error says, without how to use what instead.
fn one_line(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:"));
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("For more information"));
    let mut all = String::new();
    for line in lines {
        let goes_on = all.is_empty() || all.ends_with(':') || line.starts_with('[');
        match (all.is_empty(), goes_on) {
            (true, _) => {}
            (false, true) => all.push(' '),
            (false, false) => all.push_str("; "),
        }
        all.push_str(line.trim_start_matches("error: "));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_of_sentences() {
        let said = |args: &[&str]| {
            let error = Cli::try_parse_from(args).unwrap_err();
            one_line(&error.render().to_string())
        };
        assert_eq!(
            said(&["diorace", "doctro"]),
            "unrecognized subcommand 'doctro'; tip: a similar subcommand exists: 'doctor'"
        );
        assert_eq!(
            said(&["diorace", "run"]),
            "the following required arguments were not provided: <DIR>"
        );
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
