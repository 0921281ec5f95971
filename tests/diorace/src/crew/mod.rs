// SPDX-License-Identifier: GPL-2.0
//! Threads that race until the time is up, and somebody who notices when one does not come back.

pub mod pulse;
mod stuck;

use std::io;
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

/// How a race ended.
#[derive(Debug)]
pub enum Ending<T> {
    /// Every thread returned.
    Joined(Vec<T>),
    /// Some did not.
    Hung(Vec<String>),
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
    ) -> io::Result<()> {
        let mine = Arc::clone(&pulse);
        let name = format!("{} {}", pulse.role.name(), pulse.engine);
        let thread = thread::Builder::new().name(name).spawn(move || {
            signals::block_stop();
            mine.enter(signals::thread_id());
            let result = work();
            mine.leave();
            result
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
        let begin = Instant::now();
        while begin.elapsed() < duration && !signals::stop_asked() && !self.stop_set() {
            thread::sleep(LOOK.min(duration));
            let enough = look(&self.pulses, begin.elapsed()).is_break();
            if let Some(hung) = self.hung(grace) {
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
            let _ = look(&self.pulses, begin.elapsed());
            if asked.elapsed() > grace {
                let hung = self.hung(Duration::ZERO);
                return Ok(Ending::Hung(hung.unwrap_or_default()));
            }
        }
        let mut results = Vec::new();
        for thread in self.threads {
            let result = thread
                .join()
                .map_err(|_| anyhow!("a thread of the tool panicked"))?;
            results.push(result?);
        }
        Ok(Ending::Joined(results))
    }

    fn stop_set(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Descriptions of the threads with a request older than `limit`; with no limit, of all that
    /// have not returned.
    fn hung(&self, limit: Duration) -> Option<Vec<String>> {
        let alive = self.pulses.iter().filter(|pulse| pulse.is_alive());
        let stuck: Vec<_> = alive
            .filter(|pulse| limit.is_zero() || pulse.oldest().is_some_and(|o| o.age > limit))
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
        assert!(matches!(ending, Ending::Joined(all) if all == [7]));
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
