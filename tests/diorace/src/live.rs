// SPDX-License-Identifier: GPL-2.0
//! One line of progress on a terminal, nothing elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::crew::pulse::{Pulse, Role};

/// How often the line changes.
const PERIOD: Duration = Duration::from_millis(500);

/// The progress of one scenario.
#[derive(Debug)]
pub struct Live {
    bar: Option<ProgressBar>,
    scenario: &'static str,
    duration: Duration,
    last: Duration,
    seen: BTreeMap<String, u64>,
}

impl Live {
    /// Begins; shows nothing if not wanted or if nobody looks.
    pub fn new(scenario: &'static str, duration: Duration, wanted: bool) -> Self {
        let bar = (wanted && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::default_spinner());
            bar
        });
        Self {
            bar,
            scenario,
            duration,
            last: Duration::ZERO,
            seen: BTreeMap::new(),
        }
    }

    /// Says what is being done outside the race.
    pub fn say(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {what}", self.scenario));
            bar.tick();
        }
    }

    /// Looks at the threads. `found` are violations and collisions so far.
    pub fn look(&mut self, pulses: &[Arc<Pulse>], elapsed: Duration, found: (u64, u64)) {
        let Some(bar) = &self.bar else {
            return;
        };
        if elapsed < self.last + PERIOD {
            return;
        }
        let seconds = (elapsed - self.last).as_secs_f64();
        self.last = elapsed;
        let mut now: BTreeMap<String, u64> = BTreeMap::new();
        for pulse in pulses.iter().filter(|pulse| pulse.role != Role::Disturb) {
            *now.entry(pulse.engine.clone()).or_default() += pulse.operations();
        }
        let mut line = format!(
            "{} {:.0}/{:.0} s ",
            self.scenario,
            elapsed.as_secs_f64(),
            self.duration.as_secs_f64()
        );
        for (engine, count) in &now {
            let before = self.seen.get(engine).copied().unwrap_or(0);
            let rate = count.saturating_sub(before) as f64 / seconds;
            let _ = write!(line, " {engine} {rate:.0}/s");
        }
        let oldest = pulses
            .iter()
            .filter_map(|pulse| pulse.oldest())
            .map(|o| o.age)
            .max();
        let (violations, collisions) = found;
        let _ = write!(line, "  violations {violations}, collisions {collisions}");
        if let Some(age) = oldest {
            let _ = write!(line, ", oldest request {} ms", age.as_millis());
        }
        self.seen = now;
        bar.set_message(line);
        bar.tick();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
