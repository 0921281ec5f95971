// SPDX-License-Identifier: GPL-2.0

//! The state of the model: one file, and the tasks that use it.

use std::hash::{Hash, Hasher};

use crate::{
    history::{History, Versions},
    registry::{Gate, Registry},
    rwsem::RwSem,
    step::Step,
};

/// Pages of the file. The registry and the cache work on pages (folios).
pub const PAGES: usize = 2;
/// Words of the file, two to a page, so that two writes can share a page and not a word.
pub const WORDS: usize = 2 * PAGES;
/// Actors of a configuration.
pub const ACTORS: usize = 4;
/// Tasks: each actor, and the end of the request that it has queued.
pub const TASKS: usize = 2 * ACTORS;
/// Folios that can be alive at a time, those included that left the cache and are still used.
const FOLIOS: usize = 6;
/// How deep the steps of a task nest.
const DEPTH: usize = 12;

/// Which write a word comes from; 0 is the initial content.
pub type Version = u8;

/// The numbers of the words in a set of words.
pub fn words_of(words: u8) -> impl Iterator<Item = usize> {
    (0..WORDS).filter(move |word| words & (1 << word) != 0)
}

/// The words of a page.
pub fn page_words(page: u8) -> u8 {
    0b11 << (2 * page)
}

/// The pages that hold some of `words`, first and last.
pub fn pages_of(words: u8) -> (u8, u8) {
    let first = words.trailing_zeros() / 2;
    let last = (7 - words.leading_zeros()) / 2;
    (first as u8, last as u8)
}

/// A folio of one page, in the upper page cache or on its way out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folio {
    /// Its index in the file.
    pub page: u8,
    /// Whether it is in the cache.
    pub cached: bool,
    /// Whether lockless lookups do not see it yet, the insertion being in the store buffer of a
    /// processor (mutants only).
    pub hidden: bool,
    /// Who holds its lock.
    pub lock: Option<u8>,
    /// `PG_uptodate`
    pub uptodate: bool,
    /// `PG_dirty`
    pub dirty: bool,
    /// `PG_writeback`
    pub writeback: bool,
    /// Its content.
    pub data: [Version; 2],
}

/// Packed, which is quicker than field by field.
impl Hash for Folio {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let flags = [
            self.cached,
            self.hidden,
            self.uptodate,
            self.dirty,
            self.writeback,
        ];
        let flags = flags
            .into_iter()
            .fold(1, |bits, flag| 2 * bits + u8::from(flag));
        let lock = self.lock.map_or(0, |task| task + 1);
        let [first, second] = self.data;
        state.write_u64(u64::from_le_bytes([
            self.page, flags, lock, first, second, 0, 0, 0,
        ]));
    }
}

/// What a task's page table says of the page that it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pte {
    /// The folio, by number.
    pub folio: u8,
    /// Whether stores go through without a fault.
    pub writable: bool,
}

/// The container of a direct request, `Transfer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    /// Its owners.
    pub owners: u8,
    /// Whether the lower file has queued it: its end has to complete the caller's request.
    pub queued: bool,
    /// How often the caller's request was completed.
    pub completions: u8,
}

/// What a task is about to do, the next step last. What is beyond `len` is [`Step::Nothing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    steps: [Step; DEPTH],
    len: u8,
}

impl Hash for Stack {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.steps[..usize::from(self.len)].hash(state);
    }
}

impl Stack {
    const EMPTY: Self = Self {
        steps: [Step::Nothing; DEPTH],
        len: 0,
    };

    /// The next step.
    pub fn top(&self) -> Option<Step> {
        self.steps[..usize::from(self.len)].last().copied()
    }

    /// Takes the next step off.
    pub fn pop(&mut self) -> Option<Step> {
        let step = self.top()?;
        self.len -= 1;
        self.steps[usize::from(self.len)] = Step::Nothing;
        Some(step)
    }

    /// Puts steps before all others, the first of them first.
    pub fn push(&mut self, steps: &[Step]) {
        for step in steps.iter().rev() {
            self.steps[usize::from(self.len)] = *step;
            self.len += 1;
        }
    }

    /// Forgets all steps.
    pub fn clear(&mut self) {
        *self = Self::EMPTY;
    }
}

/// A task, and what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// What it is about to do.
    pub todo: Stack,
    /// Which of its actor's operations this is.
    pub op: u8,
    /// Whether it has taken the first step of that.
    pub begun: bool,
    /// What its read may not return: what was superseded when it began.
    pub illegal: [Versions; WORDS],
    /// A folio that it has a reference to.
    pub held: Option<u8>,
    /// Its page table.
    pub pte: Option<Pte>,
    /// The folio that its request has pinned.
    pub pin: Option<u8>,
    /// Pages that it has put in the cache and locked, or collected for write-back.
    pub batch: u8,
    /// How the gate stood when it looked.
    pub seen: Gate,
    /// The tickets that it waits for.
    pub waits_for: u8,
    /// Tries at emptying the cache.
    pub tries: u8,
    /// Whether an invalidation met a dirty folio.
    pub busy: bool,
    /// Whether it has tried readahead.
    pub read_ahead: bool,
    /// Whether it is in an interrupt, which takes no time to speak of.
    pub interrupt: bool,
}

/// Most tasks are idle: they are hashed quickly. The rest is packed, which is quicker than field by
/// field.
impl Hash for Task {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if *self == Self::IDLE {
            return state.write_u8(0);
        }
        self.todo.hash(state);
        let number = |folio: Option<u8>| folio.map_or(0, |number| number + 1);
        let pte = self
            .pte
            .map_or(0, |p| 2 * (p.folio + 1) + u8::from(p.writable));
        let flags = [self.begun, self.busy, self.read_ahead, self.interrupt];
        let flags = flags
            .into_iter()
            .fold(1, |bits, flag| 2 * bits + u8::from(flag));
        state.write_u64(u64::from_le_bytes([
            flags,
            self.op,
            number(self.held),
            number(self.pin),
            pte,
            self.batch,
            self.seen as u8,
            self.waits_for,
        ]));
        state.write_u8(self.tries);
        state.write(&self.illegal);
    }
}

impl Task {
    const IDLE: Self = Self {
        todo: Stack::EMPTY,
        op: 0,
        begun: false,
        illegal: [0; WORDS],
        held: None,
        pte: None,
        pin: None,
        batch: 0,
        seen: Gate::Open,
        waits_for: 0,
        tries: 0,
        busy: false,
        read_ahead: false,
        interrupt: false,
    };

    /// Turns to operation `op`, and forgets everything but the page table, which outlives them.
    pub fn turn_to(&mut self, op: u8) {
        let pte = self.pte;
        *self = Self {
            op,
            pte,
            ..Self::IDLE
        };
    }
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Actors, and from [`ACTORS`] on the ends of their queued requests.
    pub tasks: [Task; TASKS],
    /// The folios that are alive.
    pub folios: [Option<Folio>; FOLIOS],
    /// The lower file's content. Its own page cache is not modelled: see `Documentation/model.rst`.
    pub lower: [Version; WORDS],
    /// The version that zeros are: of the last truncation.
    pub zeros: Version,
    /// The upper size, in words.
    pub size: u8,
    /// The lower size, in words.
    pub lower_size: u8,
    /// The upper inode's lock.
    pub inode_lock: RwSem,
    /// The lower inode's lock.
    pub lower_lock: RwSem,
    /// The upper mapping's `invalidate_lock`.
    pub invalidate_lock: RwSem,
    /// The in-flight registry.
    pub registry: Registry,
    /// `i_dio_count`
    pub dio_count: u8,
    /// The requests, by actor.
    pub requests: [Request; ACTORS],
    /// What was written and acknowledged.
    pub history: History,
    /// Whether a read went ahead at a closed gate, its wait given up.
    pub given_up: bool,
    /// Promises broken so far, as bits of [`crate::property::Property`].
    pub broken: u32,
}

impl World {
    /// A file of `size` words, nothing cached, and nobody doing anything.
    pub fn new(size: u8) -> Self {
        Self {
            tasks: [Task::IDLE; TASKS],
            folios: [None; FOLIOS],
            lower: [0; WORDS],
            zeros: 0,
            size,
            lower_size: size,
            inode_lock: RwSem::default(),
            lower_lock: RwSem::default(),
            invalidate_lock: RwSem::default(),
            registry: Registry::default(),
            dio_count: 0,
            requests: [Request::default(); ACTORS],
            history: History::new(),
            given_up: false,
            broken: 0,
        }
    }

    /// Whether every task has come to its end.
    pub fn is_quiet(&self) -> bool {
        self.tasks.iter().all(|task| task.todo.top().is_none())
    }

    /// The number of the folio at `page` in the cache.
    pub fn cached(&self, page: u8) -> Option<u8> {
        let here = |folio: &Option<Folio>| folio.is_some_and(|f| f.cached && f.page == page);
        self.folios.iter().position(here).map(|at| at as u8)
    }

    /// The folio at `page` in the cache.
    pub fn cached_folio(&self, page: u8) -> Option<&Folio> {
        self.folios
            .iter()
            .flatten()
            .find(|f| f.cached && f.page == page)
    }

    /// A living folio.
    pub fn folio(&mut self, number: u8) -> &mut Folio {
        self.folios[usize::from(number)]
            .as_mut()
            .expect("a folio that a task refers to is alive")
    }

    /// Puts a new folio for `page` into the cache, locked by `task`, and returns its number.
    pub fn add_folio(&mut self, page: u8, task: usize, hidden: bool) -> u8 {
        let at = self
            .folios
            .iter()
            .position(Option::is_none)
            .expect("there are enough folios for every reference");
        self.folios[at] = Some(Folio {
            page,
            cached: true,
            hidden,
            lock: Some(task as u8),
            uptodate: false,
            dirty: false,
            writeback: false,
            data: [0; 2],
        });
        at as u8
    }

    /// Takes every mapping of a folio away.
    pub fn unmap(&mut self, number: u8) {
        for task in &mut self.tasks {
            task.pte = task.pte.filter(|pte| pte.folio != number);
        }
    }

    /// Frees the folios that are out of the cache and that nobody refers to, so that worlds that
    /// are the same look the same.
    pub fn collect_garbage(&mut self) {
        for number in 0..self.folios.len() {
            let Some(folio) = self.folios[number] else {
                continue;
            };
            let at = Some(number as u8);
            let referred = |t: &Task| t.held == at || t.pin == at || t.pte.map(|p| p.folio) == at;
            if !folio.cached && folio.lock.is_none() && !self.tasks.iter().any(referred) {
                self.folios[number] = None;
            }
        }
    }
}
