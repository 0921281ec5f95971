// SPDX-License-Identifier: GPL-2.0
//! A run in a process of its own, so that one that hangs or dies costs no more than itself.

use std::env;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use engines::signals;

use crate::cli::Choices;
use crate::report::Report;
use crate::status::{Lacking, Status};

/// How long the end of what a run says is waited for when it has ended. After a hang it may not come:
/// an engine's process that is stuck in the kernel keeps the pipes open.
const LEFT: Duration = Duration::from_secs(3);

/// How often one looks.
const LOOK: Duration = Duration::from_millis(20);

/// Where and with which program runs are tried.
#[derive(Debug)]
pub struct Trials {
    exe: PathBuf,
    dir: PathBuf,
}

impl Trials {
    /// Runs in a directory. From here on SIGINT and SIGTERM ask to stop.
    pub fn new(dir: &Path) -> Result<Self> {
        signals::catch_stop();
        Ok(Self {
            exe: env::current_exe().context("cannot find this program to run it again")?,
            dir: dir.to_owned(),
        })
    }

    /// Runs once, with just the command line that the report names.
    pub fn run(&self, choices: &Choices) -> Result<Report> {
        let mut child = Command::new(&self.exe)
            .arg("run")
            .arg(&self.dir)
            .args(choices.words())
            .args(["--quiet", "--json", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run this program again")?;
        let (out, err) = (
            Listener::new(child.stdout.take()),
            Listener::new(child.stderr.take()),
        );
        let mut asked = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if signals::stop_asked() && !asked {
                signals::ask_to_stop(child.id());
                asked = true;
            }
            thread::sleep(LOOK);
        };
        let deadline = Instant::now() + LEFT;
        let (text, said) = (out.heard(deadline), err.heard(deadline));
        let said = said.trim().trim_start_matches("diorace: ").to_owned();
        match status.code() {
            Some(code) if code == i32::from(Status::Lacking.code()) && text.is_empty() => {
                Err(Lacking(said).into())
            }
            _ if text.is_empty() => bail!("a run ended with {status}: {said}"),
            _ => serde_json::from_str(&text).context("a run left a damaged result"),
        }
    }
}

/// A thread that reads what a run says, and what it has read so far.
struct Listener {
    heard: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Listener {
    fn new(pipe: Option<impl Read + Send + 'static>) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ours = Arc::clone(&heard);
        let thread = thread::spawn(move || {
            if let Some(pipe) = pipe {
                listen(pipe, &ours);
            }
        });
        Self { heard, thread }
    }

    /// Everything if it ends in time, otherwise what there is by then.
    fn heard(self, deadline: Instant) -> String {
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

/// Reads to the end. What was read until an error says what went wrong.
fn listen(mut pipe: impl Read, heard: &Mutex<Vec<u8>>) {
    let mut some = [0; 8192];
    loop {
        match pipe.read(&mut some) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) | Ok(0) => return,
            Ok(n) => {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend_from_slice(&some[..n]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    use crate::report::samples;

    #[test]
    fn a_run_that_hangs_leaves_a_result_although_it_keeps_the_pipes_open() {
        let name = format!("diorace-trial-{}", std::process::id());
        let dir = env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let mut report = samples::report("bare", vec![samples::legal("x")]);
        report.scenarios[0].hang("x", vec!["a thread".to_owned()]);
        fs::write(dir.join("result"), serde_json::to_string(&report).unwrap()).unwrap();
        // Another process makes the program: nothing that is forked here keeps it open for writing.
        let program = "#!/bin/sh\ncat \"$2/result\"\nsleep 30 &\necho $! > \"$2/stuck\"\nexit 1\n";
        let exe = dir.join("program");
        let make = "printf %s \"$1\" > \"$0\" && chmod +x \"$0\"";
        let mut made = Command::new("sh");
        made.arg("-c").arg(make).arg(&exe).arg(program);
        assert!(made.status().unwrap().success());

        let trials = Trials {
            exe,
            dir: dir.clone(),
        };
        let begin = Instant::now();
        let report = trials.run(&samples::choices(1)).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert_eq!(report.scenarios[0].violations["hang"], 1);
        let stuck = fs::read_to_string(dir.join("stuck")).unwrap();
        Command::new("kill").arg(stuck.trim()).status().unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}
