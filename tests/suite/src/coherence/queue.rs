// SPDX-License-Identifier: GPL-2.0

//! libaio and io_uring behind one face.

use super::scene::LIMIT;
use crate::sys::Res;
use crate::sys::aio::{Aio, Done, Request};
use crate::sys::file;
use crate::sys::mem::Slice;
use crate::sys::uring::Uring;
use anyhow::{Context, Result, ensure};
use std::os::fd::AsFd;
use std::time::Duration;

/// How asynchronous requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Aio,
    Uring,
}

impl Engine {
    pub const BOTH: [Self; 2] = [Self::Aio, Self::Uring];
}

/// How a direct request is made.
#[derive(Clone, Copy, Debug)]
pub enum By {
    Call,
    Queue(Engine),
}

impl By {
    /// Writes. Whoever makes the request is told of the result once.
    pub fn pwrite(self, fd: impl AsFd, data: &Slice, at: usize) -> Result<Res<usize>> {
        let Self::Queue(engine) = self else {
            return Ok(file::pwrite_mem(fd, data, at as u64));
        };
        let mut queue = Queue::new(engine, 4)?;
        let submitted = queue.write(fd, data, at as u64)?;
        queue.only(Ok(submitted))
    }
}

pub const EACH: [By; 3] = [By::Call, By::Queue(Engine::Aio), By::Queue(Engine::Uring)];

/// A queue of asynchronous requests.
pub enum Queue {
    Aio(Aio),
    Uring(Box<Uring>),
}

impl Queue {
    pub fn new(engine: Engine, depth: u32) -> Res<Self> {
        Ok(match engine {
            Engine::Aio => Self::Aio(Aio::new(depth)?),
            Engine::Uring => Self::Uring(Box::new(Uring::new(depth)?)),
        })
    }

    /// Submits a write; returns its number.
    pub fn write(&mut self, fd: impl AsFd, from: &Slice, at: u64) -> Res<u64> {
        match self {
            Self::Aio(aio) => aio.submit_one(Request::write(fd, from, at)),
            Self::Uring(ring) => {
                let id = ring.write(fd, from, at)?;
                ring.submit()?;
                Ok(id)
            }
        }
    }

    /// Submits a read; returns its number.
    pub fn read(&mut self, fd: impl AsFd, to: &Slice, at: u64) -> Res<u64> {
        match self {
            Self::Aio(aio) => aio.submit_one(Request::read(fd, to, at)),
            Self::Uring(ring) => {
                let id = ring.read(fd, to, at)?;
                ring.submit()?;
                Ok(id)
            }
        }
    }

    /// Waits for `count` completions, at most `limit`.
    pub fn reap(&mut self, count: usize, limit: Duration) -> Res<Vec<Done>> {
        match self {
            Self::Aio(aio) => aio.reap_all(count, limit),
            Self::Uring(ring) => ring.reap_all(count, limit),
        }
    }

    /// What becomes of the one request that was submitted: it is completed once.
    pub fn only(&mut self, submitted: Res<u64>) -> Result<Res<usize>> {
        if let Err(errno) = submitted {
            ensure!(
                self.reap_now()?.is_empty(),
                "refused, and completed as well"
            );
            return Ok(Err(errno));
        }
        let done = self.reap(1, LIMIT).context("waiting for a completion")?;
        ensure!(self.reap_now()?.is_empty(), "a completion too many");
        Ok(done[0].result)
    }

    /// Takes the completions that are there.
    pub fn reap_now(&mut self) -> Res<Vec<Done>> {
        match self {
            Self::Aio(aio) => aio.reap(0, 64, Duration::ZERO),
            Self::Uring(ring) => Ok(ring.reap(usize::MAX)),
        }
    }
}
