// SPDX-License-Identifier: GPL-2.0

//! Processes: fork with an answer through a pipe, signals, limits, identities.

use super::errno::{Errno, check, check_unit};
use super::{Res, file, fscall};
use crate::patience;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The number of the calling thread.
pub fn thread() -> i32 {
    // SAFETY: It has no preconditions.
    unsafe { libc::gettid() }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// A forked process that runs one closure and answers with bytes.
pub struct Child {
    pid: i32,
    pipe: OwnedFd,
    answer: Vec<u8>,
    exit: Option<Exit>,
}

/// What a child prints into its answer when it panicked.
pub const PANICKED: &[u8] = b"\0panic\0";

/// Forks; the child runs `f`, sends what it returns and exits with code 0.
///
/// The caller must have only one thread: a forked copy of a threaded process may not allocate.
pub fn fork(f: impl FnOnce() -> Vec<u8>) -> Res<Child> {
    let (pipe, to_parent) = fscall::pipe()?;
    // SAFETY: This thread is the only one, so the copy is whole and may do anything.
    match check(unsafe { libc::fork() })? {
        0 => {
            die_with_parent();
            die_of_the_first_fault();
            let answer = catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|p| {
                let text = p
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| p.downcast_ref::<&str>().map(ToString::to_string));
                [PANICKED, text.unwrap_or_default().as_bytes()].concat()
            });
            let mut rest = &answer[..];
            while let Ok(n @ 1..) = file::write(&to_parent, rest) {
                rest = &rest[n..];
            }
            // SAFETY: Leaves at once, without the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(Child {
            pid: pid as i32,
            pipe,
            answer: Vec::new(),
            exit: None,
        }),
    }
}

impl Child {
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the end of the process for at most `limit`; `None` when it still runs.
    pub fn wait(&mut self, limit: Duration) -> Res<Option<Exit>> {
        self.wait_exactly(patience::at_most(limit))
    }

    /// [`Child::wait`] for a time that is no bound, but part of what is tested.
    pub fn wait_exactly(&mut self, limit: Duration) -> Res<Option<Exit>> {
        let start = Instant::now();
        loop {
            self.drain()?;
            if let Some(exit) = self.try_wait()? {
                self.drain()?;
                return Ok(Some(exit));
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            if !poll_in(&self.pipe, left.min(Duration::from_millis(20)))? {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn try_wait(&mut self) -> Res<Option<Exit>> {
        if self.exit.is_some() {
            return Ok(self.exit);
        }
        let mut status = 0;
        // SAFETY: `status` is live for the call.
        let pid = check(unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) })?;
        if pid != 0 {
            self.exit = Some(if libc::WIFSIGNALED(status) {
                Exit::Signal(libc::WTERMSIG(status))
            } else {
                Exit::Code(libc::WEXITSTATUS(status))
            });
        }
        Ok(self.exit)
    }

    fn drain(&mut self) -> Res<()> {
        let mut buf = [0; 4096];
        while poll_in(&self.pipe, Duration::ZERO)? {
            match file::read(&self.pipe, &mut buf)? {
                0 => break,
                n => self.answer.extend_from_slice(&buf[..n]),
            }
        }
        Ok(())
    }

    /// What the child has answered so far.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    pub fn kill(&self, signal: i32) -> Res<()> {
        // SAFETY: Plain call on a process that is ours and not yet reaped.
        check_unit(unsafe { libc::kill(self.pid, signal) })
    }
}

/// Whether something can be read within `limit`; the end of the stream counts.
pub fn poll_in(fd: &OwnedFd, limit: Duration) -> Res<bool> {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: One live pollfd.
    let n = check(unsafe { libc::poll(&raw mut poll, 1, limit.as_millis() as i32) })?;
    Ok(n > 0 && poll.revents & libc::POLLIN != 0)
}

/// The handler that Rust has for `SIGBUS` lets the access be made again before the process ends.
fn die_of_the_first_fault() {
    // SAFETY: Plain call that changes only this process.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}

fn die_with_parent() {
    // SAFETY: Plain call that changes only this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Makes this process the head of a process group of its own.
pub fn new_group() -> Res<()> {
    // SAFETY: Plain call that changes only this process.
    check_unit(unsafe { libc::setpgid(0, 0) })
}

/// Kills a process group.
pub fn kill_group(pid: i32) {
    // SAFETY: Plain call; the group is one that `new_group` made in our child.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
}

pub fn is_root() -> bool {
    // SAFETY: Cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Becomes `uid` with group `gid` and no other group, for good.
pub fn become_user(uid: u32, gid: u32) -> Res<()> {
    // SAFETY: Plain calls that change only this process.
    unsafe {
        check_unit(libc::setgroups(0, std::ptr::null()))?;
        check_unit(libc::setresgid(gid, gid, gid))?;
        check_unit(libc::setresuid(uid, uid, uid))
    }
}

/// A user namespace in which the numbers from 0 stand for those from `shift`.
pub fn user_namespace(shift: u32) -> Res<OwnedFd> {
    let (mut ready, mut go) = ([0; 1], [0; 1]);
    let ((wait, tell), (hold, release)) = (fscall::pipe()?, fscall::pipe()?);
    let mut child = fork(|| {
        // SAFETY: Plain call that changes only this process, which has one thread.
        let ret = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
        let _ = file::write(&tell, &[u8::from(ret == 0)]);
        let _ = file::read(&hold, &mut go);
        Vec::new()
    })?;
    let space = file::read(&wait, &mut ready).and_then(|_| {
        let about = |what: &str| PathBuf::from(format!("/proc/{}/{what}", child.pid()));
        for map in ["uid_map", "gid_map"] {
            let fd = file::open(&about(map), libc::O_WRONLY, 0)?;
            file::write(&fd, format!("0 {shift} 60000").as_bytes())?;
        }
        file::open(&about("ns/user"), libc::O_RDONLY, 0)
    });
    file::write(&release, &[1])?;
    child.wait(Duration::from_secs(5))?;
    space
}

pub fn umask(mask: u32) -> u32 {
    // SAFETY: Cannot fail.
    unsafe { libc::umask(mask) }
}

/// Limits the size of files that this process may write, and ignores the signal that goes with it.
pub fn limit_file_size(bytes: u64) -> Res<()> {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: `limit` is live; ignoring a signal installs no handler.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        check_unit(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit))
    }
}

/// Sends this process an alarm signal in every interval, to a handler that does nothing; calls are
/// interrupted, not restarted. An interval of zero ends it.
pub fn alarm_every(interval: Duration) -> Res<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let time = libc::timeval {
        tv_sec: interval.as_secs() as i64,
        tv_usec: i64::from(interval.subsec_micros()),
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: `sigaction` is plain data for which all zeroes is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: The handler touches nothing, so it may run at any time; both structures are live.
    unsafe {
        check_unit(libc::sigaction(
            libc::SIGALRM,
            &raw const action,
            std::ptr::null_mut(),
        ))?;
        check_unit(libc::setitimer(
            libc::ITIMER_REAL,
            &raw const timer,
            std::ptr::null_mut(),
        ))
    }
}

/// Runs `f` in a child and returns how it ended and what it answered, at most `limit` later.
pub fn run(limit: Duration, f: impl FnOnce() -> Vec<u8>) -> Res<(Exit, Vec<u8>)> {
    let mut child = fork(f)?;
    match child.wait(limit)? {
        Some(exit) => Ok((exit, child.answer)),
        None => {
            child.kill(libc::SIGKILL)?;
            child.wait(Duration::from_secs(5))?;
            Err(Errno(libc::ETIMEDOUT))
        }
    }
}
