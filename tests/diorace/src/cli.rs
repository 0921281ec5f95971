// SPDX-License-Identifier: GPL-2.0
//! The command line.

use std::path::PathBuf;

use crate::status::Status;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Races direct, buffered, mapped and asynchronous I/O on one file of any file system, and proves
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
  1  a violation: content, size or a hang that nothing excuses
  2  a collision: direct and cached I/O got in each other's way where the file system does not
     promise otherwise, or it refused a request
  3  the environment lacks something, so nothing can be said
  4  the tool itself failed, or was called wrongly

Examples:
  diorace run /mnt/data                              all scenarios, 30 seconds each
  diorace run /mnt/data --scenario false-sharing --duration 60 --json result.json
  diorace run /mnt/data --seed 7                     the same choices as another run with seed 7
  diorace list readahead                             what a scenario does and why
  diorace compare ext3=bare.json diofs=upper.json    two results side by side
  diorace selftest                                   proof that violations would be seen";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Race I/O on files in a directory and give a verdict.
    Run(RunArgs),
    /// Name the scenarios, or explain one.
    List(ListArgs),
    /// Put the JSON results of several runs side by side.
    Compare(CompareArgs),
    /// Corrupt what is read, in every way there is a name for, and see whether it is noticed.
    Selftest(SelftestArgs),
}

/// What the file system is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    /// strict on diofs, bare elsewhere.
    Auto,
    /// Direct writers beside cached writers of the same folio may collide: reported apart.
    Bare,
    /// Nothing may ever be stale or lost.
    Strict,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Directory on the file system under test. Files are made in a new directory below it and
    /// removed at the end; nothing else is touched.
    pub dir: PathBuf,

    /// Scenarios, separated by commas; "all" for every one. See `diorace list`.
    #[arg(long, short, value_delimiter = ',', default_value = "all")]
    pub scenario: Vec<String>,

    /// Seconds that each scenario races; the checks before and after come on top.
    #[arg(long, short, default_value_t = 30.0, value_name = "SECONDS")]
    pub duration: f64,

    /// Chooses offsets, sizes and order. Printed with the result, so that it can be given again.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Also write the result to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// What the file system is held to.
    #[arg(long, value_enum, default_value_t = ProfileArg::Auto)]
    pub profile: ProfileArg,

    /// Size of the file, for example 8M; each scenario has a default.
    #[arg(long, value_parser = parse_size, value_name = "BYTES")]
    pub size: Option<u64>,

    /// Threads. A scenario has as many as it needs at least; more repeat its readers and writers.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub threads: Option<u16>,

    /// Requests that an asynchronous engine keeps outstanding; each scenario has a default.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub depth: Option<u16>,

    /// A request outstanding for so many seconds counts as hung, and so does a thread that has not
    /// stopped so long after it should have.
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    pub grace: f64,

    /// No progress, only the result.
    #[arg(long, short)]
    pub quiet: bool,
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
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
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
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    eprintln!(
        "diorace: {} (see --help)",
        line.trim_start_matches("error: ")
    );
    Status::Tool
}

/// A number of bytes with an optional suffix K, M or G.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        other => return Err(format!("\"{other}\" is no unit; use K, M or G")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("\"{digits}\" is no number"))?;
    number
        .checked_shl(shift)
        .filter(|bytes| *bytes > 0 && bytes >> shift == number)
        .ok_or_else(|| format!("{text} is not a size that a file can have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("8M"), Ok(8 << 20));
        assert!(parse_size("8MM").is_err());
        assert!(parse_size("0").is_err());
        assert!(parse_size("M").is_err());
        assert!(parse_size("99999999999G").is_err());
    }
}
