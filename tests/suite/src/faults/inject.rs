// SPDX-License-Identifier: GPL-2.0

//! Errors on demand: the kernel's fault injection, aimed at what runs in the module or below it.
//!
//! A task's `fail-nth` makes the n-th thing that can fail in that task fail, once. What counts is
//! what has the module on its stack: that is the filter of stack traces, one for each thing that
//! can fail (allocations of slab objects, of pages, copies to and from user memory, requests to a
//! block device). The rest of the system, and the test itself, go on as usual.

use crate::harness::lacking;
use crate::sys::file;
use anyhow::{Context, Result};
use std::fs;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const DEBUGFS: &str = "/sys/kernel/debug";

/// How many frames the kernel looks at, at most.
const DEPTH: &str = "32";

/// A range that no return address lies in.
const NOWHERE: Range<u64> = 1..1;

/// Everything.
const ANYWHERE: Range<u64> = 0..u64::MAX;

/// What can be made to fail. Each is a directory of debugfs with the attributes of its faults.
const ALL: [&str; 4] = [
    "failslab",
    "fail_page_alloc",
    "fail_usercopy",
    "fail_make_request",
];

/// What is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Allocations of memory in the module or below it.
    Memory,
    /// Copies from and to user memory in the module or below it.
    Copies,
    /// Requests to a device that was told to fail ([`Failing`]).
    Requests,
    /// Requests to it that are made in the module or below it.
    OwnRequests,
}

/// The kernel's fault injection, set up for one target. Reset on drop.
pub struct Injector {
    own: Nth,
    /// Of the one that has set it up.
    _reset: Option<Reset>,
}

impl Injector {
    /// Aims at `target`. Leaves the test where the kernel has no fault injection.
    pub fn at(target: Target) -> Result<Self> {
        let own = Nth::of(Path::new("/proc/thread-self"));
        let Ok(own) = own else {
            return lacking("this kernel has no fault injection (CONFIG_FAULT_INJECTION)");
        };
        for attr in ALL {
            if !Path::new(DEBUGFS).join(attr).join("require-start").exists() {
                return lacking(format!(
                    "this kernel cannot inject {attr} by stack traces, or debugfs is not mounted"
                ));
            }
        }
        let injector = Self {
            own,
            _reset: Some(Reset),
        };
        aim(target)?;
        Ok(injector)
    }

    /// The same for the thread that runs now, which may be another one than that which made it.
    pub fn for_this_thread(&self) -> Result<Self> {
        Ok(Self {
            own: Nth::of(Path::new("/proc/thread-self"))?,
            _reset: None,
        })
    }

    /// Makes the `n`-th thing fail that the running thread comes to in `call`. Returns what the
    /// call returned, and whether something was made to fail.
    pub fn during<T>(&self, n: u32, call: impl FnOnce() -> T) -> Result<(T, bool)> {
        self.own.arm(n)?;
        let answer = call();
        let fired = self.own.disarm()?;
        Ok((answer, fired))
    }

    /// Like [`Injector::during`], for the running thread and those that io_uring hands requests to.
    /// Returns how many were made to fail.
    pub fn during_pool<T>(&self, n: u32, call: impl FnOnce() -> T) -> Result<(T, usize)> {
        self.own.arm(n)?;
        let (answer, fired) = during_of(threads("/proc/self/task", "iou-wrk-")?, n, call);
        Ok((answer, fired + usize::from(self.own.disarm()?)))
    }

    /// Like [`Injector::during`], for all threads of the kernel's work queues: in each of them the
    /// `n`-th thing fails. Returns how many were made to fail.
    pub fn during_work<T>(&self, n: u32, call: impl FnOnce() -> T) -> Result<(T, usize)> {
        Ok(during_of(threads("/proc", "kworker/")?, n, call))
    }
}

/// Has the `n`-th thing in each of these threads fail in `call`; how many were made to.
fn during_of<T>(threads: Vec<PathBuf>, n: u32, call: impl FnOnce() -> T) -> (T, usize) {
    // One that has gone away meanwhile does no work either.
    let armed: Vec<Nth> = threads
        .iter()
        .filter_map(|thread| Nth::of(thread).ok())
        .filter(|thread| thread.arm(n).is_ok())
        .collect();
    let answer = call();
    let fired = armed
        .iter()
        .filter(|thread| thread.disarm().unwrap_or(false))
        .count();
    (answer, fired)
}

/// The `fail-nth` of a task.
struct Nth(OwnedFd);

impl Nth {
    fn of(task: &Path) -> Result<Self> {
        Ok(Self(file::open(&task.join("fail-nth"), libc::O_RDWR, 0)?))
    }

    fn arm(&self, n: u32) -> Result<()> {
        file::pwrite(&self.0, n.to_string().as_bytes(), 0).context("setting fail-nth")?;
        Ok(())
    }

    /// Whether something was made to fail since [`Nth::arm`].
    fn disarm(&self) -> Result<bool> {
        let mut text = [0; 16];
        let n = file::pread(&self.0, &mut text, 0).context("reading fail-nth")?;
        self.arm(0)?;
        Ok(text[..n].trim_ascii() == b"0")
    }
}

/// The threads of a directory of `/proc` whose names begin like this.
fn threads(directory: &str, name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)?.flatten() {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.starts_with(name) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn aim(target: Target) -> Result<()> {
    let module = module_text()?;
    for attr in ALL {
        let range = match (target, attr) {
            (Target::Memory, "failslab" | "fail_page_alloc")
            | (Target::Copies, "fail_usercopy")
            | (Target::OwnRequests, "fail_make_request") => module.clone(),
            (Target::Requests, "fail_make_request") => ANYWHERE,
            _ => NOWHERE,
        };
        set(attr, "require-start", &format!("{:#x}", range.start))?;
        set(attr, "require-end", &format!("{:#x}", range.end))?;
        set(attr, "stacktrace-depth", DEPTH)?;
        set(attr, "verbose", "0")?;
    }
    // Allocations that may wait for memory, or use high memory, can fail as well.
    set("failslab", "ignore-gfp-wait", "N")?;
    set("fail_page_alloc", "ignore-gfp-wait", "N")?;
    set("fail_page_alloc", "ignore-gfp-highmem", "N")?;
    set("fail_page_alloc", "min-order", "0")
}

fn set(attr: &str, name: &str, value: &str) -> Result<()> {
    let path = Path::new(DEBUGFS).join(attr).join(name);
    fs::write(&path, value).with_context(|| format!("{} = {value}", path.display()))
}

/// Where the module's code is.
fn module_text() -> Result<Range<u64>> {
    let modules = fs::read_to_string("/proc/modules")?;
    let base = fs::read_to_string("/sys/module/diofs/sections/.text")
        .context("where is the text of diofs?")?;
    let base = hexadecimal(&base).context("the address of the text of diofs")?;
    // The size is that of code and data together, which lie apart: too much at worst.
    let size = modules
        .lines()
        .filter_map(|line| line.strip_prefix("diofs "))
        .find_map(|line| line.split(' ').next()?.parse::<u64>().ok())
        .context("the size of diofs in /proc/modules")?;
    Ok(base..base + size)
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// Makes everything as it was, on drop.
struct Reset;

impl Drop for Reset {
    fn drop(&mut self) {
        for attr in ALL {
            let _ = set(attr, "require-start", "0");
            let _ = set(attr, "require-end", "0xffffffffffffffff");
            let _ = set(attr, "stacktrace-depth", "0");
        }
        let _ = set("failslab", "ignore-gfp-wait", "Y");
        let _ = set("fail_page_alloc", "ignore-gfp-wait", "Y");
        let _ = set("fail_page_alloc", "ignore-gfp-highmem", "Y");
        let _ = set("fail_page_alloc", "min-order", "1");
    }
}

/// A block device whose requests count as things that can fail. They do no more on drop.
pub struct Failing(PathBuf);

impl Failing {
    /// The device with this node, `/dev/NAME`.
    pub fn device(node: &Path) -> Result<Self> {
        let name = node.file_name().context("the node of a device")?;
        let switch = Path::new("/sys/block").join(name).join("make-it-fail");
        fs::write(&switch, "1").with_context(|| format!("{} = 1", switch.display()))?;
        Ok(Self(switch))
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "0");
    }
}
