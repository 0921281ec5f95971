// SPDX-License-Identifier: GPL-2.0
//! What a thread is doing, for those who watch it.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engines::{Op, WorkerId, coarse_time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{Entry, Log, Part};

/// What a thread is there for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It writes.
    Write,
    /// It reads and judges.
    Read,
    /// It drops, fetches and writes back cached pages.
    Disturb,
    /// It writes and reads.
    Both,
}

impl Role {
    /// Whether it writes.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }

    /// Every role.
    pub const ALL: [Role; 4] = [Self::Write, Self::Read, Self::Disturb, Self::Both];

    /// A word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Disturb => "disturb",
            Self::Both => "both",
        }
    }
}

/// Nanoseconds since the machine was started, to some milliseconds.
fn now() -> u64 {
    coarse_time().as_nanos() as u64
}

/// Counters and outstanding requests of one thread. The thread writes, others read.
#[derive(Debug)]
pub struct Pulse {
    /// Name of its engine.
    pub engine: String,
    /// What it is there for.
    pub role: Role,
    thread: AtomicI32,
    worker: OnceLock<Arc<WorkerId>>,
    operations: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    checking: AtomicU64,
    slots: Vec<Slot>,
    /// Its number in the crew.
    nth: usize,
    begun: AtomicU64,
    log: Option<Arc<Log>>,
    part: Option<Arc<Part>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Nanoseconds since the machine was started; zero when idle.
    since: AtomicU64,
    offset: AtomicU64,
    /// Length times two, plus one for a write.
    what: AtomicU64,
    /// When it began, in the ordinals of the record.
    ordinal: AtomicU64,
    /// The thread's count of its requests.
    count: AtomicU64,
}

/// An outstanding request.
#[derive(Clone, Copy, Debug)]
pub struct Outstanding {
    /// How long it has been outstanding.
    pub age: Duration,
    /// What it does.
    pub op: Op,
    /// Offset in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Pulse {
    pub(super) fn new(
        engine: &str,
        role: Role,
        slots: usize,
        nth: usize,
        log: Option<Arc<Log>>,
        part: Option<Arc<Part>>,
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            role,
            thread: AtomicI32::new(0),
            worker: OnceLock::new(),
            operations: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            checking: AtomicU64::new(0),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            nth,
            begun: AtomicU64::new(0),
            log,
            part,
        }
    }

    pub(super) fn enter(&self, thread: i32) {
        self.thread.store(thread, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.thread.store(0, Ordering::Relaxed);
    }

    /// The kernel's number of the thread, zero before and after it runs.
    pub fn thread(&self) -> i32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Its system calls are made by another process.
    pub fn works_in(&self, process: Arc<WorkerId>) {
        // Said once, before the thread runs.
        let _ = self.worker.set(process);
    }

    /// The process that makes its system calls, if it is another one.
    pub fn worker(&self) -> Option<i32> {
        let number = self.worker.get()?.get();
        (number != 0).then_some(number)
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.thread() != 0
    }

    /// What is on record for the thread.
    pub fn part(&self) -> Option<Arc<Part>> {
        self.part.clone()
    }

    /// A request is about to be submitted.
    pub fn begin(&self, slot: usize, op: Op, offset: u64, len: u64) {
        let slot = &self.slots[slot];
        let count = self.begun.fetch_add(1, Ordering::Relaxed);
        slot.count.store(count, Ordering::Relaxed);
        if let Some(log) = &self.log {
            slot.ordinal.store(log.tick(), Ordering::Relaxed);
        }
        slot.offset.store(offset, Ordering::Relaxed);
        slot.what
            .store(len * 2 + u64::from(op == Op::Write), Ordering::Relaxed);
        slot.since.store(now(), Ordering::Release);
    }

    /// It has ended.
    pub fn end(&self, slot: usize, result: Result<u64, ()>) {
        let slot = &self.slots[slot];
        slot.since.store(0, Ordering::Release);
        if let Some(log) = &self.log {
            let what = slot.what.load(Ordering::Relaxed);
            log.request(&Entry {
                thread: self.nth,
                write: what % 2 == 1,
                offset: slot.offset.load(Ordering::Relaxed),
                len: what / 2,
                start: slot.ordinal.load(Ordering::Relaxed),
                end: log.tick(),
                result: result.ok(),
            });
        }
        if let Some(part) = &self.part {
            part.ended(slot.count.load(Ordering::Relaxed) as usize);
        }
        match result {
            Ok(bytes) => {
                self.operations.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(()) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Does something else that may hang, as its only request.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.begin(0, Op::Read, 0, 0);
        let done = work();
        self.end(0, Ok(0));
        done
    }

    /// Time was spent on judging.
    pub fn checked(&self, time: Duration) {
        self.checking
            .fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Operations that succeeded.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Bytes they moved.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Operations that failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Time spent on judging.
    pub fn checking(&self) -> Duration {
        Duration::from_nanos(self.checking.load(Ordering::Relaxed))
    }

    /// The request that has been outstanding for longest.
    pub fn oldest(&self) -> Option<Outstanding> {
        let now = now();
        let busy = self.slots.iter().filter_map(|slot| {
            let since = slot.since.load(Ordering::Acquire);
            (since != 0).then_some((since, slot))
        });
        let (since, slot) = busy.min_by_key(|(since, _)| *since)?;
        let what = slot.what.load(Ordering::Relaxed);
        Some(Outstanding {
            age: Duration::from_nanos(now.saturating_sub(since)),
            op: if what % 2 == 1 { Op::Write } else { Op::Read },
            offset: slot.offset.load(Ordering::Relaxed),
            len: what / 2,
        })
    }
}
