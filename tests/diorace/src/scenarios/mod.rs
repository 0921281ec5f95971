// SPDX-License-Identifier: GPL-2.0
//! The scenarios by name.

mod append_flag;
mod blocks;
mod cast;
mod changing_buffer;
mod cow;
mod cycle;
mod direct_mix;
mod every_path;
mod everything;
mod extend_stat;
mod false_sharing;
mod invalidate_failure;
mod last_reference;
mod mmap_self;
mod one_descriptor;
mod overlap;
pub mod pairs;
mod processes;
mod readahead;
mod resize;
mod sharing;
mod solo;
mod subblock_eof;
mod toggle;

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::cli::nearest;
use crate::race::plan::Plan;
use crate::report::ScenarioReport;

pub use false_sharing::layout as shared_pages;

/// Something to race, with a name.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is, on one line.
    pub title: &'static str,
    /// What it does and why, at length.
    pub about: &'static str,
    /// How.
    pub kind: Kind,
}

/// How a scenario runs.
pub enum Kind {
    /// A plan for the common machinery.
    Race(fn(&Bench<'_>) -> Plan),
    /// Its own way.
    Own(fn(&Bench<'_>) -> Result<ScenarioReport>),
}

/// Every scenario.
pub static ALL: &[&Scenario] = &[
    &invalidate_failure::SCENARIO,
    &false_sharing::SCENARIO,
    &readahead::SCENARIO,
    &extend_stat::SCENARIO,
    &subblock_eof::SCENARIO,
    &mmap_self::SCENARIO,
    &every_path::SCENARIO,
    &direct_mix::LIBAIO,
    &direct_mix::URING,
    &cycle::SCENARIO,
    &overlap::DIRECT,
    &overlap::SELF,
    &sharing::SECTOR,
    &sharing::BLOCK,
    &sharing::PAGE,
    &sharing::LARGE,
    &sharing::TWO_MIB,
    &blocks::HOLES,
    &blocks::UNWRITTEN,
    &blocks::SUB_BLOCK,
    &blocks::STORES,
    &resize::APPEND,
    &resize::ALLOCATE,
    &resize::TRUNCATE,
    &resize::PUNCH,
    &resize::PUNCH_EDGE,
    &resize::SHIFT,
    &append_flag::SCENARIO,
    &cow::WHOLE,
    &cow::PARTS,
    &changing_buffer::SCENARIO,
    &one_descriptor::SCENARIO,
    &processes::KILLED,
    &processes::FORKED,
    &last_reference::SCENARIO,
    &toggle::SCENARIO,
    &everything::SCENARIO,
];

impl Scenario {
    /// Runs it.
    pub fn run(&self, bench: &Bench<'_>) -> Result<ScenarioReport> {
        match self.kind {
            Kind::Race(plan) => crate::race::on_file(bench, &plan(bench)),
            Kind::Own(run) => run(bench),
        }
    }
}

/// The scenario of that name.
pub fn find(name: &str) -> Result<&'static Scenario> {
    match ALL.iter().find(|scenario| scenario.name == name) {
        Some(scenario) => Ok(scenario),
        None => {
            let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
            match nearest(name, names.iter().copied()) {
                Some(near) => bail!("no scenario is called \"{name}\"; did you mean \"{near}\"?"),
                None => bail!(
                    "no scenario is called \"{name}\"; there are {}",
                    names.join(", ")
                ),
            }
        }
    }
}

/// The scenarios that a list of names stands for; "all" stands for every one.
pub fn select(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let mut chosen: Vec<&'static Scenario> = Vec::new();
    for name in names {
        let more = if name == "all" {
            ALL.to_vec()
        } else {
            vec![find(name)?]
        };
        for scenario in more {
            if !chosen.iter().any(|known| known.name == scenario.name) {
                chosen.push(scenario);
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select() {
        let names = |list: &[&str]| {
            let list: Vec<_> = list.iter().map(ToString::to_string).collect();
            select(&list).map(|all| all.len())
        };
        assert_eq!(names(&["all", "readahead"]).unwrap(), ALL.len());
        assert_eq!(names(&["readahead", "readahead"]).unwrap(), 1);
        assert!(names(&["nonesuch"]).is_err());
    }
}
