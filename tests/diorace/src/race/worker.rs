// SPDX-License-Identifier: GPL-2.0
//! One thread of a race: submits, reaps, tells the oracle, asks it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engines::{
    Buffer, Completion, Errno, Error, Op, Path, Queue, Request, Ring, Shape, thread_cpu_time,
};
use oracle::{Class, Mode, Outcome, Read, ReadStart, Tally, Write};

use crate::crew::pulse::{Pulse, Role};
use crate::race::aim::Aimer;
use crate::race::plan::{Mix, Rest, WorkerPlan};
use crate::race::quiesce;
use crate::race::recheck::Rechecker;
use crate::race::shared::Shared;
use crate::rng::Rng;

/// How long a worker waits for a completion before it looks whether it is time to stop.
const WAIT: Duration = Duration::from_millis(200);

/// How long it waits when there is nothing to do, or after an error.
const PAUSE: Duration = Duration::from_micros(50);

/// Of how many requests the time that judging takes is measured for one: reading a clock takes time.
const SAMPLE: u64 = 16;

/// Of how many requests one is followed by a rest.
const BURST: u64 = 8;

/// A thread that writes or reads.
pub struct Worker {
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    queue: Box<dyn Queue>,
    aimer: Aimer,
    mode: Mode,
    engine: &'static str,
    role: Role,
    mix: Mix,
    /// What was written last, and is to be read.
    echo: Option<(u64, u64)>,
    /// Its requests may go on when the process that made them has ended: a thread of the kernel has
    /// them.
    lingers: bool,
    /// Its number among the writers.
    writer: u8,
    /// The first of its readers' slots; one for each request, and one for second looks.
    first_slot: usize,
    pending: Vec<Option<Pending>>,
    free: Vec<usize>,
    buffers: Vec<Buffer>,
    again: Rechecker,
    tally: Tally,
    rest: Rest,
    rng: Rng,
    begin: Instant,
    started: u64,
    ended: u64,
}

/// What memory a request uses: that of four in a row differs.
fn shape(nth: usize, memory: usize) -> Shape {
    match nth % 4 {
        1 => Shape::Shifted(memory),
        2 => Shape::Absent,
        3 => Shape::Huge,
        _ => Shape::Plain,
    }
}

/// The numbers of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    /// Among all workers.
    pub nth: u64,
    /// Among the writers, from one; that of the last writer for a reader.
    pub writer: u8,
    /// The first of its readers' slots.
    pub first_slot: usize,
}

/// A request that was announced to the oracle.
enum Pending {
    Write(Write),
    Read {
        start: ReadStart,
        offset: u64,
        len: u64,
    },
}

impl Worker {
    /// Gets its memory ready.
    pub fn new(
        plan: &WorkerPlan,
        post: &Post,
        shared: &Arc<Shared>,
        mut queue: Box<dyn Queue>,
        pulse: &Arc<Pulse>,
        rng: Rng,
    ) -> Result<Self, Error> {
        let aimer = Aimer::new(plan.aim.clone(), rng.clone());
        let depth = queue.depth();
        let memory = shared.geometry.memory.max(shared.geometry.page as usize);
        let len = plan.aim.longest() as usize;
        let any = queue.takes_any_memory() && !plan.plain;
        let buffers: Result<Vec<_>, _> = (0..depth)
            .map(
                |nth| match shape(post.nth as usize + nth, shared.geometry.memory) {
                    Shape::Plain => queue.buffer(len, memory),
                    shape if any => Buffer::shaped(len, memory, shape),
                    _ => queue.buffer(len, memory),
                },
            )
            .collect();
        Ok(Self {
            shared: Arc::clone(shared),
            pulse: Arc::clone(pulse),
            queue,
            aimer,
            mode: plan.mode(),
            engine: plan.kind.name(),
            role: plan.role,
            mix: plan.mix,
            echo: None,
            lingers: plan.kind.path == Path::Uring(Ring::Sqpoll),
            writer: post.writer,
            first_slot: post.first_slot,
            pending: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
            buffers: buffers?,
            again: Rechecker::new(post.first_slot + depth),
            tally: Tally::default(),
            rest: plan.rest,
            rng: rng.split(),
            begin: Instant::now(),
            started: 0,
            ended: 0,
        })
    }

    /// Races until it is time to stop and everything outstanding has ended.
    pub fn run(mut self) -> Result<Tally> {
        let mut done = Vec::new();
        loop {
            let stopped = self.shared.stopped();
            if !stopped && !self.resting() {
                self.fill()?;
            }
            if self.queue.in_flight() == 0 {
                if stopped {
                    return Ok(self.tally);
                }
                thread::sleep(PAUSE);
                continue;
            }
            self.queue.reap(WAIT, &mut done)?;
            for completion in done.drain(..) {
                self.finish(completion)?;
            }
        }
    }

    /// Rests if it is time to, and says whether to go on resting.
    fn resting(&mut self) -> bool {
        if self.rest.slices > 1 && self.rest.is_off(self.begin.elapsed()) {
            thread::sleep(PAUSE);
            return true;
        }
        if self.rest.pause > 0 && self.rng.once_in(BURST) {
            let micros = self.rng.below(2 * BURST * self.rest.pause);
            thread::sleep(Duration::from_micros(micros));
        }
        false
    }

    /// Submits as many requests as may be outstanding.
    fn fill(&mut self) -> Result<()> {
        while let Some(slot) = self.free.pop() {
            let Some((op, offset, len)) = self.next() else {
                self.free.push(slot);
                return Ok(());
            };
            self.start(slot, op, offset, len)?;
            if self.queue.depth() == 1 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What to do next; none if there is nothing yet.
    fn next(&mut self) -> Option<(Op, u64, u64)> {
        let read = match (self.role, self.mix) {
            (Role::Write, _) => false,
            (Role::Both, Mix::Random) => self.rng.once_in(2),
            (Role::Both, Mix::Echo) => {
                if let Some((offset, len)) = self.echo.take() {
                    return Some((Op::Read, offset, len));
                }
                self.echo = self.aimer.next();
                return self.echo.map(|(offset, len)| (Op::Write, offset, len));
            }
            (Role::Read | Role::Disturb, _) => true,
        };
        let op = if read { Op::Read } else { Op::Write };
        self.aimer.next().map(|(offset, len)| (op, offset, len))
    }

    /// Announces a request to the oracle, then submits it.
    fn start(&mut self, slot: usize, op: Op, offset: u64, len: u64) -> Result<()> {
        let mut buffer = self.buffers.pop().context("a buffer got lost")?;
        let history = &self.shared.history;
        let stopwatch = Stopwatch::start(&mut self.started);
        self.pending[slot] = Some(match op {
            Op::Write => {
                let write = history.begin_write(self.writer, self.mode, offset, len)?;
                write.fill(&mut buffer.words_mut()[..(len / 8) as usize]);
                Pending::Write(write)
            }
            Op::Read => Pending::Read {
                start: history.begin_read(self.first_slot + slot),
                offset,
                len,
            },
        });
        stopwatch.stop(&self.pulse);
        buffer.get_ready();
        self.pulse.begin(slot, op, offset, len);
        let request = Request {
            id: slot,
            op,
            offset,
            len: len as usize,
            buffer,
        };
        if let Err(rejected) = self.queue.submit(request) {
            self.finish(Completion {
                id: slot,
                result: Err(rejected.errno),
                buffer: rejected.request.buffer,
            })?;
        }
        Ok(())
    }

    /// Tells the oracle how a request ended.
    fn finish(&mut self, completion: Completion) -> Result<()> {
        let slot = completion.id;
        let pending = self.pending[slot]
            .take()
            .context("a request completed twice")?;
        match pending {
            Pending::Write(write) => self.finish_write(&write, completion.result),
            Pending::Read { start, offset, len } => {
                let read = self.shared.history.end_read(start);
                if let Ok(got) = completion.result {
                    let words = &completion.buffer.words()[..got.min(len as usize) / 8];
                    let stopwatch = Stopwatch::start(&mut self.ended);
                    self.shared
                        .history
                        .check(&read, offset, words, &mut self.tally);
                    stopwatch.stop(&self.pulse);
                }
                // A load returns whole pages, whatever the size is.
                match completion.result {
                    Ok(got) if self.mode != Mode::Mmap => {
                        self.judge_count(&read, offset, len, got as u64);
                    }
                    _ => {}
                }
                self.shared.history.release(&read);
                let (engine, mode) = (self.engine, self.mode.name());
                let who = || format!("a read of {len} bytes at {offset} by {engine} ({mode})");
                self.shared.explain(&mut self.tally, &mut self.again, who);
            }
        }
        let result = completion.result.map(|n| n as u64);
        self.pulse.end(slot, result.map_err(|_| ()));
        self.buffers.push(completion.buffer);
        self.free.push(slot);
        if let Err(errno) = completion.result {
            self.failed(errno);
        }
        Ok(())
    }

    fn finish_write(&mut self, write: &Write, result: Result<usize, Errno>) {
        let outcome = match result {
            Ok(n) => Outcome::Done(n as u64),
            // Nobody will ever say that it has ended.
            Err(Errno::EOWNERDEAD) if self.lingers => return,
            Err(_) => Outcome::Failed,
        };
        self.shared.history.end_write(write, outcome);
        if let Ok(n) = result {
            self.aimer.done(write.len());
            if (n as u64) < write.len() {
                // Not wrong: the rest is undefined until it is written again.
                self.shared.failed(self.engine, Errno(0));
            }
        }
    }

    /// A read may return less than the file has if the rest can be had by asking again.
    fn judge_count(&mut self, read: &Read, offset: u64, len: u64, got: u64) {
        let wrong = self.shared.history.count_is_wrong(read, offset, len, got);
        let class = match wrong {
            Some(Class::Short) => {
                let (at, rest) = (offset + got, len - got);
                let still = self.again.is_short(&self.shared, self.mode, at, rest);
                still.then_some(Class::Short)
            }
            other => other,
        };
        if let Some(class) = class {
            let finding = quiesce::count(&self.shared, class, offset, len, got, Some(*read));
            self.tally.add(finding);
        }
    }

    fn failed(&self, errno: Errno) {
        // A request that was cancelled follows one that failed, which is counted; one whose process
        // died was meant to.
        let harmless = [
            Errno::EAGAIN,
            Errno::EINTR,
            Errno::ECANCELED,
            Errno::EOWNERDEAD,
        ];
        // There is nothing to load or store behind the end of a file.
        let sized = self.shared.history.is_sized();
        let outside = sized && self.mode == Mode::Mmap && errno == Errno::EFAULT;
        if !(harmless.contains(&errno) || outside) {
            self.shared.failed(self.engine, errno);
        }
        thread::sleep(PAUSE);
    }
}

/// Measures now and then.
///
/// In processor time: on a busy machine others run meanwhile, which is not ours to count.
struct Stopwatch(Option<Duration>);

impl Stopwatch {
    fn start(count: &mut u64) -> Self {
        *count += 1;
        Self((*count % SAMPLE == 0).then(thread_cpu_time))
    }

    fn stop(self, pulse: &Pulse) {
        if let Some(begin) = self.0 {
            pulse.checked(thread_cpu_time().saturating_sub(begin) * SAMPLE as u32);
        }
    }
}
