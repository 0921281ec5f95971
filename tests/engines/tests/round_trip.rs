// SPDX-License-Identifier: GPL-2.0
//! Every engine writes what it is given and reads what is there, in all sizes and depths.

#![allow(clippy::unwrap_used)]

mod common;

use common::{BLOCK, LEN, Scratch, drain, engine, read, request, write};
use engines::{Kind, Op};

/// Engines whose writes can be aimed.
fn aimed() -> impl Iterator<Item = Kind> {
    let all = Kind::ALL.iter().map(|(_, kind)| *kind);
    all.filter(|kind| !kind.appends())
}

#[test]
fn many_at_once() {
    for kind in aimed() {
        let scratch = Scratch::counted(&format!("round-{kind}"), LEN as u64);
        let Some(mut queue) = engine(kind, &scratch, 4) else {
            continue;
        };
        let depth = queue.depth();
        assert_eq!(depth > 1, kind.is_async(), "{kind}");
        for round in 0..4 {
            for id in 0..depth {
                let nth = round * depth + id;
                let mut one = request(queue.as_mut(), id, Op::Write, (nth * BLOCK) as u64, BLOCK);
                one.buffer.words_mut().fill(nth as u64 + 1);
                queue.submit(one).unwrap();
            }
            let done = drain(queue.as_mut());
            let done: Vec<_> = done.iter().map(|c| (c.id, c.result)).collect();
            let expect: Vec<_> = (0..depth).map(|id| (id, Ok(BLOCK))).collect();
            assert_eq!(done, expect, "{kind}");
        }
        for nth in 0..4 * depth {
            let got = read(queue.as_mut(), (nth * BLOCK) as u64, BLOCK);
            assert_eq!(got.result, Ok(BLOCK), "{kind}");
            let right = |word: &u64| *word == nth as u64 + 1;
            assert!(got.buffer.words().iter().all(right), "{kind} at {nth}");
        }
    }
}

#[test]
fn what_one_writes_all_read() {
    let scratch = Scratch::counted("all-read", LEN as u64);
    let mut queues: Vec<_> = aimed()
        .filter_map(|kind| Some((kind, engine(kind, &scratch, 2)?)))
        .collect();
    for nth in 0..queues.len() {
        let writer = queues[nth].0;
        let word = 1000 + nth as u64;
        for len in [BLOCK, 96 << 10] {
            let done = write(queues[nth].1.as_mut(), 32 << 10, len, word);
            assert_eq!(done.result, Ok(len), "{writer}");
        }
        for (reader, queue) in &mut queues {
            let got = read(queue.as_mut(), 32 << 10, 96 << 10);
            assert_eq!(got.result, Ok(96 << 10), "{reader} after {writer}");
            let right = got.buffer.words().iter().all(|w| *w == word);
            assert!(right, "{reader} after {writer}");
        }
    }
}

#[test]
fn large_requests_arrive_whole() {
    let scratch = Scratch::new("large", LEN as u64);
    for kind in aimed() {
        let Some(mut queue) = engine(kind, &scratch, 2) else {
            continue;
        };
        let mut one = request(queue.as_mut(), 0, Op::Write, 0, LEN);
        let words = one.buffer.words_mut().iter_mut().enumerate();
        words.for_each(|(nth, word)| *word = nth as u64 * 3 + 1);
        queue.submit(one).unwrap();
        assert_eq!(drain(queue.as_mut())[0].result, Ok(LEN), "{kind}");
        let got = read(queue.as_mut(), 0, LEN);
        assert_eq!(got.result, Ok(LEN), "{kind}");
        let mut words = got.buffer.words().iter().enumerate();
        assert!(
            words.all(|(nth, word)| *word == nth as u64 * 3 + 1),
            "{kind}"
        );
    }
}

#[test]
fn cached_engines_write_single_words() {
    let scratch = Scratch::counted("words", LEN as u64);
    for kind in aimed().filter(|kind| !kind.direct && *kind != Kind::TOGGLE) {
        let Some(mut queue) = engine(kind, &scratch, 2) else {
            continue;
        };
        for (offset, len) in [(4088, 8), (4096, 16), (8184, 24)] {
            assert_eq!(
                write(queue.as_mut(), offset, len, 77).result,
                Ok(len),
                "{kind}"
            );
            let got = read(queue.as_mut(), offset - 8, len + 16);
            let words = got.buffer.words();
            assert_eq!(got.result, Ok(len + 16), "{kind}");
            assert!(words[1..=len / 8].iter().all(|word| *word == 77), "{kind}");
            assert_eq!(words[0], offset / 8 - 1, "{kind}");
            write(queue.as_mut(), offset, 8, offset / 8);
            write(
                queue.as_mut(),
                offset + len as u64 - 8,
                8,
                (offset + len as u64) / 8 - 1,
            );
        }
    }
}

#[test]
fn appenders_write_at_the_end_and_nowhere_else() {
    for (_, kind) in Kind::ALL.iter().filter(|(_, kind)| kind.appends()) {
        let scratch = Scratch::counted(&format!("append-{kind}"), BLOCK as u64);
        let Some(mut queue) = engine(*kind, &scratch, 1) else {
            continue;
        };
        let block = BLOCK as u64;
        assert!(write(queue.as_mut(), 0, BLOCK, 1).result.is_err(), "{kind}");
        assert_eq!(
            write(queue.as_mut(), block, BLOCK, 2).result,
            Ok(BLOCK),
            "{kind}"
        );
        assert_eq!(
            write(queue.as_mut(), 2 * block, BLOCK, 3).result,
            Ok(BLOCK),
            "{kind}"
        );
        let got = read(queue.as_mut(), 0, 4 * BLOCK);
        assert_eq!(got.result, Ok(3 * BLOCK), "{kind}");
        let words = got.buffer.words();
        assert_eq!([words[1], words[512], words[1024]], [1, 2, 3], "{kind}");
    }
}

#[test]
fn engines_have_names() {
    for (name, kind) in Kind::ALL {
        assert_eq!(name.parse::<Kind>().unwrap(), *kind);
        assert_eq!(kind.name(), *name);
    }
    assert!("tape".parse::<Kind>().is_err());
}
