// SPDX-License-Identifier: GPL-2.0
//! Progress on a terminal; elsewhere only what has to be known at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::time::Duration;

use engines::terminal_width;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bench::Settings;
use crate::crew::pulse::{Pulse, Role};

/// How often it changes.
const PERIOD: Duration = Duration::from_millis(500);

/// Engines whose rates are shown, the fastest first: a line has no room for more.
const SHOWN: usize = 5;

/// Columns that a line needs besides engines and the scenario's name.
const REST: usize = 14;

/// Two lines that are drawn over and over.
#[derive(Debug)]
pub struct Line {
    bar: Option<ProgressBar>,
    /// Whether anything is to be said at all.
    wanted: bool,
    scenario: String,
    duration: Duration,
    /// Scenarios that come after this one.
    after: u32,
    last: Duration,
    seen: BTreeMap<String, u64>,
}

impl Line {
    /// Begins; shows nothing if not wanted or if nobody looks.
    pub fn new(scenario: &'static str, settings: &Settings) -> Self {
        let (nth, all) = settings.turn;
        let scenario = match all {
            1 => scenario.to_owned(),
            _ => format!("{nth}/{all} {scenario}"),
        };
        let duration = settings.duration;
        let bar = (settings.live && stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(duration.as_millis() as u64);
            bar.set_draw_target(ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix}\n{bar:12} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(scenario.clone());
            bar
        });
        Self {
            bar,
            wanted: settings.live,
            scenario,
            duration,
            after: all.saturating_sub(nth) as u32,
            last: Duration::ZERO,
            seen: BTreeMap::new(),
        }
    }

    /// Says what is being done outside the race.
    pub fn say(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
            bar.tick();
        }
    }

    /// Says what stays to be read: a machine that dies leaves no report.
    pub fn call_out(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("{}: {what}", self.scenario)),
            None if self.wanted => eprintln!("{}: {what}", self.scenario),
            None => {}
        }
    }

    /// Shows the rates since the last time, what was found, and the oldest request.
    pub fn look(&mut self, pulses: &[Arc<Pulse>], elapsed: Duration, found: (u64, u64)) {
        if self.bar.is_none() || elapsed < self.last + PERIOD {
            return;
        }
        let seconds = (elapsed - self.last).as_secs_f64();
        self.last = elapsed;
        let mut text = format!(
            "{:.0}/{:.0} s  violations {}, collisions {}",
            elapsed.as_secs_f64(),
            self.duration.as_secs_f64(),
            found.0,
            found.1
        );
        if self.after > 0 {
            let left = self.duration.saturating_sub(elapsed) + self.duration * self.after;
            let _ = write!(text, ", about {} left", minutes(left));
        }
        let oldest = pulses
            .iter()
            .filter_map(|pulse| Some((pulse.oldest()?.age, pulse)));
        if let Some((age, pulse)) = oldest.max_by_key(|(age, _)| *age) {
            let (engine, role) = (&pulse.engine, pulse.role.name());
            let _ = write!(
                text,
                ", oldest request {} ms ({engine} {role})",
                age.as_millis()
            );
        }
        let rates = self.rates(pulses, seconds);
        if let Some(bar) = &self.bar {
            bar.set_position(elapsed.min(self.duration).as_millis() as u64);
            bar.set_message(text);
            bar.set_prefix(format!("{}: {rates}", self.scenario));
        }
    }

    /// Operations per second of the fastest engines.
    fn rates(&mut self, pulses: &[Arc<Pulse>], seconds: f64) -> String {
        let mut now: BTreeMap<String, u64> = BTreeMap::new();
        for pulse in pulses.iter().filter(|pulse| pulse.role != Role::Disturb) {
            *now.entry(pulse.engine.clone()).or_default() += pulse.operations();
        }
        let rate = |engine: &String, count: u64| {
            let before = self.seen.get(engine).copied().unwrap_or(0);
            count.saturating_sub(before) as f64 / seconds
        };
        let mut rates: Vec<_> = now.iter().map(|(e, n)| (rate(e, *n), e)).collect();
        rates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let room = terminal_width().saturating_sub(self.scenario.len() + REST);
        let (mut text, mut shown) = (String::new(), 0);
        for (rate, engine) in rates.iter().take(SHOWN) {
            let one = format!("{engine} {rate:.0}/s  ");
            if shown > 0 && text.len() + one.len() > room {
                break;
            }
            text += &one;
            shown += 1;
        }
        if rates.len() > shown {
            let _ = write!(text, "and {} more", rates.len() - shown);
        }
        self.seen = now;
        text
    }
}

/// A length of time for people.
fn minutes(time: Duration) -> String {
    match time.as_secs() {
        n @ 0..90 => format!("{n} s"),
        n @ 90..5400 => format!("{} min", n.div_ceil(60)),
        n => format!("{:.1} h", n as f64 / 3600.0),
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
