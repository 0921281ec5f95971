// SPDX-License-Identifier: GPL-2.0
//! A disk that lied about one write: the control that proves that a lost word is noticed.
//!
//! The write is one of data, to where the file has them. A flush had made it durable, a sync vouched for
//! it, and it is the last one to its place. Without it the file holds older words of the same worker,
//! which were right once; all metadata are as they were. Only the history tells that this is a loss.

use std::collections::BTreeMap;

use crate::history::History;
use crate::image::Image;
use crate::plan::PROFILES;
use crate::rng::Rng;
use crate::verify::{summary, verdict};
use crate::word::source;

/// A write that can be left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Lie {
    /// Its place in the log.
    pub entry: usize,
    sectors: Vec<usize>,
    /// The words that are lost without it, by worker: where in the file, and what is there instead.
    lost: BTreeMap<usize, BTreeMap<u64, u64>>,
}

/// All writes that can be left out of an image. Before entry `flushed` of the log all is durable.
pub fn candidates(image: &Image, flushed: usize, histories: &[History]) -> Vec<Lie> {
    let durable = image.sectors().into_iter().filter(|(at, _)| *at < flushed);
    durable
        .filter_map(|(entry, sectors)| {
            let lost = lost(image, &sectors, histories)?;
            Some(Lie {
                entry,
                sectors,
                lost,
            })
        })
        .collect()
}

/// One of them; each set of workers that lose something has the same chance, and then each write.
pub fn choose(lies: Vec<Lie>, rng: &mut Rng) -> Option<Lie> {
    let mut sets = BTreeMap::<Vec<usize>, Vec<Lie>>::new();
    for lie in lies {
        let workers = lie.lost.keys().copied().collect();
        sets.entry(workers).or_default().push(lie);
    }
    if sets.is_empty() {
        return None;
    }
    let set = rng.below(sets.len() as u64) as usize;
    let mut lies = sets.into_values().nth(set)?;
    let lie = rng.below(lies.len() as u64) as usize;
    Some(lies.swap_remove(lie))
}

/// What is lost without a write; nothing if it is anything but acknowledged words over older ones.
fn lost(
    image: &Image,
    sectors: &[usize],
    histories: &[History],
) -> Option<BTreeMap<usize, BTreeMap<u64, u64>>> {
    let mut lost = BTreeMap::<usize, BTreeMap<u64, u64>>::new();
    let words = sectors.iter().flat_map(|&sector| image.words(sector));
    for (old, new) in words.filter(|(old, new)| old != new) {
        let (worker, step, place) = source(new)?;
        let (before, earlier, there) = source(old)?;
        let vouched = histories.get(worker)?.sole(place) == Some(new);
        if !vouched || (before, there) != (worker, place) || earlier >= step {
            return None;
        }
        lost.entry(worker).or_default().insert(place, old);
    }
    (!lost.is_empty()).then_some(lost)
}

impl Lie {
    /// Makes the disk one that lied.
    pub fn tell(&self, image: &mut Image) {
        for &sector in &self.sectors {
            image.undo(sector);
        }
    }

    /// What `verify` has to say then, word for word.
    pub fn verdict(&self, histories: &[History], notes: u64) -> String {
        let mut lines = Vec::new();
        for (&worker, words) in &self.lost {
            let wrong: Vec<_> = words
                .iter()
                .map(|(&place, &old)| histories[worker].explain(place, old))
                .collect();
            lines.extend(verdict(PROFILES[worker].name, &wrong));
        }
        let vouched = histories.iter().map(History::vouched).sum();
        lines.push(summary(notes, vouched, self.words()));
        lines.join("\n")
    }

    /// What is lost, in short.
    pub fn what(&self) -> String {
        let workers: Vec<_> = self.lost.keys().map(|&at| PROFILES[at].name).collect();
        format!("{} words of {}", self.words(), workers.join(", "))
    }

    fn words(&self) -> usize {
        self.lost.values().map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Change, Plan, Sync};
    use crate::word::{WORD, encode};

    const SEED: u64 = 3;
    const MIXED: usize = 8;
    const SIZE: u64 = 1 << 20;

    /// A disk that holds the mixed file from its beginning on, as the first steps of its worker leave it, one
    /// write of the log for each step; and which of these was acknowledged last.
    fn disk(steps: u64) -> (Image, u64) {
        let (mut image, mut acked) = (Image::blank(SIZE), 0);
        for (number, step) in (0..steps).zip(Plan::new(SEED, MIXED)) {
            let Change::Write(pieces) = step.change else {
                continue;
            };
            // Whole sectors only, as a disk has them; the words beside keep what they hold.
            for piece in pieces {
                let sectors = piece.offset / 512..(piece.offset + piece.len).div_ceil(512);
                for sector in sectors {
                    let mut data = Vec::new();
                    for (at, (_, held)) in (0..).zip(image.words(sector as usize)) {
                        let place = sector * 512 / WORD + at;
                        let inside =
                            (piece.offset..piece.offset + piece.len).contains(&(place * WORD));
                        let word = if inside {
                            encode(MIXED, number, place)
                        } else {
                            held
                        };
                        data.extend(word.to_le_bytes());
                    }
                    image.put(number as usize, sector as usize * 512, &data);
                }
            }
            if step.sync != Sync::None {
                acked = number;
            }
        }
        (image, acked)
    }

    fn content(image: &Image) -> Vec<u64> {
        let sectors = 0..PROFILES[MIXED].initial_size() as usize / 512;
        let words = sectors.flat_map(|sector| image.words(sector).map(|(_, word)| word));
        let known = |word| if source(word).is_some() { word } else { 0 };
        words.map(known).collect()
    }

    fn histories(acked: u64) -> Vec<History> {
        (0..PROFILES.len())
            .map(|worker| History::new(SEED, worker, (worker == MIXED).then_some(acked)))
            .collect()
    }

    #[test]
    fn each_lie_is_found_out_and_nothing_else() {
        let count = {
            let (image, acked) = disk(150);
            candidates(&image, 150, &histories(acked)).len()
        };
        assert!(count > 3, "{count} candidates");
        for number in 0..count {
            let (mut image, acked) = disk(150);
            let histories = histories(acked);
            let size = PROFILES[MIXED].initial_size();
            assert_eq!(histories[MIXED].judge(&content(&image), size), []);
            let lie = candidates(&image, 150, &histories).swap_remove(number);
            lie.tell(&mut image);
            let wrong = histories[MIXED].judge(&content(&image), size);
            assert_eq!(wrong.len(), lie.words());
            let expected = lie.verdict(&histories, 7);
            assert!(
                expected.starts_with(&verdict("mixed", &wrong).join("\n")),
                "{expected}"
            );
        }
    }

    #[test]
    fn what_was_not_acknowledged_or_not_flushed_is_no_lie() {
        let (image, acked) = disk(150);
        assert_eq!(candidates(&image, 0, &histories(acked)), []);
        let none: Vec<_> = (0..PROFILES.len())
            .map(|worker| History::new(SEED, worker, None))
            .collect();
        assert_eq!(candidates(&image, 150, &none), []);
    }

    #[test]
    fn one_is_chosen_if_there_is_any() {
        let (image, acked) = disk(150);
        let lies = || candidates(&image, 150, &histories(acked));
        let chosen = choose(lies(), &mut Rng::new(SEED, 0)).unwrap();
        assert!(lies().contains(&chosen));
        assert_eq!(choose(Vec::new(), &mut Rng::new(SEED, 0)), None);
    }

    #[test]
    fn what_replaced_nothing_is_no_lie() {
        let (image, acked) = disk(1);
        assert_eq!(candidates(&image, 1, &histories(acked)), []);
    }

    #[test]
    fn a_write_of_anything_else_is_no_lie() {
        let (mut image, acked) = disk(150);
        let before = candidates(&image, 150, &histories(acked));
        for (metadata, lie) in (1..).zip(&before) {
            // Beside its words, the same write changes a sector of something else.
            image.put(lie.entry, (SIZE - 512) as usize, &[metadata; 512]);
            let entries = candidates(&image, 150, &histories(acked));
            assert!(entries.iter().all(|other| other.entry != lie.entry));
        }
    }
}
