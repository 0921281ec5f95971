// SPDX-License-Identifier: GPL-2.0

//! How the gate over a range of a file can stand, and what one does who has waited at it.
//!
//! The gate is shut by direct writes, which take what they write out of the page cache first. See
//! [`crate::vfs::mapping`] for who comes to it.

/// What the members of a set say of a range, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// No member overlaps it.
    Open,
    /// A member is about to close it, and is still looking at the shared place. What comes in there
    /// now will be seen.
    Closing,
    /// A member has closed it, and does not look at the shared place any more.
    Closed,
}

impl Gate {
    /// What one member says of a range that it overlaps.
    pub fn of_member(closed: bool) -> Self {
        match closed {
            true => Gate::Closed,
            false => Gate::Closing,
        }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The condition held.
    Ready,
    /// The time was up first.
    TimedOut,
    /// A signal came first.
    Killed,
    /// What was waited for came to an end, but more of its kind had come in by then, time and
    /// again.
    Overtaken,
}

impl Wake {
    /// Whether one who waited at `gate` with a limit goes on though the gate may be shut.
    pub fn gave_up(self, gate: Gate) -> bool {
        gate == Gate::Closed && matches!(self, Wake::TimedOut | Wake::Overtaken)
    }
}

/// What one does who has waited at a gate, with no folio locked meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Looks for its folio anew, and then at the gate.
    LookAnew,
    /// Goes on with its folio, if the gate stands no worse now than this.
    GoOn(Gate),
    /// Fails.
    Fail,
}

/// What a store through a mapping does that has waited at `gate`.
///
/// It must not get through a closed gate: what it dirties nobody would look for. `contended` is
/// whether somebody waits for a lock of the store, which the storing task may hold.
pub fn after_store(gate: Gate, wake: Wake, contended: impl FnOnce() -> bool) -> Next {
    match (gate, wake) {
        (_, Wake::Ready | Wake::Overtaken) => Next::LookAnew,
        (_, Wake::Killed) => Next::Fail,
        // With nobody waiting for a lock of the store, it is the device that takes its time.
        (Gate::Closed, Wake::TimedOut) if !contended() => Next::LookAnew,
        (Gate::Closed, Wake::TimedOut) => Next::Fail,
        // The one who is closing the gate may wait for what the storing task holds, and will look
        // at the cache again.
        (_, Wake::TimedOut) => Next::GoOn(Gate::Closing),
    }
}

/// What a read does that has waited at `gate`.
///
/// Once its time is up it gets through every gate: what it gets may be superseded, but whoever
/// closed the gate invalidates the cache before opening it.
pub fn after_read(gate: Gate, wake: Wake) -> Next {
    match wake {
        Wake::Ready => Next::LookAnew,
        Wake::Killed => Next::Fail,
        Wake::TimedOut | Wake::Overtaken => Next::GoOn(gate),
    }
}
