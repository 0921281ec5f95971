// SPDX-License-Identifier: GPL-2.0
//! Each kind of corruption raises its own alarm, at its place, and no other.

#![allow(clippy::unwrap_used)]

mod common;

use oracle::word::mix;
use oracle::{Class, Key, Mode, Outcome, Profile, Severity, Tag};
use proptest::prelude::*;

use common::{Ended, LATER, RUN, WORDS, cases, play, setups, turns};

/// Puts `word` at `at` of an otherwise legal read and demands one finding of that class there.
fn inject(read: &Ended<'_>, at: u64, word: u64, class: Class) -> Result<(), TestCaseError> {
    let mut words = read.legal_words();
    words[(at - read.words.start) as usize] = word;
    let tally = read.check(&words);
    let found = tally.findings();
    // A superseding write is reported once, even if more than one read shows that it is missing.
    prop_assert_eq!(tally.observations(Severity::Violation), 1, "{:?}", found);
    for finding in found {
        prop_assert_eq!(finding.class, class);
        prop_assert_eq!(finding.severity, Severity::Violation);
        prop_assert_eq!((finding.offset, finding.len), (at * 8, 8));
        let legal = read.rules.split(at, read.began, read.now).0.len();
        prop_assert_eq!(finding.legal.len(), legal.min(8));
    }
    Ok(())
}

/// A word of the read, by luck.
fn place(read: &Ended<'_>) -> u64 {
    read.words.start + mix(read.luck ^ 1) % (read.words.end - read.words.start)
}

proptest! {
    #![proptest_config(cases(6_000))]

    #[test]
    fn stale(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Strict, |read| {
            let at = place(&read);
            let (_, illegal) = read.rules.split(at, read.began, read.now);
            let Some(tag) = illegal.get(read.luck as usize % illegal.len().max(1)) else {
                return Ok(());
            };
            inject(&read, at, read.key.encode(*tag, at), Class::Stale)
        })?;
    }

    #[test]
    fn zeroed(mut setup in setups(), turns in turns(90)) {
        setup.hole = false;
        play(&setup, &turns, Profile::Bare, |read| inject(&read, place(&read), 0, Class::Lost))?;
    }

    #[test]
    fn foreign(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Bare, |read| {
            let at = place(&read);
            let word = Key::new(RUN, 9).encode(Tag::new(1, 1), read.luck % WORDS);
            inject(&read, at, word, Class::Foreign)
        })?;
    }

    #[test]
    fn misplaced(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Bare, |read| {
            let at = place(&read);
            let other = read.luck % WORDS;
            let Some(fact) = read.rules.facts.get(1 + mix(read.luck) as usize % read.rules.facts.len()) else {
                return Ok(());
            };
            if other == at {
                return Ok(());
            }
            inject(&read, at, read.key.encode(fact.tag, other), Class::Misplaced)
        })?;
    }

    #[test]
    fn exposed(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Bare, |read| {
            let at = place(&read);
            inject(&read, at, mix(read.luck), Class::Exposed)?;
            // A write that nobody has made yet, of a writer there is and of one there is not.
            for tag in [Tag::new(1, 5000), Tag::new(200, 1)] {
                inject(&read, at, read.key.encode(tag, at), Class::Exposed)?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn torn(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Strict, |read| {
            let at = place(&read);
            let (legal, illegal) = read.rules.split(at, read.began, read.now);
            let (Some(new), Some(old)) = (legal.last(), illegal.last()) else {
                return Ok(());
            };
            // The oracle forgets what was superseded long ago.
            let age = read.rules.facts.iter().rev().position(|fact| fact.tag == *old);
            if age.is_none_or(|age| age > 10) {
                return Ok(());
            }
            let (new, old) = (read.key.encode(*new, at), read.key.encode(*old, at));
            // The old check: the bytes of an old tag can often be put together from legal ones.
            inject(&read, at, (old & 0xFFFF_FFFF) | (new & !0xFFFF_FFFF), Class::Torn)
        })?;
    }

    /// No byte of a read comes from a write that began after it had ended.
    #[test]
    fn torn_with_the_future(setup in setups(), turns in turns(90)) {
        let mut earlier: Vec<(u64, u64)> = Vec::new();
        play(&setup, &turns, Profile::Strict, |read| {
            let at = place(&read);
            let write = read.history.begin_write(LATER, Mode::Direct, at * 8, 8).unwrap();
            let future = write.word(0);
            let (legal, _) = read.rules.split(at, read.began, read.now);
            let mut legal: Vec<u64> = legal.iter().map(|tag| read.key.encode(*tag, at)).collect();
            let Some(now) = legal.last().copied() else {
                return Ok(());
            };
            // What was injected before may show in this read: it was not refused.
            legal.extend(earlier.iter().filter(|(place, _)| *place == at).map(|(_, word)| *word));
            earlier.push((at, future));
            let word = (future & 0xFFFF_FFFF) | (now & !0xFFFF_FFFF);
            let byte = |word: u64, nth: u32| (word >> (8 * nth)) & 0xFF;
            let chance = (0..8).all(|nth| legal.iter().any(|one| byte(*one, nth) == byte(word, nth)));
            if !chance {
                let mut words = read.legal_words();
                words[(at - read.words.start) as usize] = word;
                let tally = read.check(&words);
                prop_assert_eq!(tally.events(Severity::Violation, Class::Torn), 1, "{:?}", tally.findings());
            }
            read.history.end_write(&write, Outcome::Failed);
            Ok(())
        })?;
    }

    /// Half of one legal value and half of another: unusual, but forbidden nowhere.
    #[test]
    fn torn_between_legal_values(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Strict, |read| {
            let at = place(&read);
            let (legal, _) = read.rules.split(at, read.began, read.now);
            let [a, .., b] = legal.as_slice() else {
                return Ok(());
            };
            let (a, b) = (read.key.encode(*a, at), read.key.encode(*b, at));
            let mut words = read.legal_words();
            words[(at - read.words.start) as usize] = (a & 0xFFFF_FFFF) | (b & !0xFFFF_FFFF);
            let tally = read.check(&words);
            prop_assert_eq!(tally.total(Severity::Violation), 0);
            prop_assert_eq!(tally.events(Severity::Warning, Class::Torn), 1);
            Ok(())
        })?;
    }

    /// On an ordinary file system an old value is a collision exactly if direct and cached writers
    /// have met; the whole file is within one granule here.
    #[test]
    fn collisions_are_told_apart(setup in setups(), turns in turns(90)) {
        play(&setup, &turns, Profile::Bare, |read| {
            let at = place(&read);
            let (_, illegal) = read.rules.split(at, read.began, read.now);
            let Some(tag) = illegal.last() else {
                return Ok(());
            };
            let mut words = read.legal_words();
            words[(at - read.words.start) as usize] = read.key.encode(*tag, at);
            let tally = read.check(&words);
            let direct = |mode| mode == oracle::Mode::Direct;
            let mut writes = read.rules.facts.iter().skip(1);
            let mixed = writes.clone().any(|w| direct(w.mode)) && writes.any(|w| !direct(w.mode));
            let (is, is_not) = if mixed {
                (Severity::Collision, Severity::Violation)
            } else {
                (Severity::Violation, Severity::Collision)
            };
            prop_assert_eq!(tally.observations(is), 1);
            prop_assert_eq!(tally.observations(is_not), 0);
            Ok(())
        })?;
    }
}
