// SPDX-License-Identifier: GPL-2.0
//! Who wrote at the same time, and where.

#![allow(clippy::unwrap_used)]

use oracle::{Config, History, Mode, Outcome};

#[test]
fn writes_of_the_same_page_are_found_by_time_and_cached_ones_come_first() {
    let mut config = Config::new(8192);
    config.cell = 512;
    let history = History::new(config).unwrap();
    let write = |mode, offset| {
        let write = history.begin_write(1, mode, offset, 512).unwrap();
        history.end_write(&write, Outcome::Done(512));
    };
    write(Mode::Direct, 0);
    let from = history.begin_read(0);
    write(Mode::Direct, 512);
    write(Mode::Buffered, 1024);
    write(Mode::Buffered, 4096);
    let read = history.end_read(from);
    write(Mode::Buffered, 1536);

    let found = history.meanwhile(0..4096, read.start, read.end);
    let found: Vec<_> = found.iter().map(|op| (op.mode, op.offset)).collect();
    assert_eq!(found, [(Mode::Buffered, 1024), (Mode::Direct, 512)]);
}

#[test]
fn direct_writes_that_overlapped_in_time_are_told_from_others() {
    let history = History::new(Config::new(4096)).unwrap();
    let begin = |writer, mode| history.begin_write(writer, mode, 512, 512).unwrap();
    let end = |write| history.end_write(write, Outcome::Done(512));
    let before = begin(1, Mode::Direct);
    end(&before);
    let (one, other) = (begin(1, Mode::Direct), begin(2, Mode::Direct));
    let cached = begin(3, Mode::Buffered);
    [&one, &other, &cached].map(end);

    let met = |a: u64, b: u64| history.met_directly(520, a, b);
    let [before, one, other, cached] = [before, one, other, cached].map(|write| write.word(1));
    assert!(met(one, other) && met(other, one));
    assert!(!met(before, other), "one had ended");
    assert!(!met(cached, other), "one was cached");
    assert!(!met(one, history.initial_word(65)), "one was no write");
    assert!(
        !history.met_directly(512, one, other),
        "words of another place"
    );
}
