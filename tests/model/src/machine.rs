// SPDX-License-Identifier: GPL-2.0

//! What runs a step: the system under test, and the context of the step.

use crate::{
    config::{Config, Op},
    mutant::Mutant,
    property::Property,
    registry::Gate,
    rwsem::Attempt,
    step::Step,
    world::{ACTORS, Folio, Task, Version, World, page_words, pages_of, words_of},
};

/// A configuration, and what is broken in it.
#[derive(Clone, Copy, Debug)]
pub struct System {
    /// Who races.
    pub config: &'static Config,
    /// What is broken.
    pub mutant: Option<Mutant>,
    /// What is of interest: beyond a violation of that nothing is explored.
    pub watch: Watch,
}

/// Which properties are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// All, but for what is known to be broken in the configuration.
    All,
    /// What users can see.
    Promises,
    /// One.
    Only(Property),
}

impl System {
    /// The system as the code has it.
    pub fn real(config: &'static Config) -> Self {
        Self {
            config,
            mutant: None,
            watch: Watch::All,
        }
    }

    /// The same for other properties.
    pub fn watching(self, watch: Watch) -> Self {
        Self { watch, ..self }
    }

    /// The same with something broken.
    pub fn with(self, mutant: Mutant) -> Self {
        Self {
            mutant: Some(mutant),
            ..self
        }
    }

    /// Whether `property` is looked at.
    pub fn watches(&self, property: Property) -> bool {
        match self.watch {
            Watch::All => self.config.known != Some(property),
            Watch::Promises => property.is_promise(),
            Watch::Only(watched) => watched == property,
        }
    }
}

/// One thing that can happen: a task takes its next step. A wait can end in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Who.
    pub task: u8,
    /// Which way.
    pub way: u8,
}

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It was done.
    Done,
    /// It cannot be done in this state.
    Blocked,
}

/// A step that is being taken.
pub struct Context<'a> {
    /// The system.
    pub system: &'a System,
    /// The world after the step.
    pub world: World,
    /// The task.
    pub me: usize,
    /// In which way a wait ends.
    pub way: u8,
    /// What happens, in words; only kept for traces.
    pub note: Option<String>,
}

impl System {
    /// The world at the beginning.
    pub fn start(&self) -> World {
        let mut world = World::new(self.config.size);
        for (actor, ops) in self.config.actors.iter().enumerate() {
            world.tasks[actor].todo.push(self.steps(ops[0]));
        }
        world
    }

    fn steps(&self, op: Op) -> &'static [Step] {
        op.steps(|mutant| self.is(mutant))
    }

    /// Whether `mutant` is what is broken, or part of it.
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant
            .is_some_and(|broken| broken == mutant || broken.parts().contains(&mutant))
    }

    /// What `task` does or ends in `world`.
    pub fn op(&self, world: &World, task: usize) -> Op {
        self.config.actors[task % ACTORS][usize::from(world.tasks[task].op)]
    }

    /// The world after `action`, and what it did if `noted`; none if it is not possible.
    pub fn after(&self, world: &World, action: Action, noted: bool) -> Option<(World, String)> {
        let mut context = Context {
            system: self,
            world: *world,
            me: usize::from(action.task),
            way: action.way,
            note: noted.then(String::new),
        };
        let step = context.task().todo.pop()?;
        if context.run(step) == Ran::Blocked {
            return None;
        }
        if context.task().todo.top().is_none() {
            context.next_op();
        }
        context.world.collect_garbage();
        Some((context.world, context.note.unwrap_or_default()))
    }

    /// The ways in which the next step of a task can end.
    pub fn ways(step: Step) -> u8 {
        match step {
            Step::ReadWait | Step::MkwriteWait | Step::Flush(..) => 2,
            _ => 1,
        }
    }
}

impl Context<'_> {
    /// The running task.
    pub fn task(&mut self) -> &mut Task {
        &mut self.world.tasks[self.me]
    }

    /// The actor that the task is, or whose request it ends.
    pub fn actor(&self) -> usize {
        self.me % ACTORS
    }

    /// What the task does, or ends.
    pub fn op(&self) -> Op {
        self.system.op(&self.world, self.me)
    }

    /// Turns to the next operation of the actor, if there is one.
    fn next_op(&mut self) {
        let ops = self.system.config.actors[self.actor()];
        let next = self.task().op + 1;
        match ops.get(usize::from(next)).filter(|_| self.me < ACTORS) {
            Some(op) => {
                let steps = self.system.steps(*op);
                self.task().turn_to(next);
                self.task().todo.push(steps);
            }
            None => self.task().turn_to(0),
        }
    }

    /// The words that the actor's request is for.
    pub fn words(&self) -> u8 {
        self.op().words()
    }

    /// The pages of the request, first and last.
    pub fn pages(&self) -> (u8, u8) {
        pages_of(self.words())
    }

    /// What the operation writes: each has a number of its own.
    pub fn version(&self) -> Version {
        let earlier = self.system.config.actors[..self.actor()].iter();
        let others: usize = earlier.map(|ops| ops.len()).sum();
        others as Version + self.world.tasks[self.me].op + 1
    }

    /// Whether `mutant` is what is broken.
    pub fn is(&self, mutant: Mutant) -> bool {
        self.system.is(mutant)
    }

    /// What the operation stores is never acknowledged: it has failed.
    pub fn abandon(&mut self) {
        if self.op().stored() != 0 {
            let version = self.version();
            self.world.history.abandon(version);
        }
    }

    /// Says what happens.
    pub fn say(&mut self, note: impl FnOnce() -> String) {
        if let Some(old) = &mut self.note {
            if !old.is_empty() {
                old.push_str("; ");
            }
            old.push_str(&note());
        }
    }

    /// A promise is broken.
    pub fn break_promise(&mut self, property: Property) {
        self.world.broken |= property.bit();
        self.say(|| format!("VIOLATION: {}", property.name()));
    }

    /// Does `steps` next.
    pub fn then(&mut self, steps: &[Step]) -> Ran {
        self.task().todo.push(steps);
        Ran::Done
    }

    /// The request begins, if it has not yet.
    pub fn begin(&mut self) {
        if self.task().begun {
            return;
        }
        let illegal = self.world.history.illegal();
        let version = self.version();
        if self.op().stored() != 0 {
            self.world.history.start(version);
        }
        if !self.op().writes() {
            for word in words_of(self.words()) {
                self.task().illegal[word] = illegal[word];
            }
        }
        self.task().begun = true;
    }

    /// The caller learns that what it has written, or stored, is complete.
    pub fn acknowledge(&mut self) {
        let (version, words) = (self.version(), self.op().stored());
        self.world.history.acknowledge(version, words);
        self.say(|| format!("version {version} is acknowledged"));
    }

    /// A read returns `version` of `word`.
    pub fn check_read(&mut self, word: usize, version: Version, broken: Property) {
        if word >= usize::from(self.world.size) {
            return;
        }
        self.say(|| format!("word {word} reads as version {version}"));
        if self.task().illegal[word] & (1 << version) != 0 {
            self.break_promise(broken);
        }
    }

    /// Goes on with `Done` if a lock was taken, tries `again` if the task only queued for it.
    pub fn locked(&mut self, attempt: Attempt, again: Step) -> Result<(), Ran> {
        match attempt {
            Attempt::Taken => Ok(()),
            Attempt::Queued => {
                self.say(|| "queues for the lock".into());
                Err(self.then(&[again]))
            }
            Attempt::Blocked => Err(Ran::Blocked),
        }
    }

    /// A folio that the task refers to.
    pub fn folio(&mut self, number: u8) -> &mut Folio {
        self.world.folio(number)
    }

    /// Whether a folio is locked.
    pub fn is_locked(&mut self, number: u8) -> bool {
        self.folio(number).lock.is_some()
    }

    /// Locks a folio that is not locked.
    pub fn lock(&mut self, number: u8) {
        let me = self.me as u8;
        self.folio(number).lock = Some(me);
    }

    /// Unlocks a folio.
    pub fn unlock(&mut self, number: u8) {
        self.folio(number).lock = None;
    }

    /// How the registry stands over the folio of `page`.
    pub fn gate(&self, page: u8) -> Gate {
        self.world.registry.gate(page_words(page), u8::MAX)
    }

    fn run(&mut self, step: Step) -> Ran {
        match step {
            Step::Nothing => Ran::Blocked,
            Step::PinSource => self.pin_source(),
            Step::PinTarget => self.pin_target(),
            Step::LetGo => self.let_go(),
            Step::MarkPinned => self.mark_pinned(),
            Step::LockForWrite => self.lock_for_write(),
            Step::LockAlone => self.lock_alone(),
            Step::LockForRead => self.lock_for_read(),
            Step::Enter => self.enter(),
            Step::Drain => self.drain(),
            Step::Look => self.look(),
            Step::Reopen => self.reopen(),
            Step::WaitLower => self.wait_lower(),
            Step::Close => self.close(),
            Step::LookAgain => self.look_again(),
            Step::LookClosed => self.look_closed(),
            Step::Submit => self.submit(),
            Step::Queued => self.queued(),
            Step::Overwrite => self.overwrite(),
            Step::Device => self.device(),
            Step::LowerReturn => self.lower_return(),
            Step::LowerComplete => self.lower_complete(),
            Step::LookAfter => self.look_after(),
            Step::After => self.after(),
            Step::PublishSize => self.publish_size(),
            Step::Leave => self.leave(),
            Step::Complete => self.complete(),
            Step::Return => self.return_to_caller(),
            Step::FlushForRead => self.flush_for_read(),
            Step::Unlock => self.unlock_inode(),
            Step::CopyTo(half) => self.copy_to(half),
            Step::Flush(from, to) => self.flush(from, to),
            Step::FlushLocked(from, to) => self.flush_locked(from, to),
            Step::WriteLower(to) => self.write_lower(to),
            Step::WaitWriteback(page) => self.wait_writeback(page),
            Step::Invalidate(from, to) => self.invalidate(from, to),
            Step::InvalidateLocked(from, to) => self.invalidate_locked(from, to),
            Step::SizeCheck => self.size_check(),
            Step::Lookup => self.lookup(),
            Step::AddFolio => self.add_folio(),
            Step::ReadaheadGate => self.readahead_gate(),
            Step::ReadFolioGate => self.read_folio_gate(),
            Step::Fill => self.fill(),
            Step::FillDone => self.fill_done(),
            Step::ReadWait => self.read_wait(),
            Step::AfterWait => self.after_wait(),
            Step::Load => self.load(),
            Step::Store => self.store(),
            Step::Mkwrite => self.mkwrite(Gate::Open),
            Step::MkwriteDirty => self.mkwrite_dirty(),
            Step::MkwriteWait => self.mkwrite_wait(),
            Step::WriteLock => self.write_lock(),
            Step::GetFolio => self.get_folio(),
            Step::WriteGate => self.write_gate(),
            Step::WriteWait => self.write_wait(),
            Step::WriteFill => self.write_fill(),
            Step::WriteCopy => self.write_copy(),
            Step::TruncateLock => self.truncate_lock(),
            Step::WaitDirect => self.wait_direct(),
            Step::CutSize => self.cut_size(),
            Step::CutLock => self.cut_lock(),
            Step::Cut(from, to) => self.cut(from, to),
            Step::CutLocked(from, to) => self.cut_locked(from, to),
            Step::LowerShrink => self.lower_shrink(),
            Step::Grow => self.grow(),
            Step::LowerLock => self.lower_lock(),
            Step::LowerUnlock => self.lower_unlock(),
        }
    }
}
