// SPDX-License-Identifier: GPL-2.0
//! Where the words of the file are after collapses and insertions.

use std::ops::Range;
use std::sync::Arc;

use crate::cell::Cell;
use crate::change::{Shift, moved};
use crate::clock::Ordinal;
use crate::entry::Entry;
use crate::history::Read;
use crate::record::{Record, overlap};

/// Which reads know where words are.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// When the last shift ended.
    settled: Ordinal,
    /// When the one under way began.
    under_way: Option<Ordinal>,
    /// A shift failed midway: nobody knows where anything is.
    lost: bool,
    /// Whether anything was ever moved.
    pub(crate) moved: bool,
}

impl Layout {
    pub(crate) fn begin(&mut self, now: Ordinal) {
        self.under_way = Some(now);
    }

    pub(crate) fn end(&mut self, now: Ordinal, lost: bool) {
        self.under_way = None;
        self.settled = now;
        self.lost |= lost;
        self.moved = true;
    }

    /// Before when a write must have ended to hide others for good, as far as readers are concerned
    /// before `readers`. One that meets a shift may turn out to be elsewhere.
    pub(crate) fn horizon(&self, readers: Ordinal) -> Ordinal {
        self.under_way.map_or(readers, |start| readers.min(start))
    }

    /// Whether a read overlapped a shift.
    pub(crate) fn disturbs(&self, read: &Read) -> bool {
        self.lost
            || read.start < self.settled
            || self.under_way.is_some_and(|start| start < read.end)
    }
}

/// Moves all entries. `record` is the change itself, which began at its start and has ended; `words`
/// tells the places of a cell.
pub(crate) fn shift(
    cells: &mut [impl std::ops::DerefMut<Target = Cell>],
    shift: &Shift,
    record: &Arc<Record>,
    words: impl Fn(usize) -> Range<u64>,
) {
    let old: Vec<Entry> = cells.iter_mut().flat_map(|cell| cell.take()).collect();
    let limit = words(cells.len().saturating_sub(1)).end;
    let mut new = Vec::new();
    for entry in old {
        let certain = entry.record.end() < record.start;
        if !certain {
            // It met the shift, so it may have come after it.
            new.push(Entry {
                certain: false,
                ..entry.clone()
            });
        }
        for (part, by) in shift.pieces(&entry.range) {
            new.push(Entry {
                record: Arc::clone(&entry.record),
                range: overlap(&moved(&part, by), &(0..limit)),
                by: entry.by + by,
                certain: certain && entry.certain,
            });
        }
    }
    new.push(Entry {
        record: Arc::clone(record),
        range: shift.fresh.clone(),
        by: 0,
        certain: true,
    });
    for (nth, cell) in cells.iter_mut().enumerate() {
        let here = words(nth);
        for entry in &new {
            let range = overlap(&entry.range, &here);
            if !range.is_empty() {
                let entry = entry.clone();
                cell.put(Entry { range, ..entry });
            }
        }
    }
}
