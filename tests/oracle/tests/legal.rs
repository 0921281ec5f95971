// SPDX-License-Identifier: GPL-2.0
//! What is legal never raises an alarm.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oracle::{Config, History, Mode, Outcome, Profile, Tally};
use proptest::prelude::*;

use common::{cases, play, setups, turns};

proptest! {
    #![proptest_config(cases(20_000))]

    /// Any choice among the values that the rules allow, computed from everything that ever happened.
    #[test]
    fn any_legal_value(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Strict, |read| {
            let tally = read.check(&read.legal_words());
            prop_assert!(tally.is_clean(), "{:?}", tally.findings());
            prop_assert_eq!(tally.words(), read.words.end - read.words.start);
            Ok(())
        })?;
    }

    /// A memory whose words change at one instant within each write.
    #[test]
    fn an_atomic_memory(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Strict, |read| {
            let tally = read.check(&read.sampled);
            prop_assert!(tally.is_clean(), "{:?}", tally.findings());
            Ok(())
        })?;
    }

    /// Each word of a value is accepted exactly if the rules accept it.
    #[test]
    fn exactly_the_rules(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Strict, |read| {
            let word = read.words.start;
            let (legal, illegal) = read.rules.split(word, read.began, read.now);
            for (tags, expect) in [(legal, true), (illegal, false)] {
                for tag in tags {
                    let mut tally = Tally::default();
                    let words = [read.key.encode(tag, word)];
                    read.history.check(&read.read, word * 8, &words, &mut tally);
                    prop_assert_eq!(tally.is_clean(), expect, "{:?} {:?}", tag, tally.findings());
                }
            }
            Ok(())
        })?;
    }
}

/// Real threads on real memory, which on this machine is atomic by word.
#[test]
fn real_threads() {
    const LEN: u64 = 64 << 10;
    let mut config = Config::new(LEN);
    config.cell = 512;
    let history = History::new(config).unwrap();
    let memory: Vec<_> = (0..LEN / 8)
        .map(|word| AtomicU64::new(history.initial_word(word)))
        .collect();
    let stop = AtomicBool::new(false);
    let (history, memory, stop) = (&history, &memory, &stop);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        for writer in 1..4u8 {
            scope.spawn(move || {
                let mut luck = u64::from(writer);
                let mut words = vec![0; 1024];
                while !stop.load(Ordering::Relaxed) {
                    luck = oracle::word::mix(luck);
                    let len = 8 << (luck % 10);
                    let at = luck / 16 % (LEN / 8 - len / 8) * 8;
                    let write = history.begin_write(writer, Mode::Direct, at, len).unwrap();
                    let words = &mut words[..(len / 8) as usize];
                    write.fill(words);
                    for (to, word) in memory[(at / 8) as usize..].iter().zip(words) {
                        to.store(*word, Ordering::Release);
                    }
                    history.end_write(&write, Outcome::Done(len));
                }
            });
        }
        let readers: Vec<_> = (0..2)
            .map(|slot| {
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    let mut words = vec![0; 512];
                    let mut luck = 100 + slot as u64;
                    let begin = Instant::now();
                    while begin.elapsed() < Duration::from_secs(1) {
                        luck = oracle::word::mix(luck);
                        let at = luck % (LEN / 8 - 512);
                        let read = history.begin_read(slot);
                        for (word, from) in words.iter_mut().zip(&memory[at as usize..]) {
                            *word = from.load(Ordering::Acquire);
                        }
                        let read = history.end_read(read);
                        history.check(&read, at * 8, &words, &mut tally);
                        history.release(&read);
                    }
                    tally
                })
            })
            .collect();
        let tallies = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect();
        stop.store(true, Ordering::Relaxed);
        tallies
    });
    for tally in tallies {
        assert!(tally.is_clean(), "{:#?}", tally.findings());
        assert!(tally.words() > 0);
    }
}
