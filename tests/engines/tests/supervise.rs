// SPDX-License-Identifier: GPL-2.0
//! A child that cannot end: neither its parent nor who reads what they say waits for it. Alone in its
//! file, so that no other test forks a process that keeps the pipe open.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::thread;
use std::time::{Duration, Instant};

use engines::{signals, supervise};

const STATUS: i32 = 7;
const STUCK: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);

/// The child, which says its number and gets stuck, and its parent, which ends with the child's status.
fn supervise_somebody_stuck() -> ! {
    match supervise::in_child().unwrap() {
        Some(end) => signals::exit_now(end.code.unwrap_or(-1)),
        None => {
            // The end of the parent would end it.
            signals::catch_stop();
            // What print! says, a test's harness keeps.
            let mut said = std::io::stdout();
            write!(said, "{}", std::process::id()).unwrap();
            supervise::give_up(STATUS);
            supervise::fall_silent();
            thread::sleep(STUCK);
            signals::exit_now(0)
        }
    }
}

#[test]
fn nobody_waits_for_what_is_stuck() {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` is valid for writing two descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the test harness' other threads hold no lock that the child needs.
    let parent = match unsafe { libc::fork() } {
        0 => {
            // SAFETY: no pointers involved, and nobody else uses these descriptors.
            unsafe {
                libc::dup2(pipe[1], libc::STDOUT_FILENO);
                libc::dup2(pipe[1], libc::STDERR_FILENO);
                libc::close(pipe[0]);
                libc::close(pipe[1]);
            }
            supervise_somebody_stuck()
        }
        parent => parent,
    };
    assert!(parent > 0);
    let begin = Instant::now();
    // SAFETY: nobody else uses these descriptors.
    let mut listener = unsafe {
        libc::close(pipe[1]);
        File::from_raw_fd(pipe[0])
    };
    let mut said = String::new();
    listener.read_to_string(&mut said).unwrap();
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    assert_eq!(unsafe { libc::waitpid(parent, &mut status, 0) }, parent);
    let waited = begin.elapsed();
    let stuck: i32 = said.parse().unwrap();
    // SAFETY: no pointers involved.
    let killed = unsafe { libc::kill(stuck, libc::SIGKILL) };
    assert_eq!(killed, 0, "it has ended");
    assert!(waited < SOON, "the end came after {waited:?}");
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == STATUS);
}
