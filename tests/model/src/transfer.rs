// SPDX-License-Identifier: GPL-2.0

//! A direct request from its submission to its end: `rust/vfs/transfer.rs`, `rust/fs/direct.rs`.

use crate::{
    config::Op,
    machine::{Context, Ran},
    mutant::Mutant,
    property::Property,
    registry::Ticket,
    step::Step,
    world::{ACTORS, Request, Task, words_of},
};

impl Context<'_> {
    /// The request goes to the lower file, which takes its inode lock for that.
    pub(crate) fn submit(&mut self) -> Ran {
        // What is read into pages of its own is copied by the caller's task.
        let queued = self.op().may_queue() && !self.extends() && !self.bounces();
        let exclusive = self.op().writes() && self.extends();
        let lower = &mut self.world.lower_lock;
        let attempt = if queued {
            lower.pass(self.me, exclusive)
        } else {
            lower.take(self.me, exclusive)
        };
        if let Err(ran) = self.locked(attempt, Step::Submit) {
            return ran;
        }
        if self.op().writes() {
            self.check_way();
        }
        self.world.dio_count += 1;
        let owners = if self.is(Mutant::FreedEarly) { 1 } else { 2 };
        let request = &mut self.world.requests[self.me];
        *request = Request {
            owners,
            queued,
            ..*request
        };
        if queued {
            self.say(|| "the lower file queues the request".into());
            self.queue()
        } else {
            self.say(|| "the lower file does the request".into());
            self.then(&[Step::Device, Step::LowerReturn])
        }
    }

    /// C1: before a byte is submitted, the range is out of the cache. A read that has given up its
    /// wait can bring clean data in.
    fn check_way(&mut self) {
        let (first, last) = self.pages();
        let in_way = |page| {
            let folio = self.world.cached_folio(page);
            folio.is_some_and(|f| f.dirty || (f.uptodate && !self.world.given_up))
        };
        if (first..=last).any(in_way) {
            self.break_promise(Property::Before);
        }
    }

    fn queue(&mut self) -> Ran {
        let me = self.me;
        let pin = self.task().pin.take();
        let Task { op, illegal, .. } = *self.task();
        let completion = &mut self.world.tasks[me + ACTORS];
        completion.todo.push(&[Step::Device, Step::LowerComplete]);
        completion.op = op;
        completion.begun = true;
        completion.pin = pin;
        completion.illegal = illegal;
        if self.is(Mutant::Order2007) {
            let (first, last) = self.pages();
            return self.then(&[Step::Invalidate(first, last), Step::Overwrite, Step::Queued]);
        }
        self.then(&[Step::Queued])
    }

    /// As before 2007: the caller gets the error of the invalidation instead of `-EIOCBQUEUED`, and
    /// completes the request.
    pub(crate) fn overwrite(&mut self) -> Ran {
        if std::mem::take(&mut self.task().busy) {
            self.say(|| "-EIO takes the place of -EIOCBQUEUED: the caller completes".into());
            self.count_completion();
        }
        Ran::Done
    }

    fn count_completion(&mut self) {
        let actor = self.actor();
        self.world.requests[actor].completions += 1;
        if self.world.requests[actor].completions > 1 {
            self.break_promise(Property::Once);
        }
    }

    fn disown(&mut self) {
        let actor = self.actor();
        let owners = &mut self.world.requests[actor].owners;
        *owners = owners.saturating_sub(1);
    }

    /// The lower filesystem and the submitter look at the request once more.
    pub(crate) fn queued(&mut self) -> Ran {
        let actor = self.actor();
        if self.world.requests[actor].owners == 0 {
            self.break_promise(Property::Lifetime);
        }
        self.disown();
        self.world.inode_lock.release(self.me);
        self.say(|| "-EIOCBQUEUED is returned".into());
        Ran::Done
    }

    /// The data move between the pages and the lower file.
    pub(crate) fn device(&mut self) -> Ran {
        match self.op() {
            Op::DirectRead { .. } => self.device_reads(),
            _ => self.device_writes(),
        }
        Ran::Done
    }

    fn device_writes(&mut self) {
        let version = self.version();
        for word in words_of(self.words()) {
            let extending = self.world.lower_lock.is_mine(self.me);
            if word >= usize::from(self.world.lower_size) {
                if extending {
                    self.world.lower_size = word as u8 + 1;
                } else {
                    self.break_promise(Property::Truncation);
                }
            }
            self.world.lower[word] = version;
            self.say(|| format!("lower word {word} becomes version {version}"));
        }
    }

    fn device_reads(&mut self) {
        for word in words_of(self.words()) {
            let version = self.world.lower[word];
            self.check_read(word, version, Property::DirectRead);
        }
        if let Some(number) = self.task().pin {
            let version = self.version();
            self.folio(number).data = [version; 2];
            self.say(|| format!("the buffer holds version {version}"));
        }
    }

    /// The lower call of a request that was not queued is over.
    pub(crate) fn lower_return(&mut self) -> Ran {
        self.world.lower_lock.release(self.me);
        self.disown();
        let actor = self.actor();
        if self.world.requests[actor].owners == 0 {
            self.break_promise(Property::Lifetime);
        }
        match self.op() {
            Op::DirectRead { .. } if self.bounces() => self.then(&[
                Step::Leave,
                Step::Unlock,
                Step::CopyTo(0),
                Step::CopyTo(1),
                Step::Return,
            ]),
            Op::DirectRead { .. } => self.then(&[Step::Leave, Step::LetGo, Step::Return]),
            _ => self.end_in_call(),
        }
    }

    fn end_in_call(&mut self) -> Ran {
        let after = self.ending(Step::LookAfter, Step::Return);
        self.then(&after)
    }

    /// The steps of the end of a write, in their order: `look` first, unless that is
    /// [`Step::Nothing`], and `learn` last.
    fn ending(&self, look: Step, learn: Step) -> Vec<Step> {
        let publish = if self.extends() {
            Step::PublishSize
        } else {
            Step::Nothing
        };
        let look = match self.is(Mutant::NoInvalidationAfter) || self.is(Mutant::Order2007) {
            true => Step::Nothing,
            false => look,
        };
        let mut steps = vec![look, publish, Step::Leave, learn];
        if self.is(Mutant::LeaveBeforeInvalidation) {
            steps = vec![Step::Leave, look, publish, learn];
        } else if self.is(Mutant::CompletionBeforeInvalidation) {
            steps = vec![learn, look, publish, Step::Leave];
        } else if self.is(Mutant::SizeLate) {
            steps = vec![look, Step::Leave, learn, publish];
        } else if self.is(Mutant::EndTakesInodeLock) && learn == Step::Complete {
            steps.insert(2, Step::TruncateLock);
        }
        steps.retain(|step| *step != Step::Nothing);
        steps
    }

    /// `DirectFile::finish_sleeps` decides where the rest is done.
    pub(crate) fn lower_complete(&mut self) -> Ran {
        if matches!(self.op(), Op::DirectRead { .. }) {
            return self.then(&[Step::Leave, Step::LetGo, Step::Complete]);
        }
        let (first, last) = self.pages();
        let mut look = Step::Nothing;
        if self.is_empty(first, last) {
            self.task().interrupt = true;
            self.say(|| "nothing in the range: the interrupt does the rest".into());
        } else if self.is(Mutant::NoWorker) {
            self.say(|| "the interrupt does the rest, whatever is in the range".into());
        } else {
            look = Step::LookAfter;
            self.say(|| "the rest is left to a worker".into());
        }
        let after = self.ending(look, Step::Complete);
        self.then(&after)
    }

    pub(crate) fn look_after(&mut self) -> Ran {
        let (first, last) = self.pages();
        if self.is_empty(first, last) {
            return Ran::Done;
        }
        if self.finds_data(first, last) && !self.world.given_up {
            self.break_promise(Property::FoundAfter);
        }
        self.task().busy = false;
        self.then(&[Step::Invalidate(first, last), Step::After])
    }

    pub(crate) fn after(&mut self) -> Ran {
        if std::mem::take(&mut self.task().busy) {
            self.break_promise(Property::AfterFails);
        }
        Ran::Done
    }

    pub(crate) fn publish_size(&mut self) -> Ran {
        if !self.world.inode_lock.is_mine(self.me) && !self.is(Mutant::SizeLate) {
            self.break_promise(Property::Truncation);
        }
        let end = words_of(self.words())
            .max()
            .map_or(0, |word| word as u8 + 1);
        self.world.size = self.world.size.max(end);
        self.say(|| format!("the size is {end} words"));
        Ran::Done
    }

    pub(crate) fn leave(&mut self) -> Ran {
        let actor = self.actor();
        self.world.registry.tickets[actor] = Ticket::default();
        self.world.dio_count -= 1;
        self.task().interrupt = false;
        let release = !matches!(self.op(), Op::DirectRead { .. });
        self.task().pin = self.task().pin.filter(|_| !release);
        self.say(|| "the range is open, its waiters wake".into());
        Ran::Done
    }

    pub(crate) fn complete(&mut self) -> Ran {
        self.disown();
        if self.is(Mutant::NeverCompletes) {
            self.say(|| "the caller's request is not completed".into());
            return Ran::Done;
        }
        self.count_completion();
        if self.is(Mutant::EndTakesInodeLock) {
            self.world.inode_lock.release(self.me);
        }
        self.learn();
        Ran::Done
    }

    pub(crate) fn unlock_inode(&mut self) -> Ran {
        self.world.inode_lock.release(self.me);
        Ran::Done
    }

    pub(crate) fn return_to_caller(&mut self) -> Ran {
        if self.world.inode_lock.is_mine(self.me) && self.extends() {
            self.break_promise(Property::Size);
        }
        self.world.inode_lock.release(self.me);
        self.learn();
        Ran::Done
    }

    /// The caller learns the result.
    fn learn(&mut self) {
        if self.op().stored() != 0 {
            self.acknowledge();
        }
    }
}
