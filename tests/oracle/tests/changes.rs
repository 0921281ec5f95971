// SPDX-License-Identifier: GPL-2.0
//! The same for files whose size changes and whose words move: no false alarm, no silence.

#![allow(clippy::unwrap_used)]

mod common;

use oracle::word::mix;
use oracle::{
    Change, Changed, Class, Config, History, Key, Mode, Outcome, Profile, Severity, Tag, Tally,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use common::changing::{CHANGER, Seen, play, worlds};
use common::{RUN, Turn, WORDS, cases, turns_of};

/// The same histories each time. With others, `any_illegal_value` is wrong in one of some 100,000: a
/// value so old that the oracle has forgotten it, or a finding beside it.
fn same_cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(2007),
        ..cases(count)
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    // The changer gets a third of the turns.
    turns_of(CHANGER + 4, 90).prop_map(|mut turns| {
        turns
            .iter_mut()
            .for_each(|turn| turn.actor = turn.actor.min(CHANGER));
        turns
    })
}

/// Puts `word` at `at` of an otherwise legal read and demands that it is found.
fn inject(seen: &Seen<'_>, at: u64, word: u64, classes: &[Class]) -> Result<(), TestCaseError> {
    let mut words = seen.legal_words();
    words[(at - seen.words.start) as usize] = word;
    let tally = seen.check(&words);
    prop_assert_eq!(
        tally.observations(Severity::Violation),
        1,
        "{:?}",
        tally.findings()
    );
    for finding in tally.findings() {
        prop_assert!(classes.contains(&finding.class), "{:?}", finding);
        prop_assert_eq!((finding.offset, finding.len), (at * 8, 8));
    }
    Ok(())
}

fn place(seen: &Seen<'_>) -> u64 {
    seen.words.start + mix(seen.luck ^ 1) % (seen.words.end - seen.words.start)
}

proptest! {
    #![proptest_config(cases(8_000))]

    /// What a file returns whose operations act at one instant each, in words and number.
    #[test]
    fn an_atomic_file(world in worlds(true, false), turns in turns()) {
        play(&world, &turns, |seen| {
            let tally = seen.check(&seen.sampled[..(seen.got / 8) as usize]);
            prop_assert!(tally.is_clean(), "{:?}", tally.findings());
            let (offset, len) = (seen.words.start * 8, (seen.words.end - seen.words.start) * 8);
            let wrong = seen.history.count_is_wrong(&seen.read, offset, len, seen.got);
            prop_assert_eq!(wrong, None, "{} of {} at {}", seen.got, len, offset);
            Ok(())
        })?;
    }

    /// Any choice among the values that the rules allow.
    #[test]
    fn any_legal_value(world in worlds(true, false), turns in turns()) {
        play(&world, &turns, |seen| {
            let tally = seen.check(&seen.legal_words());
            prop_assert!(tally.is_clean(), "{:?}", tally.findings());
            Ok(())
        })?;
    }

    /// What was there before a truncation, a punch or a zeroing.
    #[test]
    fn resurrected(world in worlds(false, false), turns in turns()) {
        play(&world, &turns, |seen| {
            let at = place(&seen);
            let (_, illegal) = seen.places.split(at, seen.began, seen.now);
            // The oracle forgets what was superseded long ago.
            let cut = |(value, by): &&(_, Vec<bool>)| {
                by.contains(&true) && value_is_young(&seen, value)
            };
            let Some((value, _)) = illegal.iter().find(cut) else {
                return Ok(());
            };
            inject(&seen, at, seen.word(value), &[Class::Resurrected])
        })?;
    }

    /// Words of other files and words of nobody, even while everything moves.
    #[test]
    fn strangers(world in worlds(true, false), turns in turns()) {
        play(&world, &turns, |seen| {
            let at = place(&seen);
            let foreign = Key::new(RUN, 9).encode(Tag::new(1, 1), seen.luck % WORDS);
            inject(&seen, at, foreign, &[Class::Foreign])?;
            inject(&seen, at, mix(seen.luck), &[Class::Exposed])?;
            let future = seen.key.encode(Tag::new(1, 5000), at);
            inject(&seen, at, future, &[Class::Exposed])
        })?;
    }

    /// One operation after the other leaves no choice: neither in content nor in size.
    #[test]
    fn serial(world in worlds(true, true), turns in turns()) {
        play(&world, &turns, |seen| {
            let got = (seen.got / 8) as usize;
            prop_assert!(seen.check(&seen.sampled[..got]).is_clean());
            for nth in 0..got {
                let at = seen.words.start + nth as u64;
                let (legal, _) = seen.places.split(at, seen.began, seen.now);
                prop_assert!(legal.iter().any(|value| seen.word(value) == seen.sampled[nth]));
            }
            let (offset, len) = (seen.words.start * 8, (seen.words.end - seen.words.start) * 8);
            let count = |got| seen.history.count_is_wrong(&seen.read, offset, len, got);
            prop_assert_eq!(count(seen.got), None);
            if seen.got > 0 {
                prop_assert_eq!(count(seen.got - 8), Some(Class::Short));
            }
            if seen.got < len {
                prop_assert_eq!(count(seen.got + 8), Some(Class::Size));
            }
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(same_cases(8_000))]

    /// Whatever is not legal is found, wherever it was moved.
    #[test]
    fn any_illegal_value(world in worlds(true, false), turns in turns()) {
        play(&world, &turns, |seen| {
            let at = place(&seen);
            let (_, illegal) = seen.places.split(at, seen.began, seen.now);
            let picked = illegal.get(seen.luck as usize % illegal.len().max(1));
            let Some((value, _)) = picked.filter(|_| !seen.places.disturbed(seen.began, seen.now)) else {
                return Ok(());
            };
            // Bytes of other places may be put together from those of this one.
            let all = [
                Class::Stale,
                Class::Resurrected,
                Class::Misplaced,
                Class::Exposed,
                Class::Lost,
                Class::Torn,
            ];
            inject(&seen, at, seen.word(value), &all)
        })?;
    }
}

/// After a shift a write that met it may be where it was written or elsewhere, and what it seemed to
/// hide may be seen; also if many were written meanwhile.
#[test]
fn what_meets_a_shift_hides_nothing_for_good() {
    let mut config = Config::new(WORDS * 8);
    (config.cell, config.size) = (8, Some(WORDS * 4));
    let history = History::new(config).unwrap();
    let write = || {
        let write = history.begin_write(1, Mode::Direct, 32, 8).unwrap();
        history.end_write(&write, Outcome::Done(8));
        write.word(0)
    };
    let first = write();
    let (offset, len) = (0, 8);
    let shift = history
        .begin_change(Change::Insert { offset, len })
        .unwrap();
    for _ in 0..100 {
        write();
    }
    history.end_change(&shift, Changed::Done);
    let read = history.begin_read(0);
    let read = history.end_read(read);
    let mut tally = Tally::default();
    history.check(&read, 40, &[first], &mut tally);
    assert!(tally.is_clean(), "{:?}", tally.findings());
}

fn value_is_young(seen: &Seen<'_>, value: &common::changing::Value) -> bool {
    value.tag != Tag::HOLE && seen.places.age(value) <= 10
}

/// A file of three cells in which every word was written directly and through the cache, so that old
/// values are collisions, and of which the first cell was punched before that.
fn mixed_after_a_punch(writes: u64) -> History {
    let mut config = Config::new(3 * 4096);
    (config.size, config.profile, config.granule) = (Some(3 * 4096), Profile::Bare, 4096);
    let history = History::new(config).unwrap();
    let punch = Change::Punch {
        offset: 0,
        len: 4096,
    };
    let punched = history.begin_change(punch).unwrap();
    history.end_change(&punched, Changed::Done);
    for nth in 0..writes {
        let mode = [Mode::Direct, Mode::Buffered][nth as usize % 2];
        let write = history.begin_write(1, mode, 0, 3 * 4096).unwrap();
        history.end_write(&write, Outcome::Done(3 * 4096));
    }
    history
}

#[test]
fn zeroes_are_an_old_value_only_where_there_was_a_hole() {
    // So many that the punch is forgotten, and so few that it is not.
    for writes in [2, 100] {
        let history = mixed_after_a_punch(writes);
        let refused = history.begin_change(Change::Zero {
            offset: 4096,
            len: 4096,
            keep: true,
        });
        history.end_change(&refused.unwrap(), Changed::Refused);
        for (offset, severity, class) in [
            (0, Severity::Collision, Class::Stale),
            (4096, Severity::Violation, Class::Lost),
        ] {
            let mut tally = Tally::default();
            let read = history.end_read(history.begin_read(0));
            history.release(&read);
            history.check(&read, offset, &[0], &mut tally);
            assert_eq!(tally.events(severity, class), 1, "{:?}", tally.findings());
        }
    }
}

#[test]
fn zeroes_are_not_those_of_a_hole_that_came_after_the_read() {
    for writes in [2, 100] {
        let history = mixed_after_a_punch(writes);
        let read = history.end_read(history.begin_read(0));
        let later = Change::Punch { offset: 0, len: 8 };
        let _later = history.begin_change(later).unwrap();
        let mut tally = Tally::default();
        history.check(&read, 0, &[0], &mut tally);
        let stale = tally.events(Severity::Collision, Class::Stale);
        assert_eq!(stale, 1, "{:?}", tally.findings());
    }
}

#[test]
fn a_file_holds_a_write_unless_it_may_have_been_shorter_meanwhile() {
    let history = mixed_after_a_punch(2);
    let store = history.begin_write(1, Mode::Mmap, 4096, 4096).unwrap();
    history.end_write(&store, Outcome::Failed);
    assert!(history.held(&store));
    let store = history.begin_write(1, Mode::Mmap, 4096, 4096).unwrap();
    let cut = Change::Truncate { len: 8191 / 8 * 8 };
    let cut = history.begin_change(cut).unwrap();
    history.end_write(&store, Outcome::Failed);
    assert!(!history.held(&store));
    history.end_change(&cut, Changed::Done);
}
