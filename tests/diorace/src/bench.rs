// SPDX-License-Identifier: GPL-2.0
//! What a scenario is given to work with.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use engines::Kind;
use oracle::word::mix;
use oracle::{Key, Profile};

use crate::arena::{Arena, Geometry};
use crate::cli::{Until, nearest};
use crate::crew::pulse::Role;
use crate::record::{Log, Script};

/// Name under which the threads count that only disturb the cache.
pub const DISTURBER: &str = "advice";

/// Name of the thread that appends in both ways at once.
pub const BOTH_APPEND: &str = "both-append";

/// The choices of the person who started the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long to race.
    pub duration: Duration,
    /// After what time something is hung.
    pub grace: Duration,
    /// The seed.
    pub seed: u64,
    /// Distinguishes what this run writes from what others wrote, also with the same seed.
    pub run: u64,
    /// Size of the file.
    pub size: Option<u64>,
    /// Number of threads.
    pub threads: Option<usize>,
    /// Requests outstanding.
    pub depth: Option<usize>,
    /// What the filesystem is held to.
    pub profile: Profile,
    /// Whether what is written lands on several devices.
    pub mirrored: bool,
    /// Which threads take part.
    pub wanted: Wanted,
    /// What ends a scenario before its time.
    pub until: Until,
    /// Operations after which a scenario ends.
    pub operations: Option<u64>,
    /// Whether every worker has a process of its own.
    pub processes: bool,
    /// Whether a file in which something was found stays.
    pub keep: bool,
    /// Whether progress is shown.
    pub live: bool,
    /// The how manieth scenario this is, of how many.
    pub turn: (usize, usize),
    /// Where requests are recorded.
    pub log: Option<Arc<Log>>,
    /// Requests to make again, in place of those that a scenario would choose.
    pub script: Option<Arc<Script>>,
}

/// Threads by engine and role; none named means all.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Vec<(String, Option<Role>)>);

impl Wanted {
    /// Reads `ENGINE` or `ENGINE:ROLE`.
    pub fn parse(words: &[String]) -> Result<Self> {
        words
            .iter()
            .map(|word| thread(word))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Whether a word that the report names a thread by can be given here. Those who change or clone the
    /// file cannot be chosen, nor left out.
    pub fn takes(word: &str) -> bool {
        thread(word).is_ok()
    }

    /// Whether a thread takes part.
    pub fn has(&self, engine: &str, role: Role) -> bool {
        let matches = |(name, only): &(String, Option<Role>)| {
            name == engine && only.is_none_or(|only| only == role)
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}

fn thread(word: &str) -> Result<(String, Option<Role>)> {
    let (engine, role) = match word.split_once(':') {
        Some((engine, role)) => (engine, Some(role)),
        None => (word, None),
    };
    let engines = || Kind::ALL.iter().map(|(name, _)| *name);
    let names = || engines().chain([DISTURBER, BOTH_APPEND]);
    if !names().any(|name| name == engine) {
        match nearest(engine, names()) {
            Some(near) => bail!("no engine is called \"{engine}\"; did you mean \"{near}\"?"),
            None => bail!(
                "no engine is called \"{engine}\"; there are {}",
                names().collect::<Vec<_>>().join(", ")
            ),
        }
    }
    let role = role.map(
        |name| match Role::ALL.into_iter().find(|role| role.name() == name) {
            Some(role) => Ok(role),
            None => bail!("\"{name}\" is no role; there are write, read, disturb and both"),
        },
    );
    Ok((engine.to_owned(), role.transpose()?))
}

/// Settings and surroundings.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The choices.
    pub settings: &'a Settings,
    /// Where files go.
    pub arena: &'a Arena,
    /// What they ask for.
    pub geometry: Geometry,
    /// The scenario's name.
    pub scenario: &'static str,
    /// The size that it asked for and was told.
    taken: Cell<Option<u64>>,
    /// Whether it asked how many requests are to be outstanding.
    asked_depth: Cell<bool>,
    /// Whether it asked for the number of threads.
    asked_threads: Cell<bool>,
}

impl<'a> Bench<'a> {
    /// For one scenario.
    pub fn new(
        settings: &'a Settings,
        arena: &'a Arena,
        geometry: Geometry,
        scenario: &'static str,
    ) -> Self {
        Self {
            settings,
            arena,
            geometry,
            scenario,
            taken: Cell::default(),
            asked_depth: Cell::default(),
            asked_threads: Cell::default(),
        }
    }

    /// The file's size: as wished, or the scenario's default; at least `least`, a multiple of `unit`.
    pub fn size(&self, default: u64, least: u64, unit: u64) -> u64 {
        let wish = self.settings.size.unwrap_or(default).max(least);
        let size = wish.next_multiple_of(unit.max(1));
        self.taken.set(Some(size));
        size
    }

    /// What to say of choices that had another effect than was wished, or none.
    pub fn unheeded(&self) -> Vec<String> {
        let Settings { depth, threads, .. } = self.settings;
        let none = |name: &str, wish: Option<usize>, asked: &Cell<bool>| {
            let wish = wish.filter(|_| !asked.get())?;
            Some(format!("--{name} {wish} is of no effect here"))
        };
        self.other_size()
            .into_iter()
            .chain(none("depth", *depth, &self.asked_depth))
            .chain(none("threads", *threads, &self.asked_threads))
            .collect()
    }

    fn other_size(&self) -> Option<String> {
        let wish = self.settings.size?;
        match self.taken.get() {
            Some(taken) if taken == wish => None,
            Some(taken) => Some(format!(
                "--size {wish} became {taken}: it is too small here, or no multiple of what is needed"
            )),
            None => Some(format!("--size {wish} is of no effect here")),
        }
    }

    /// The number of a file of the scenario. No file of another scenario has it: what those have left on
    /// the disk must not pass for its content.
    pub fn file(&self, nth: u64) -> u64 {
        let name = self.scenario.bytes();
        name.fold(0, |number, byte| mix(number ^ u64::from(byte))) ^ nth
    }

    /// The key of its words.
    pub fn key(&self, nth: u64) -> Key {
        Key::new(self.settings.run, self.file(nth))
    }

    /// The queue depth.
    pub fn depth(&self, default: usize) -> usize {
        self.asked_depth.set(true);
        self.settings.depth.unwrap_or(default)
    }

    /// The number of threads that was wished, if any. Asked by who has others to add.
    pub fn threads(&self) -> Option<usize> {
        self.asked_threads.set(true);
        self.settings.threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::report::samples;

    #[test]
    fn a_choice_that_nothing_asks_for_is_told() {
        let mut choices = samples::choices(7);
        (choices.depth, choices.threads) = (Some(3), Some(5));
        let settings = choices.settings(&samples::place(), false).unwrap();
        let arena = Arena::new(&std::env::temp_dir()).unwrap();
        let bench = Bench::new(&settings, &arena, Geometry::USUAL, "x");
        assert_eq!(bench.depth(4), 3);
        assert_eq!(
            bench.unheeded(),
            ["--threads 5 is of no effect here".to_owned()]
        );
        assert_eq!(bench.threads(), Some(5));
        assert!(bench.unheeded().is_empty());
    }

    #[test]
    fn threads_are_chosen_by_engine_and_role() {
        let wanted = |words: &[&str]| {
            Wanted::parse(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let some = wanted(&["libaio:write", "mmap"]).unwrap();
        assert!(some.has("libaio", Role::Write) && !some.has("libaio", Role::Read));
        assert!(some.has("mmap", Role::Read) && !some.has("buffered", Role::Read));
        assert!(wanted(&[]).unwrap().has("buffered", Role::Read));
        let error = wanted(&["libao"]).unwrap_err().to_string();
        assert!(error.contains("did you mean \"libaio\""), "{error}");
        assert!(wanted(&["mmap:rite"]).is_err());
        assert!(Wanted::takes("both-append:both") && Wanted::takes("advice:disturb"));
        assert!(!Wanted::takes("changes:disturb") && !Wanted::takes("clone:disturb"));
    }
}
