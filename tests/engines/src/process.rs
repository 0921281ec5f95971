// SPDX-License-Identifier: GPL-2.0
//! Processes: begin, end, wait.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::errno::Errno;
use crate::error::Error;

/// Where one is after a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fork {
    /// In the new process.
    Child,
    /// In the old one; the number of the new one.
    Parent(i32),
}

/// Forks. The new process has the calling thread only, so that it may only use what no other thread
/// can have been in the middle of; the memory allocator sees to itself.
pub(crate) fn fork() -> Result<Fork, Error> {
    // SAFETY: what the callers do in the child is to make system calls and to allocate.
    match unsafe { libc::fork() } {
        -1 => Err(Error::call("fork")),
        0 => {
            crate::supervise::forget();
            Ok(Fork::Child)
        }
        child => Ok(Fork::Parent(child)),
    }
}

/// Waits for a child; the signal that killed it, none if it ended by itself or is not there.
pub(crate) fn wait(child: i32) -> Option<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid for writing.
        let got = unsafe { libc::waitpid(child, &mut status, 0) };
        if got == child {
            return libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        }
        if Errno::last() != Errno::EINTR {
            return None;
        }
    }
}

/// Waits for a child, but no longer than that; false if it is still there.
pub(crate) fn wait_for(child: i32, patience: Duration) -> bool {
    let begin = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        // SAFETY: no pointers involved.
        let got = unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) };
        if got == child || (got < 0 && Errno::last() != Errno::EINTR) {
            return true;
        }
        if begin.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills a child.
pub(crate) fn kill(child: i32) {
    // SAFETY: no pointers involved; the child has not been waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
}

/// From now on the calling process dies when its parent does.
pub(crate) fn die_with_parent() {
    // SAFETY: no pointers involved.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// What kills a process that was to be killed.
pub(crate) const DOOM: i32 = libc::SIGALRM;

/// The calling process is killed by [`DOOM`] after a time, whatever it is doing.
pub(crate) fn die_after(time: Duration) {
    let value = libc::timeval {
        tv_sec: time.as_secs() as libc::time_t,
        tv_usec: time.subsec_micros().max(1).into(),
    };
    let timer = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: value,
    };
    // SAFETY: `timer` is a valid structure; without a handler the signal kills.
    unsafe {
        libc::signal(DOOM, libc::SIG_DFL);
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
    }
}

/// Forks a process that ends at once. Where there is none to be had, nothing happens.
pub(crate) fn fork_and_end() {
    match fork() {
        Ok(Fork::Child) => crate::signals::exit_now(0),
        Ok(Fork::Parent(child)) => {
            wait(child);
        }
        Err(_) => {}
    }
}

/// The number of the calling process.
pub(crate) fn own_id() -> i32 {
    // SAFETY: no pointers involved.
    unsafe { libc::getpid() }
}

/// Closes a connection, for all who have it.
pub(crate) fn hang_up(socket: &OwnedFd) {
    // SAFETY: no pointers involved.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Lets this process open as many files as it may without asking anybody.
///
/// # Errors
/// What setrlimit returns.
pub fn raise_descriptors() -> Result<(), Errno> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for writing and for reading.
    let done = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
    };
    if done < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// Columns of the terminal that standard error goes to, as it is now.
pub fn terminal_width() -> usize {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: `size` is valid for writing.
    let done = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size) };
    if done == 0 && size.ws_col > 0 {
        size.ws_col.into()
    } else {
        80
    }
}
