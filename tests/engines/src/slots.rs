// SPDX-License-Identifier: GPL-2.0
//! Where requests are kept while the kernel has them.

use crate::errno::Errno;
use crate::error::Error;
use crate::queue::{Completion, Request};

/// Requests by number. What the kernel is told, and tells again, is a token: the number, and how
/// often it has been used, so that a second completion is not taken for that of the next request.
///
/// # Invariants
/// A slot that is not on the free list holds a request, and with it the buffer that the kernel may use.
#[derive(Debug)]
pub(crate) struct Slots {
    requests: Vec<Option<Request>>,
    free: Vec<usize>,
    /// How many requests each slot has had.
    turns: Vec<u32>,
}

/// Where the turn is in a token; the highest bit is for the engine.
const TURN: u32 = 32;
const TURNS: u32 = (1 << 31) - 1;

impl Slots {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            requests: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
            turns: vec![0; depth],
        }
    }

    /// How many there are.
    pub(crate) fn depth(&self) -> usize {
        self.requests.len()
    }

    /// How many are in use.
    pub(crate) fn used(&self) -> usize {
        self.requests.len() - self.free.len()
    }

    /// Keeps a request, and gives it back if there is no room.
    pub(crate) fn put(&mut self, request: Request) -> Result<usize, Request> {
        let Some(slot) = self.free.pop() else {
            return Err(request);
        };
        self.requests[slot] = Some(request);
        Ok(slot)
    }

    /// The request in a slot.
    pub(crate) fn get(&self, slot: usize) -> Option<&Request> {
        self.requests.get(slot)?.as_ref()
    }

    /// What the kernel is told of the request in a slot.
    pub(crate) fn token(&self, slot: usize) -> u64 {
        (u64::from(self.turns[slot]) << TURN) | slot as u64
    }

    /// The slot whose request has this token.
    ///
    /// # Errors
    /// If there is none: then one completed twice.
    pub(crate) fn slot(&self, token: u64) -> Result<usize, Error> {
        let slot = token as u32 as usize;
        match self.get(slot) {
            Some(_) if self.token(slot) == token => Ok(slot),
            _ => Err(Error::Twice),
        }
    }

    /// The request in a slot has ended.
    ///
    /// # Errors
    /// If there is none: then one completed twice.
    pub(crate) fn end(
        &mut self,
        slot: usize,
        result: Result<usize, Errno>,
    ) -> Result<Completion, Error> {
        let request = self.requests.get_mut(slot).and_then(Option::take);
        let request = request.ok_or(Error::Twice)?;
        self.free.push(slot);
        self.turns[slot] = (self.turns[slot] + 1) & TURNS;
        Ok(Completion {
            id: request.id,
            result,
            buffer: request.buffer,
        })
    }

    /// Gives the memory up: the kernel may still use it.
    pub(crate) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.requests));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::single::tests::request;

    #[test]
    fn second_completion_is_not_that_of_the_next_request() {
        let mut slots = Slots::new(1);
        let slot = slots.put(request(1)).unwrap();
        let first = slots.token(slot);
        assert_eq!(slots.slot(first).unwrap(), slot);
        assert_eq!(slots.end(slot, Ok(512)).unwrap().id, 1);
        assert!(matches!(slots.slot(first), Err(Error::Twice)));
        assert!(matches!(slots.end(slot, Ok(512)), Err(Error::Twice)));

        let slot = slots.put(request(2)).unwrap();
        let second = slots.token(slot);
        assert!(matches!(slots.slot(first), Err(Error::Twice)));
        assert_eq!(slots.slot(second).unwrap(), slot);
        assert!(matches!(slots.slot(1), Err(Error::Twice)), "no such slot");
    }
}
