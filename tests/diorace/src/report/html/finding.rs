// SPDX-License-Identifier: GPL-2.0
//! One finding: what was seen, and a timeline of the writes of the word.

use std::fmt::Write;

use super::escape;
use crate::report::finding::FindingReport;
use crate::report::timeline::Event;

/// The finding as a block.
pub fn render(out: &mut String, f: &FindingReport) {
    let class = if f.severity == "violation" {
        "bad"
    } else {
        "warn"
    };
    let _ = writeln!(
        out,
        "<article class=\"finding\"><h3><span class=\"badge {class}\">{}</span> {}</h3>",
        escape(&f.class),
        if f.len > 0 {
            format!("{} bytes at {} of {}", f.len, f.offset, escape(&f.file))
        } else {
            escape(&f.file)
        }
    );
    let persistence = if f.persistence.is_empty() {
        String::new()
    } else {
        format!(" <b>{}</b>", escape(&f.persistence))
    };
    let _ = writeln!(
        out,
        "<p>Seen by {}{}: <code>{}</code>{persistence}</p>",
        escape(&f.seen_by),
        match f.seconds > 0.0 {
            true => format!(", after {:.2} s", f.seconds),
            false => String::new(),
        },
        escape(&f.seen)
    );
    if !f.story.is_empty() {
        let _ = writeln!(out, "<p class=\"story\">{}</p>", escape(&f.story));
    }
    if !f.timeline.is_empty() {
        timeline(out, f);
    }
    if !f.second_look.is_empty() {
        second_look(out, f);
    }
    out.push_str("</article>\n");
}

/// Puts ordinals at equal distances, in their order.
struct Axis(Vec<u64>);

impl Axis {
    fn new(f: &FindingReport) -> Self {
        let mut marks: Vec<u64> = f
            .timeline
            .iter()
            .flat_map(|e| [Some(e.start), e.end])
            .flatten()
            .collect();
        marks.extend(f.read.iter().flat_map(|(start, end)| [*start, *end]));
        marks.sort_unstable();
        marks.dedup();
        Self(marks)
    }

    /// In per cent of the width.
    fn at(&self, ordinal: u64) -> f64 {
        let nth = self.0.partition_point(|mark| *mark < ordinal);
        nth as f64 * 100.0 / (self.0.len().max(2) - 1) as f64
    }
}

fn timeline(out: &mut String, f: &FindingReport) {
    let axis = Axis::new(f);
    out.push_str("<ol class=\"timeline\">\n");
    let mut read = f.read;
    for event in &f.timeline {
        if let Some(span) = read.filter(|(start, _)| *start < event.start) {
            row_of_read(out, &axis, f, span);
            read = None;
        }
        row(out, &axis, event);
    }
    if let Some(span) = read {
        row_of_read(out, &axis, f, span);
    }
    out.push_str("</ol>\n");
}

fn row(out: &mut String, axis: &Axis, e: &Event) {
    let who = escape(&e.who());
    let what = match (e.writer, &e.change) {
        (0, None) => "before the race".to_owned(),
        _ => format!("{}, {} bytes at {}", escape(&e.mode), e.len, e.offset),
    };
    let end = e.end.map_or("under way".to_owned(), |end| end.to_string());
    let class = match e {
        Event { seen: true, .. } => "seen",
        Event {
            superseding: true, ..
        } => "superseding",
        Event { legal: true, .. } => "legal",
        Event { beside: true, .. } => "beside",
        _ => "other",
    };
    let tags = [
        (e.seen, "its value was read"),
        (e.superseding, "should have hidden it"),
        (e.legal, "legal"),
        (e.beside, "other bytes of the same page"),
    ];
    let tags = tags
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, tag)| format!(" <span class=\"tag\">{tag}</span>"))
        .collect::<Vec<_>>()
        .concat();
    let label = format!("<b>{who}</b> <span>{what}</span>{tags}");
    bar(
        out,
        &label,
        class,
        axis.at(e.start),
        e.end.map(|end| axis.at(end)),
        &format!("{}–{end}", e.start),
    );
}

fn row_of_read(out: &mut String, axis: &Axis, f: &FindingReport, (start, end): (u64, u64)) {
    let label = format!("<b>the read</b> <span>{}</span>", escape(&f.seen_by));
    bar(
        out,
        &label,
        "read",
        axis.at(start),
        Some(axis.at(end)),
        &format!("{start}–{end}"),
    );
}

fn bar(out: &mut String, label: &str, class: &str, left: f64, right: Option<f64>, when: &str) {
    let open = if right.is_none() { " open" } else { "" };
    let width = (right.unwrap_or(100.0) - left).max(0.0);
    let _ = writeln!(
        out,
        "<li><div class=\"label\">{label}</div><div class=\"track\"><i class=\"{class}{open}\" \
         style=\"left:{left:.2}%;width:max(4px,{width:.2}%)\"></i></div><div class=\"when\">{when}</div></li>"
    );
}

fn second_look(out: &mut String, f: &FindingReport) {
    out.push_str("<div class=\"scroll\"><table class=\"looks\"><thead><tr><th>Second look<th>Verdict<th>Seen</tr></thead><tbody>\n");
    for look in &f.second_look {
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td><code>{}</code></tr>",
            escape(&look.mode),
            escape(&look.verdict),
            escape(&look.seen)
        );
    }
    out.push_str("</tbody></table></div>\n");
}
