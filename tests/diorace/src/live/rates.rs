// SPDX-License-Identifier: GPL-2.0
//! What the threads had done at which time.

use std::sync::Arc;
use std::time::Duration;

use crate::crew::pulse::{Pulse, Role};
use crate::report::rates::Rates;

/// Samples kept; when there are more, every second one is dropped.
const KEEP: usize = 240;

/// Time between samples at first.
const PERIOD: Duration = Duration::from_millis(250);

/// Takes samples at regular times.
#[derive(Debug)]
pub struct Sampler {
    period: Duration,
    next: Duration,
    rates: Rates,
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            period: PERIOD,
            next: Duration::ZERO,
            rates: Rates::default(),
        }
    }
}

impl Sampler {
    /// Takes a sample if it is time to.
    pub fn look(&mut self, pulses: &[Arc<Pulse>], elapsed: Duration, found: (u64, u64)) {
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + self.period;
        let rates = &mut self.rates;
        rates.seconds.push(elapsed.as_secs_f64());
        rates.violations.push(found.0);
        rates.collisions.push(found.1);
        for pulse in pulses.iter().filter(|pulse| pulse.role != Role::Disturb) {
            let line = rates.operations.entry(pulse.engine.clone()).or_default();
            line.resize(rates.seconds.len(), 0);
            if let Some(last) = line.last_mut() {
                *last += pulse.operations();
            }
        }
        if rates.seconds.len() > KEEP {
            rates.thin();
            self.period *= 2;
        }
    }

    /// What was sampled.
    pub fn take(&mut self) -> Rates {
        std::mem::take(&mut self.rates)
    }
}
