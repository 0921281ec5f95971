// SPDX-License-Identifier: GPL-2.0
//! A polite stop, and who may be interrupted.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static ASKED: AtomicU32 = AtomicU32::new(0);

/// From now on SIGINT and SIGTERM ask to stop. The third time the process ends at once, with the
/// status that the signal would have given.
pub fn catch_stop() {
    let handler: extern "C" fn(i32) = on_stop;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: `sigaction` is plain data for which all zeroes are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler uses an atomic and _exit only.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
}

extern "C" fn on_stop(signal: i32) {
    if ASKED.fetch_add(1, Ordering::SeqCst) >= 2 {
        // SAFETY: _exit may be called from a signal handler.
        unsafe { libc::_exit(128 + signal) };
    }
}

/// Whether somebody asked to stop.
pub fn stop_asked() -> bool {
    ASKED.load(Ordering::Relaxed) > 0
}

/// Keeps SIGINT and SIGTERM away from the calling thread, so that its system calls are not
/// interrupted.
pub fn block_stop() {
    // SAFETY: `sigset_t` is plain data, and the calls get valid pointers to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::sigaddset(&mut set, libc::SIGTERM);
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

/// Asks a child process to stop.
pub fn ask_to_stop(child: u32) {
    if let Ok(child) = i32::try_from(child) {
        // SAFETY: no pointers involved; a process that has ended meanwhile is not reaped yet.
        unsafe { libc::kill(child, libc::SIGTERM) };
    }
}
