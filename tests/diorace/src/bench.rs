// SPDX-License-Identifier: GPL-2.0
//! What a scenario is given to work with.

use std::time::Duration;

use oracle::Profile;

use crate::arena::{Arena, Geometry};

/// The choices of the person who started the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long to race.
    pub duration: Duration,
    /// After what time something is hung.
    pub grace: Duration,
    /// The seed.
    pub seed: u64,
    /// Size of the file.
    pub size: Option<u64>,
    /// Number of threads.
    pub threads: Option<usize>,
    /// Requests outstanding.
    pub depth: Option<usize>,
    /// What the file system is held to.
    pub profile: Profile,
    /// Whether progress is shown.
    pub live: bool,
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
}

impl Bench<'_> {
    /// The file's size: as wished, or the scenario's default; at least `least`, a multiple of `unit`.
    pub fn size(&self, default: u64, least: u64, unit: u64) -> u64 {
        let wish = self.settings.size.unwrap_or(default).max(least);
        wish.next_multiple_of(unit.max(1))
    }

    /// The queue depth.
    pub fn depth(&self, default: usize) -> usize {
        self.settings.depth.unwrap_or(default)
    }
}
