// SPDX-License-Identifier: GPL-2.0
//! What is not a plain success: the end of the file, misalignment, faults, full queues.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{BLOCK, LEN, Scratch, drain, engine, read, request, skipped, write};
use engines::{Advice, DioAlign, Directness, Errno, File, Kind, Op, Verdict, page_size, signals};

fn all() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().map(|(_, kind)| *kind)
}

#[test]
fn a_read_across_the_end_is_short() {
    // Not a multiple of anything: the last bytes come too.
    let end = 3 * BLOCK + 104;
    for kind in all().filter(|kind| !kind.is_mapped()) {
        let scratch = Scratch::counted(&format!("eof-{kind}"), end as u64);
        let Some(mut queue) = engine(kind, &scratch, 2) else {
            continue;
        };
        let got = read(queue.as_mut(), 2 * BLOCK as u64, 4 * BLOCK);
        assert_eq!(got.result, Ok(BLOCK + 104), "{kind}");
        let words = &got.buffer.words()[..(BLOCK + 104) / 8];
        let first = 2 * BLOCK as u64 / 8;
        let right = words.iter().zip(first..).all(|(word, nth)| *word == nth);
        assert!(right, "{kind}");
        let beyond = read(queue.as_mut(), 8 * BLOCK as u64, BLOCK);
        assert_eq!(beyond.result, Ok(0), "{kind}");
    }
}

#[test]
fn misaligned_direct_requests_are_refused_or_done_right() {
    for kind in all().filter(|kind| kind.direct && !kind.appends()) {
        let scratch = Scratch::counted(&format!("misaligned-{kind}"), LEN as u64);
        let Some(mut queue) = engine(kind, &scratch, 2) else {
            continue;
        };
        // What a file system does not do direct it may do through the cache, or refuse.
        match read(queue.as_mut(), 8, BLOCK) {
            got if got.result == Ok(BLOCK) => assert_eq!(got.buffer.words()[0], 1, "{kind}"),
            got => assert_eq!(got.result, Err(Errno::EINVAL), "{kind}"),
        }
        // An error does not spoil the queue.
        assert_eq!(read(queue.as_mut(), 0, BLOCK).result, Ok(BLOCK), "{kind}");
        assert_eq!(
            write(queue.as_mut(), 0, BLOCK, 5).result,
            Ok(BLOCK),
            "{kind}"
        );
    }
}

#[test]
fn a_full_queue_gives_the_request_back() {
    let scratch = Scratch::counted("full", LEN as u64);
    for kind in all().filter(|kind| !kind.appends()) {
        let Some(mut queue) = engine(kind, &scratch, 2) else {
            continue;
        };
        for id in 0..queue.depth() {
            let one = request(queue.as_mut(), id, Op::Read, 0, BLOCK);
            queue.submit(one).unwrap();
        }
        let more = request(queue.as_mut(), 9, Op::Read, 0, BLOCK);
        let rejected = queue.submit(more).unwrap_err();
        assert_eq!(
            (rejected.errno, rejected.request.id),
            (Errno::EAGAIN, 9),
            "{kind}"
        );
        assert_eq!(drain(queue.as_mut()).len(), queue.depth(), "{kind}");
    }
}

#[test]
fn a_fault_beyond_the_end_is_an_error() {
    for kind in all().filter(|kind| kind.is_mapped()) {
        let scratch = Scratch::counted(&format!("bus-{kind}"), LEN as u64);
        let Some(mut queue) = engine(kind, &scratch, 1) else {
            continue;
        };
        let file = File::open(&scratch.0, false).unwrap();
        file.set_len(page_size() as u64).unwrap();
        for (page, expect) in [(2, Err(Errno::EFAULT)), (0, Ok(BLOCK))] {
            let offset = page * page_size() as u64;
            assert_eq!(read(queue.as_mut(), offset, BLOCK).result, expect, "{kind}");
            assert_eq!(
                write(queue.as_mut(), offset, BLOCK, 1).result,
                expect,
                "{kind}"
            );
        }
    }
}

#[test]
fn a_linked_read_sees_the_write_before_it() {
    for kind in [Kind::URING_LINKED, Kind::URING_LINKED_BUFFERED] {
        let scratch = Scratch::counted(&format!("chain-{kind}"), LEN as u64);
        let Some(mut queue) = engine(kind, &scratch, 8) else {
            continue;
        };
        for id in 0..4 {
            let at = (id * BLOCK) as u64;
            let mut put = request(queue.as_mut(), 2 * id, Op::Write, at, BLOCK);
            put.buffer.words_mut().fill(0xABC);
            queue.submit(put).unwrap();
            let get = request(queue.as_mut(), 2 * id + 1, Op::Read, at, BLOCK);
            queue.submit(get).unwrap();
        }
        for done in drain(queue.as_mut()) {
            assert_eq!(done.result, Ok(BLOCK), "{kind}");
            assert!(
                done.buffer.words().iter().all(|word| *word == 0xABC),
                "{kind}"
            );
        }
    }
}

#[test]
fn advice_leaves_the_content_alone() {
    let scratch = Scratch::counted("advice", LEN as u64);
    let file = File::open(&scratch.0, false).unwrap();
    // For the whole machine, which is for root to decide outside of tests.
    for advice in Advice::ALL.iter().filter(|a| **a != Advice::DropCaches) {
        file.advise(*advice, 0, LEN as u64).unwrap();
        let mut words = vec![0u64; LEN / 8];
        assert_eq!(file.pread(&mut words, 0), Ok(LEN));
        assert!(
            words
                .iter()
                .enumerate()
                .all(|(nth, word)| nth as u64 == *word)
        );
    }
    assert_eq!(file.cached(0, LEN as u64), Ok((LEN / page_size()) as u64));
}

#[test]
fn interruptions_are_nobodys_error() {
    let scratch = Scratch::counted("signals", LEN as u64);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                signals::interrupt_all();
                thread::sleep(Duration::from_micros(200));
            }
        });
        for kind in all().filter(|kind| !kind.appends()) {
            let Some(mut queue) = engine(kind, &scratch, 2) else {
                continue;
            };
            for _ in 0..20 {
                // A signal may cut a transfer short, and may not make an error of it.
                let n = read(queue.as_mut(), 0, LEN / 4).result.unwrap();
                assert!(n > 0, "{kind}");
                let n = write(queue.as_mut(), 0, LEN / 4, 9).result.unwrap();
                assert!(n > 0, "{kind}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn whether_it_is_direct_is_told_apart() {
    let scratch = Scratch::counted("directness", Directness::LEN);
    // An engine that does not claim to be direct must be found out.
    let found = Directness::observe(Kind::BUFFERED, &scratch.0).unwrap();
    assert_ne!(found.reads, Verdict::Direct);
    assert_ne!(found.writes, Verdict::Direct);
    if engine(Kind::DIRECT, &scratch, 1).is_some() {
        let found = Directness::observe(Kind::DIRECT, &scratch.0).unwrap();
        eprintln!("direct: {found:?}");
        let name = found.reads.name();
        assert!(["direct", "cached", "unknown"].contains(&name), "{name}");
    }
}

#[test]
fn alignment_is_a_power_of_two() {
    let scratch = Scratch::counted("align", LEN as u64);
    let Ok(file) = File::open(&scratch.0, true) else {
        return skipped("alignment: no O_DIRECT here");
    };
    if let Some(align) = DioAlign::probe(&file).unwrap() {
        assert!(align.offset.is_power_of_two() && align.memory.is_power_of_two());
    }
}
