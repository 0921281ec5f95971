// SPDX-License-Identifier: GPL-2.0
//! A run in a process of its own, so that one that hangs or dies costs no more than itself.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use engines::signals;

use crate::cli::Choices;
use crate::report::Report;
use crate::status::{Lacking, Status};

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
        let (out, err) = (listen(child.stdout.take()), listen(child.stderr.take()));
        let mut asked = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if signals::stop_asked() && !asked {
                signals::ask_to_stop(child.id());
                asked = true;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let text = out.join().map_err(|_| anyhow!("a reader panicked"))?;
        let said = err.join().map_err(|_| anyhow!("a reader panicked"))?;
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

fn listen(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            // What was read until then says what went wrong.
            let _ = pipe.read_to_string(&mut text);
        }
        text
    })
}
