// SPDX-License-Identifier: GPL-2.0
//! The choices that define a run: given on the command line, printed with the result, recorded,
//! replayed and shrunk.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bench::{Settings, Wanted};
use crate::cli::parse::{bytes, seconds};
use crate::place::Place;

/// What the filesystem is held to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ProfileArg {
    /// strict on diofs, bare elsewhere.
    #[default]
    Auto,
    /// Direct writers beside cached writers of the same folio may collide: reported apart.
    Bare,
    /// Nothing may ever be stale or lost.
    Strict,
}

/// What ends a run before its time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Nothing: every scenario has its full time.
    #[default]
    End,
    /// The first violation.
    Violation,
    /// The first violation or collision.
    Collision,
}

/// What to race, for how long, and how it is judged.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Choices {
    /// Scenarios, separated by commas; "all" for every one. See `diorace list`.
    #[arg(
        long,
        short,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub scenario: Vec<String>,

    /// Seconds that each scenario races; the checks before and after come on top.
    #[arg(long, short, value_parser = seconds, default_value_t = 30.0, value_name = "SECONDS")]
    pub duration: f64,

    /// Chooses offsets, sizes and order. Printed with the result, so that it can be given again.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Only these threads of a scenario, separated by commas: ENGINE, or ENGINE:ROLE as the report
    /// names them, for example `libaio:write,mmap`. Those that change or clone the file (`changes`,
    /// `clone`) cannot be chosen: they always take part.
    #[arg(long, value_name = "ENGINE[:ROLE]", value_delimiter = ',')]
    #[serde(default)]
    pub engines: Vec<String>,

    /// What the filesystem is held to.
    #[arg(long, value_enum, default_value_t = ProfileArg::Auto)]
    pub profile: ProfileArg,

    /// Size of the file, for example 8M; each scenario has a default. Most need a least size or a
    /// multiple of something, and for some it is of no effect: the report says so.
    #[arg(long, value_parser = bytes, value_name = "BYTES")]
    pub size: Option<u64>,

    /// Threads. A scenario has as many as it needs at least; more repeat its readers and writers.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub threads: Option<u16>,

    /// Requests that an asynchronous engine keeps outstanding; each scenario has a default.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub depth: Option<u16>,

    /// Seconds after which a request counts as hung if no other has ended meanwhile; if others have,
    /// five times as many. A thread that does not stop counts as well.
    #[arg(long, value_parser = seconds, default_value_t = 60.0, value_name = "SECONDS")]
    pub grace: f64,

    /// Successful operations after which each scenario ends, if its time is not up before.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    #[serde(default)]
    pub operations: Option<u64>,

    /// Every writer and reader in a process of its own, in place of a thread. `one-descriptor` is
    /// skipped, and scenarios with a loop of their own keep to threads.
    #[arg(long)]
    #[serde(default)]
    pub processes: bool,

    /// What ends the run early, this scenario and those after it.
    #[arg(long, value_enum, default_value_t = Until::End, value_name = "WHAT")]
    #[serde(default)]
    pub until: Until,
}

impl Choices {
    /// What a scenario is told. The seed must have been chosen.
    pub fn settings(&self, place: &Place, live: bool) -> Result<Settings> {
        let Some(seed) = self.seed else {
            bail!("no seed was chosen");
        };
        Ok(Settings {
            duration: Duration::from_secs_f64(self.duration),
            grace: Duration::from_secs_f64(self.grace),
            seed,
            run: 0,
            size: self.size,
            threads: self.threads.map(usize::from),
            depth: self.depth.map(usize::from),
            profile: place.profile(self.profile),
            mirrored: place.is_mirrored(),
            wanted: Wanted::parse(&self.engines)?,
            until: self.until,
            operations: self.operations,
            processes: self.processes,
            keep: false,
            live,
            turn: (1, 1),
            log: None,
            script: None,
        })
    }

    /// The command line that makes these choices, as words.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["--scenario".to_owned(), self.scenario.join(",")];
        let mut add = |name: &str, value: Option<String>| {
            words.extend(
                value
                    .map(|value| [format!("--{name}"), value])
                    .into_iter()
                    .flatten(),
            );
        };
        add("duration", Some(self.duration.to_string()));
        add("seed", self.seed.map(|n| n.to_string()));
        let engines = (!self.engines.is_empty()).then(|| self.engines.join(","));
        add("engines", engines);
        add("profile", named(self.profile));
        add("size", self.size.map(|n| n.to_string()));
        add("threads", self.threads.map(|n| n.to_string()));
        add("depth", self.depth.map(|n| n.to_string()));
        let grace = (self.grace != 60.0).then(|| self.grace.to_string());
        add("grace", grace);
        add("operations", self.operations.map(|n| n.to_string()));
        add("until", named(self.until));
        words.extend(self.processes.then(|| "--processes".to_owned()));
        words
    }

    /// The whole command line, to be pasted into a shell.
    pub fn command(&self, dir: &str) -> String {
        let words = [quote(dir)].into_iter().chain(self.words());
        format!("diorace run {}", words.collect::<Vec<_>>().join(" "))
    }
}

/// The name of a value that is not the default.
fn named<T: ValueEnum + Default + PartialEq>(value: T) -> Option<String> {
    let name = value.to_possible_value()?.get_name().to_owned();
    (value != T::default()).then_some(name)
}

/// A word as a shell takes it.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:=@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choices: Choices,
    }

    #[test]
    fn the_command_line_repeats_the_choices() {
        let line = "x --scenario a,b --duration 2.5 --seed 9 --engines libaio:write,mmap \
                    --profile strict --size 1M --threads 12 --depth 3 --grace 5 --until collision \
                    --operations 700 --processes";
        let first = Line::try_parse_from(line.split_whitespace())
            .unwrap()
            .choices;
        let words = std::iter::once("x".to_owned()).chain(first.words());
        let again = Line::try_parse_from(words).unwrap().choices;
        assert_eq!(first, again);
        assert_eq!(first.size, Some(1 << 20));
    }

    #[test]
    fn a_shell_reads_what_is_quoted() {
        assert_eq!(quote("/mnt/a"), "/mnt/a");
        assert_eq!(quote("/mnt/a b'c"), r"'/mnt/a b'\''c'");
    }
}
