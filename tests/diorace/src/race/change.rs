// SPDX-License-Identifier: GPL-2.0
//! A thread that truncates, punches, zeroes, collapses and inserts while others read and write.

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use engines::{Errno, Op};
use oracle::{Change, Changed, Class, Tally};

use crate::crew::and_save;
use crate::crew::pulse::Pulse;
use crate::race::plan::{ChangePlan, Way};
use crate::race::quiesce::count;
use crate::race::recheck::Rechecker;
use crate::race::shared::Shared;
use crate::rng::Rng;

/// The thread.
pub struct Changer {
    plan: ChangePlan,
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    /// A reader's slot of the history; the next one is for second looks.
    slot: usize,
    /// Bytes that were inserted and not yet taken out.
    inserted: u64,
    again: Rechecker,
    tally: Tally,
    rng: Rng,
}

impl Changer {
    /// Has done nothing yet.
    pub fn new(
        plan: &ChangePlan,
        shared: &Arc<Shared>,
        pulse: &Arc<Pulse>,
        slot: usize,
        rng: Rng,
    ) -> Self {
        Self {
            plan: plan.clone(),
            shared: Arc::clone(shared),
            pulse: Arc::clone(pulse),
            slot,
            inserted: 0,
            again: Rechecker::new(slot + 1),
            tally: Tally::default(),
            rng,
        }
    }

    /// Changes until it is time to stop, and looks at the size after each time.
    pub fn run(mut self, found: &mut Tally) -> Result<()> {
        and_save(&mut self, Self::race, |changer| {
            found.merge(mem::take(&mut changer.tally));
        })
    }

    fn race(&mut self) -> Result<()> {
        while !self.shared.stopped() {
            let Some(way) = self.rng.pick(&self.plan.ways).copied() else {
                break;
            };
            let change = self.change_of(way);
            if let Err(errno) = self.apply(change)? {
                self.refused(way, change, errno);
            }
            self.look()?;
            let pause = self.rng.below(2 * self.plan.pause.max(1));
            thread::sleep(Duration::from_micros(pause));
        }
        Ok(())
    }

    /// A change of that kind somewhere.
    fn change_of(&mut self, way: Way) -> Change {
        let ChangePlan {
            within, unit, most, ..
        } = &self.plan;
        let (unit, rng) = (*unit, &mut self.rng);
        let units = (within.end - within.start) / unit;
        let first = rng.below(units);
        let offset = within.start + first * unit;
        let len = (1 + rng.below((*most).min(units - first))) * unit;
        let keep = rng.once_in(2);
        match way {
            Way::Truncate => Change::Truncate { len: offset },
            Way::Grow => Change::Truncate { len: within.end },
            Way::Empty => Change::Truncate { len: within.start },
            Way::Allocate => Change::Allocate { offset, len, keep },
            Way::Punch => Change::Punch { offset, len },
            Way::Zero => Change::Zero { offset, len, keep },
            Way::Shift if self.inserted > 0 => {
                // Anywhere but at the end, where there is nothing to be moved.
                let places = (within.end + self.inserted - within.start) / unit - most;
                let offset = within.start + rng.below(places) * unit;
                let len = self.inserted;
                Change::Collapse { offset, len }
            }
            Way::Shift => Change::Insert {
                offset,
                len: most * unit,
            },
        }
    }

    /// Does it, and tells the oracle.
    fn apply(&mut self, change: Change) -> Result<Result<(), Errno>> {
        let range = change.range();
        let len = if range.end == u64::MAX {
            0
        } else {
            range.end - range.start
        };
        let changing = self.shared.history.begin_change(change)?;
        self.pulse.begin(0, Op::Write, range.start, len);
        let result = self.shared.store.change(change);
        // An engine of which nothing succeeds makes a race prove nothing.
        let excused = self.plan.optional && result == Err(Errno::EOPNOTSUPP);
        let counted = if excused { Ok(0) } else { result.map(|()| len) };
        self.pulse.end(0, counted.map_err(|_| ()));
        let how = match result {
            Ok(()) => Changed::Done,
            Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EPERM) => Changed::Refused,
            Err(_) => Changed::Failed,
        };
        self.shared.history.end_change(&changing, how);
        match (change, how) {
            (Change::Insert { len, .. }, Changed::Done) => self.inserted = len,
            (Change::Collapse { .. }, Changed::Done) => self.inserted = 0,
            _ => {}
        }
        Ok(result)
    }

    /// What cannot be done is left out; what failed is counted.
    fn refused(&mut self, way: Way, change: Change, errno: Errno) {
        let name = change.name();
        if errno == Errno::EOPNOTSUPP {
            self.plan.ways.retain(|known| *known != way);
            self.shared.note(format!("left out: {name} ({errno})"));
            return;
        }
        if matches!(errno, Errno::EINVAL | Errno::EPERM) {
            // The filesystem does not do it there.
            self.shared.excused(name, errno);
            return;
        }
        if way == Way::Shift {
            self.shared.note(format!(
                "{name} failed with {errno}: from then on nobody knew where which words belong, and \
                 only words that are none of the file's would have been found"
            ));
        }
        if !(errno == Errno::EINTR && self.shared.signals) {
            self.shared.failed(name, errno);
        }
    }

    /// What fstat says must be explained by what was done.
    fn look(&mut self) -> Result<()> {
        let history = &self.shared.history;
        let read = history.begin_read(self.slot);
        let size = self.shared.store.size()?;
        let read = history.end_read(read);
        if !history.size_is_legal(&read, size) {
            let finding = count(&self.shared, Class::Size, 0, size, size, Some(read));
            self.tally.add(finding);
        }
        history.release(&read);
        let who = || "fstat after a change".to_owned();
        self.shared.explain(&mut self.tally, &mut self.again, who);
        Ok(())
    }
}
