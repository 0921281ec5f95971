// SPDX-License-Identifier: GPL-2.0
//! The memory in which a process of its own does its I/O.

use crate::buffer::Buffer;
use crate::error::Error;
use crate::probe::page_size;
use crate::queue::{Completion, Request};

/// Where the requests of a process go to and come from.
#[derive(Debug)]
pub(crate) enum Memory {
    /// What it shares with those who ask for them.
    Shared,
    /// Private memory, which a fork shares copy-on-write.
    Private(Vec<Slot>),
}

/// The memory of the requests of one slot.
#[derive(Debug)]
pub(crate) struct Slot {
    own: Option<Buffer>,
    /// Where the asker expects it, while a request is under way.
    shared: Option<Buffer>,
}

impl Memory {
    /// Private memory for so many requests at once, of so many bytes at most.
    ///
    /// # Errors
    /// If there is not enough.
    pub(crate) fn private(depth: usize, longest: usize) -> Result<Self, Error> {
        let slot = || {
            Ok(Slot {
                own: Some(Buffer::new(longest, page_size())?),
                shared: None,
            })
        };
        let slots: Result<Vec<_>, _> = (0..depth).map(|_| slot()).collect();
        Ok(Self::Private(slots?))
    }

    /// The request as it is to be submitted, with the same data in its buffer.
    pub(crate) fn lend(&mut self, mut request: Request) -> Request {
        let Self::Private(slots) = self else {
            return request;
        };
        let slot = slots.get_mut(request.id);
        let Some((slot, mut own)) = slot.and_then(|slot| slot.own.take().map(|own| (slot, own)))
        else {
            return request;
        };
        copy(&request.buffer, &mut own);
        slot.shared = Some(std::mem::replace(&mut request.buffer, own));
        request
    }

    /// Puts what has arrived where it is expected.
    pub(crate) fn give_back(&mut self, completion: Completion) {
        let Self::Private(slots) = self else {
            return;
        };
        let Some(slot) = slots.get_mut(completion.id) else {
            return;
        };
        if let Some(mut shared) = slot.shared.take() {
            copy(&completion.buffer, &mut shared);
            slot.own = Some(completion.buffer);
        }
    }
}

/// Copies as much as both have.
fn copy(from: &Buffer, to: &mut Buffer) {
    for (to, from) in to.words_mut().iter_mut().zip(from.words()) {
        *to = *from;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use crate::queue::Op;
    use crate::region::Region;

    const LEN: usize = 8192;

    fn request(region: &Arc<Region>, id: usize) -> Request {
        let mut buffer = Buffer::from_region(Arc::clone(region), id * LEN, LEN).unwrap();
        buffer.words_mut().fill(7);
        Request {
            id,
            op: Op::Read,
            offset: 0,
            len: LEN,
            buffer,
        }
    }

    #[test]
    fn private_memory_is_not_that_of_the_asker_and_ends_up_there() {
        let region = Arc::new(Region::new(2 * LEN).unwrap());
        let mut memory = Memory::private(2, LEN).unwrap();
        for word in [8, 9] {
            let mut lent = memory.lend(request(&region, 1));
            assert_eq!(lent.buffer.place_in(&region), None);
            assert!(lent.buffer.words().iter().all(|word| *word == 7));
            lent.buffer.words_mut().fill(word);
            memory.give_back(Completion {
                id: lent.id,
                result: Ok(LEN),
                buffer: lent.buffer,
            });
            let there = Buffer::from_region(Arc::clone(&region), LEN, LEN).unwrap();
            assert!(there.words().iter().all(|got| *got == word));
        }
    }

    #[test]
    fn shared_memory_is_used_as_it_is() {
        let region = Arc::new(Region::new(LEN).unwrap());
        let lent = Memory::Shared.lend(request(&region, 0));
        assert_eq!(lent.buffer.place_in(&region), Some(0));
    }
}
