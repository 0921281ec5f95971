// SPDX-License-Identifier: GPL-2.0

//! The in-flight registry, `rust/vfs/range_set.rs`.

use crate::world::ACTORS;

/// How the gate stands: `range_set::Gate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// No ticket overlaps.
    #[default]
    Open,
    /// A ticket is about to close the range.
    Closing,
    /// A ticket has closed it.
    Closed,
}

/// One direct write's ticket, `range_set::RangeTicket`; out of the set while its gate is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// What it says of its range.
    pub gate: Gate,
    /// What others see of it still, while the store that entered or closed it is in the store
    /// buffer of a processor (mutants only).
    pub seen_as: Option<Gate>,
    /// The words that it is for.
    pub words: u8,
    /// Whether its owner has had the last look at the cache.
    pub settled: bool,
}

/// The tickets of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Registry {
    /// By actor.
    pub tickets: [Ticket; ACTORS],
}

impl Registry {
    /// `RangeSet::gate_before`: what the tickets of `members` say of `words`.
    pub fn gate(&self, words: u8, members: u8) -> Gate {
        let overlaps = |(i, t): &(usize, &Ticket)| members & (1 << i) != 0 && t.words & words != 0;
        self.tickets
            .iter()
            .enumerate()
            .filter(overlaps)
            .map(|(_, ticket)| ticket.seen_as.unwrap_or(ticket.gate))
            .max()
            .unwrap_or(Gate::Open)
    }

    /// Who is in the set now: what `RangeSet::wait_better` knows by their numbers.
    pub fn members(&self) -> u8 {
        let bit = |(i, t): (usize, &Ticket)| u8::from(t.gate != Gate::Open) << i;
        self.tickets.iter().enumerate().map(bit).sum()
    }
}
