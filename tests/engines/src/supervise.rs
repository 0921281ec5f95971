// SPDX-License-Identifier: GPL-2.0
//! A parent that can end although its child cannot, and that tidies up after a child that was killed.
//!
//! A process with a thread stuck in the kernel cannot be waited for, not even after it has exited: its
//! parent would hang as well. So the work is done by a child, which tells its parent what status to
//! end with before it gives up, and where it puts its files before it makes any.

use std::ffi::OsString;
use std::fs::{File as Pipe, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use crate::errno::Errno;
use crate::error::Error;
use crate::signals;

/// How long the parent waits for a child that has given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// What the child says: the status it would end with, or a directory that is its own.
const STATUS: u8 = b's';
const OWNS: u8 = b'o';

static CHILD: AtomicI32 = AtomicI32::new(0);
static TELL: AtomicI32 = AtomicI32::new(-1);

/// How a child has ended.
#[derive(Debug)]
pub struct End {
    /// Its exit code, or the one it wished for before it got stuck.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Whether it was asked to stop before.
    pub asked: bool,
    /// What was its own and is left, if it did not get to remove it.
    pub left: Option<PathBuf>,
}

/// Goes on in a child process, which gets nothing; the parent waits for it and gets how it has ended.
///
/// To be called while the process has a single thread.
///
/// # Errors
/// If no process or pipe can be had.
pub fn in_child() -> Result<Option<End>, Error> {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` is valid for writing two descriptors.
    if unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(Error::call("pipe2"));
    }
    // SAFETY: there is a single thread, so the child may do whatever the parent might have done.
    match unsafe { libc::fork() } {
        -1 => Err(Error::call("fork")),
        0 => {
            TELL.store(pipe[1], Ordering::SeqCst);
            // SAFETY: neither call takes a pointer; the other end belongs to the parent.
            unsafe {
                libc::close(pipe[0]);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            }
            Ok(None)
        }
        child => {
            // SAFETY: the child has its own copy of this end.
            unsafe { libc::close(pipe[1]) };
            CHILD.store(child, Ordering::SeqCst);
            // SAFETY: the descriptor was opened above and belongs to nobody else.
            let told = unsafe { OwnedFd::from_raw_fd(pipe[0]) };
            Ok(Some(wait(child, Pipe::from(told))))
        }
    }
}

/// In the child: tells the parent with what status to end, whatever becomes of this process.
pub fn give_up(status: i32) {
    say(&[STATUS, status as u8]);
}

/// In the child: says nothing any more. What is stuck keeps its descriptors, and who reads a pipe to its
/// end would wait for it.
pub fn fall_silent() {
    if TELL.load(Ordering::SeqCst) < 0 {
        return;
    }
    let _ = io::stdout().flush();
    if let Ok(nowhere) = OpenOptions::new().write(true).open("/dev/null") {
        for fd in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            // SAFETY: no pointers involved. Who writes there from now on writes to another file.
            unsafe { libc::dup2(nowhere.as_raw_fd(), fd) };
        }
    }
}

/// In the child: what its parent removes if this process is killed.
pub fn owns(dir: &Path) {
    let name = dir.as_os_str().as_bytes();
    if let Ok(len) = u16::try_from(name.len()) {
        say(&[&[OWNS][..], &len.to_ne_bytes(), name].concat());
    }
}

/// In a process that the child makes: it has nothing to tell, and must not keep the parent waiting.
pub(crate) fn forget() {
    let fd = TELL.swap(-1, Ordering::SeqCst);
    if fd >= 0 {
        // SAFETY: this process got its own copy when it was forked, and nobody here uses it.
        unsafe { libc::close(fd) };
    }
}

/// Nobody listens where there is no parent.
fn say(message: &[u8]) {
    let fd = TELL.load(Ordering::SeqCst);
    if fd >= 0 {
        // SAFETY: the descriptor stays open for as long as the process; it is only lent.
        let mut pipe = std::mem::ManuallyDrop::new(unsafe { Pipe::from_raw_fd(fd) });
        let _ = pipe.write_all(message);
    }
}

/// What the child has said so far.
#[derive(Debug, Default)]
struct Said {
    status: Option<i32>,
    owns: Option<PathBuf>,
}

impl Said {
    /// One message; false if there will be no more.
    fn hear(&mut self, pipe: &mut Pipe) -> bool {
        let mut kind = [0u8];
        loop {
            match pipe.read(&mut kind) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    if signals::stops() >= 2 {
                        return false;
                    }
                }
                Ok(1) => break,
                _ => return false,
            }
        }
        let mut bytes = |len: usize| {
            let mut all = vec![0u8; len];
            pipe.read_exact(&mut all).ok().map(|()| all)
        };
        if kind == [STATUS] {
            self.status = bytes(1).map(|status| i32::from(status[0]));
            return false;
        }
        let len = bytes(2).map_or(0, |len| u16::from_ne_bytes([len[0], len[1]]));
        let name = bytes(len.into());
        self.owns = name.map(|name| PathBuf::from(OsString::from_vec(name)));
        true
    }
}

/// Waits until the child has ended, or has given up and does not end.
fn wait(child: i32, mut told: Pipe) -> End {
    for signal in signals::STOP {
        if signals::keeps_ignoring(signal) {
            continue;
        }
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = forward;
        // SAFETY: `sigaction` is plain data for which all zeroes are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the handler uses atomics and kill only.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
    let mut said = Said::default();
    while said.hear(&mut told) {}
    let mut waited = Duration::ZERO;
    loop {
        let mut raw = 0;
        let impatient = said.status.is_some() || signals::stops() >= 2;
        let flags = if impatient { libc::WNOHANG } else { 0 };
        // SAFETY: `raw` is valid for writing.
        let pid = unsafe { libc::waitpid(child, &mut raw, flags) };
        if pid == child {
            return end(raw, said);
        }
        if pid < 0 && Errno::last() != Errno::EINTR || waited >= PATIENCE {
            // What is stuck may still use its files.
            return End {
                code: said.status,
                signal: None,
                asked: signals::stops() > 0,
                left: None,
            };
        }
        if impatient {
            std::thread::sleep(LOOK);
            waited += LOOK;
        }
    }
}

fn end(raw: i32, said: Said) -> End {
    let exited = libc::WIFEXITED(raw);
    let left = said
        .owns
        .filter(|dir| said.status.is_none() && dir.exists());
    End {
        code: exited.then(|| libc::WEXITSTATUS(raw)),
        signal: (!exited).then(|| libc::WTERMSIG(raw)),
        asked: signals::stops() > 0,
        left,
    }
}

/// A terminal sends its signals to both; what came from a process may have come to the parent alone.
extern "C" fn forward(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    signals::count_stop();
    let child = CHILD.load(Ordering::SeqCst);
    // SAFETY: with SA_SIGINFO the kernel passes a valid structure.
    let by_terminal = unsafe { (*info).si_code } == libc::SI_KERNEL;
    if !by_terminal && child > 0 {
        // SAFETY: the child is ours and has not been waited for.
        unsafe { libc::kill(child, signal) };
    }
}
