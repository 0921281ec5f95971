// SPDX-License-Identifier: GPL-2.0
//! One thread of a race: submits, reaps, tells the oracle, asks it.

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engines::{
    Buffer, Completion, Errno, Error, Flag, Op, Path, Queue, Request, Ring, Shape, thread_cpu_time,
};
use oracle::{Class, Mode, Outcome, Profile, Read, ReadStart, Tally, Write};

use crate::crew::and_save;
use crate::crew::pulse::{Pulse, Role};
use crate::race::aim::Aimer;
use crate::race::plan::{self, Mix, Rest, WorkerPlan, reads_whole};
use crate::race::quiesce;
use crate::race::recheck::{Rechecker, Remainder};
use crate::race::shared::{SHORT, Shared};
use crate::rng::Rng;

/// How long a worker waits for a completion before it looks whether it is time to stop.
const WAIT: Duration = Duration::from_millis(200);

/// How long after the last completion it looks for one too many.
const LINGER: Duration = Duration::from_millis(50);

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
    /// The mode of the plain engine that does the same.
    way: Mode,
    engine: &'static str,
    role: Role,
    mix: Mix,
    /// What was written last, and is to be read.
    echo: Option<(u64, u64)>,
    /// Its requests may go on when the process that made them has ended: a thread of the kernel has
    /// them.
    lingers: bool,
    /// Its reads return all that the file has.
    whole: bool,
    /// It asks the kernel not to wait.
    hasty: bool,
    /// Its requests are linked to each other.
    linked: bool,
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
            way: plan::mode(plan::engine(plan::mode(plan.kind))),
            engine: plan.kind.name(),
            role: plan.role,
            mix: plan.mix,
            echo: None,
            lingers: plan.kind.path == Path::Uring(Ring::Sqpoll),
            whole: reads_whole(plan.kind) && shared.history.profile() == Profile::Strict,
            hasty: plan.kind.path == Path::Flag(Flag::Nowait),
            linked: plan.kind.path == Path::Uring(Ring::Linked),
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
    pub fn run(mut self, found: &mut Tally) -> Result<()> {
        and_save(&mut self, Self::race, |worker| {
            found.merge(mem::take(&mut worker.tally));
        })
    }

    fn race(&mut self) -> Result<()> {
        let mut done = Vec::new();
        loop {
            let stopped = self.shared.stopped();
            if !stopped && !self.resting() {
                self.fill()?;
            }
            if self.queue.in_flight() == 0 {
                if stopped {
                    return Ok(self.queue.linger(LINGER)?);
                }
                thread::sleep(PAUSE);
                continue;
            }
            // What has completed counts even if the queue breaks.
            let reaped = self.queue.reap(WAIT, &mut done);
            for completion in done.drain(..) {
                self.finish(completion)?;
            }
            reaped?;
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
        let pending = self.pending[slot].take().ok_or(Error::Twice)?;
        let held = match pending {
            Pending::Write(write) => {
                self.finish_write(&write, completion.result);
                completion.result.is_ok() || self.shared.history.held(&write)
            }
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
                let held = completion.result.is_ok()
                    || self.shared.history.size_bounds(&read).0 >= offset + len;
                self.shared.history.release(&read);
                self.explain(Op::Read, offset, len);
                held
            }
        };
        let result = completion.result.map(|n| n as u64);
        self.pulse.end(slot, result.map_err(|_| ()));
        self.buffers.push(completion.buffer);
        self.free.push(slot);
        if let Err(errno) = completion.result {
            self.failed(errno, held);
        }
        Ok(())
    }

    /// Explains what was found about a request of this thread.
    fn explain(&mut self, op: Op, offset: u64, len: u64) {
        let (engine, mode) = (self.engine, self.mode.name());
        let what = match op {
            Op::Read => "read",
            Op::Write => "write",
        };
        let who = || format!("a {what} of {len} bytes at {offset} by {engine} ({mode})");
        self.shared.explain(&mut self.tally, &mut self.again, who);
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
            let (n, offset, len) = (n as u64, write.offset(), write.len());
            self.aimer.done(len);
            if n > len {
                let finding = quiesce::count(&self.shared, Class::Size, offset, len, n, None);
                self.tally.add(finding);
                self.explain(Op::Write, offset, len);
            } else if n < len && self.hasty {
                // The rest would have had to wait.
                self.shared.excused(self.engine, SHORT);
            } else if n < len {
                // Not wrong: the rest is undefined until it is written again.
                self.shared.failed(self.engine, SHORT);
            }
        }
    }

    /// A read may return less than the file has if the rest can be had by asking again, unless more is
    /// promised.
    fn judge_count(&mut self, read: &Read, offset: u64, len: u64, got: u64) {
        let wrong = self.shared.history.count_is_wrong(read, offset, len, got);
        let class = match wrong {
            Some(Class::Short) => {
                let (at, rest) = (offset + got, len - got);
                match self.again.rest(&self.shared, self.way, at, rest) {
                    Remainder::Missing => wrong,
                    Remainder::There if self.whole => wrong,
                    _ => None,
                }
            }
            other => other,
        };
        if let Some(class) = class {
            let finding = quiesce::count(&self.shared, class, offset, len, got, Some(*read));
            self.tally.add(finding);
        }
    }

    /// A request failed. `held`: the file had all of its range meanwhile.
    fn failed(&self, errno: Errno, held: bool) {
        let harmless = match errno {
            Errno::EAGAIN => self.hasty,
            Errno::EINTR => self.shared.signals,
            // It follows one that failed or was short, which is counted.
            Errno::ECANCELED => self.linked,
            // The process that had the request was meant to die.
            Errno::EOWNERDEAD => true,
            // There is nothing to load or store behind the end of a file.
            Errno::EFAULT => self.mode == Mode::Mmap && !held,
            _ => false,
        };
        if !harmless {
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use engines::{Kind, Rejected};
    use oracle::{Config, History, Key, Severity};

    use crate::crew::Crew;
    use crate::liar::{Liar, LiarStore};
    use crate::race::aim::Aim;
    use crate::race::shared::Found;

    const LEN: u64 = 64 << 10;

    /// An engine by which something completes twice.
    const GHOST: Kind = Kind::LIBAIO_VECTOR;

    /// What becomes of a request; none if it is the one by which the queue breaks.
    type Answer = fn(u64, &mut Request) -> Option<Result<usize, Errno>>;

    /// A queue that does as a test says, and then has the race stopped.
    struct Script {
        answer: Answer,
        nth: u64,
        most: u64,
        stop: Arc<AtomicBool>,
        done: Option<Completion>,
        broken: bool,
        /// Something completes once more, later.
        ghost: bool,
    }

    impl Queue for Script {
        fn depth(&self) -> usize {
            1
        }

        fn in_flight(&self) -> usize {
            usize::from(self.broken || self.done.is_some())
        }

        fn submit(&mut self, mut request: Request) -> Result<(), Box<Rejected>> {
            let result = (self.answer)(self.nth, &mut request);
            self.nth += 1;
            self.stop.store(self.nth >= self.most, Ordering::SeqCst);
            self.broken = result.is_none();
            self.done = result.map(|result| Completion {
                id: request.id,
                result,
                buffer: request.buffer,
            });
            Ok(())
        }

        fn reap(&mut self, _wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
            out.extend(self.done.take());
            if self.broken {
                Err(Error::Twice)
            } else {
                Ok(())
            }
        }

        fn linger(&mut self, _wait: Duration) -> Result<(), Error> {
            match self.ghost {
                true => Err(Error::Twice),
                false => Ok(()),
            }
        }
    }

    /// Reads so often, by an engine of that kind, what the memory beside it holds as well.
    fn read(kind: Kind, profile: Profile, most: u64, answer: Answer) -> (Result<()>, Tally, Found) {
        race(kind, profile, most, answer, None)
    }

    /// The same of a file that has this size at the beginning, if its size may change.
    fn race(
        kind: Kind,
        profile: Profile,
        most: u64,
        answer: Answer,
        size: Option<u64>,
    ) -> (Result<()>, Tally, Found) {
        let (worker, shared) = reader(kind, profile, most, answer, size);
        let mut found = Tally::default();
        let done = worker.run(&mut found);
        (done, found, shared.take_found())
    }

    /// Who does so, and what it shares with others.
    fn reader(
        kind: Kind,
        profile: Profile,
        most: u64,
        answer: Answer,
        size: Option<u64>,
    ) -> (Worker, Arc<Shared>) {
        let mut config = Config::new(LEN);
        (config.readers, config.profile, config.size) = (2, profile, size);
        config.others = vec![(9, LEN)];
        let history = History::new(config).unwrap();
        let store = LiarStore(Arc::new(Liar::new(&history, None, 1)));
        let stop = Arc::new(AtomicBool::new(false));
        let script = Arc::clone(&stop);
        let shared = Shared::of(history, Arc::new(store), stop);
        let aim = Aim::Blocks {
            sizes: vec![4096],
            within: 0..LEN,
        };
        let post = Post {
            nth: 0,
            writer: 0,
            first_slot: 0,
        };
        let queue = Script {
            answer,
            nth: 0,
            most,
            stop: script,
            done: None,
            broken: false,
            ghost: kind == GHOST,
        };
        let pulse = Crew::<()>::new().pulse(kind.name(), Role::Read, 1);
        let plan = WorkerPlan::read(kind, aim, 1);
        let worker = Worker::new(
            &plan,
            &post,
            &shared,
            Box::new(queue),
            &pulse,
            Rng::new(1, 0),
        );
        (worker.unwrap(), shared)
    }

    /// Fills a request with the words that the file had at the beginning.
    fn initial(request: &mut Request) -> Result<usize, Errno> {
        let history = History::new(Config::new(LEN)).unwrap();
        history.fill_initial(request.offset, request.buffer.words_mut());
        Ok(request.len)
    }

    /// The same with the first word of somebody else.
    fn foreign(request: &mut Request) -> Result<usize, Errno> {
        let result = initial(request);
        request.buffer.words_mut()[0] = Key::new(0, 9).encode(oracle::Tag::INITIAL, 0);
        result
    }

    #[test]
    fn what_was_found_outlives_a_queue_that_breaks() {
        let answer: Answer = |nth, request| (nth == 0).then(|| foreign(request));
        let (done, found, _) = read(Kind::LIBAIO, Profile::Strict, u64::MAX, answer);
        let error = done.unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(Error::Twice)),
            "{error}"
        );
        assert_eq!(found.events(Severity::Violation, Class::Foreign), 1);
    }

    #[test]
    fn what_was_found_outlives_a_panic() {
        let answer: Answer = |nth, request| match nth {
            0 => Some(foreign(request)),
            _ => panic!("on purpose"),
        };
        let (worker, _) = reader(Kind::LIBAIO, Profile::Strict, 2, answer, None);
        let mut found = Tally::default();
        let done = catch_unwind(AssertUnwindSafe(|| worker.run(&mut found)));
        assert!(done.is_err());
        assert_eq!(found.events(Severity::Violation, Class::Foreign), 1);
    }

    #[test]
    fn a_completion_too_many_is_noticed_when_all_is_over() {
        let answer: Answer = |_, request| Some(initial(request));
        let (done, found, _) = read(GHOST, Profile::Strict, 3, answer);
        let error = done.unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(Error::Twice)),
            "{error}"
        );
        assert!(found.words() > 0);
    }

    #[test]
    fn where_it_is_promised_a_read_returns_all_there_is() {
        let half: Answer = |_, request| initial(request).map(|len| Ok(len / 2)).ok();
        let short = |kind, profile| {
            let (done, found, _) = read(kind, profile, 3, half);
            done.unwrap();
            found.events(Severity::Violation, Class::Short)
        };
        // Asking again gets the rest.
        for kind in [Kind::DIRECT, Kind::URING_BUFFERED] {
            assert_eq!(short(kind, Profile::Strict), 3);
            assert_eq!(short(kind, Profile::Bare), 0);
        }
        for kind in [Kind::BUFFERED_NOWAIT, Kind::SPLICE] {
            assert_eq!(short(kind, Profile::Strict), 0);
        }
    }

    #[test]
    fn an_error_that_nothing_explains_is_told_apart() {
        let again: Answer = |_, _| Some(Err(Errno::EAGAIN));
        let (done, found, told) = read(Kind::URING, Profile::Strict, 3, again);
        done.unwrap();
        assert!(found.is_clean());
        assert_eq!(told.errors["uring EAGAIN"], 3);
        assert_eq!(told.surprises, told.errors);
        // Who asks not to wait is told so, and who is killed does not come back.
        let (_, _, told) = read(Kind::DIRECT_NOWAIT, Profile::Strict, 3, again);
        assert!(told.errors.is_empty() && told.surprises.is_empty());
        let dead: Answer = |_, _| Some(Err(Errno::EOWNERDEAD));
        let (_, _, told) = read(Kind::LIBAIO, Profile::Strict, 3, dead);
        assert!(told.errors.is_empty() && told.surprises.is_empty());
    }

    #[test]
    fn a_load_may_fail_only_where_the_file_may_have_ended() {
        let fault: Answer = |_, _| Some(Err(Errno::EFAULT));
        for (size, told) in [(None, 3), (Some(LEN), 3), (Some(0), 0)] {
            let (done, _, found) = race(Kind::MMAP, Profile::Strict, 3, fault, size);
            done.unwrap();
            assert_eq!(found.errors.values().sum::<u64>(), told, "{size:?}");
        }
    }

    #[test]
    fn honest_words_raise_no_alarm() {
        let answer: Answer = |_, request| Some(initial(request));
        let (done, found, _) = read(Kind::LIBAIO, Profile::Strict, 50, answer);
        done.unwrap();
        assert!(found.is_clean(), "{:?}", found.findings());
    }
}
