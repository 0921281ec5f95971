// SPDX-License-Identifier: GPL-2.0
//! Makes the requests of a record again.
//!
//! Each thread makes its recorded requests in their order. In order, a request is also held back
//! until everything has ended that had ended before it began in the record: what was sequential is
//! sequential again, and what overlapped may overlap. The exact timing does not come back.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::crew::pulse::Role;
use crate::record::{Entry, Header, MAGIC};

/// How long a request is held back for one that does not end: its thread may be missing.
const PATIENCE: Duration = Duration::from_secs(2);

/// The requests of a record.
#[derive(Debug)]
pub struct Script {
    parts: HashMap<(String, usize), Arc<Part>>,
    gates: BTreeMap<String, Arc<Gate>>,
}

/// The requests of one thread.
#[derive(Debug)]
pub struct Part {
    engine: String,
    role: String,
    steps: Vec<Step>,
    gate: Arc<Gate>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    offset: u64,
    len: u64,
    /// So many requests of the scenario had ended when it began.
    after: usize,
    /// Its place in the order of ends.
    rank: usize,
}

/// Keeps the order of a scenario.
#[derive(Debug)]
struct Gate {
    in_order: bool,
    done: Mutex<Vec<bool>>,
    /// All requests up to this rank have ended.
    frontier: AtomicUsize,
    ended: AtomicUsize,
    total: usize,
    given_up: AtomicU64,
}

impl Script {
    /// Reads a record.
    pub fn read(path: &Path, in_order: bool) -> Result<(Header, Self)> {
        let what = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(path).with_context(what)?;
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        if head != MAGIC {
            bail!(
                "{} is no record of diorace (its first line is not \"{MAGIC}\")",
                path.display()
            );
        }
        let (header, rest) = rest.split_once('\n').unwrap_or((rest, ""));
        let header = serde_json::from_str(header)
            .with_context(|| format!("line 2 of {} is damaged", path.display()))?;
        let script = Self::parse(rest, in_order).with_context(what)?;
        Ok((header, script))
    }

    fn parse(text: &str, in_order: bool) -> Result<Self> {
        let mut scenarios: BTreeMap<String, Raw> = BTreeMap::new();
        let mut current = None;
        for (nth, line) in text.lines().enumerate() {
            let damaged = || format!("line {} is damaged: {line}", nth + 3);
            if let Some(name) = line.strip_prefix("scenario ") {
                current = Some(scenarios.entry(name.to_owned()).or_default());
            } else {
                current
                    .as_mut()
                    .and_then(|raw| raw.add(line))
                    .with_context(damaged)?;
            }
        }
        let mut script = Self {
            parts: HashMap::new(),
            gates: BTreeMap::new(),
        };
        for (name, raw) in scenarios {
            raw.arrange(&name, in_order, &mut script);
        }
        Ok(script)
    }

    /// What a thread is to do, if the record has a thread of this number that does the same.
    pub fn part(&self, scenario: &str, nth: usize, engine: &str, role: Role) -> Option<Arc<Part>> {
        let part = self.parts.get(&(scenario.to_owned(), nth))?;
        let same = part.engine == engine && part.role == role.name();
        same.then(|| Arc::clone(part))
    }

    /// Whether there are requests on record for a scenario.
    pub fn has(&self, scenario: &str) -> bool {
        self.gates.contains_key(scenario)
    }

    /// Whether everything on record for a scenario has been done.
    pub fn finished(&self, scenario: &str) -> bool {
        self.gates.get(scenario).is_some_and(|gate| gate.finished())
    }

    /// What became of the order, in words.
    pub fn outcome(&self, scenario: &str) -> String {
        let Some(gate) = self.gates.get(scenario) else {
            return "nothing is on record for it: replayed by its seed alone".to_owned();
        };
        let (ended, total) = (gate.ended.load(Ordering::Relaxed), gate.total);
        let order = match gate.given_up.load(Ordering::Relaxed) {
            _ if !gate.in_order => "each thread in its own order".to_owned(),
            0 => "in the recorded order".to_owned(),
            n => format!(
                "in the recorded order but for {n} requests that were not held back any longer"
            ),
        };
        format!("replayed {ended} of {total} recorded requests, {order}")
    }
}

/// A scenario as it is read.
#[derive(Default)]
struct Raw {
    threads: BTreeMap<usize, (String, String)>,
    entries: Vec<Entry>,
}

impl Raw {
    fn add(&mut self, line: &str) -> Option<()> {
        if let Some(rest) = line.strip_prefix("thread ") {
            let [nth, engine, role] = rest.split(' ').collect::<Vec<_>>()[..] else {
                return None;
            };
            self.threads
                .insert(nth.parse().ok()?, (engine.to_owned(), role.to_owned()));
            return Some(());
        }
        self.entries.push(Entry::parse(line)?);
        Some(())
    }

    /// Leaves out the threads that only disturb: they have no script to follow.
    fn arrange(mut self, name: &str, in_order: bool, script: &mut Script) {
        let scripted = |role: &str| role == Role::Write.name() || role == Role::Read.name();
        self.threads.retain(|_, (_, role)| scripted(role));
        let threads = &self.threads;
        self.entries
            .retain(|entry| threads.contains_key(&entry.thread));
        self.entries.sort_by_key(|entry| entry.end);
        let ends: Vec<u64> = self.entries.iter().map(|entry| entry.end).collect();
        let mut steps: HashMap<usize, Vec<(u64, Step)>> = HashMap::new();
        for (rank, entry) in self.entries.iter().enumerate() {
            let after = ends.partition_point(|end| *end < entry.start);
            let Entry { offset, len, .. } = *entry;
            let step = Step {
                offset,
                len,
                after,
                rank,
            };
            steps
                .entry(entry.thread)
                .or_default()
                .push((entry.start, step));
        }
        let gate = Arc::new(Gate::new(ends.len(), in_order));
        for (nth, (engine, role)) in self.threads {
            let mut own = steps.remove(&nth).unwrap_or_default();
            own.sort_by_key(|(start, _)| *start);
            let steps = own.into_iter().map(|(_, step)| step).collect();
            let part = Part {
                engine,
                role,
                steps,
                gate: Arc::clone(&gate),
            };
            script.parts.insert((name.to_owned(), nth), Arc::new(part));
        }
        if !ends.is_empty() {
            script.gates.insert(name.to_owned(), gate);
        }
    }
}

impl Part {
    /// Offset and length of the `nth` request; none if there is no more, or not yet. `since` is when
    /// it was first asked for.
    pub fn step(&self, nth: usize, since: &mut Option<Instant>) -> Option<(u64, u64)> {
        let step = self.steps.get(nth)?;
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        self.gate.may_begin(step.after, waited).then(|| {
            *since = None;
            (step.offset, step.len)
        })
    }

    /// The greatest length.
    pub fn longest(&self) -> u64 {
        self.steps.iter().map(|step| step.len).max().unwrap_or(8)
    }

    /// The `nth` request has ended.
    pub fn ended(&self, nth: usize) {
        if let Some(step) = self.steps.get(nth) {
            self.gate.ended(step.rank);
        }
    }
}

impl Gate {
    fn new(total: usize, in_order: bool) -> Self {
        Self {
            in_order,
            done: Mutex::new(vec![false; total]),
            frontier: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            total,
            given_up: AtomicU64::new(0),
        }
    }

    fn may_begin(&self, after: usize, waited: Duration) -> bool {
        if !self.in_order || self.frontier.load(Ordering::Acquire) >= after {
            return true;
        }
        let enough = waited > PATIENCE;
        self.given_up
            .fetch_add(u64::from(enough), Ordering::Relaxed);
        enough
    }

    fn ended(&self, rank: usize) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done[rank] = true;
        let mut at = self.frontier.load(Ordering::Relaxed);
        while done.get(at) == Some(&true) {
            at += 1;
        }
        self.frontier.store(at, Ordering::Release);
    }

    fn finished(&self) -> bool {
        self.ended.load(Ordering::Relaxed) >= self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two writers: the second's first request overlaps the first's, its second comes after both.
    const TEXT: &str = "\
scenario x
thread 0 libaio write
thread 1 mmap write
thread 2 advice disturb
0 w 0 512 0 2 512
2 r 0 4096 3 4 0
1 w 512 8 1 5 8
1 w 1024 16 6 7 -
";

    #[test]
    fn what_was_sequential_is_held_back() {
        let script = Script::parse(TEXT, true).unwrap();
        let first = script.part("x", 0, "libaio", Role::Write).unwrap();
        let second = script.part("x", 1, "mmap", Role::Write).unwrap();
        assert!(script.part("x", 0, "mmap", Role::Write).is_none());
        assert!(script.part("x", 2, "advice", Role::Disturb).is_none());
        let mut since = None;
        assert_eq!(second.step(0, &mut since), Some((512, 8)));
        assert_eq!(second.step(1, &mut since), None);
        second.ended(0);
        assert_eq!(second.step(1, &mut since), None);
        assert_eq!(first.step(0, &mut None), Some((0, 512)));
        first.ended(0);
        assert_eq!(second.step(1, &mut since), Some((1024, 16)));
        assert!(!script.finished("x"));
        second.ended(1);
        assert!(script.finished("x"));
        assert_eq!(second.step(2, &mut None), None);
    }

    #[test]
    fn damage_is_named() {
        let error = Script::parse("scenario x\n0 w what\n", false).unwrap_err();
        assert!(error.to_string().contains("line 4"), "{error}");
    }
}
