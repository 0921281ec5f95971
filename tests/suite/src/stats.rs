// SPDX-License-Identifier: GPL-2.0

//! The statistics that diofs shows in `/proc/self/mountstats`.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// Every counter that diofs promises.
pub const KEYS: [&str; 12] = [
    "dio_reads",
    "dio_writes",
    "dio_async",
    "flushed_before",
    "invalidated_before",
    "invalidate_failures",
    "found_after",
    "after_failures",
    "waits",
    "wait_ns",
    "waits_given_up",
    "fallbacks",
];

/// The counters of one mount at one time.
pub struct Stats(BTreeMap<String, u64>);

impl Stats {
    /// Reads the counters of what is mounted on `point`.
    pub fn of(point: &Path) -> Result<Self> {
        let text = std::fs::read_to_string("/proc/self/mountstats")?;
        match section(&text, &point.display().to_string()) {
            Some(section) => Ok(Self(parse(&section))),
            None => bail!("{} is not in /proc/self/mountstats", point.display()),
        }
    }

    pub fn get(&self, key: &str) -> Result<u64> {
        match self.0.get(key) {
            Some(value) => Ok(*value),
            None => bail!("the statistics have no '{key}'"),
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}

/// The text about the last mount on `point`: its line and all up to the next mount's.
fn section(text: &str, point: &str) -> Option<String> {
    let mark = format!(" mounted on {point} with ");
    let mut found = None;
    let mut current = String::new();
    for line in text.lines().chain(["device end"]) {
        if line.starts_with("device ") {
            if current.contains(&mark) {
                found = Some(std::mem::take(&mut current));
            }
            current.clear();
        }
        current.push_str(line);
        current.push('\n');
    }
    found
}

/// Every `name: number`, `name=number` and `name number` of a text.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let separator = |c: char| c.is_whitespace() || matches!(c, ':' | '=' | ',');
    let words: Vec<&str> = text.split(separator).filter(|w| !w.is_empty()).collect();
    words
        .windows(2)
        .filter_map(|pair| Some((pair[0].to_string(), pair[1].parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "device proc mounted on /proc with fstype proc\n\
        device /lower mounted on /mnt/a with fstype diofs waits: 3 wait_ns=4500\n\
        \tfound_after: 0\n\
        device /lower2 mounted on /mnt/ab with fstype diofs waits: 9\n";

    #[test]
    fn the_right_mount_is_found_with_all_its_lines() {
        let stats = Stats(parse(&section(TEXT, "/mnt/a").unwrap()));
        assert_eq!(stats.get("waits").unwrap(), 3);
        assert_eq!(stats.get("wait_ns").unwrap(), 4500);
        assert_eq!(stats.get("found_after").unwrap(), 0);
        assert!(stats.get("fallbacks").is_err());
        assert!(section(TEXT, "/mnt").is_none());
    }
}
