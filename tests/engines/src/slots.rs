// SPDX-License-Identifier: GPL-2.0
//! Where requests are kept while the kernel has them.

use crate::errno::Errno;
use crate::error::Error;
use crate::queue::{Completion, Request};

/// Requests by number. A number is what the kernel is told and tells again.
///
/// # Invariants
/// A slot that is not on the free list holds a request, and with it the buffer that the kernel may use.
#[derive(Debug)]
pub(crate) struct Slots {
    requests: Vec<Option<Request>>,
    free: Vec<usize>,
}

impl Slots {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            requests: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
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
        let request = request.ok_or(Error::Call {
            call: "the kernel returned a completion that nobody waits for",
            errno: Errno(0),
        })?;
        self.free.push(slot);
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
