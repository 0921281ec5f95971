// SPDX-License-Identifier: GPL-2.0
//! Generated histories, and the rules written down a second time, as literally as possible.

#![allow(dead_code, clippy::unwrap_used)]

pub mod changing;

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use oracle::{
    Config, History, Initial, Key, Mode, Outcome, Profile, Read, ReadStart, Tag, Tally, Write,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// So many cases, others each time; a failure shows how to have the same ones again.
pub fn cases(cases: u32) -> ProptestConfig {
    let mut config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if config.rng_seed == RngSeed::Random {
        let seed = RandomState::new().hash_one(std::process::id());
        config.rng_seed = RngSeed::Fixed(seed);
        eprintln!("the same cases again: PROPTEST_RNG_SEED={seed}");
    }
    config
}

pub const WORDS: u64 = 32;
pub const RUN: u64 = 77;
pub const WRITERS: usize = 4;
pub const READERS: usize = 3;
/// A writer that takes no turns, for those who judge.
pub const LATER: u8 = WRITERS as u8 + 1;

/// One turn of one actor: it begins something if it is idle, and ends what it is doing if not.
#[derive(Clone, Debug)]
pub struct Turn {
    pub actor: usize,
    pub at: u64,
    pub len: u64,
    pub luck: u64,
}

pub fn turns(most: usize) -> impl Strategy<Value = Vec<Turn>> {
    turns_of(WRITERS + READERS, most)
}

pub fn turns_of(actors: usize, most: usize) -> impl Strategy<Value = Vec<Turn>> {
    let turn = (0..actors, 0..WORDS, 1..WORDS + 1, any::<u64>());
    let turn = turn.prop_map(|(actor, at, len, luck)| Turn {
        actor,
        at,
        len: len.min(WORDS - at),
        luck,
    });
    prop::collection::vec(turn, 1..most)
}

#[derive(Clone, Debug)]
pub struct Setup {
    pub cell_words: u64,
    pub hole: bool,
}

pub fn setups() -> impl Strategy<Value = Setup> {
    let cells = prop_oneof![Just(1u64), Just(5), Just(8), Just(32)];
    (cells, any::<bool>()).prop_map(|(cell_words, hole)| Setup { cell_words, hole })
}

/// A write, as the rules see it. Times count the calls that were made.
#[derive(Clone, Debug)]
pub struct Fact {
    pub tag: Tag,
    pub words: Range<u64>,
    pub start: u64,
    pub end: Option<u64>,
    /// One past the last word that was acknowledged.
    pub good: u64,
    pub mode: Mode,
}

impl Fact {
    fn acknowledged(&self, word: u64) -> bool {
        self.end.is_some() && (self.words.start..self.good).contains(&word)
    }
}

/// The rules over all writes ever made, nothing forgotten.
#[derive(Clone, Debug)]
pub struct Rules {
    pub facts: Vec<Fact>,
}

impl Rules {
    /// Whether a read from `s` to `e` may return the value of `w`.
    pub fn legal(&self, w: &Fact, word: u64, s: u64, e: u64) -> bool {
        let superseded = self.facts.iter().any(|x| {
            x.acknowledged(word)
                && w.end.is_some_and(|end| end < x.start)
                && x.end.is_some_and(|end| end < s)
        });
        w.words.contains(&word) && w.start < e && !superseded
    }

    /// The legal and the illegal values of a word, as tags.
    pub fn split(&self, word: u64, s: u64, e: u64) -> (Vec<Tag>, Vec<Tag>) {
        let covering = self.facts.iter().filter(|w| w.words.contains(&word));
        let (legal, illegal): (Vec<_>, Vec<_>) = covering.partition(|w| self.legal(w, word, s, e));
        let tags = |facts: Vec<&Fact>| facts.into_iter().map(|w| w.tag).collect();
        (tags(legal), tags(illegal))
    }
}

enum State {
    Idle,
    Writing(Write, usize),
    Reading {
        start: ReadStart,
        began: u64,
        words: Range<u64>,
        sampled: Vec<u64>,
    },
}

/// A read that has just ended.
pub struct Ended<'a> {
    pub history: &'a History,
    pub rules: &'a Rules,
    pub key: Key,
    pub read: Read,
    pub began: u64,
    pub now: u64,
    pub words: Range<u64>,
    /// What an atomic memory returned.
    pub sampled: Vec<u64>,
    pub luck: u64,
}

impl Ended<'_> {
    pub fn check(&self, words: &[u64]) -> Tally {
        let mut tally = Tally::default();
        self.history
            .check(&self.read, self.words.start * 8, words, &mut tally);
        tally
    }

    /// Legal values, chosen by luck, with runs where possible.
    pub fn legal_words(&self) -> Vec<u64> {
        let mut luck = self.luck;
        let mut last = None;
        self.words
            .clone()
            .map(|word| {
                let (legal, _) = self.rules.split(word, self.began, self.now);
                luck = oracle::word::mix(luck);
                let keep = last.filter(|tag| luck % 4 != 0 && legal.contains(tag));
                let tag = keep.unwrap_or_else(|| legal[(luck >> 8) as usize % legal.len()]);
                last = Some(tag);
                self.key.encode(tag, word)
            })
            .collect()
    }
}

/// Plays turns against a history and an atomic memory, and hands every read that ends to `judge`.
pub fn play(
    setup: &Setup,
    turns: &[Turn],
    profile: Profile,
    mut judge: impl FnMut(Ended<'_>) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut config = Config::new(WORDS * 8);
    config.cell = setup.cell_words * 8;
    config.writers = LATER;
    config.readers = READERS;
    config.initial = if setup.hole {
        Initial::Hole
    } else {
        Initial::Pattern
    };
    config.profile = profile;
    config.run = RUN;
    config.others = vec![(9, WORDS * 8)];
    let history = History::new(config).unwrap();
    let key = Key::new(RUN, 0);
    let tag = if setup.hole { Tag::HOLE } else { Tag::INITIAL };
    let (words, mode) = (0..WORDS, Mode::Buffered);
    let initial = Fact {
        tag,
        words,
        start: 0,
        end: Some(0),
        good: WORDS,
        mode,
    };
    let mut rules = Rules {
        facts: vec![initial],
    };
    let mut memory: Vec<u64> = (0..WORDS).map(|word| history.initial_word(word)).collect();
    let mut states: Vec<State> = (0..WRITERS + READERS).map(|_| State::Idle).collect();
    let mut sequences = [0u64; WRITERS];
    for (now, turn) in (1u64..).zip(turns) {
        // Whatever is under way moves on a little: some words arrive, some are looked at.
        drift(&mut states, &mut memory, oracle::word::mix(turn.luck ^ now));
        let words = turn.at..turn.at + turn.len;
        match std::mem::replace(&mut states[turn.actor], State::Idle) {
            State::Idle if turn.actor < WRITERS => {
                let mode = Mode::ALL[(turn.luck % 3) as usize];
                let writer = turn.actor as u8 + 1;
                let write = history
                    .begin_write(writer, mode, turn.at * 8, turn.len * 8)
                    .unwrap();
                sequences[turn.actor] += 1;
                rules.facts.push(Fact {
                    tag: Tag::new(writer, sequences[turn.actor]),
                    good: words.start,
                    words,
                    start: now,
                    end: None,
                    mode,
                });
                states[turn.actor] = State::Writing(write, rules.facts.len() - 1);
            }
            State::Idle => {
                let start = history.begin_read(turn.actor - WRITERS);
                let sampled = memory[words.start as usize..words.end as usize].to_vec();
                states[turn.actor] = State::Reading {
                    start,
                    began: now,
                    words,
                    sampled,
                };
            }
            State::Writing(write, nth) => {
                let fact = &mut rules.facts[nth];
                let len = fact.words.end - fact.words.start;
                let (outcome, good) = match turn.luck % 8 {
                    0 => (Outcome::Failed, 0),
                    1 => (
                        Outcome::Done(turn.luck / 8 % (len * 8 + 1)),
                        turn.luck / 8 % (len * 8 + 1) / 8,
                    ),
                    _ => (Outcome::Done(len * 8), len),
                };
                for word in 0..good {
                    memory[(fact.words.start + word) as usize] = write.word(word);
                }
                history.end_write(&write, outcome);
                fact.end = Some(now);
                fact.good = fact.words.start + good;
            }
            State::Reading {
                start,
                began,
                words,
                sampled,
            } => {
                let read = history.end_read(start);
                let luck = turn.luck;
                judge(Ended {
                    history: &history,
                    rules: &rules,
                    key,
                    read,
                    began,
                    now,
                    words,
                    sampled,
                    luck,
                })?;
                history.release(&read);
            }
        }
    }
    Ok(())
}

fn drift(states: &mut [State], memory: &mut [u64], mut luck: u64) {
    for state in states {
        luck = oracle::word::mix(luck);
        match state {
            State::Idle => {}
            State::Writing(write, _) => {
                let nth = luck % (write.len() / 8);
                memory[(write.offset() / 8 + nth) as usize] = write.word(nth);
            }
            State::Reading { words, sampled, .. } => {
                let nth = luck % (words.end - words.start);
                sampled[nth as usize] = memory[(words.start + nth) as usize];
            }
        }
    }
}
