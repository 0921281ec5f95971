// SPDX-License-Identifier: GPL-2.0
//! Operations per second over time: a small panel for each engine.

use std::fmt::Write;

use super::escape;
use crate::report::rates::Rates;

/// Coordinates of a panel; it is stretched to whatever room there is.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 60.0;

/// A panel for each engine, with marks where something was found.
pub fn render(out: &mut String, rates: &Rates) {
    let Some(last) = rates.seconds.last().filter(|last| **last > 0.0) else {
        return;
    };
    let marks = marks(rates, *last);
    out.push_str("<div class=\"panels\">\n");
    for (engine, line) in rates.per_second() {
        let most = line.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let points: Vec<_> = line
            .iter()
            .map(|(at, rate)| {
                let x = at / last * WIDTH;
                let y = HEIGHT - rate / most.max(1.0) * (HEIGHT - 4.0);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let engine = escape(engine);
        let _ = writeln!(
            out,
            "<figure><figcaption><b>{engine}</b> up to {most:.0}/s</figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{engine}: operations per second over {last:.0} seconds\">\
             {marks}<polyline points=\"{}\"/></svg>\
             <div class=\"axis\"><span>0</span><span>{last:.0} s</span></div></figure>",
            points.join(" ")
        );
    }
    out.push_str("</div>\n");
    if rates.violations.last().copied().unwrap_or(0) + rates.collisions.last().copied().unwrap_or(0)
        > 0
    {
        out.push_str("<p class=\"note\">Vertical lines: when violations (red) and collisions (amber) were found.</p>\n");
    }
}

/// A vertical line wherever a count has grown.
fn marks(rates: &Rates, last: f64) -> String {
    let mut out = String::new();
    for (class, counts) in [("warn", &rates.collisions), ("bad", &rates.violations)] {
        let mut before = 0;
        for (at, count) in rates.seconds.iter().zip(counts) {
            if *count > before {
                let x = at / last * WIDTH;
                let _ = write!(out, "<path class=\"{class}\" d=\"M{x:.1} 0V{HEIGHT}\"/>");
            }
            before = *count;
        }
    }
    out
}
