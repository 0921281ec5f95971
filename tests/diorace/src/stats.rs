// SPDX-License-Identifier: GPL-2.0
//! What a number of runs allows to be said about a rate.

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ChiSquared, ContinuousCDF};

/// Of a hundred such intervals, so many hold the true value.
const CONFIDENCE: f64 = 0.95;

/// How often something was found, and how soon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Runs that found it.
    pub found: u64,
    /// Runs.
    pub runs: u64,
    /// Lower bound of the share of runs that find it (Clopper-Pearson, 95 %).
    pub share_low: f64,
    /// Upper bound. With nothing found it is one-sided: 1 - 0.05^(1/runs), which the rule of three
    /// approximates.
    pub share_high: f64,
    /// Seconds of racing until it was found, or until the run ended without it, over all runs.
    pub seconds_watched: f64,
    /// Mean seconds until it is found, if findings are a Poisson process.
    pub mean: Option<f64>,
    /// Lower bound of that mean (chi-square, 95 %); one-sided if nothing was found.
    pub mean_low: f64,
    /// Upper bound; none if nothing was found.
    pub mean_high: Option<f64>,
    /// Median of the times at which it was found.
    pub median_found: Option<f64>,
}

impl Estimate {
    /// From what each run saw: the time of the first finding, if any, and how long it raced.
    pub fn new(runs: &[(Option<f64>, f64)]) -> Result<Self> {
        let mut times: Vec<f64> = runs.iter().filter_map(|(first, _)| *first).collect();
        times.sort_by(f64::total_cmp);
        let watched: f64 = runs
            .iter()
            .map(|(first, raced)| first.unwrap_or(*raced))
            .sum();
        let (found, all) = (times.len() as u64, runs.len() as u64);
        let (share_low, share_high) = share(found, all)?;
        let (mean_low, mean_high) = mean(found, watched)?;
        Ok(Self {
            found,
            runs: all,
            share_low,
            share_high,
            seconds_watched: watched,
            mean: (found > 0).then(|| watched / found as f64),
            mean_low,
            mean_high,
            median_found: times.get(times.len() / 2).copied(),
        })
    }

    /// In words, a line or two.
    pub fn describe(&self, what: &str) -> String {
        let Self { found, runs, .. } = self;
        if *runs == 0 {
            return format!("{what}: no run has raced, so nothing is known");
        }
        let percent = |share: f64| share * 100.0;
        if *found == 0 {
            return format!(
                "{what}: in none of {runs} runs. With 95 % confidence a run finds one in at most {:.1} % of cases\n  \
                 (exact bound; the rule of three says {:.1} %), and the mean time to one is at least {:.1} s\n  \
                 ({:.1} s watched)",
                percent(self.share_high),
                percent((3.0 / *runs as f64).min(1.0)),
                self.mean_low,
                self.seconds_watched
            );
        }
        format!(
            "{what}: in {found} of {runs} runs, {:.1} % (95 %: {:.1} to {:.1} %, Clopper-Pearson)\n  \
             mean time to the first {:.2} s (95 %: {:.2} to {:.2} s, chi-square for an exponential time),\n  \
             median of the {found} that were found {:.2} s; {:.1} s watched",
            percent(*found as f64 / *runs as f64),
            percent(self.share_low),
            percent(self.share_high),
            self.mean.unwrap_or_default(),
            self.mean_low,
            self.mean_high.unwrap_or(f64::INFINITY),
            self.median_found.unwrap_or_default(),
            self.seconds_watched
        )
    }
}

/// Clopper and Pearson's interval for a share.
pub fn share(found: u64, all: u64) -> Result<(f64, f64)> {
    let (k, n) = (found as f64, all as f64);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    if all == 0 {
        return Ok((0.0, 1.0));
    }
    if found == 0 {
        return Ok((0.0, 1.0 - (1.0 - CONFIDENCE).powf(1.0 / n)));
    }
    let low = Beta::new(k, n - k + 1.0)?.inverse_cdf(tail);
    if found == all {
        return Ok((low, 1.0));
    }
    Ok((low, Beta::new(k + 1.0, n - k)?.inverse_cdf(1.0 - tail)))
}

/// Bounds of the mean time between findings, from their number within a time.
fn mean(found: u64, watched: f64) -> Result<(f64, Option<f64>)> {
    let k = found as f64;
    if found == 0 {
        return Ok((watched / -(1.0 - CONFIDENCE).ln(), None));
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let most = ChiSquared::new(2.0 * k + 2.0)?.inverse_cdf(1.0 - tail);
    let least = ChiSquared::new(2.0 * k)?.inverse_cdf(tail);
    Ok((2.0 * watched / most, Some(2.0 * watched / least)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.001 * b.abs().max(0.01)
    }

    /// The values are those of the usual tables.
    #[test]
    fn the_bounds_are_those_of_the_tables() {
        let (low, high) = share(3, 10).unwrap();
        assert!(close(low, 0.06674) && close(high, 0.65245), "{low} {high}");
        let (low, high) = share(0, 20).unwrap();
        assert!(low == 0.0 && close(high, 0.13911), "{high}");
        let (low, high) = share(20, 20).unwrap();
        assert!(close(low, 0.83157) && high == 1.0, "{low}");
        // chi-square: 36.7807 (22, 97.5 %), 9.5908 (20, 2.5 %)
        let (low, high) = mean(10, 100.0).unwrap();
        assert!(
            close(low, 200.0 / 36.7807) && close(high.unwrap(), 200.0 / 9.5908),
            "{low}"
        );
        let (low, high) = mean(0, 60.0).unwrap();
        assert!(close(low, 60.0 / 2.99573) && high.is_none());
    }

    #[test]
    fn runs_without_a_finding_count_with_their_length() {
        let runs = [(Some(1.0), 10.0), (None, 10.0), (Some(4.0), 10.0)];
        let estimate = Estimate::new(&runs).unwrap();
        assert_eq!((estimate.found, estimate.runs), (2, 3));
        assert_eq!(estimate.seconds_watched, 15.0);
        assert_eq!(estimate.mean, Some(7.5));
        let none = Estimate::new(&[]).unwrap();
        assert!(none.describe("violations").ends_with("nothing is known"));
        let nothing = Estimate::new(&[(None, 30.0); 10]).unwrap();
        assert!(
            nothing
                .describe("violations")
                .contains("rule of three says 30.0 %")
        );
    }
}
