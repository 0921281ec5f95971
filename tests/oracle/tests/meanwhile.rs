// SPDX-License-Identifier: GPL-2.0
//! Who wrote beside a word, and when.

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
