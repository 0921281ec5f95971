// SPDX-License-Identifier: GPL-2.0
//! preadv2(2) and pwritev2(2) with a flag.

use std::ops::RangeInclusive;

use crate::errno::Errno;
use crate::error::Error;
use crate::file::File;
use crate::kind::Flag;
use crate::probe;
use crate::queue::{Op, Request};
use crate::single::{Transfer, uninterrupted};
use crate::vector::{MOST, Vectors};

/// One file, one flag.
#[derive(Debug)]
pub(crate) struct Flags {
    file: File,
    flag: Flag,
    /// Sizes of writes that may carry `RWF_ATOMIC`.
    units: Option<RangeInclusive<usize>>,
    count: usize,
}

impl Flags {
    /// Asks the file itself whether it takes the flag.
    pub(crate) fn new(file: File, flag: Flag) -> Result<Self, Error> {
        let units = probe::atomic_units(&file);
        if flag == Flag::Atomic && units.is_none() {
            return Err(Error::Unavailable {
                engine: "RWF_ATOMIC",
                errno: Errno::EOPNOTSUPP,
            });
        }
        Ok(Self {
            file,
            flag,
            units,
            count: 0,
        })
    }

    /// The flags for a request.
    fn of(&self, request: &Request) -> i32 {
        match (self.flag, request.op) {
            (Flag::Nowait, _) => libc::RWF_NOWAIT,
            (Flag::Hipri, _) => libc::RWF_HIPRI,
            (Flag::DontCache, _) => libc::RWF_DONTCACHE,
            (Flag::Dsync, Op::Write) => libc::RWF_DSYNC,
            (Flag::Append, Op::Write) => libc::RWF_APPEND,
            (Flag::Atomic, Op::Write) if self.may_be_atomic(request) => libc::RWF_ATOMIC,
            (Flag::Dsync | Flag::Append | Flag::Atomic, _) => 0,
        }
    }

    fn may_be_atomic(&self, request: &Request) -> bool {
        let len = request.bytes();
        let allowed = self
            .units
            .as_ref()
            .is_some_and(|units| units.contains(&len));
        allowed && len.is_power_of_two() && request.offset % len as u64 == 0
    }

    fn call(&self, request: &Request, vectors: &Vectors, flags: i32) -> Result<usize, Errno> {
        let (fd, at) = (self.file.fd(), request.offset as libc::off64_t);
        let (list, count) = (vectors.as_ptr(), vectors.len() as i32);
        // SAFETY: the vectors lie in the request's buffer, which moves nowhere meanwhile.
        uninterrupted(|| unsafe {
            Errno::check(match request.op {
                Op::Read => libc::preadv2(fd, list, count, at, flags),
                Op::Write => libc::pwritev2(fd, list, count, at, flags),
            })
        })
    }
}

impl Transfer for Flags {
    fn transfer(&mut self, request: &mut Request) -> Result<usize, Errno> {
        if self.flag == Flag::Append && request.op == Op::Write {
            // The kernel ignores the offset: a wrong one must not put words where nobody expects them.
            let size = self.file.size().map_err(|_| Errno::EIO)?;
            if size != request.offset {
                return Err(Errno::EINVAL);
            }
        }
        let flags = self.of(request);
        // An atomic write must be one vector.
        let pieces = if flags == libc::RWF_ATOMIC {
            1
        } else {
            1 + self.count % MOST
        };
        self.count += 1;
        let vectors = Vectors::cut(request, pieces);
        match self.call(request, &vectors, flags) {
            // It would wait, or a file that can read without waiting cannot write so.
            Err(Errno::EAGAIN | Errno::EOPNOTSUPP) if self.flag == Flag::Nowait => {
                self.call(request, &vectors, 0)
            }
            result => result,
        }
    }
}
