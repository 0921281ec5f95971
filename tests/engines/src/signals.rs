// SPDX-License-Identifier: GPL-2.0
//! A polite stop, and who may be interrupted.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::clock::coarse_time;

/// What asks a program to stop: a person, a supervisor, the end of the terminal.
pub(crate) const STOP: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Within so many milliseconds several signals are one request: a terminal, a shell and `timeout` send
/// theirs to a whole group, and the parent passes on what it got alone.
const ONCE: u64 = 300;

static ASKED: AtomicU32 = AtomicU32::new(0);
static LAST: AtomicU64 = AtomicU64::new(0);

/// From now on SIGINT, SIGTERM, SIGQUIT and SIGHUP ask to stop; SIGHUP does not if it was ignored, as
/// nohup(1) wants it. The second time the process ends at once, with the status that the signal would
/// have given.
pub fn catch_stop() {
    let handler: extern "C" fn(i32) = on_stop;
    for signal in STOP.into_iter().filter(|signal| !keeps_ignoring(*signal)) {
        // SAFETY: `sigaction` is plain data for which all zeroes are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler uses atomics, a clock and _exit only.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
}

/// From now on a write beyond the limit of the size of files fails with `EFBIG`, and kills nobody.
pub fn survive_file_limit() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Whether somebody before us has said that this signal is of no interest.
pub(crate) fn keeps_ignoring(signal: i32) -> bool {
    // SAFETY: `sigaction` is plain data for which all zeroes are valid.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `old` is valid for writing; nothing is changed.
    unsafe { libc::sigaction(signal, std::ptr::null(), &mut old) };
    signal == libc::SIGHUP && old.sa_sigaction == libc::SIG_IGN
}

/// Counts a request to stop, in a signal handler; says how many there were.
pub(crate) fn count_stop() -> u32 {
    let now = (coarse_time().as_millis() as u64).max(1);
    let last = LAST.swap(now, Ordering::SeqCst);
    let same = last != 0 && now.saturating_sub(last) < ONCE;
    ASKED.fetch_add(u32::from(!same), Ordering::SeqCst) + u32::from(!same)
}

/// How often this process was asked to stop.
pub(crate) fn stops() -> u32 {
    ASKED.load(Ordering::SeqCst)
}

extern "C" fn on_stop(signal: i32) {
    if count_stop() >= 2 {
        // SAFETY: _exit may be called from a signal handler.
        unsafe { libc::_exit(128 + signal) };
    }
}

/// Whether somebody asked to stop.
pub fn stop_asked() -> bool {
    stops() > 0
}

/// Keeps what asks to stop away from the calling thread, so that its system calls are not
/// interrupted.
pub fn block_stop() {
    // SAFETY: `sigset_t` is plain data, and the calls get valid pointers to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in STOP {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// The kernel's number of the calling thread.
pub fn thread_id() -> i32 {
    // SAFETY: no pointers involved.
    unsafe { libc::gettid() }
}

/// Ends the process at once, whatever its threads are doing.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Interrupts whatever system call each thread of this process is in, by a signal that has no other
/// consequence.
pub fn interrupt_all() {
    INTERRUPT.call_once(|| {
        let handler: extern "C" fn(i32) = on_interrupt;
        // SAFETY: `sigaction` is plain data for which all zeroes are valid. Without SA_RESTART calls
        // are not taken up again by themselves.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as usize;
        // SAFETY: the handler does nothing.
        unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    });
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let threads = threads.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.parse::<i32>().ok()
    });
    for thread in threads {
        // SAFETY: no pointers involved. Only threads of this process can be meant.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
    }
}

static INTERRUPT: Once = Once::new();

extern "C" fn on_interrupt(_signal: i32) {}

/// Lets a process of ours go on that somebody has stopped.
pub fn go_on(process: i32) {
    if process > 0 {
        // SAFETY: no pointers involved; going on is all that this signal does.
        unsafe { libc::kill(process, libc::SIGCONT) };
    }
}

/// Asks a child process to stop.
pub fn ask_to_stop(child: u32) {
    if let Ok(child) = i32::try_from(child) {
        // SAFETY: no pointers involved; a process that has ended meanwhile is not reaped yet.
        unsafe { libc::kill(child, libc::SIGTERM) };
    }
}
