// SPDX-License-Identifier: GPL-2.0
//! Who races on what: the description of a race, without any of its doing.

use std::ops::Range;
use std::time::Duration;

use engines::{Advice, Fate, Flag, Kind, Path};
use oracle::Mode;

use crate::crew::pulse::Role;
use crate::race::aim::Aim;

/// A race on one file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Length of the file in bytes.
    pub len: u64,
    /// Grain of the history; see [`oracle::Config::cell`].
    pub cell: u64,
    /// Those without whom it is not this race.
    pub workers: Vec<WorkerPlan>,
    /// Those who join, over and over, when more threads are wanted.
    pub extras: Vec<WorkerPlan>,
    /// Those who only disturb the cache.
    pub disturbers: Vec<DisturbPlan>,
    /// What the file is before the race.
    pub start: Start,
    /// Those who change its size, or its content without data.
    pub changers: Vec<ChangePlan>,
    /// How many clone it.
    pub cloners: usize,
    /// Without any one of its workers it is not this race.
    pub all_needed: bool,
    /// What the report is to say of it, for example who is left out on this filesystem.
    pub notes: Vec<String>,
}

/// What a file is before the race.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Full of known content, on disk.
    #[default]
    Filled,
    /// As long as it will be, without a block. What was in the free blocks must never show.
    Hole,
    /// The same with blocks reserved by fallocate.
    Unwritten,
    /// Empty.
    Empty,
}

/// One thread that changes the size, or content without data.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    /// What it does, at random; what the filesystem refuses is noted and left out.
    pub ways: Vec<Way>,
    /// The part of the file.
    pub within: Range<u64>,
    /// All its numbers are multiples of this.
    pub unit: u64,
    /// The longest range at once, in units.
    pub most: u64,
    /// Microseconds between two calls, on average.
    pub pause: u64,
    /// It is still this race where the filesystem can do none of it.
    pub optional: bool,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// ftruncate to any length in the part.
    Truncate,
    /// ftruncate to the end of the part.
    Grow,
    /// ftruncate to its beginning.
    Empty,
    /// fallocate, with the size or without.
    Allocate,
    /// Punch a hole.
    Punch,
    /// Zero a range, with the size or without.
    Zero,
    /// Insert a range, and next time take one of the same length out again. The file must be so much
    /// shorter than the plan allows, and nobody may write behind its end.
    Shift,
}

/// One thread that writes or reads.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    /// Its engine.
    pub kind: Kind,
    /// What it does.
    pub role: Role,
    /// Where.
    pub aim: Aim,
    /// How many requests it keeps outstanding, if its engine can.
    pub depth: usize,
    /// When it rests.
    pub rest: Rest,
    /// With [`Role::Both`]: what it does next.
    pub mix: Mix,
    /// Where it runs.
    pub process: Process,
    /// It uses a duplicate of a descriptor that others of its mode use as well.
    pub together: bool,
    /// Its requests lie in memory of one kind.
    pub plain: bool,
    /// It asks for direct I/O that the filesystem may turn into cached I/O without a word.
    pub may_fall_back: bool,
}

/// What a worker of [`Role::Both`] does next. Such a worker counts as a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Reads and writes at random, as many of the one as of the other, each where its aim says.
    Random,
    /// Reads what it has just written, submitted together with the write; by `uring-linked` as one
    /// chain.
    Echo,
}

/// Where the system calls of a worker are made. The oracle is asked by a thread of the tool in any
/// case, before the request is handed over and after its completion has come back; so everything
/// that is judged holds for a process as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// In that thread.
    Thread,
    /// In a process of its own: own memory map, own descriptors, own page tables.
    Own,
    /// In a process of its own, which is killed about so many milliseconds after its first request,
    /// with others in flight, and replaced by another. What it was writing may have been written or not.
    Killed(u64),
    /// In a process of its own, which forks every so many milliseconds while requests are in flight;
    /// its children end at once.
    Forking(u64),
}

impl Process {
    /// What becomes of the process; none if there is none.
    pub fn fate(self) -> Option<Fate> {
        match self {
            Self::Thread => None,
            Self::Own => Some(Fate::Live),
            Self::Killed(ms) => Some(Fate::Die(Duration::from_millis(ms))),
            Self::Forking(ms) => Some(Fate::Fork(Duration::from_millis(ms))),
        }
    }
}

/// When a worker leaves the machine to others. Without rest, loads and stores would take all of it:
/// they are a thousand times cheaper than a direct write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// Microseconds between two requests, on average; mostly none, now and then many.
    pub pause: u64,
    /// It works in one of so many slices of time; always if less than two.
    pub slices: u32,
    /// In which of them.
    pub slice: u32,
}

/// Length of a slice of time in milliseconds.
const SLICE: u128 = 250;

impl Rest {
    /// Whether the worker has a slice to itself and its time has not come.
    pub fn is_off(&self, elapsed: Duration) -> bool {
        let now = elapsed.as_millis() / SLICE;
        self.slices > 1 && now % u128::from(self.slices) != u128::from(self.slice)
    }
}

/// One thread that does what the content must not depend on.
#[derive(Clone, Debug)]
pub struct DisturbPlan {
    /// The part of the file.
    pub within: Range<u64>,
    /// Bytes at once.
    pub block: u64,
    /// Microseconds between two calls, on average.
    pub pause: u64,
    /// What it does, at random; see [`Advice`]. What the kernel refuses is noted and left out.
    pub advices: Vec<Advice>,
    /// By a duplicate of the descriptor that direct engines use together.
    pub together: bool,
}

impl Plan {
    /// A race on a file that is full and stays as it is, with nobody in it yet.
    pub fn new(len: u64, cell: u64) -> Self {
        Self {
            len,
            cell,
            workers: Vec::new(),
            extras: Vec::new(),
            disturbers: Vec::new(),
            start: Start::Filled,
            changers: Vec::new(),
            cloners: 0,
            all_needed: false,
            notes: Vec::new(),
        }
    }

    /// Whether somebody sends signals to all threads.
    pub fn has_signals(&self) -> bool {
        let mut advices = self.disturbers.iter().flat_map(|plan| &plan.advices);
        advices.any(|advice| *advice == Advice::Interrupt)
    }

    /// The file's size at the beginning, if it may change.
    pub fn size(&self) -> Option<u64> {
        let moving = |changer: &ChangePlan| changer.ways.contains(&Way::Shift);
        match self.start {
            Start::Empty => Some(0),
            _ if self.changers.is_empty() => None,
            // Room for what will be inserted.
            _ => Some(match self.changers.iter().find(|changer| moving(changer)) {
                Some(changer) => changer.within.end,
                None => self.len,
            }),
        }
    }

    /// The threads for a wished number of them, disturbers not counted.
    pub fn crew(&self, threads: Option<usize>) -> Vec<WorkerPlan> {
        let mut crew = self.workers.clone();
        let wish = threads.unwrap_or(0);
        if wish > crew.len() {
            let more = self.extras.iter().cycle().take(wish - crew.len());
            crew.extend(more.cloned());
        }
        crew
    }
}

impl WorkerPlan {
    /// A thread that writes.
    pub fn write(kind: Kind, aim: Aim, depth: usize) -> Self {
        Self::new(kind, Role::Write, aim, depth)
    }

    /// A thread that reads.
    pub fn read(kind: Kind, aim: Aim, depth: usize) -> Self {
        Self::new(kind, Role::Read, aim, depth)
    }

    /// A thread that does both.
    pub fn both(kind: Kind, aim: Aim, depth: usize, mix: Mix) -> Self {
        let mut plan = Self::new(kind, Role::Both, aim, depth);
        plan.mix = mix;
        plan
    }

    fn new(kind: Kind, role: Role, aim: Aim, depth: usize) -> Self {
        Self {
            kind,
            role,
            aim,
            depth,
            rest: Rest::default(),
            mix: Mix::Random,
            process: Process::Thread,
            together: false,
            plain: false,
            may_fall_back: false,
        }
    }

    /// The same, resting for so many microseconds between requests on average.
    pub fn pausing(mut self, pause: u64) -> Self {
        self.rest.pause = pause;
        self
    }

    /// Which way its requests take to the content, as far as one can know.
    pub fn mode(&self) -> Mode {
        match self.may_fall_back {
            true => Mode::Either,
            false => mode(self.kind),
        }
    }

    /// The same, with memory of one kind: what makes memory special costs time.
    pub fn in_plain_memory(mut self) -> Self {
        self.plain = true;
        self
    }

    /// The same, elsewhere.
    pub fn in_process(mut self, process: Process) -> Self {
        self.process = process;
        self
    }

    /// The same, working in one of so many slices of time.
    pub fn in_slice(mut self, slice: u32, slices: u32) -> Self {
        (self.rest.slice, self.rest.slices) = (slice, slices);
        self
    }
}

/// Which way an engine takes to the content.
pub fn mode(kind: Kind) -> Mode {
    match kind {
        _ if kind.is_mapped() => Mode::Mmap,
        Kind {
            path: Path::Toggle, ..
        } => Mode::Either,
        Kind { direct: true, .. } => Mode::Direct,
        _ => Mode::Buffered,
    }
}

/// Whether a read returns all that the file has unless something fails on the way. Who asks not to wait
/// gets what is there; what goes through a pipe or another file goes in pieces, and may end with any of
/// them.
pub fn reads_whole(kind: Kind) -> bool {
    match kind.path {
        Path::Sync | Path::Libaio | Path::LibaioVector | Path::Uring(_) => true,
        Path::Flag(flag) => flag != Flag::Nowait,
        Path::Toggle
        | Path::Mmap(_)
        | Path::Splice
        | Path::Vmsplice
        | Path::Sendfile
        | Path::CopyRange => false,
    }
}

/// The plain engine of a mode.
pub fn engine(mode: Mode) -> Kind {
    match mode {
        Mode::Buffered | Mode::Either => Kind::BUFFERED,
        Mode::Direct => Kind::DIRECT,
        Mode::Mmap => Kind::MMAP,
    }
}
