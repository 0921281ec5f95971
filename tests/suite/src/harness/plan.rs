// SPDX-License-Identifier: GPL-2.0

//! What is to be run: which tests on which lowers.

use super::{Scope, Test};
use crate::lower::Kind;
use crate::lower::stack::FsKind;
use std::path::PathBuf;

/// All that the command line decides.
pub struct Plan {
    pub fs: FsKind,
    pub disks: Vec<PathBuf>,
    pub lowers: Vec<Kind>,
    /// Tests whose full name contains one of these are run; with none, all are.
    pub filters: Vec<String>,
    /// Tests whose full name contains one of these are not run.
    pub without: Vec<String>,
    pub seed: u64,
    pub show_steps: bool,
}

impl Plan {
    /// The tests to be run on `kind`, with their full names.
    pub fn tests_on(&self, kind: Kind, all: &[Test]) -> Vec<(String, Test)> {
        self.choice_on(kind, all)
            .filter(|(name, _)| self.filters.is_empty() || is_named(&self.filters, name))
            .collect()
    }

    /// Filters that name nothing on these lowers.
    pub fn unknown_filters(&self, all: &[Test]) -> Vec<&str> {
        let choice = |kind: &Kind| self.choice_on(*kind, all);
        let names: Vec<String> = self
            .lowers
            .iter()
            .flat_map(choice)
            .map(|(name, _)| name)
            .collect();
        let is_unknown = |filter: &&str| !names.iter().any(|name| name.contains(filter));
        self.filters
            .iter()
            .map(String::as_str)
            .filter(is_unknown)
            .collect()
    }

    /// What the filters can choose from on `kind`.
    fn choice_on<'a>(
        &'a self,
        kind: Kind,
        all: &'a [Test],
    ) -> impl Iterator<Item = (String, Test)> + 'a {
        all.iter()
            .filter(move |t| t.scope == Scope::Every || kind == self.kind_for_once())
            .map(move |t| (format!("{}/{}", kind.name(), t.name), *t))
            .filter(|(name, _)| !is_named(&self.without, name))
    }

    /// The lower for tests that need just one: plain ext4 when it is there, else the first.
    fn kind_for_once(&self) -> Kind {
        let plain = Kind::Ext4Block4k;
        match self.lowers.first() {
            Some(first) if !self.lowers.contains(&plain) => *first,
            _ => plain,
        }
    }
}

/// Whether one of `list` is part of the name.
fn is_named(list: &[String], name: &str) -> bool {
    list.iter().any(|part| name.contains(part.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lowers: &[Kind], filters: &[&str], without: &[&str]) -> Plan {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Plan {
            fs: FsKind::Bare,
            disks: vec![],
            lowers: lowers.to_vec(),
            filters: own(filters),
            without: own(without),
            seed: 1,
            show_steps: false,
        }
    }

    const TESTS: [Test; 2] = [
        super::super::test("a.every", |_| Ok(())),
        super::super::test("b.once", |_| Ok(())).once(),
    ];

    fn names(plan: &Plan, kind: Kind) -> Vec<String> {
        plan.tests_on(kind, &TESTS)
            .into_iter()
            .map(|t| t.0)
            .collect()
    }

    #[test]
    fn what_runs_once_runs_on_plain_ext4() {
        let p = plan(&[Kind::Ext2Block4k, Kind::Ext4Block4k], &[], &[]);
        assert_eq!(names(&p, Kind::Ext2Block4k), ["ext2-4k/a.every"]);
        assert_eq!(names(&p, Kind::Ext4Block4k).len(), 2);
        let p = plan(&[Kind::Ext3Block1k], &[], &[]);
        assert_eq!(names(&p, Kind::Ext3Block1k).len(), 2);
    }

    #[test]
    fn filters_choose_by_part_of_the_full_name() {
        let p = plan(&[Kind::Ext4Block4k], &["4k/b", "a."], &["every"]);
        assert_eq!(names(&p, Kind::Ext4Block4k), ["ext4-4k/b.once"]);
    }

    #[test]
    fn a_filter_that_names_nothing_is_noticed() {
        let p = plan(&[Kind::Ext4Block4k], &["a.", "c.renamed"], &[]);
        assert_eq!(p.unknown_filters(&TESTS), ["c.renamed"]);
        let p = plan(&[Kind::Ext3Block1k, Kind::Ext4Block4k], &["ext3-1k/b"], &[]);
        assert_eq!(p.unknown_filters(&TESTS), ["ext3-1k/b"]);
    }
}
