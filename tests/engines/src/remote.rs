// SPDX-License-Identifier: GPL-2.0
//! An engine in a process of its own.
//!
//! The caller keeps the memory of the requests, which both share; where a request lies and how it
//! ended goes through a socket. The process that does the I/O has its own memory map, descriptors and
//! page tables. It is the child of a second one, which waits for it and replaces it when it has died.
//!
//! A request that the dead one had is gone with the error `EOWNERDEAD`: the kernel lets a process end
//! only when its requests have ended, so that it may have happened or not, but does not happen later.
//! One that was not to die, or not so, is nothing that may happen: an oops kills like that.
//!
//! A process that forks does the I/O in private memory, and copies from and to what both share: shared
//! memory is not copied on write, so that a fork could not do it harm.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::buffer::Buffer;
use crate::errno::Errno;
use crate::error::Error;
use crate::kind::Kind;
use crate::memory::Memory;
use crate::message::{Message, pair, readable, receive, send};
use crate::process::{self, Fork};
use crate::queue::{Completion, Op, Queue, Rejected, Request};
use crate::region::Region;
use crate::slots::Slots;

/// How long the process may take to open its engine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to end. Long enough for whoever watches the thread that waits for it to notice
/// that it hangs.
const LEAVE: Duration = Duration::from_secs(600);

/// How long it may take to end if it has not even opened its engine, and its parent if it is killed.
const LEAVE_SOON: Duration = Duration::from_secs(2);

/// How long the process waits for a completion before it looks for new requests.
const TURN: Duration = Duration::from_millis(1);

/// How long after its last completion the process looks for one more.
const LINGER: Duration = Duration::from_millis(50);

/// What the process does to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Live,
    /// It dies about so long after its first request, whatever is in flight.
    Die(Duration),
    /// It forks every so long while requests are in flight.
    Fork(Duration),
}

/// What engine, on what.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The engine.
    pub kind: Kind,
    /// The file.
    pub path: &'a Path,
    /// Its length, which a mapping covers.
    pub len: usize,
    /// Requests outstanding, if the engine can.
    pub depth: usize,
    /// Bytes of the largest request.
    pub longest: usize,
    /// What becomes of the process.
    pub fate: Fate,
}

/// The caller's side.
#[derive(Debug)]
pub struct Remote {
    socket: OwnedFd,
    supervisor: i32,
    worker: Arc<WorkerId>,
    region: Arc<Region>,
    /// Buffers handed out, and the size of one.
    handed: usize,
    room: usize,
    slots: Slots,
    /// Requests of an earlier process are none of the present one's.
    generation: u64,
    refused: Vec<Completion>,
    /// Whether it is meant to be killed.
    doomed: bool,
    /// How long it may take to end.
    leave: Duration,
}

/// The number of the process that does the I/O, which changes when it is replaced.
#[derive(Debug)]
pub struct WorkerId(Region);

impl WorkerId {
    /// The number at this moment; zero between two processes.
    pub fn get(&self) -> i32 {
        self.cell().load(Ordering::SeqCst)
    }

    fn cell(&self) -> &AtomicI32 {
        // SAFETY: the region has at least a page, which is zeroed and only used as this atomic.
        unsafe { self.0.at(0).cast().as_ref() }
    }
}

impl Remote {
    /// Starts the process. The calling process should have a single thread.
    ///
    /// # Errors
    /// As [`open`](crate::open), or if no process can be had.
    pub fn start(job: &Job<'_>) -> Result<Self, Error> {
        let depth = if job.kind.is_async() {
            job.depth.max(1)
        } else {
            1
        };
        let room = job.longest.max(4096).next_multiple_of(crate::page_size());
        let region = Arc::new(Region::new(room * depth)?);
        let worker = Arc::new(WorkerId(Region::new(1)?));
        let (mine, theirs) = pair()?;
        let supervisor = match process::fork()? {
            Fork::Child => {
                drop(mine);
                crate::signals::block_stop();
                supervise(job, &theirs, &region, worker.cell())
            }
            Fork::Parent(child) => child,
        };
        let mut remote = Self {
            socket: mine,
            supervisor,
            worker,
            region,
            handed: 0,
            room,
            slots: Slots::new(depth),
            generation: 0,
            refused: Vec::new(),
            doomed: matches!(job.fate, Fate::Die(_)),
            leave: LEAVE,
        };
        remote.hello(job.kind)?;
        Ok(remote)
    }

    /// Waits until the process has opened its engine.
    fn hello(&mut self, kind: Kind) -> Result<(), Error> {
        let engine = kind.name();
        let gone = |errno| Error::Unavailable { engine, errno };
        if !readable(&self.socket, PATIENCE)? {
            self.leave = LEAVE_SOON;
            return Err(Error::Call {
                call: "a process that is to do I/O does not get its file open",
                errno: Errno(libc::ETIMEDOUT),
            });
        }
        match receive(&self.socket)? {
            Some(Message::Ready { errno: 0 }) => Ok(()),
            Some(Message::Ready { errno }) => Err(gone(Errno(errno))),
            _ => Err(gone(Errno::EOWNERDEAD)),
        }
    }

    /// One message of the process.
    fn take(&mut self, message: Message, out: &mut Vec<Completion>) -> Result<(), Error> {
        match message {
            Message::Done { slot, result } => {
                out.push(self.slots.end(slot, Errno::decode(result))?);
            }
            Message::Died { signal } if !self.doomed || signal != process::DOOM => {
                return Err(Error::Killed(signal));
            }
            Message::Died { .. } => {
                self.generation += 1;
                for slot in 0..self.slots.depth() {
                    if self.slots.get(slot).is_some() {
                        out.push(self.slots.end(slot, Err(Errno::EOWNERDEAD))?);
                    }
                }
            }
            Message::Twice => return Err(Error::Twice),
            Message::Ready { .. } | Message::Do { .. } => {}
        }
        Ok(())
    }
}

impl Queue for Remote {
    fn depth(&self) -> usize {
        self.slots.depth()
    }

    fn in_flight(&self) -> usize {
        self.slots.used() + self.refused.len()
    }

    fn buffer(&mut self, len: usize, _align: usize) -> Result<Buffer, Error> {
        let offset = self.handed * self.room;
        if len > self.room {
            return Err(Error::Buffer(len));
        }
        let buffer = Buffer::from_region(Arc::clone(&self.region), offset, len)?;
        self.handed += 1;
        Ok(buffer)
    }

    fn takes_any_memory(&self) -> bool {
        false
    }

    fn submit(&mut self, request: Request) -> Result<(), Box<Rejected>> {
        let place = request.buffer.place_in(&self.region);
        let (op, offset, len) = (request.op, request.offset, request.bytes());
        let slot = self.slots.put(request).map_err(Rejected::full)?;
        let sent = place.ok_or(Errno::EFAULT).and_then(|place| {
            let write = op == Op::Write;
            let generation = self.generation;
            let message = Message::Do {
                generation,
                slot,
                write,
                offset,
                len,
                place,
            };
            send(&self.socket, &message)
        });
        if let Err(errno) = sent {
            // A slot that was filled just now can be emptied.
            if let Ok(refused) = self.slots.end(slot, Err(errno)) {
                self.refused.push(refused);
            }
        }
        Ok(())
    }

    fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        if !self.refused.is_empty() {
            out.append(&mut self.refused);
            return Ok(());
        }
        let mut wait = wait;
        while self.slots.used() > 0 && readable(&self.socket, wait)? {
            let lost = Error::Call {
                call: "the process that does the I/O is gone",
                errno: Errno::EOWNERDEAD,
            };
            let message = receive(&self.socket)?.ok_or(lost)?;
            self.take(message, out)?;
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn linger(&mut self, wait: Duration) -> Result<(), Error> {
        // The process lingers by itself; it needs a moment to say what it saw.
        let mut wait = wait + LINGER;
        while readable(&self.socket, wait)? {
            let Some(message) = receive(&self.socket)? else {
                break;
            };
            self.take(message, &mut Vec::new())?;
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn worker(&self) -> Option<Arc<WorkerId>> {
        Some(Arc::clone(&self.worker))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The process ends when nobody is at the other end, and its parent after it.
        process::hang_up(&self.socket);
        if !process::wait_for(self.supervisor, self.leave) {
            // It is stuck in the kernel, and dies when it comes back: its parent is gone then.
            process::kill(self.supervisor);
            process::wait_for(self.supervisor, LEAVE_SOON);
        }
    }
}

/// The life of the process in the middle: it replaces the worker until one ends by itself.
fn supervise(job: &Job<'_>, socket: &OwnedFd, region: &Arc<Region>, id: &AtomicI32) -> ! {
    process::die_with_parent();
    let mut generation = 0;
    loop {
        match process::fork() {
            Ok(Fork::Child) => {
                process::die_with_parent();
                id.store(process::own_id(), Ordering::SeqCst);
                work(job, socket, region, generation);
            }
            Ok(Fork::Parent(child)) => {
                let killed = process::wait(child);
                id.store(0, Ordering::SeqCst);
                let told = killed.map(|signal| send(socket, &Message::Died { signal }));
                if !matches!(told, Some(Ok(()))) {
                    crate::signals::exit_now(0);
                }
            }
            Err(_) => crate::signals::exit_now(1),
        }
        generation += 1;
    }
}

/// The life of the process that does the I/O.
fn work(job: &Job<'_>, socket: &OwnedFd, region: &Arc<Region>, generation: u64) -> ! {
    let opened = crate::open(job.kind, job.path, job.len, job.depth);
    let errno = match &opened {
        Ok(_) => 0,
        Err(error) => error.errno().unwrap_or(Errno::EIO).0,
    };
    if generation == 0 && send(socket, &Message::Ready { errno }).is_err() {
        crate::signals::exit_now(1);
    }
    if let Ok(queue) = opened {
        let served = serve(job, socket, region, generation, queue);
        // Whatever else goes wrong here, the other end notices that nobody answers.
        if matches!(served, Err(Error::Twice)) {
            let _ = send(socket, &Message::Twice);
        }
    }
    crate::signals::exit_now(0)
}

/// Takes requests and answers them until the other end is closed.
fn serve(
    job: &Job<'_>,
    socket: &OwnedFd,
    region: &Arc<Region>,
    mine: u64,
    mut queue: Box<dyn Queue>,
) -> Result<(), Error> {
    let (mut forked, mut doomed) = (Instant::now(), false);
    let mut memory = match job.fate {
        Fate::Fork(_) => Memory::private(job.depth.max(1), job.longest)?,
        Fate::Live | Fate::Die(_) => Memory::Shared,
    };
    let mut done = Vec::new();
    // Whether it was seen that nothing comes any more.
    let mut silent = true;
    loop {
        let idle = queue.in_flight() == 0;
        let wait = match (idle, silent) {
            (true, true) => Duration::MAX,
            (true, false) => LINGER,
            (false, _) => Duration::ZERO,
        };
        if queue.in_flight() < queue.depth() && readable(socket, wait)? {
            let Some(message) = receive(socket)? else {
                return Ok(());
            };
            if let Some(request) = order(&message, region, mine) {
                if let Fate::Die(after) = job.fate {
                    if !doomed {
                        // Not always at the same point of a regular course.
                        process::die_after(after * (2 + mine as u32 % 3) / 3);
                        doomed = true;
                    }
                }
                // There is room: its depth is that of the other end.
                let _ = queue.submit(memory.lend(request));
                silent = false;
            }
            continue;
        }
        if idle {
            queue.linger(Duration::ZERO)?;
            silent = true;
            continue;
        }
        queue.flush()?;
        if let Fate::Fork(every) = job.fate {
            if forked.elapsed() >= every {
                process::fork_and_end();
                forked = Instant::now();
            }
        }
        queue.reap(TURN, &mut done)?;
        for completion in done.drain(..) {
            let message = Message::done(completion.id, completion.result);
            memory.give_back(completion);
            send(socket, &message).map_err(|errno| Error::Call {
                call: "send",
                errno,
            })?;
        }
    }
}

/// The request that a message stands for, unless it was meant for another process.
fn order(message: &Message, region: &Arc<Region>, mine: u64) -> Option<Request> {
    let Message::Do {
        generation,
        slot,
        write,
        offset,
        len,
        place,
    } = *message
    else {
        return None;
    };
    if generation != mine {
        return None;
    }
    Some(Request {
        id: slot,
        op: if write { Op::Write } else { Op::Read },
        offset,
        len,
        buffer: Buffer::from_region(Arc::clone(region), place, len).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use crate::file::File;

    /// Whether a process is there and not dead.
    fn lives(process: i32) -> bool {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
    }

    #[test]
    fn who_does_not_end_is_not_waited_for_for_ever() {
        let name = format!("engines-stuck-{}", process::own_id());
        let path = std::env::temp_dir().join(name);
        File::create(&path).unwrap().set_len(4096).unwrap();
        let mut remote = Remote::start(&Job {
            kind: Kind::BUFFERED,
            path: &path,
            len: 4096,
            depth: 1,
            longest: 4096,
            fate: Fate::Live,
        })
        .unwrap();
        fs::remove_file(&path).unwrap();
        let worker = remote.worker.get();
        // SAFETY: no pointers involved; the process is ours and is there.
        assert_eq!(unsafe { libc::kill(worker, libc::SIGSTOP) }, 0);
        remote.leave = Duration::from_millis(100);
        let begin = Instant::now();
        drop(remote);
        assert!(begin.elapsed() < LEAVE / 10);
        while lives(worker) && begin.elapsed() < LEAVE / 10 {
            std::thread::sleep(TURN);
        }
        assert!(!lives(worker), "it dies with its parent");
    }
}
