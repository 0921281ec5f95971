// SPDX-License-Identifier: GPL-2.0
//! A parent that can end although its child cannot.
//!
//! A process with a thread stuck in the kernel cannot be waited for, not even after it has exited: its
//! parent would hang as well. So the work is done by a child, which tells its parent what status to
//! end with before it gives up.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::errno::Errno;
use crate::error::Error;

/// How long the parent waits for a child that has given up, in milliseconds.
const PATIENCE: u32 = 5000;

static CHILD: AtomicI32 = AtomicI32::new(0);
static TELL: AtomicI32 = AtomicI32::new(-1);

/// Goes on in a child process; the parent waits for it and ends with its status.
///
/// To be called while the process has a single thread.
///
/// # Errors
/// If no process or pipe can be had.
pub fn in_child() -> Result<(), Error> {
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
            Ok(())
        }
        child => {
            // SAFETY: the child has its own copy of this end.
            unsafe { libc::close(pipe[1]) };
            CHILD.store(child, Ordering::SeqCst);
            crate::signals::exit_now(wait(child, pipe[0]))
        }
    }
}

/// In the child: tells the parent with what status to end, whatever becomes of this process.
pub fn give_up(status: i32) {
    let fd = TELL.load(Ordering::SeqCst);
    let byte = status as u8;
    // SAFETY: one byte is read from a variable on the stack.
    unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
}

/// Waits until the child has ended, or has given up and does not end.
fn wait(child: i32, told: i32) -> i32 {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let handler: extern "C" fn(i32) = forward;
        // SAFETY: the handler uses an atomic and kill only.
        unsafe { libc::signal(signal, handler as usize) };
    }
    let mut status = None;
    let mut byte = 0u8;
    loop {
        // SAFETY: one byte is written to a variable on the stack.
        let got = unsafe { libc::read(told, (&raw mut byte).cast(), 1) };
        if got < 0 && Errno::last() == Errno::EINTR {
            continue;
        }
        if got == 1 {
            status = Some(i32::from(byte));
        }
        break;
    }
    let mut waited = 0;
    loop {
        let mut raw = 0;
        let flags = if status.is_some() { libc::WNOHANG } else { 0 };
        // SAFETY: `raw` is valid for writing.
        let pid = unsafe { libc::waitpid(child, &mut raw, flags) };
        if pid == child {
            return if libc::WIFEXITED(raw) {
                libc::WEXITSTATUS(raw)
            } else {
                128 + libc::WTERMSIG(raw)
            };
        }
        match status {
            Some(status) if waited >= PATIENCE => return status,
            Some(_) => std::thread::sleep(std::time::Duration::from_millis(100)),
            None => {}
        }
        waited += 100;
    }
}

/// A terminal sends its signals to both; what came to the parent alone must reach the child.
extern "C" fn forward(signal: i32) {
    let child = CHILD.load(Ordering::SeqCst);
    if signal == libc::SIGTERM && child > 0 {
        // SAFETY: the child is ours and has not been waited for.
        unsafe { libc::kill(child, signal) };
    }
}
