// SPDX-License-Identifier: GPL-2.0

//! What threads are doing that do not go on.

use super::report::say;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines about every thread of every process of a group, for a person to read.
pub fn describe(group: i32) -> Vec<String> {
    let mut lines = Vec::new();
    for process in entries(Path::new("/proc")) {
        let path = Path::new("/proc").join(&process);
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        if process_group(&stat) == Some(group) {
            lines.extend(tasks(&path).iter().flat_map(|task| describe_task(task)));
        }
    }
    lines
}

/// Says what the threads of this test are doing, while it still runs, and has the kernel log who is
/// blocked.
pub fn describe_own() {
    ask_kernel_for_blocked_tasks();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    for line in process_group(&stat).map(describe).unwrap_or_default() {
        say(&line);
    }
}

/// Asks the kernel to log every blocked task, as the one that matters may be a kernel thread.
pub fn ask_kernel_for_blocked_tasks() {
    let _ = fs::write("/proc/sysrq-trigger", "w");
}

/// How many threads of the whole system, the kernel's included, sleep as those do that wait for a
/// device: they cannot be interrupted.
pub fn uninterruptible() -> usize {
    entries(Path::new("/proc"))
        .iter()
        .flat_map(|process| tasks(&Path::new("/proc").join(process)))
        .filter_map(|task| fs::read_to_string(task.join("stat")).ok())
        .filter(|stat| state(stat) == Some("D"))
        .count()
}

/// Whether a thread of this process sleeps so.
pub fn is_uninterruptible(thread: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat"));
    stat.is_ok_and(|stat| state(&stat) == Some("D"))
}

/// The directories of the threads of a process.
fn tasks(process: &Path) -> Vec<PathBuf> {
    let dir = process.join("task");
    entries(&dir).iter().map(|id| dir.join(id)).collect()
}

fn entries(dir: &Path) -> Vec<String> {
    let Ok(dir) = fs::read_dir(dir) else {
        return Vec::new();
    };
    dir.flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .collect()
}

fn process_group(stat: &str) -> Option<i32> {
    fields(stat)?.nth(2)?.parse().ok()
}

fn state(stat: &str) -> Option<&str> {
    fields(stat)?.next()
}

/// The fields of a `/proc/PID/stat` behind the name, which may hold anything but ends in `)`.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace())
}

fn describe_task(task: &Path) -> Vec<String> {
    let read = |name: &str| {
        fs::read_to_string(task.join(name))
            .unwrap_or_default()
            .trim()
            .to_string()
    };
    let id = task.file_name().unwrap_or_default().to_string_lossy();
    let mut lines = vec![format!(
        "  task {id} ({}): wchan {}, syscall {}",
        read("comm"),
        read("wchan"),
        read("syscall")
    )];
    lines.extend(read("stack").lines().map(|l| format!("    {}", l.trim())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_an_odd_name() {
        let stat = "12 (a) b) S 1 345 345 0";
        assert_eq!(process_group(stat), Some(345));
        assert_eq!(state(stat), Some("S"));
    }
}
