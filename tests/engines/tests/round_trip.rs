// SPDX-License-Identifier: GPL-2.0
//! Every engine writes what it is given and reads what is there.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use engines::{Buffer, Completion, DioAlign, Errno, Error, File, Kind, Op, Queue, Request, open};

const LEN: usize = 1 << 20;
const BLOCK: usize = 4096;

/// A file in cargo's directory for tests, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_file(&path);
        File::create(&path).unwrap().set_len(LEN as u64).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn drain(queue: &mut dyn Queue) -> Vec<Completion> {
    let mut out = Vec::new();
    while queue.in_flight() > 0 {
        queue.reap(Duration::from_secs(5), &mut out).unwrap();
    }
    out
}

fn round_trip(kind: Kind) -> Result<(), Error> {
    let scratch = Scratch::new(&format!("round-{}", kind.name()));
    let mut queue = open(kind, &scratch.0, LEN, 4)?;
    let depth = queue.depth();
    for round in 0..4usize {
        for id in 0..depth {
            let mut buffer = Buffer::new(BLOCK, 4096)?;
            buffer.words_mut().fill((round * depth + id + 1) as u64);
            let offset = ((round * depth + id) * BLOCK) as u64;
            let op = Op::Write;
            queue
                .submit(Request {
                    id,
                    op,
                    offset,
                    len: BLOCK,
                    buffer,
                })
                .unwrap();
        }
        let mut done: Vec<_> = drain(queue.as_mut())
            .iter()
            .map(|c| (c.id, c.result))
            .collect();
        done.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(
            done,
            (0..depth).map(|id| (id, Ok(BLOCK))).collect::<Vec<_>>()
        );
    }
    for nth in 0..4 * depth {
        let buffer = Buffer::new(BLOCK, 4096)?;
        let offset = (nth * BLOCK) as u64;
        queue
            .submit(Request {
                id: nth,
                op: Op::Read,
                offset,
                len: BLOCK,
                buffer,
            })
            .unwrap();
        for completion in drain(queue.as_mut()) {
            assert_eq!(completion.result, Ok(BLOCK));
            assert!(
                completion
                    .buffer
                    .words()
                    .iter()
                    .all(|w| *w == nth as u64 + 1)
            );
        }
    }
    Ok(())
}

#[test]
fn every_engine() {
    for (name, kind) in Kind::ALL {
        match round_trip(kind) {
            Ok(()) => {}
            Err(Error::Unavailable { .. }) => eprintln!("{name}: not available here"),
            Err(Error::Open {
                errno: Errno::EINVAL,
                ..
            }) => eprintln!("{name}: no O_DIRECT here"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn engines_have_names() {
    for (name, kind) in Kind::ALL {
        assert_eq!(name.parse::<Kind>().unwrap(), kind);
        assert_eq!(kind.name(), name);
    }
    assert!("tape".parse::<Kind>().is_err());
}

#[test]
fn a_fault_beyond_the_end_is_an_error() {
    let scratch = Scratch::new("bus");
    let mut queue = open(Kind::MMAP, &scratch.0, LEN, 1).unwrap();
    File::open(&scratch.0, false)
        .unwrap()
        .set_len(4096)
        .unwrap();
    for (offset, expect) in [(8192, Err(Errno::EFAULT)), (0, Ok(BLOCK))] {
        let buffer = Buffer::new(BLOCK, 8).unwrap();
        queue
            .submit(Request {
                id: 0,
                op: Op::Read,
                offset,
                len: BLOCK,
                buffer,
            })
            .unwrap();
        assert_eq!(drain(queue.as_mut())[0].result, expect);
    }
}

#[test]
fn alignment_is_a_power_of_two() {
    let scratch = Scratch::new("align");
    let Ok(file) = File::open(&scratch.0, true) else {
        return;
    };
    if let Some(align) = DioAlign::probe(&file).unwrap() {
        assert!(align.offset.is_power_of_two() && align.memory.is_power_of_two());
    }
}
