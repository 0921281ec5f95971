// SPDX-License-Identifier: GPL-2.0
//! Counts over time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What had been counted at which time since the beginning. All lists are equally long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Seconds since the race began.
    pub seconds: Vec<f64>,
    /// Successful operations so far, by engine.
    pub operations: BTreeMap<String, Vec<u64>>,
    /// Violations so far.
    pub violations: Vec<u64>,
    /// Collisions so far.
    pub collisions: Vec<u64>,
}

impl Rates {
    /// Drops every second sample.
    pub fn thin(&mut self) {
        self.seconds = half(&self.seconds);
        self.violations = half(&self.violations);
        self.collisions = half(&self.collisions);
        self.operations
            .values_mut()
            .for_each(|line| *line = half(line));
    }

    /// Operations per second of each engine, in the middle of each two samples.
    pub fn per_second(&self) -> Vec<(&str, Vec<(f64, f64)>)> {
        let lines = self.operations.iter();
        lines
            .map(|(engine, counts)| (engine.as_str(), slope(&self.seconds, counts)))
            .collect()
    }
}

fn half<T: Copy>(list: &[T]) -> Vec<T> {
    list.iter().step_by(2).copied().collect()
}

fn slope(seconds: &[f64], counts: &[u64]) -> Vec<(f64, f64)> {
    let both: Vec<_> = seconds.iter().zip(counts).collect();
    let steps = both.windows(2).filter(|pair| pair[1].0 > pair[0].0);
    steps
        .map(|pair| {
            let time = pair[1].0 - pair[0].0;
            let more = pair[1].1.saturating_sub(*pair[0].1) as f64;
            (pair[0].0 + time / 2.0, more / time)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_survives_thinning() {
        let counts: Vec<u64> = (0..9).map(|n| n * 50).collect();
        let mut rates = Rates {
            seconds: (0..9).map(|n| f64::from(n) * 0.5).collect(),
            operations: BTreeMap::from([("mmap".to_owned(), counts.clone())]),
            violations: counts.clone(),
            collisions: counts,
        };
        assert_eq!(rates.per_second()[0].1[0], (0.25, 100.0));
        rates.thin();
        assert_eq!(rates.seconds, [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(rates.per_second()[0].1[3], (3.5, 100.0));
    }
}
