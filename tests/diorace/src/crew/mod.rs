// SPDX-License-Identifier: GPL-2.0
//! Threads that race until the time is up, and somebody who notices when one does not come back.

pub mod pulse;
mod stuck;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use engines::signals;

use crate::bench::Bench;
use crate::crew::pulse::{Pulse, Role};
use crate::crew::stuck::Stuck;
use crate::record::{Log, Script};
use crate::status::Lacking;

/// How often the one who waits looks.
const LOOK: Duration = Duration::from_millis(50);

/// The threads of one scenario.
#[derive(Debug)]
pub struct Crew<T> {
    stop: Arc<AtomicBool>,
    pulses: Vec<Arc<Pulse>>,
    threads: Vec<JoinHandle<Result<T>>>,
    made: AtomicUsize,
    log: Option<Arc<Log>>,
    script: Option<(Arc<Script>, &'static str)>,
}

/// A pause of everything that is longer than this is not ours: the whole tool was stopped.
const STOPPED: Duration = Duration::from_secs(2);

/// While others get things done a request may take so many times longer. One that never ends is
/// noticed at the end of the race at the latest, when the others have stopped.
const PATIENCE: u32 = 5;

/// How a race ended.
#[derive(Debug)]
pub enum Ending<T> {
    /// Every thread returned; those that could not go on have an error.
    Joined {
        /// What the others found.
        results: Vec<T>,
        /// Why they could not.
        errors: Vec<anyhow::Error>,
    },
    /// Some did not.
    Hung(Vec<String>),
}

/// Knows for how long nobody could have run: after Ctrl-Z, or while the machine slept.
#[derive(Debug)]
struct Awake {
    begin: Instant,
    looked: Instant,
    /// When everything went on after the last pause.
    since: Instant,
    paused: Duration,
}

impl Awake {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            begin: now,
            looked: now,
            since: now,
            paused: Duration::ZERO,
        }
    }

    /// To be called every few milliseconds.
    fn look(&mut self) {
        let now = Instant::now();
        let gap = now - self.looked;
        if gap > STOPPED {
            self.paused += gap;
            self.since = now;
        }
        self.looked = now;
    }

    /// Time in which something could have happened.
    fn elapsed(&self) -> Duration {
        self.begin.elapsed().saturating_sub(self.paused)
    }
}

/// Knows when anybody last got something done.
///
/// A request that is old is no sign of a hang by itself: on a busy machine dozens may stand in line
/// for one lock, each for as long as a sync takes.
#[derive(Debug)]
struct Progress {
    done: u64,
    since: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            done: 0,
            since: Instant::now(),
        }
    }

    /// To be called now and then.
    fn look(&mut self, pulses: &[Arc<Pulse>]) {
        let done = pulses.iter().map(|p| p.operations() + p.errors()).sum();
        if done != self.done {
            self.done = done;
            self.since = Instant::now();
        }
    }
}

impl<T: Send + 'static> Crew<T> {
    /// Nobody yet.
    pub fn new() -> Self {
        Self {
            stop: Arc::new(AtomicBool::new(false)),
            pulses: Vec::new(),
            threads: Vec::new(),
            made: AtomicUsize::new(0),
            log: None,
            script: None,
        }
    }

    /// The same, with its requests recorded, or taken from a record, if the bench says so.
    pub fn on_record(mut self, bench: &Bench<'_>) -> Self {
        let settings = bench.settings;
        self.log = settings.log.clone();
        if let Some(log) = &self.log {
            log.scenario(bench.scenario);
        }
        self.script = settings
            .script
            .clone()
            .map(|script| (script, bench.scenario));
        self
    }

    /// What tells the threads to stop.
    pub fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// A pulse for a thread about to be started, with room for `slots` requests at once.
    pub fn pulse(&self, engine: &str, role: Role, slots: usize) -> Arc<Pulse> {
        let nth = self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(log) = &self.log {
            log.thread(nth, engine, role);
        }
        let part = self.script.as_ref();
        let part = part.and_then(|(script, scenario)| script.part(scenario, nth, engine, role));
        let log = self.log.clone();
        Arc::new(Pulse::new(engine, role, slots, nth, log, part))
    }

    /// The pulses of all threads.
    pub fn pulses(&self) -> &[Arc<Pulse>] {
        &self.pulses
    }

    /// Starts a thread.
    pub fn start(
        &mut self,
        pulse: Arc<Pulse>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<()> {
        let mine = Arc::clone(&pulse);
        let name = format!("{} {}", pulse.role.name(), pulse.engine);
        let thread = thread::Builder::new().name(name).spawn(move || {
            signals::block_stop();
            mine.enter(signals::thread_id());
            let result = work();
            mine.leave();
            result
        });
        let thread = thread.map_err(|error| {
            let what = "no more threads can be had (see RLIMIT_NPROC, RLIMIT_AS, pids.max)";
            Lacking(format!("{what}: {error}"))
        })?;
        self.pulses.push(pulse);
        self.threads.push(thread);
        Ok(())
    }

    /// Lets the threads race until the time is up, one of them fails, all have returned, or a signal
    /// asks to stop; then waits for them. `look` is called now and then meanwhile, and may end it.
    pub fn race(
        self,
        duration: Duration,
        grace: Duration,
        mut look: impl FnMut(&[Arc<Pulse>], Duration) -> ControlFlow<()>,
    ) -> Result<Ending<T>> {
        let (mut awake, mut progress) = (Awake::new(), Progress::new());
        while awake.elapsed() < duration && !signals::stop_asked() && !self.stop_set() {
            thread::sleep(LOOK.min(duration));
            awake.look();
            progress.look(&self.pulses);
            let enough = look(&self.pulses, awake.elapsed()).is_break();
            let still = progress.since.elapsed() > grace;
            let limit = if still { grace } else { grace * PATIENCE };
            if let Some(hung) = self.hung(limit, &awake) {
                return Ok(Ending::Hung(hung));
            }
            if enough || self.threads.iter().all(JoinHandle::is_finished) {
                break;
            }
        }
        self.stop.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        while !self.threads.iter().all(JoinHandle::is_finished) {
            thread::sleep(LOOK);
            awake.look();
            progress.look(&self.pulses);
            let _ = look(&self.pulses, awake.elapsed());
            if asked.max(awake.since).max(progress.since).elapsed() > grace {
                if let Some(hung) = self.hung(Duration::ZERO, &awake) {
                    return Ok(Ending::Hung(hung));
                }
            }
        }
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(result)) => results.push(result),
                Ok(Err(error)) => errors.push(error),
                Err(_) => errors.push(anyhow!("a thread of the tool panicked")),
            }
        }
        Ok(Ending::Joined { results, errors })
    }

    fn stop_set(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Descriptions of the threads with a request older than `limit`; with no limit, of all that
    /// have not returned. A process of ours that somebody has stopped does not hang: it goes on.
    fn hung(&self, limit: Duration, awake: &Awake) -> Option<Vec<String>> {
        let waited = awake.since.elapsed();
        let alive = self.pulses.iter().filter(|pulse| pulse.is_alive());
        let late = |pulse: &Pulse| pulse.oldest().is_some_and(|o| o.age.min(waited) > limit);
        let stuck: Vec<_> = alive
            .filter(|pulse| limit.is_zero() || late(pulse))
            .filter(|pulse| !stuck::revive(pulse))
            .map(|pulse| Stuck::look(pulse).to_string())
            .collect();
        (!stuck.is_empty()).then_some(stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use engines::Op;

    const SHORT: Duration = Duration::from_millis(200);

    #[test]
    fn who_stops_in_time_is_joined() {
        let mut crew = Crew::new();
        let stop = crew.stop();
        let pulse = crew.pulse("test", Role::Both, 1);
        let work = move || {
            while !stop.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(7)
        };
        crew.start(pulse, work).unwrap();
        let ending = crew
            .race(SHORT, SHORT * 10, |_, _| ControlFlow::Continue(()))
            .unwrap();
        assert!(matches!(ending, Ending::Joined { results, .. } if results == [7]));
    }

    #[test]
    fn who_cannot_go_on_does_not_take_the_others_findings_along() {
        let mut crew = Crew::new();
        for nth in 0..3 {
            let pulse = crew.pulse("test", Role::Both, 1);
            let work = move || match nth {
                0 => Ok(7),
                1 => Err(anyhow!("no more")),
                _ => panic!("on purpose"),
            };
            crew.start(pulse, work).unwrap();
        }
        let ending = crew
            .race(SHORT, SHORT * 10, |_, _| ControlFlow::Continue(()))
            .unwrap();
        let Ending::Joined { results, errors } = ending else {
            panic!("nobody hangs");
        };
        assert_eq!((results, errors.len()), (vec![7], 2));
    }

    #[test]
    fn a_pause_of_everything_is_no_time_to_hang_in() {
        let mut awake = Awake::new();
        awake.look();
        assert_eq!(awake.paused, Duration::ZERO);
        awake.looked -= STOPPED * 5;
        awake.begin -= STOPPED * 5;
        awake.look();
        assert!(awake.paused >= STOPPED * 5 && awake.since.elapsed() < STOPPED);
        assert!(awake.elapsed() < STOPPED);
    }

    #[test]
    fn an_old_request_is_no_hang_while_others_go_on() {
        let mut crew = Crew::new();
        let slow = crew.pulse("slow", Role::Write, 1);
        slow.begin(0, Op::Write, 0, 512);
        let mine = Arc::clone(&slow);
        let wait = move || {
            thread::sleep(SHORT * 3);
            mine.end(0, Ok(512));
            Ok(())
        };
        crew.start(slow, wait).unwrap();
        let busy = crew.pulse("busy", Role::Write, 1);
        let mine = Arc::clone(&busy);
        let work = move || {
            for _ in 0..40 {
                mine.begin(0, Op::Write, 0, 512);
                thread::sleep(SHORT / 10);
                mine.end(0, Ok(512));
            }
            Ok(())
        };
        crew.start(busy, work).unwrap();
        let ending = crew
            .race(SHORT * 20, SHORT, |_, _| ControlFlow::Continue(()))
            .unwrap();
        assert!(matches!(ending, Ending::Joined { errors, .. } if errors.is_empty()));
    }

    #[test]
    fn who_does_not_come_back_is_named() {
        let mut crew = Crew::new();
        let pulse = crew.pulse("tape", Role::Write, 1);
        pulse.begin(0, Op::Write, 4096, 512);
        let work = || {
            thread::sleep(SHORT * 20);
            Ok(())
        };
        crew.start(pulse, work).unwrap();
        let begin = Instant::now();
        let Ending::Hung(threads) = crew
            .race(SHORT * 20, SHORT, |_, _| ControlFlow::Continue(()))
            .unwrap()
        else {
            panic!("nothing hangs");
        };
        assert!(begin.elapsed() < SHORT * 10);
        assert!(threads[0].contains("tape write"), "{threads:?}");
        // Whose kernel is asked from a sandbox may not say.
        let told = threads[0].contains("system call");
        assert!(
            !told || threads[0].contains("clock_nanosleep"),
            "{threads:?}"
        );
        assert!(
            threads[0].contains("write of 512 bytes at 4096"),
            "{threads:?}"
        );
    }
}
