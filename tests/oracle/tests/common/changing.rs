// SPDX-License-Identifier: GPL-2.0
//! Histories with changes of size, a file that obeys them, and the rules once more: here every place
//! of the file has a list of values, and a shift moves the lists.

use oracle::{Change, Changed, Changing, Config, History, Key, Mode, Outcome, Profile, Read};
use oracle::{ReadStart, Tag, Tally, Write, word::mix};
use proptest::prelude::*;

use super::{READERS, RUN, Turn, WORDS, WRITERS};

/// The actor that changes the file.
pub const CHANGER: usize = WRITERS + READERS;

/// What a history may contain.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub cell_words: u64,
    /// Collapses and insertions.
    pub shifts: bool,
    /// Operations end before the next begins, and none fails.
    pub serial: bool,
}

pub fn worlds(shifts: bool, serial: bool) -> impl Strategy<Value = World> {
    let cells = prop_oneof![Just(1u64), Just(5), Just(8), Just(32)];
    cells.prop_map(move |cell_words| World {
        cell_words,
        shifts,
        serial,
    })
}

/// A value that a place may have.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub tag: Tag,
    /// Where it was written to.
    pub origin: u64,
    op: usize,
    certain: bool,
}

/// When an operation took place and what of it was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Time {
    start: u64,
    end: Option<u64>,
    /// One past the last place acknowledged; places are those of the beginning.
    good: u64,
    cut: bool,
}

/// The rules.
#[derive(Debug, Default)]
pub struct Places {
    times: Vec<Time>,
    lists: Vec<Vec<Value>>,
    /// Starts and ends of shifts, and whether one failed.
    shifts: Vec<(u64, Option<u64>)>,
    lost: bool,
}

impl Places {
    fn op(&mut self, start: u64, cut: bool) -> usize {
        self.times.push(Time {
            start,
            end: None,
            good: 0,
            cut,
        });
        self.times.len() - 1
    }

    fn put(&mut self, op: usize, tag: Tag, places: std::ops::Range<u64>) {
        for origin in places {
            self.lists[origin as usize].push(Value {
                tag,
                origin,
                op,
                certain: true,
            });
        }
    }

    /// Whether a read could not know where words are.
    pub fn disturbed(&self, s: u64, e: u64) -> bool {
        let meets = |&(start, end): &(u64, Option<u64>)| start < e && end.is_none_or(|end| end > s);
        self.lost || self.shifts.iter().any(meets)
    }

    /// The values that hide another one from a read that starts at `s`: whether each is a cut.
    fn hidden_by(&self, place: u64, w: &Value, s: u64) -> Vec<bool> {
        let Some(end) = self.times[w.op].end else {
            return Vec::new();
        };
        let hides = |x: &&Value| {
            let time = self.times[x.op];
            x.certain && time.start > end && time.end.is_some_and(|t| t < s) && x.origin < time.good
        };
        let hits = self.lists[place as usize].iter().filter(hides);
        hits.map(|x| self.times[x.op].cut).collect()
    }

    /// The legal values of a place, and the illegal ones with what hides them.
    pub fn split(&self, place: u64, s: u64, e: u64) -> (Vec<Value>, Vec<(Value, Vec<bool>)>) {
        let (mut legal, mut illegal) = (Vec::new(), Vec::new());
        for w in &self.lists[place as usize] {
            let hidden = self.hidden_by(place, w, s);
            if !hidden.is_empty() {
                illegal.push((*w, hidden));
            } else if self.times[w.op].start < e {
                legal.push(*w);
            }
        }
        // The same word may be there for another reason as well.
        let same = |w: &Value| (w.tag, if w.tag == Tag::HOLE { 0 } else { w.origin });
        illegal.retain(|(w, _)| !legal.iter().any(|l| same(l) == same(w)));
        (legal, illegal)
    }

    /// How many operations began since that of a value.
    pub fn age(&self, w: &Value) -> usize {
        self.times.len() - w.op
    }

    /// Words move: `at` words from `at` on vanish (`by` below zero) or appear.
    fn shift(&mut self, op: usize, at: u64, by: i64) {
        let began = self.times[op].start;
        let old = self.lists.clone();
        for (place, list) in self.lists.iter_mut().enumerate() {
            let place = place as u64;
            let in_flight = |w: &&Value| self.times[w.op].end.is_none_or(|end| end > began);
            let stays = old[place as usize].iter().filter(in_flight).map(|w| Value {
                certain: false,
                ..*w
            });
            *list = stays.collect();
            let from = if place < at {
                Some(place)
            } else {
                let from = place.checked_add_signed(-by);
                from.filter(|from| *from < WORDS && (by < 0 || *from >= at))
            };
            match from {
                Some(from) => list.extend(old[from as usize].iter().map(|w| Value {
                    certain: w.certain && !in_flight(&w),
                    ..*w
                })),
                None => list.push(Value {
                    tag: Tag::HOLE,
                    origin: place,
                    op,
                    certain: true,
                }),
            }
        }
    }
}

/// The file.
struct Disk {
    words: Vec<u64>,
    size: u64,
}

impl Disk {
    /// Does what a change asks for, if it may.
    fn change(&mut self, change: Change) -> bool {
        let words = |range: std::ops::Range<u64>| {
            (range.start / 8).min(WORDS) as usize..(range.end / 8).min(WORDS) as usize
        };
        let range = change.range();
        match change {
            Change::Truncate { len } => {
                self.size = len;
                self.words[words(len..u64::MAX)].fill(0);
            }
            Change::Allocate { keep, .. } => {
                self.size = if keep {
                    self.size
                } else {
                    self.size.max(range.end)
                };
            }
            Change::Punch { .. } => self.words[words(range)].fill(0),
            Change::Zero { keep, .. } => {
                self.size = if keep {
                    self.size
                } else {
                    self.size.max(range.end)
                };
                self.words[words(range)].fill(0);
            }
            Change::Collapse { len, .. } => {
                if range.end >= self.size {
                    return false;
                }
                self.words.drain(words(range));
                self.words.resize(WORDS as usize, 0);
                self.size -= len;
            }
            Change::Insert { offset, len } => {
                if offset >= self.size || self.size + len > WORDS * 8 {
                    return false;
                }
                let zeroes = vec![0; len as usize / 8];
                let at = (offset / 8) as usize;
                self.words.splice(at..at, zeroes);
                self.words.truncate(WORDS as usize);
                self.size += len;
            }
        }
        true
    }

    fn store(&mut self, place: u64, word: u64, mode: Mode) {
        let end = (place + 1) * 8;
        if mode == Mode::Mmap && end > self.size {
            return;
        }
        self.words[place as usize] = word;
        self.size = self.size.max(end);
    }
}

enum State {
    Idle,
    Writing(Write, ReadStart, usize, Mode),
    Changing(Changing, Change, usize, Option<bool>),
    Reading(ReadStart, u64, std::ops::Range<u64>, Vec<u64>, u64),
}

/// A read that has just ended.
pub struct Seen<'a> {
    pub history: &'a History,
    pub places: &'a Places,
    pub key: Key,
    pub read: Read,
    pub began: u64,
    pub now: u64,
    pub words: std::ops::Range<u64>,
    /// What the file returned.
    pub sampled: Vec<u64>,
    /// How many bytes.
    pub got: u64,
    pub luck: u64,
}

impl Seen<'_> {
    pub fn check(&self, words: &[u64]) -> Tally {
        let mut tally = Tally::default();
        let offset = self.words.start * 8;
        self.history.check(&self.read, offset, words, &mut tally);
        tally
    }

    pub fn word(&self, value: &Value) -> u64 {
        self.key.encode(value.tag, value.origin)
    }

    /// Any choice among the legal values.
    pub fn legal_words(&self) -> Vec<u64> {
        let mut luck = self.luck;
        let places = self.words.clone().map(|place| {
            luck = mix(luck);
            let from = if self.places.disturbed(self.began, self.now) {
                mix(luck) % WORDS
            } else {
                place
            };
            let (legal, _) = self.places.split(from, self.began, self.now);
            self.word(&legal[luck as usize % legal.len()])
        });
        places.collect()
    }
}

fn change_of(turn: &Turn, world: &World) -> Change {
    let (offset, len) = (turn.at * 8, turn.len * 8);
    let keep = turn.luck % 2 == 0;
    match turn.luck / 2 % if world.shifts { 8 } else { 5 } {
        0 | 1 => Change::Truncate { len: offset },
        2 => Change::Punch { offset, len },
        3 => Change::Zero { offset, len, keep },
        4 => Change::Allocate { offset, len, keep },
        5 | 6 => Change::Collapse { offset, len },
        _ => Change::Insert { offset, len },
    }
}

/// Plays turns against a history and the file, and hands every read that ends to `judge`.
pub fn play(
    world: &World,
    turns: &[Turn],
    mut judge: impl FnMut(Seen<'_>) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let filled = WORDS / 2;
    let mut config = Config::new(WORDS * 8);
    config.cell = world.cell_words * 8;
    config.writers = WRITERS as u8;
    config.readers = READERS + WRITERS;
    config.size = Some(filled * 8);
    config.profile = Profile::Strict;
    config.run = RUN;
    config.others = vec![(9, WORDS * 8)];
    let history = History::new(config).unwrap();
    let mut places = Places {
        lists: vec![Vec::new(); WORDS as usize],
        ..Places::default()
    };
    let first = places.op(0, false);
    places.times[first].end = Some(0);
    places.times[first].good = WORDS;
    places.put(first, Tag::INITIAL, 0..filled);
    places.put(first, Tag::HOLE, filled..WORDS);
    let mut disk = Disk {
        words: vec![0; WORDS as usize],
        size: filled * 8,
    };
    history.fill_initial(0, &mut disk.words[..filled as usize]);
    let mut game = Game {
        world,
        history: &history,
        places,
        disk,
        states: (0..=CHANGER).map(|_| State::Idle).collect(),
        sequences: [0; WRITERS],
        now: 0,
    };
    for turn in turns {
        game.turn(turn, &mut judge)?;
        if world.serial {
            game.turn(turn, &mut judge)?;
        }
    }
    Ok(())
}

struct Game<'a> {
    world: &'a World,
    history: &'a History,
    places: Places,
    disk: Disk,
    states: Vec<State>,
    sequences: [u64; WRITERS],
    now: u64,
}

impl Game<'_> {
    fn turn(
        &mut self,
        turn: &Turn,
        judge: &mut impl FnMut(Seen<'_>) -> Result<(), TestCaseError>,
    ) -> Result<(), TestCaseError> {
        self.now += 1;
        self.drift(mix(turn.luck ^ self.now));
        let actor = turn.actor % (CHANGER + 1);
        match std::mem::replace(&mut self.states[actor], State::Idle) {
            State::Idle => self.states[actor] = self.begin(actor, turn),
            State::Writing(write, meanwhile, op, mode) => {
                let meanwhile = self.history.end_read(meanwhile);
                let least = self.history.size_bounds(&meanwhile).0;
                // What a store behind the end becomes nobody knows.
                let sure = mode != Mode::Mmap || write.offset() + write.len() <= least;
                self.end_write(&write, op, mode, sure, turn.luck);
                self.history.release(&meanwhile);
            }
            State::Changing(changing, change, op, done) => {
                let done = done.unwrap_or_else(|| self.disk.change(change));
                self.end_change(&changing, change, op, done, turn.luck);
            }
            State::Reading(start, began, words, sampled, size) => {
                let read = self.history.end_read(start);
                let len = (words.end - words.start) * 8;
                let got = size.saturating_sub(words.start * 8).min(len);
                judge(Seen {
                    history: self.history,
                    places: &self.places,
                    key: Key::new(RUN, 0),
                    read,
                    began,
                    now: self.now,
                    words,
                    sampled,
                    got,
                    luck: turn.luck,
                })?;
                self.history.release(&read);
            }
        }
        Ok(())
    }

    fn begin(&mut self, actor: usize, turn: &Turn) -> State {
        let words = turn.at..turn.at + turn.len;
        if actor < WRITERS {
            let mode = Mode::ALL[(turn.luck % 3) as usize];
            let (id, offset, len) = (actor as u8 + 1, turn.at * 8, turn.len * 8);
            let meanwhile = self.history.begin_read(READERS + actor);
            let write = self.history.begin_write(id, mode, offset, len).unwrap();
            self.sequences[actor] += 1;
            let op = self.places.op(self.now, false);
            let tag = Tag::new(id, self.sequences[actor]);
            self.places.put(op, tag, words);
            State::Writing(write, meanwhile, op, mode)
        } else if actor < CHANGER {
            let start = self.history.begin_read(actor - WRITERS);
            let sampled = self.disk.words[words.start as usize..words.end as usize].to_vec();
            State::Reading(start, self.now, words, sampled, self.disk.size)
        } else {
            let change = change_of(turn, self.world);
            let changing = self.history.begin_change(change).unwrap();
            let op = self.places.op(self.now, true);
            let range = change.range();
            match change {
                Change::Truncate { .. } | Change::Punch { .. } | Change::Zero { .. } => {
                    let range = range.start / 8..(range.end / 8).min(WORDS);
                    self.places.put(op, Tag::HOLE, range);
                }
                Change::Collapse { .. } | Change::Insert { .. } => {
                    self.places.shifts.push((self.now, None));
                }
                Change::Allocate { .. } => {}
            }
            State::Changing(changing, change, op, None)
        }
    }

    fn end_write(&mut self, write: &Write, op: usize, mode: Mode, sure: bool, luck: u64) {
        let len = write.len() / 8;
        let (outcome, good) = match luck % 8 {
            0 if !self.world.serial => (Outcome::Failed, 0),
            1 if !self.world.serial => {
                let bytes = luck / 8 % (len * 8 + 1);
                (Outcome::Done(bytes), bytes / 8)
            }
            _ => (Outcome::Done(len * 8), len),
        };
        let first = write.offset() / 8;
        for nth in 0..good {
            self.disk.store(first + nth, write.word(nth), mode);
        }
        self.history.end_write(write, outcome);
        let time = &mut self.places.times[op];
        time.end = Some(self.now);
        time.good = if sure { first + good } else { 0 };
    }

    fn end_change(
        &mut self,
        changing: &Changing,
        change: Change,
        op: usize,
        done: bool,
        luck: u64,
    ) {
        let how = match (done, luck % 8) {
            (true, 0) if !self.world.serial => Changed::Failed,
            (true, _) => Changed::Done,
            (false, _) => Changed::Refused,
        };
        self.history.end_change(changing, how);
        let time = &mut self.places.times[op];
        time.end = Some(self.now);
        time.good = if how == Changed::Done { WORDS } else { 0 };
        let (range, by) = (
            change.range(),
            (change.range().end.saturating_sub(change.range().start) / 8) as i64,
        );
        let by = match change {
            Change::Collapse { .. } => -by,
            Change::Insert { .. } => by,
            _ => return,
        };
        if let Some(last) = self.places.shifts.last_mut() {
            last.1 = Some(self.now);
        }
        self.places.lost |= how == Changed::Failed;
        if how == Changed::Done {
            self.places.shift(op, range.start / 8, by);
        }
    }

    /// Whatever is under way moves on a little.
    fn drift(&mut self, mut luck: u64) {
        let disk = &mut self.disk;
        for state in &mut self.states {
            luck = mix(luck);
            match state {
                State::Idle => {}
                State::Writing(write, _, _, mode) => {
                    let nth = luck % (write.len() / 8);
                    disk.store(write.offset() / 8 + nth, write.word(nth), *mode);
                }
                State::Changing(_, change, _, done @ None) if luck % 3 == 0 => {
                    *done = Some(disk.change(*change));
                }
                State::Changing(..) => {}
                State::Reading(_, _, words, sampled, size) => {
                    let nth = luck % (words.end - words.start);
                    sampled[nth as usize] = disk.words[(words.start + nth) as usize];
                    if luck % 4 == 0 {
                        *size = disk.size;
                    }
                }
            }
        }
    }
}
