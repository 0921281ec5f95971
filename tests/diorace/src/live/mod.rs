// SPDX-License-Identifier: GPL-2.0
//! Watches a scenario while it races: shows progress, keeps the rates, and knows when it is enough.

mod line;
mod rates;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::bench::Bench;
use crate::cli::Until;
use crate::crew::pulse::{Pulse, Role};
use crate::live::line::Line;
use crate::live::rates::Sampler;
use crate::record::Script;
use crate::report::ScenarioReport;

/// Who watches one scenario.
#[derive(Debug)]
pub struct Live {
    scenario: &'static str,
    line: Line,
    sampler: Sampler,
    until: Until,
    operations: Option<u64>,
    script: Option<Arc<Script>>,
    first_violation: Option<Duration>,
    first_collision: Option<Duration>,
}

impl Live {
    /// Begins.
    pub fn new(bench: &Bench<'_>) -> Self {
        let settings = bench.settings;
        Self {
            scenario: bench.scenario,
            line: Line::new(bench.scenario, settings),
            sampler: Sampler::default(),
            until: settings.until,
            operations: settings.operations,
            script: settings.script.clone(),
            first_violation: None,
            first_collision: None,
        }
    }

    /// Says what is being done outside the race.
    pub fn say(&self, what: &str) {
        self.line.say(what);
    }

    /// Looks at the threads. `found` are violations and collisions so far. Breaks if the race need
    /// not go on.
    pub fn look(
        &mut self,
        pulses: &[Arc<Pulse>],
        elapsed: Duration,
        found: (u64, u64),
    ) -> ControlFlow<()> {
        self.sampler.look(pulses, elapsed, found);
        self.line.look(pulses, elapsed, found);
        let (violations, collisions) = found;
        if violations > 0 && self.first_violation.is_none() {
            self.first_violation = Some(elapsed);
            let seconds = elapsed.as_secs_f64();
            self.line
                .call_out(&format!("a violation after {seconds:.1} s"));
        }
        if collisions > 0 {
            self.first_collision.get_or_insert(elapsed);
        }
        let script = self.script.as_ref();
        let enough = match self.until {
            Until::End => false,
            Until::Violation => violations > 0,
            Until::Collision => violations + collisions > 0,
        };
        let enough = enough
            || self.operations.is_some_and(|most| {
                let racing = pulses.iter().filter(|pulse| pulse.role != Role::Disturb);
                racing.map(|pulse| pulse.operations()).sum::<u64>() >= most
            });
        if enough || script.is_some_and(|script| script.finished(self.scenario)) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Puts what was seen into the report.
    pub fn tell(&mut self, report: &mut ScenarioReport) {
        report.rates = self.sampler.take();
        report.first_violation = self.first_violation.map(|at| at.as_secs_f64());
        report.first_collision = self.first_collision.map(|at| at.as_secs_f64());
        if let Some(script) = &self.script {
            report.notes.push(script.outcome(self.scenario));
        }
    }
}
