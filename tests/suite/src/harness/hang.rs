// SPDX-License-Identifier: GPL-2.0

//! What the threads of a test that does not end are doing.

use super::report::say;
use std::fs;
use std::path::Path;

/// Lines about every thread of every process of a group, for a person to read.
pub fn describe(group: i32) -> Vec<String> {
    let mut lines = Vec::new();
    for process in entries(Path::new("/proc")) {
        let path = Path::new("/proc").join(&process);
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        if process_group(&stat) == Some(group) {
            for task in entries(&path.join("task")) {
                lines.extend(describe_task(&path.join("task").join(task)));
            }
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

fn entries(dir: &Path) -> Vec<String> {
    let Ok(dir) = fs::read_dir(dir) else {
        return Vec::new();
    };
    dir.flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .collect()
}

/// The process group in a `/proc/PID/stat`; the name in it may hold anything but ends in `)`.
fn process_group(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(2)?.parse().ok()
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
    fn the_group_is_found_behind_an_odd_name() {
        assert_eq!(process_group("12 (a) b) S 1 345 345 0"), Some(345));
    }
}
