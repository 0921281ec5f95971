// SPDX-License-Identifier: GPL-2.0
//! Threads that race until the time is up, and somebody who notices when one does not come back.

pub mod pulse;
mod stuck;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
    threads: Vec<JoinHandle<(T, Result<()>)>>,
    made: AtomicUsize,
    log: Option<Arc<Log>>,
    script: Option<(Arc<Script>, &'static str)>,
}

/// A pause of everything that is longer than this is not ours: the whole tool was stopped.
const STOPPED: Duration = Duration::from_secs(2);

/// While others get things done a request may take so many times longer. One that never ends is
/// noticed at the end of the race at the latest, when the others have stopped.
const PATIENCE: u32 = 5;

/// Those who do not hang may take so long to stop when somebody does, or when there is no race.
const LEAVE: Duration = Duration::from_secs(2);

/// Works on something, and then saves what was found, also if the work panics.
pub fn and_save<W, R>(
    worker: &mut W,
    work: impl FnOnce(&mut W) -> R,
    save: impl FnOnce(&mut W),
) -> R {
    let done = catch_unwind(AssertUnwindSafe(|| work(worker)));
    save(worker);
    done.unwrap_or_else(|panic| resume_unwind(panic))
}

/// How a race ended.
#[derive(Debug)]
pub struct Ending<T> {
    /// What each thread that returned has found, before an error or a panic as well.
    pub results: Vec<T>,
    /// Why some could not go on.
    pub errors: Vec<anyhow::Error>,
    /// Who did not return, and where they are.
    pub hung: Vec<String>,
}

/// That a thread is there. When it is not any more nobody takes its last request for one that hangs,
/// and if it could not go on the others stop.
struct Presence {
    pulse: Arc<Pulse>,
    stop: Arc<AtomicBool>,
    went_well: bool,
}

impl Presence {
    fn new(pulse: Arc<Pulse>, stop: Arc<AtomicBool>) -> Self {
        pulse.enter(signals::thread_id());
        Self {
            pulse,
            stop,
            went_well: false,
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.went_well {
            self.stop.store(true, Ordering::SeqCst);
        }
        self.pulse.leave();
    }
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

impl<T: Default + Send + 'static> Crew<T> {
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

    /// Starts a thread. What it finds counts even if it fails or panics afterwards.
    pub fn start(
        &mut self,
        pulse: Arc<Pulse>,
        work: impl FnOnce(&mut T) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (mine, stop) = (Arc::clone(&pulse), self.stop());
        let name = format!("{} {}", pulse.role.name(), pulse.engine);
        let thread = thread::Builder::new().name(name).spawn(move || {
            signals::block_stop();
            let mut presence = Presence::new(mine, stop);
            let mut found = T::default();
            let result = catch_unwind(AssertUnwindSafe(|| work(&mut found)));
            let result = result.unwrap_or_else(|_| Err(anyhow!("a thread of the tool panicked")));
            presence.went_well = result.is_ok();
            (found, result)
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
        mut self,
        duration: Duration,
        grace: Duration,
        look: impl FnMut(&[Arc<Pulse>], Duration) -> ControlFlow<()>,
    ) -> Ending<T> {
        let hung = self.watch(duration, grace, look);
        if !hung.is_empty() {
            self.dismiss();
        }
        self.collect(hung)
    }

    /// Watches the threads until all have returned, or some hang: these are described.
    fn watch(
        &self,
        duration: Duration,
        grace: Duration,
        mut look: impl FnMut(&[Arc<Pulse>], Duration) -> ControlFlow<()>,
    ) -> Vec<String> {
        let (mut awake, mut progress) = (Awake::new(), Progress::new());
        while awake.elapsed() < duration && !signals::stop_asked() && !self.stop_set() {
            thread::sleep(LOOK.min(duration));
            awake.look();
            progress.look(&self.pulses);
            let enough = look(&self.pulses, awake.elapsed()).is_break();
            let still = progress.since.elapsed() > grace;
            let limit = if still { grace } else { grace * PATIENCE };
            if let Some(hung) = self.hung(limit, &awake) {
                return hung;
            }
            if enough || self.all_returned() {
                break;
            }
        }
        self.stop.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        while !self.all_returned() {
            thread::sleep(LOOK);
            awake.look();
            progress.look(&self.pulses);
            let _ = look(&self.pulses, awake.elapsed());
            if asked.max(awake.since).max(progress.since).elapsed() > grace {
                if let Some(hung) = self.hung(Duration::ZERO, &awake) {
                    return hung;
                }
            }
        }
        Vec::new()
    }

    /// What those have found who have returned.
    fn collect(&mut self, hung: Vec<String>) -> Ending<T> {
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for thread in std::mem::take(&mut self.threads) {
            if !thread.is_finished() {
                continue;
            }
            match thread.join() {
                Ok((found, result)) => {
                    results.push(found);
                    errors.extend(result.err());
                }
                Err(_) => errors.push(anyhow!("a thread of the tool panicked")),
            }
        }
        Ending {
            results,
            errors,
            hung,
        }
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

impl<T> Crew<T> {
    fn all_returned(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Has everybody stop, and waits a moment for those who can.
    fn dismiss(&self) {
        self.stop.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        while !self.all_returned() && asked.elapsed() < LEAVE {
            thread::sleep(LOOK);
        }
    }
}

impl<T> Drop for Crew<T> {
    /// A race that never began leaves nobody behind, who would take memory and threads from the next.
    fn drop(&mut self) {
        self.dismiss();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use engines::Op;

    const SHORT: Duration = Duration::from_millis(200);

    /// Longer than a busy machine keeps a thread from running.
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn who_stops_in_time_is_joined() {
        let mut crew = Crew::new();
        let stop = crew.stop();
        let pulse = crew.pulse("test", Role::Both, 1);
        let work = move |found: &mut u64| {
            while !stop.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            *found = 7;
            Ok(())
        };
        crew.start(pulse, work).unwrap();
        let ending = crew.race(SHORT, LONG, |_, _| ControlFlow::Continue(()));
        assert_eq!((ending.results, ending.hung.len()), (vec![7], 0));
    }

    #[test]
    fn who_cannot_go_on_does_not_take_findings_along() {
        let mut crew = Crew::new();
        for nth in 0..3 {
            let pulse = crew.pulse("test", Role::Both, 1);
            let work = move |found: &mut u64| {
                *found = 7 + nth;
                match nth {
                    0 => Ok(()),
                    1 => Err(anyhow!("no more")),
                    _ => panic!("on purpose"),
                }
            };
            crew.start(pulse, work).unwrap();
        }
        let ending = crew.race(SHORT, LONG, |_, _| ControlFlow::Continue(()));
        assert!(ending.hung.is_empty(), "{:?}", ending.hung);
        assert_eq!((ending.results, ending.errors.len()), (vec![7, 8, 9], 2));
    }

    /// Waits until it is time to stop.
    fn wait(stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn one_who_cannot_go_on_stops_the_others() {
        for panics in [false, true] {
            let mut crew = Crew::<()>::new();
            let stop = crew.stop();
            crew.start(crew.pulse("others", Role::Both, 1), move |_| {
                wait(&stop);
                Ok(())
            })
            .unwrap();
            let pulse = crew.pulse("test", Role::Both, 1);
            // What a panic leaves open is nothing that hangs.
            pulse.begin(0, Op::Write, 0, 512);
            crew.start(pulse, move |_| match panics {
                true => panic!("on purpose"),
                false => Err(anyhow!("no more")),
            })
            .unwrap();
            let begin = Instant::now();
            let ending = crew.race(LONG * 2, LONG, |_, _| ControlFlow::Continue(()));
            assert!(begin.elapsed() < LONG);
            assert!(ending.hung.is_empty(), "{:?}", ending.hung);
            assert_eq!((ending.results.len(), ending.errors.len()), (2, 1));
        }
    }

    #[test]
    fn a_race_that_does_not_begin_leaves_nobody_behind() {
        let mut crew = Crew::<()>::new();
        let (stop, gone) = (crew.stop(), Arc::new(AtomicBool::new(false)));
        let mine = Arc::clone(&gone);
        crew.start(crew.pulse("test", Role::Both, 1), move |_| {
            wait(&stop);
            mine.store(true, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
        drop(crew);
        assert!(gone.load(Ordering::SeqCst));
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
        let grace = SHORT * 5;
        let mut crew = Crew::<()>::new();
        let over = Arc::new(AtomicBool::new(false));
        for engine in ["slow", "busy"] {
            let pulse = crew.pulse(engine, Role::Write, 1);
            pulse.begin(0, Op::Write, 0, 512);
            let over = Arc::clone(&over);
            let wait = move |_: &mut ()| {
                while !over.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            };
            crew.start(pulse, wait).unwrap();
        }
        // Whoever looks makes the one go on: there is always something new, however busy the machine.
        let look = |pulses: &[Arc<Pulse>], elapsed| {
            pulses[1].end(0, Ok(512));
            pulses[1].begin(0, Op::Write, 0, 512);
            if elapsed > grace * 3 / 2 {
                over.store(true, Ordering::SeqCst);
            }
            ControlFlow::Continue(())
        };
        let ending = crew.race(LONG, grace, look);
        assert!(ending.errors.is_empty() && ending.hung.is_empty());
    }

    #[test]
    fn who_does_not_come_back_is_named() {
        let mut crew = Crew::<()>::new();
        let pulse = crew.pulse("tape", Role::Write, 1);
        pulse.begin(0, Op::Write, 4096, 512);
        let work = |_: &mut ()| {
            thread::sleep(LONG * 2);
            Ok(())
        };
        crew.start(pulse, work).unwrap();
        let stop = crew.stop();
        crew.start(crew.pulse("disk", Role::Both, 1), move |_| {
            wait(&stop);
            Ok(())
        })
        .unwrap();
        let begin = Instant::now();
        let ending = crew.race(LONG * 2, SHORT, |_, _| ControlFlow::Continue(()));
        let threads = ending.hung;
        assert!(begin.elapsed() < LONG);
        // What the others have found is not lost.
        assert_eq!((threads.len(), ending.results.len()), (1, 1));
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
