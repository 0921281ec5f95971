// SPDX-License-Identifier: GPL-2.0
//! What `stat` and the counts of reads may say about a file whose size changes.
//!
//! Every operation that can change the size is an event with a start and an end. At each moment the
//! size lies between a *floor* and a *ceiling*. Something acknowledged made the file so long: that is a
//! floor, until something that shortens the file may have happened since. Something acknowledged made
//! the file so short: that is a ceiling, until something that extends it may have happened since.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::change::{Change, Changed};
use crate::clock::{NEVER, Ordinal};

/// The least number of events that makes looking for superfluous ones worth while.
const CROWD: usize = 32;

/// One operation that may change the size.
#[derive(Clone, Copy, Debug)]
struct Event {
    /// Also its name: no two events start at once.
    start: Ordinal,
    end: Ordinal,
    /// It may shorten the file to this.
    low: u64,
    /// It may lengthen the file to this.
    reach: u64,
    /// It may lengthen the file by this, from whatever it was.
    by: u64,
    /// When it ended, the file was at least so long.
    floor: u64,
    /// It was at most so long.
    ceiling: u64,
}

impl Event {
    fn new(start: Ordinal) -> Self {
        Self {
            start,
            end: NEVER,
            low: u64::MAX,
            reach: 0,
            by: 0,
            floor: 0,
            ceiling: u64::MAX,
        }
    }

    /// Whether it can have acted after another one had begun and before `until`.
    fn may_follow(&self, other: &Self, until: Ordinal) -> bool {
        self.start != other.start && self.end > other.start && self.start < until
    }
}

/// The events that still matter.
#[derive(Debug)]
struct Events {
    list: Vec<Event>,
    crowd: usize,
}

/// Knows what sizes are possible.
#[derive(Debug)]
pub(crate) struct Sizes(Mutex<Events>);

impl Sizes {
    /// A file of this size.
    pub(crate) fn new(len: u64) -> Self {
        let initial = Event {
            end: 0,
            low: len,
            reach: len,
            floor: len,
            ceiling: len,
            ..Event::new(0)
        };
        Self(Mutex::new(Events {
            list: vec![initial],
            crowd: CROWD,
        }))
    }

    /// A write that would end at `reach` is about to be submitted.
    pub(crate) fn begin_write(&self, start: Ordinal, reach: u64, horizon: impl Fn() -> Ordinal) {
        let event = Event {
            reach,
            ..Event::new(start)
        };
        self.lock().add(event, horizon);
    }

    /// It has ended, and everything up to `floor` was acknowledged.
    pub(crate) fn end_write(&self, start: Ordinal, end: Ordinal, floor: u64) {
        self.lock().finish(start, |event| {
            event.end = end;
            event.floor = floor;
        });
    }

    /// A change is about to be submitted.
    pub(crate) fn begin_change(
        &self,
        change: Change,
        start: Ordinal,
        horizon: impl Fn() -> Ordinal,
    ) {
        let mut event = Event::new(start);
        let mut events = self.lock();
        match change {
            Change::Truncate { len } => (event.low, event.reach) = (len, len),
            Change::Collapse { len, .. } => {
                event.low = events.least(start, start).saturating_sub(len);
            }
            Change::Insert { len, .. } => event.by = len,
            Change::Allocate {
                offset,
                len,
                keep: false,
            }
            | Change::Zero {
                offset,
                len,
                keep: false,
            } => event.reach = offset + len,
            _ => return,
        }
        events.add(event, horizon);
    }

    /// It has ended.
    pub(crate) fn end_change(&self, change: Change, start: Ordinal, end: Ordinal, how: Changed) {
        let mut events = self.lock();
        if how == Changed::Refused {
            events.list.retain(|event| event.start != start);
            return;
        }
        let (least, greatest) = (
            events.least(start, start),
            events.greatest(start, end, Some(start)),
        );
        events.finish(start, |event| {
            event.end = end;
            if let Change::Insert { len, .. } = change {
                event.by = 0;
                event.reach = greatest + len;
            }
            if how == Changed::Failed {
                return;
            }
            match change {
                Change::Truncate { len } => (event.floor, event.ceiling) = (len, len),
                Change::Collapse { len, .. } => {
                    event.floor = event.low;
                    event.ceiling = greatest.saturating_sub(len);
                }
                Change::Insert { len, .. } => {
                    event.floor = least + len;
                    event.ceiling = event.reach;
                }
                _ => event.floor = event.reach,
            }
        });
    }

    /// The least size that the file may have between two points in time.
    pub(crate) fn least(&self, from: Ordinal, until: Ordinal) -> u64 {
        self.lock().least(from, until)
    }

    /// The greatest one.
    pub(crate) fn greatest(&self, from: Ordinal, until: Ordinal) -> u64 {
        self.lock().greatest(from, until, None)
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    fn add(&mut self, event: Event, horizon: impl Fn() -> Ordinal) {
        if self.list.len() >= self.crowd {
            self.prune(horizon());
            self.crowd = CROWD.max(self.list.len() * 2);
        }
        self.list.push(event);
    }

    fn finish(&mut self, start: Ordinal, set: impl FnOnce(&mut Event)) {
        if let Some(event) = self.list.iter_mut().rev().find(|e| e.start == start) {
            set(event);
        }
    }

    fn least(&self, from: Ordinal, until: Ordinal) -> u64 {
        let floors = self.list.iter().filter(|f| f.end < from || f.end == 0);
        let lows = |f: &Event| {
            let later = self.list.iter().filter(|t| t.may_follow(f, until));
            later.map(|t| t.low).fold(f.floor, u64::min)
        };
        floors.map(lows).max().unwrap_or(0)
    }

    /// The event `without` is left out of account.
    fn greatest(&self, from: Ordinal, until: Ordinal, without: Option<Ordinal>) -> u64 {
        let others = || self.list.iter().filter(|e| Some(e.start) != without);
        let reaches = |t: &Event| {
            let later = others().filter(|x| x.may_follow(t, until));
            later.map(|x| x.reach).fold(t.ceiling, u64::max)
        };
        let growing: u64 = others().filter(|x| x.start < until).map(|x| x.by).sum();
        let ceilings = others().filter(|t| t.end < from || t.end == 0);
        let least = ceilings.map(reaches).min().unwrap_or(u64::MAX);
        least.saturating_add(growing)
    }

    /// Drops what no read under way or to come can learn anything from.
    fn prune(&mut self, horizon: Ordinal) {
        let ended = |e: &&Event| e.end < horizon;
        let shorter = |e: &&Event| ended(e) && e.ceiling != u64::MAX;
        let last = self.list.iter().filter(shorter).map(|e| e.start).max();
        let last = last.unwrap_or(0);
        // What ended before the last change of the size began is part of its outcome.
        self.list.retain(|e| e.start == last || e.end >= last);
        let longer: Vec<Event> = self.list.iter().filter(ended).copied().collect();
        self.list.retain(|x| {
            let plain = x.low == u64::MAX && x.by == 0 && x.ceiling == u64::MAX;
            let outdone = longer
                .iter()
                .any(|g| g.start > x.start && g.end >= x.end && g.floor >= x.reach);
            !(plain && outdone)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: fn() -> Ordinal = || 0;

    #[test]
    fn a_completed_extension_must_show() {
        let sizes = Sizes::new(100);
        sizes.begin_write(1, 200, NOW);
        assert_eq!((sizes.least(2, 3), sizes.greatest(2, 3)), (100, 200));
        sizes.end_write(1, 4, 200);
        assert_eq!((sizes.least(3, 5), sizes.greatest(3, 5)), (100, 200));
        assert_eq!((sizes.least(5, 6), sizes.greatest(5, 6)), (200, 200));
    }

    #[test]
    fn a_truncation_may_or_may_not_have_come_first() {
        let sizes = Sizes::new(100);
        let cut = Change::Truncate { len: 40 };
        sizes.begin_write(1, 200, NOW);
        sizes.begin_change(cut, 2, NOW);
        sizes.end_write(1, 3, 200);
        assert_eq!((sizes.least(4, 5), sizes.greatest(4, 5)), (40, 200));
        sizes.end_change(cut, 2, 6, Changed::Done);
        assert_eq!((sizes.least(7, 8), sizes.greatest(7, 8)), (40, 200));
        sizes.begin_change(cut, 9, NOW);
        sizes.end_change(cut, 9, 10, Changed::Done);
        assert_eq!((sizes.least(11, 12), sizes.greatest(11, 12)), (40, 40));
    }

    #[test]
    fn inserting_and_taking_out_add_up() {
        let sizes = Sizes::new(100);
        let more = Change::Insert { offset: 8, len: 16 };
        sizes.begin_change(more, 1, NOW);
        assert_eq!((sizes.least(2, 3), sizes.greatest(2, 3)), (100, 116));
        sizes.end_change(more, 1, 4, Changed::Done);
        assert_eq!((sizes.least(5, 6), sizes.greatest(5, 6)), (116, 116));
        let less = Change::Collapse { offset: 8, len: 16 };
        sizes.begin_change(less, 7, NOW);
        assert_eq!((sizes.least(8, 9), sizes.greatest(8, 9)), (100, 116));
        sizes.end_change(less, 7, 10, Changed::Done);
        assert_eq!((sizes.least(11, 12), sizes.greatest(11, 12)), (100, 100));
    }

    #[test]
    fn nothing_is_forgotten_that_matters() {
        let sizes = Sizes::new(0);
        for round in 0..1000u64 {
            let start = round * 10 + 1;
            let now = || start;
            if round % 7 == 0 {
                let cut = Change::Truncate { len: 8 };
                sizes.begin_change(cut, start, now);
                sizes.end_change(cut, start, start + 1, Changed::Done);
                assert_eq!(sizes.greatest(start + 2, start + 3), 8);
            } else {
                sizes.begin_write(start, round, now);
                sizes.end_write(start, start + 1, round);
                assert_eq!(sizes.greatest(start + 2, start + 3), round.max(8));
            }
            let least = sizes.least(start + 2, start + 3);
            assert_eq!(least, sizes.greatest(start + 2, start + 3));
        }
        assert!(sizes.lock().list.len() < 2 * CROWD);
    }
}
