// SPDX-License-Identifier: GPL-2.0

//! What must hold.
//!
//! Some properties are broken by a step, which leaves a bit in the world; the others are said of a
//! world as it is. The latter make readers unnecessary that only look: what a cached read would
//! return *now* can be judged in every state.

use crate::{
    machine::{Action, System},
    registry::Gate,
    world::{PAGES, World, page_words, words_of},
};

macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// A property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Property { $($(#[$doc])* $name,)* }

        impl Property {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it says.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether users can see that it is broken; the others are how the promises are kept.
            pub fn is_promise(self) -> bool {
                match self { $(Self::$name => properties!(@$kind),)* }
            }
        }
    };
    (@promise) => { true };
    (@mechanism) => { false };
}

properties! {
    /// C1
    Before = "C1: the range is out of the cache before the write is submitted", promise;
    /// C2
    Once = "C2: a queued request completes exactly once", promise;
    /// C3, C4
    CachedRead = "C4: no cached read returns what was superseded before it began", promise;
    /// C5, and C8 for what a direct read stores into a mapping
    Lost = "C5, C8: the lower file does not lose what was acknowledged", promise;
    /// C6
    DirectRead = "C6: no direct read returns what was superseded before it began", promise;
    /// C7
    Size = "C7: the size is published before the completion", promise;
    /// C8
    Deadlock = "C8: every task comes to an end", promise;
    /// C9
    Truncation = "C9: nothing goes to or comes from behind the end of a file", promise;
    /// C7, C9: what is longer below becomes part of the file with the next mount.
    Ends = "C7, C9: the lower file is not longer than the file", promise;
    /// R5 of the checker's rules
    Agree = "R5: when all is quiet, cache and lower file agree", promise;
    /// Nobody touches a request that was freed.
    Lifetime = "lifetime: a request is not used after it was freed", promise;
    /// The invariant of the registry.
    Registry = "registry: nothing is dirty or up to date in a closed range", mechanism;
    /// Its consequence.
    FoundAfter = "found_after: the second invalidation finds no data", mechanism;
    /// Its consequence.
    AfterFails = "after_failures: the second invalidation succeeds", mechanism;
    /// The first invalidation does not give up.
    BoundedTries = "tries: a bounded number of tries empties the range", mechanism;
}

impl Property {
    /// Its bit in [`World::broken`].
    pub fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Whether it holds in `world`.
    pub fn holds(self, system: &System, world: &World) -> bool {
        if world.broken & self.bit() != 0 {
            return false;
        }
        match self {
            Self::Once => !world.is_quiet() || queued_requests_are_complete(world),
            Self::CachedRead => cached_reads_are_legal(world),
            Self::Lost => lower_is_legal(world),
            Self::Ends => lower_is_not_longer(world),
            Self::Registry => closed_ranges_are_clean(world),
            Self::Agree => !world.is_quiet() || agrees(world),
            Self::Deadlock => world.is_quiet() || can_go_on(system, world),
            _ => true,
        }
    }
}

/// That none completes twice is seen when it does.
fn queued_requests_are_complete(world: &World) -> bool {
    let mut requests = world.requests.iter();
    requests.all(|request| !request.queued || request.completions == 1)
}

/// Whatever a cached read, or a load through a mapping, would return now.
fn cached_reads_are_legal(world: &World) -> bool {
    let mapped = |number: usize| {
        let maps = |pte: crate::world::Pte| usize::from(pte.folio) == number;
        world.tasks.iter().any(|task| task.pte.is_some_and(maps))
    };
    world.folios.iter().enumerate().all(|(number, folio)| {
        folio.is_none_or(|folio| {
            let readable = (folio.cached && folio.uptodate) || mapped(number);
            !readable
                || words_of(page_words(folio.page) & below(world.size))
                    .all(|word| world.history.is_legal(word, folio.data[word % 2]))
        })
    })
}

/// Whatever a direct read would return now that finds nothing to write back.
fn lower_is_legal(world: &World) -> bool {
    (0..PAGES as u8).all(|page| {
        let pending = world
            .cached_folio(page)
            .is_some_and(|f| f.dirty || f.writeback);
        pending
            || words_of(page_words(page) & below(world.size))
                .all(|word| world.history.is_legal(word, world.lower[word]))
    })
}

/// Whoever changes both sizes holds the inode lock exclusively meanwhile.
fn lower_is_not_longer(world: &World) -> bool {
    world.lower_size <= world.size || world.inode_lock.is_exclusive()
}

/// The invariant of `Documentation/coherence.rst`, with its exception.
fn closed_ranges_are_clean(world: &World) -> bool {
    let tickets = world.registry.tickets.iter();
    tickets
        .filter(|ticket| ticket.gate == Gate::Closed && ticket.settled)
        .all(|ticket| {
            (0..PAGES as u8)
                .filter(|page| page_words(*page) & ticket.words != 0)
                .filter_map(|page| world.cached_folio(page))
                .all(|folio| !folio.dirty && (!folio.uptodate || world.given_up))
        })
}

fn agrees(world: &World) -> bool {
    world.folios.iter().flatten().all(|folio| {
        !folio.cached
            || !folio.uptodate
            || folio.dirty
            || words_of(page_words(folio.page) & below(world.size))
                .all(|word| folio.data[word % 2] == world.lower[word])
    })
}

fn can_go_on(system: &System, world: &World) -> bool {
    let mut actions = Vec::new();
    system.possible(world, &mut actions);
    actions
        .into_iter()
        .any(|action: Action| system.after(world, action, false).is_some())
}

/// The words of a file of `size` words.
fn below(size: u8) -> u8 {
    ((1u16 << size) - 1) as u8
}
