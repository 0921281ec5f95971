// SPDX-License-Identifier: GPL-2.0
//! Opens a file for an engine, and asks it whether it can be used that way.

use std::path::Path as FilePath;

use crate::copy::CopyRange;
use crate::error::Error;
use crate::file::File;
use crate::flags::Flags;
use crate::kind::{Kind, Path, Ring};
use crate::libaio::{Libaio, Style};
use crate::mapped::Mapped;
use crate::pipe::Spliced;
use crate::probe::DioAlign;
use crate::queue::{Op, PATIENCE, Queue, Request, drain};
use crate::sendfile::Sendfile;
use crate::single::Single;
use crate::sync::Sync;
use crate::uring::Uring;

/// Opens a file for an engine. `len` is the file's length, which a mapping covers; `depth` is for
/// engines that can have more than one request outstanding.
///
/// # Errors
/// If the file cannot be opened in that mode; [`Error::Unavailable`] if the kernel lacks the engine,
/// forbids it, or this file does not take it.
pub fn open(
    kind: Kind,
    path: &FilePath,
    len: usize,
    depth: usize,
) -> Result<Box<dyn Queue>, Error> {
    open_on(kind, File::open(path, kind.direct)?, path, len, depth)
}

/// The same on a file that is open already, in the mode of the engine: with a duplicate of a descriptor
/// that others use, they share what belongs to the open file.
///
/// # Errors
/// As [`open`].
pub fn open_on(
    kind: Kind,
    file: File,
    path: &FilePath,
    len: usize,
    depth: usize,
) -> Result<Box<dyn Queue>, Error> {
    let mut queue: Box<dyn Queue> = match kind.path {
        Path::Sync => Box::new(Single::new(Sync(file))),
        Path::Flag(flag) => Box::new(Single::new(Flags::new(file, flag)?)),
        Path::Libaio => Box::new(Libaio::new(file, depth, Style::Plain)?),
        Path::LibaioVector => Box::new(Libaio::new(file, depth, Style::Vector)?),
        Path::Toggle => Box::new(Libaio::new(file, depth, Style::Toggle)?),
        Path::Uring(ring) => Box::new(Uring::new(file, depth, ring)?),
        Path::Mmap(touch) => Box::new(Single::new(Mapped::new(file, len, touch)?)),
        Path::Splice => Box::new(Single::new(Spliced::new(file, false)?)),
        Path::Vmsplice => Box::new(Single::new(Spliced::new(file, true)?)),
        Path::Sendfile => Box::new(Single::new(Sendfile::new(file)?)),
        Path::CopyRange => Box::new(Single::new(CopyRange::new(file, path)?)),
    };
    if is_special(kind.path) {
        try_read(kind, path, queue.as_mut())?;
    }
    Ok(queue)
}

/// Whether a file may refuse an engine although the kernel has it.
fn is_special(path: Path) -> bool {
    match path {
        Path::Flag(_) | Path::Splice | Path::Vmsplice | Path::Sendfile | Path::CopyRange => true,
        // A ring with deferred work belongs to whoever uses it first.
        Path::Uring(ring) => !matches!(ring, Ring::Plain | Ring::Defer),
        _ => false,
    }
}

/// Reads the first block. What comes back is of no interest, only whether it does.
fn try_read(kind: Kind, path: &FilePath, queue: &mut dyn Queue) -> Result<(), Error> {
    let mut len = 4096;
    if kind.direct {
        let align = DioAlign::probe(&File::open(path, true)?)?;
        len = align.map_or(len, |align| align.offset.max(4096) as usize);
    }
    let buffer = queue.buffer(len, len)?;
    let request = Request {
        id: 0,
        op: Op::Read,
        offset: 0,
        len,
        buffer,
    };
    let engine = kind.name();
    let mut done = Vec::new();
    if let Err(rejected) = queue.submit(request) {
        let errno = rejected.errno;
        return Err(Error::Unavailable { engine, errno });
    }
    let call = "a read to try an engine with does not end";
    drain(queue, PATIENCE, call, &mut done)?;
    match done.pop().map(|done| done.result) {
        Some(Err(errno)) => Err(Error::Unavailable { engine, errno }),
        _ => Ok(()),
    }
}
