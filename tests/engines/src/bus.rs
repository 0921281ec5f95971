// SPDX-License-Identifier: GPL-2.0
//! SIGBUS as an error code.
//!
//! A load or store in a mapping whose page cannot be provided (an I/O error, no space, a file cut
//! short) raises SIGBUS. The handler puts a page of ordinary memory in its place, so that the access
//! can end, and leaves a note; whoever made the access finds the note and reports an error. Faults
//! outside the watched mappings keep their usual consequence.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Mappings that can be watched at once.
const WATCHED: usize = 128;

struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    hit: AtomicBool,
}

static SLOTS: [Slot; WATCHED] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        hit: AtomicBool::new(false),
    }
}; WATCHED];

static INSTALL: Once = Once::new();

/// A mapping whose faults are noted.
#[derive(Debug)]
pub(crate) struct Watch(Option<usize>);

impl Watch {
    /// Watches a mapping. With too many watched already, faults in it stay deadly.
    pub(crate) fn new(start: usize, len: usize) -> Self {
        INSTALL.call_once(install);
        let slot = SLOTS.iter().position(|slot| {
            let claim = slot
                .start
                .compare_exchange(0, start, Ordering::SeqCst, Ordering::SeqCst);
            claim.is_ok()
        });
        if let Some(nth) = slot {
            SLOTS[nth].hit.store(false, Ordering::SeqCst);
            SLOTS[nth].end.store(start + len, Ordering::SeqCst);
        }
        Self(slot)
    }

    /// Whether a fault was noted since the last call.
    pub(crate) fn take(&self) -> bool {
        let hit = self.0.map(|nth| &SLOTS[nth].hit);
        hit.is_some_and(|hit| hit.load(Ordering::Relaxed) && hit.swap(false, Ordering::SeqCst))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(nth) = self.0 {
            SLOTS[nth].end.store(0, Ordering::SeqCst);
            SLOTS[nth].start.store(0, Ordering::SeqCst);
        }
    }
}

fn install() {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = on_bus;
    // SAFETY: `sigaction` is plain data for which all zeroes are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and calls only mmap and
    // sigaction, which are plain system calls, and atomics.
    unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
}

extern "C" fn on_bus(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid structure to a SA_SIGINFO handler, with an address for SIGBUS.
    let address = unsafe { (*info).si_addr() } as usize;
    let slot = SLOTS.iter().find(|slot| {
        let range = slot.start.load(Ordering::SeqCst)..slot.end.load(Ordering::SeqCst);
        range.start != 0 && range.contains(&address)
    });
    let replaced = slot.is_some_and(|slot| {
        slot.hit.store(true, Ordering::SeqCst);
        replace_page(address)
    });
    if !replaced {
        // SAFETY: restoring the default is always allowed; the access is tried again and is deadly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Puts anonymous memory where a page of a watched mapping is.
fn replace_page(address: usize) -> bool {
    let page = crate::probe::page_size();
    let start = address & !(page - 1);
    // SAFETY: the page belongs to a watched mapping, which is nobody's reference but an atomic's.
    let got = unsafe {
        libc::mmap(
            start as *mut libc::c_void,
            page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    got != libc::MAP_FAILED
}
