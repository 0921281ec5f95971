// SPDX-License-Identifier: GPL-2.0
//! The result as a web page that needs nothing but itself.

mod finding;
mod rates;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::table::{direct, list, per_second};
use crate::report::{Report, ScenarioReport};
use crate::status::Status;

const STYLE: &str = include_str!("style.css");

/// Findings of a scenario that are drawn; the JSON has more.
const DRAWN: usize = 12;

/// The whole page.
pub fn render(report: &Report) -> String {
    let place = &report.place;
    let title = format!("diorace: {} on {}", report.status.name(), place.fstype);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n<main>\n",
        escape(&title)
    );
    let _ = writeln!(
        out,
        "<header><h1>diorace</h1>{}</header>\n<p class=\"lead\">{}</p>",
        badge(report.status),
        escape(&lead(report))
    );
    facts(&mut out, report);
    overview(&mut out, report);
    for scenario in &report.scenarios {
        section(&mut out, scenario);
    }
    out.push_str(LEGEND);
    out.push_str("</main>\n</html>\n");
    out
}

const LEGEND: &str = "\
<footer><h2>How to read this</h2>
<p>Times are ordinals: one counter numbers every beginning and end, so of two events the one with the \
smaller number came first. A timeline shows their order, not their distance.</p>
<p>A value is wrong if another write of the word <em>began</em> after the one seen had ended, and \
<em>ended</em> before the read began. <b>Transient</b>: a second look found what had been missing. \
<b>Sticky</b>: every mode shows it, the data are lost. <b>Mixed</b>: cache and disk differ.</p>
<p>Bars: <span class=\"key seen\"></span> the write whose old value was read, \
<span class=\"key superseding\"></span> the acknowledged write that should have hidden it, \
<span class=\"key legal\"></span> other legal values, <span class=\"key beside\"></span> writes of other \
bytes of the same page meanwhile (a page is written back and dropped as a whole, so these are the suspects), \
<span class=\"key read\"></span> the read. A bar that fades out had not ended.</p>
<p>A <b>collision</b> is what Linux does not promise to prevent: direct and cached writers shared a folio. \
A <b>violation</b> is excused by nothing.</p></footer>
";

/// The verdict in a sentence.
fn lead(report: &Report) -> String {
    let sum = |pick: fn(&ScenarioReport) -> &BTreeMap<String, u64>| -> u64 {
        report.scenarios.iter().flat_map(|s| pick(s).values()).sum()
    };
    let (violations, collisions) = (sum(|s| &s.violations), sum(|s| &s.collisions));
    let words: u64 = report.scenarios.iter().map(|s| s.words_checked).sum();
    let cut = if report.interrupted {
        " The run was cut short by a signal."
    } else {
        ""
    };
    let log = report.kernel_log.as_ref();
    let met = log.map_or(0, |log| log.met());
    let kernel = match met {
        0 => String::new(),
        met => format!(" The kernel speaks of {met} collisions."),
    };
    format!(
        "{violations} violations and {collisions} collisions in {words} words judged.{kernel}{cut}"
    )
}

fn facts(out: &mut String, report: &Report) {
    let place = &report.place;
    let mounted = format!("{} on {} ({})", place.fstype, place.source, place.options);
    let mut rows = vec![
        ("Directory", place.path.clone()),
        ("File system", mounted),
        ("Kernel", place.kernel.clone()),
        ("Held to", report.profile.clone()),
        ("Seed", report.seed.to_string()),
        ("Version", format!("diorace {}", report.program)),
    ];
    let mut said: &[String] = &[];
    if let Some(log) = &report.kernel_log {
        rows.push(("Kernel log", log.summary()));
        said = &log.lines;
    }
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in rows {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    let _ = writeln!(
        out,
        "<div class=\"wide\"><dt>The same choices again</dt><dd><code>{}</code></dd></div>\n</dl>",
        escape(&report.command)
    );
    for line in said {
        let _ = writeln!(out, "<p class=\"note\">kernel: {}</p>", escape(line));
    }
}

fn overview(out: &mut String, report: &Report) {
    out.push_str(
        "<div class=\"scroll\"><table class=\"overview\"><thead><tr><th>Scenario<th>Verdict<th>Seconds<th>Operations/s\
         <th>Violations<th>Collisions<th>First after</tr></thead><tbody>\n",
    );
    for s in &report.scenarios {
        let first = s.first_violation.or(s.first_collision);
        let first = first.map_or("–".to_owned(), |at| format!("{at:.1} s"));
        let name = escape(&s.name);
        let _ = writeln!(
            out,
            "<tr><td><a href=\"#{}\">{name}</a><td>{}<td>{:.1}<td>{:.0}<td>{}<td>{}<td>{first}</tr>",
            anchor(&s.name),
            badge(s.status),
            s.seconds,
            per_second(s.operations as f64, s.seconds),
            counts(&s.violations),
            counts(&s.collisions),
        );
    }
    out.push_str("</tbody></table></div>\n");
}

fn section(out: &mut String, s: &ScenarioReport) {
    let name = escape(&s.name);
    let _ = writeln!(
        out,
        "<section id=\"{}\"><h2>{name} {}</h2>",
        anchor(&s.name),
        badge(s.status)
    );
    for note in s.failures.iter().chain(&s.notes) {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
    }
    for (what, counts) in [("warnings", &s.warnings), ("errors", &s.errors)] {
        if !counts.is_empty() {
            let _ = writeln!(
                out,
                "<p class=\"note\">{what}: {}</p>",
                escape(&list(counts))
            );
        }
    }
    for line in direct(s) {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(&line));
    }
    let mut findings: Vec<_> = s.findings.iter().collect();
    findings.sort_by_key(|finding| finding.severity != "violation");
    for finding in findings.iter().take(DRAWN) {
        finding::render(out, finding);
    }
    if findings.len() > DRAWN {
        let more = findings.len() - DRAWN;
        let _ = writeln!(
            out,
            "<p class=\"note\">{more} more are explained in the JSON.</p>"
        );
    }
    rates::render(out, &s.rates);
    engines(out, s);
    out.push_str("</section>\n");
}

fn engines(out: &mut String, s: &ScenarioReport) {
    if s.engines.is_empty() {
        return;
    }
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>Engine<th>Role<th>Threads<th>Operations\
         <th>Operations/s<th>MiB/s<th>Errors</tr></thead><tbody>\n",
    );
    for e in &s.engines {
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.0}<td>{:.1}<td>{}</tr>",
            escape(&e.engine),
            e.role.name(),
            e.threads,
            e.operations,
            per_second(e.operations as f64, s.seconds),
            per_second(e.bytes as f64 / 1048576.0, s.seconds),
            e.errors
        );
    }
    let _ = writeln!(
        out,
        "</tbody></table></div>\n<p class=\"note\">{:.1} s on {} KiB; {} words judged, which took {:.1} % \
         of the processor time.</p>",
        s.seconds,
        s.file_size / 1024,
        s.words_checked,
        s.judging()
    );
}

fn counts(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        "–".to_owned()
    } else {
        escape(&list(counts))
    }
}

fn badge(status: Status) -> String {
    let class = match status {
        Status::Legal => "good",
        Status::Violation | Status::Tool => "bad",
        Status::Collision => "warn",
        Status::Lacking => "skip",
    };
    format!("<span class=\"badge {class}\">{}</span>", status.name())
}

/// What links to a scenario.
fn anchor(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    name.chars().map(plain).collect()
}

/// Text as HTML takes it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_becomes_markup() {
        assert_eq!(
            escape("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }
}
