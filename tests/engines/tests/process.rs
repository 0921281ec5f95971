// SPDX-License-Identifier: GPL-2.0
//! Engines in processes of their own: they do the same, die, and are replaced.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{BLOCK, LEN, Scratch, drain, read, request, skipped, write};
use engines::{Errno, Error, Fate, Job, Kind, Op, Queue, Remote};

fn start(kind: Kind, scratch: &Scratch, fate: Fate) -> Option<Remote> {
    let job = Job {
        kind,
        path: &scratch.0,
        len: LEN,
        depth: 4,
        longest: BLOCK,
        fate,
    };
    match Remote::start(&job) {
        Ok(remote) => Some(remote),
        Err(error @ Error::Unavailable { .. }) => {
            skipped(&format!("{kind}: {error}"));
            None
        }
        Err(error) => panic!("{kind}: {error}"),
    }
}

#[test]
fn every_engine_works_in_a_process() {
    for (_, kind) in Kind::ALL.iter().filter(|(_, kind)| !kind.appends()) {
        let scratch = Scratch::counted(&format!("process-{kind}"), LEN as u64);
        let Some(mut remote) = start(*kind, &scratch, Fate::Live) else {
            continue;
        };
        assert_ne!(remote.worker().unwrap().get(), 0, "{kind}");
        for id in 0..remote.depth() {
            let at = (id * BLOCK) as u64;
            let mut one = request(&mut remote, id, Op::Write, at, BLOCK);
            one.buffer.words_mut().fill(id as u64 + 100);
            remote.submit(one).unwrap();
        }
        let mut done = drain(&mut remote);
        assert_eq!(done.len(), remote.depth(), "{kind}");
        assert!(done.iter().all(|done| done.result == Ok(BLOCK)), "{kind}");
        let mut again = done.pop().unwrap().buffer;
        again.words_mut().fill(0);
        let one = engines::Request {
            id: 0,
            op: Op::Read,
            offset: 0,
            len: BLOCK,
            buffer: again,
        };
        remote.submit(one).unwrap();
        let got = drain(&mut remote).pop().unwrap();
        assert_eq!(got.result, Ok(BLOCK), "{kind}");
        assert!(got.buffer.words().iter().all(|word| *word == 100), "{kind}");
    }
}

#[test]
fn a_file_that_is_not_there_is_said() {
    let mut scratch = Scratch::counted("gone", LEN as u64);
    let right = scratch.0.clone();
    scratch.0 = scratch.0.with_file_name("nonesuch");
    let job = Job {
        kind: Kind::BUFFERED,
        path: &scratch.0,
        len: LEN,
        depth: 1,
        longest: BLOCK,
        fate: Fate::Live,
    };
    let error = Remote::start(&job).unwrap_err();
    assert_eq!(error.errno(), Some(Errno(2)));
    scratch.0 = right;
}

#[test]
fn who_dies_is_replaced_and_its_requests_are_given_back() {
    for kind in [Kind::LIBAIO, Kind::URING, Kind::BUFFERED, Kind::MMAP] {
        let scratch = Scratch::counted(&format!("dies-{kind}"), LEN as u64);
        let fate = Fate::Die(Duration::from_millis(30));
        let Some(mut remote) = start(kind, &scratch, fate) else {
            continue;
        };
        let (begin, mut dead, mut good) = (Instant::now(), 0, 0);
        let mut spare = Vec::new();
        for id in 0..remote.depth() {
            spare.push(request(
                &mut remote,
                id,
                Op::Write,
                (id * BLOCK) as u64,
                BLOCK,
            ));
        }
        while (dead < 3 || good == 0) && begin.elapsed() < Duration::from_secs(20) {
            for one in spare.drain(..) {
                remote.submit(one).unwrap();
            }
            for done in drain(&mut remote) {
                match done.result {
                    Ok(BLOCK) => good += 1,
                    Err(Errno::EOWNERDEAD) => dead += 1,
                    other => panic!("{kind}: {other:?}"),
                }
                spare.push(engines::Request {
                    id: done.id,
                    op: Op::Write,
                    offset: (done.id * BLOCK) as u64,
                    len: BLOCK,
                    buffer: done.buffer,
                });
            }
        }
        assert!(dead >= 3 && good > 0, "{kind}: {dead} died, {good} did not");
    }
}

#[test]
fn forking_does_no_harm() {
    for kind in [Kind::LIBAIO, Kind::URING, Kind::MMAP] {
        let scratch = Scratch::counted(&format!("forks-{kind}"), LEN as u64);
        let fate = Fate::Fork(Duration::from_millis(1));
        let Some(mut remote) = start(kind, &scratch, fate) else {
            continue;
        };
        for word in 0..4 {
            // Each takes another piece of the memory that both processes share.
            if remote.depth() == 1 && word > 0 {
                break;
            }
            let done = write(&mut remote, 0, BLOCK, word);
            assert_eq!(done.result, Ok(BLOCK), "{kind}");
        }
        drop(remote);
        let mut plain = engines::open(Kind::DIRECT, &scratch.0, LEN, 1).unwrap();
        let last = if kind.is_async() { 3 } else { 0 };
        let got = read(plain.as_mut(), 0, BLOCK);
        assert!(
            got.buffer.words().iter().all(|word| *word == last),
            "{kind}"
        );
    }
}
