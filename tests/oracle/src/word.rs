// SPDX-License-Identifier: GPL-2.0
//! Words that say where they come from.
//!
//! ```text
//!   63       56 55              32 31                                0
//!  +-----------+------------------+-----------------------------------+
//!  |  writer   |  sequence (low)  |  mix(tag, key) ^ scramble(index)  |
//!  +-----------+------------------+-----------------------------------+
//!          the tag, 32 bits                     the check
//! ```
//!
//! *index* is the word's place in the file (offset / 8), *key* belongs to one file of one run.
//! Whoever has the key can take a word apart into tag and index; if the index is where the word was
//! found, the word belongs there. If it is another place of the file the word is misplaced; under
//! another file's key it is foreign; a random word passes for one that belongs with a chance of one in
//! 2^32. Zero is never a written word: it is what a hole reads as.
//!
//! All words of one write are the same number xor a sequence that depends on the place alone, so
//! that filling and recognising a run of words are short loops that compilers vectorise.

/// Size of a word in bytes, the grain of every judgement.
pub const WORD: u64 = 8;

/// Odd, so that multiplying by it permutes 32-bit numbers: neighbouring places differ in all bytes.
const SPREAD: u32 = 0x9E37_79B1;

/// The inverse of [`SPREAD`] modulo 2^32.
const GATHER: u32 = inverse(SPREAD);

const fn inverse(odd: u32) -> u32 {
    // Newton's iteration doubles the number of right bits, beginning with three.
    let mut x = odd;
    let mut i = 0;
    while i < 4 {
        x = x.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(x)));
        i += 1;
    }
    x
}

/// Names one write: the writer's number and the low bits of its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u32);

impl Tag {
    /// What a hole reads as.
    pub const HOLE: Tag = Tag(0);
    /// The content written before the race began.
    pub const INITIAL: Tag = Tag(1);
    /// Bits of the sequence number that fit; higher ones are dropped, so that a tag repeats after
    /// sixteen million writes of one writer.
    pub const SEQUENCE_BITS: u32 = 24;

    /// The tag of a writer's `sequence`-th write.
    pub fn new(writer: u8, sequence: u64) -> Self {
        let low = sequence & ((1 << Self::SEQUENCE_BITS) - 1);
        Self((u32::from(writer) << Self::SEQUENCE_BITS) | low as u32)
    }

    /// The writer's number; zero for the initial content.
    pub fn writer(self) -> u8 {
        (self.0 >> Self::SEQUENCE_BITS) as u8
    }

    /// The low bits of the sequence number.
    pub fn sequence(self) -> u32 {
        self.0 & ((1 << Self::SEQUENCE_BITS) - 1)
    }
}

/// Distinguishes the words of one file of one run from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The key of file number `file` in the run with the given seed.
    pub fn new(run: u64, file: u64) -> Self {
        Self(mix(mix(run) ^ file))
    }

    /// What all words of one write have in common.
    fn base(self, tag: Tag) -> u64 {
        if tag == Tag::HOLE {
            return 0;
        }
        (u64::from(tag.0) << 32) | (mix(self.0 ^ u64::from(tag.0)) & 0xFFFF_FFFF)
    }

    /// The word that a write puts at a place.
    pub fn encode(self, tag: Tag, index: u64) -> u64 {
        if tag == Tag::HOLE {
            return 0;
        }
        self.base(tag) ^ spread(index)
    }

    /// The write and the place (modulo 2^32) that a word claims.
    pub fn decode(self, word: u64) -> (Tag, u32) {
        let tag = Tag((word >> 32) as u32);
        let scrambled = (word ^ self.base(tag)) as u32;
        (tag, scrambled.wrapping_mul(GATHER))
    }

    /// Writes a write's words, the first of which belongs at `index`.
    pub fn fill(self, tag: Tag, index: u64, out: &mut [u64]) {
        let base = self.base(tag);
        if base == 0 {
            out.fill(0);
            return;
        }
        for (i, word) in out.iter_mut().enumerate() {
            let place = (index as u32).wrapping_add(i as u32);
            *word = base ^ u64::from(place.wrapping_mul(SPREAD));
        }
    }

    /// How many words at the beginning of `words` are those that `tag` puts at `index` onwards.
    pub fn run(self, tag: Tag, index: u64, words: &[u64]) -> usize {
        let base = self.base(tag);
        let step = if base == 0 { 0 } else { SPREAD };
        let expect = |i: usize| {
            let place = (index as u32).wrapping_add(i as u32);
            base ^ u64::from(place.wrapping_mul(step))
        };
        const CHUNK: usize = 32;
        let mut at = 0;
        for chunk in words.chunks_exact(CHUNK) {
            let mut differs = 0;
            for (i, word) in chunk.iter().enumerate() {
                differs |= word ^ expect(at + i);
            }
            if differs != 0 {
                break;
            }
            at += CHUNK;
        }
        at + words[at..]
            .iter()
            .enumerate()
            .take_while(|(i, word)| **word == expect(at + i))
            .count()
    }
}

fn spread(index: u64) -> u64 {
    u64::from((index as u32).wrapping_mul(SPREAD))
}

/// The finaliser of splitmix64: every input bit reaches every output bit.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key(0x1234_5678_9ABC_DEF0);

    #[test]
    fn a_word_names_its_write_and_place() {
        for index in [0, 1, 63, 4096, u64::from(u32::MAX)] {
            for (writer, sequence) in [(1, 0), (7, 99), (255, (1 << 24) - 1)] {
                let tag = Tag::new(writer, sequence);
                let word = KEY.encode(tag, index);
                assert_eq!(KEY.decode(word), (tag, index as u32));
                assert_ne!(Key::new(1, 2).decode(word), (tag, index as u32));
            }
        }
    }

    #[test]
    fn fill_and_run_agree_with_encode() {
        let mut words = vec![0; 203];
        let tag = Tag::new(3, 17);
        KEY.fill(tag, 1000, &mut words);
        for (i, word) in words.iter().enumerate() {
            assert_eq!(*word, KEY.encode(tag, 1000 + i as u64));
        }
        assert_eq!(KEY.run(tag, 1000, &words), words.len());
        assert_eq!(KEY.run(tag, 1001, &words), 0);
        for broken in [0, 1, 31, 32, 33, 202] {
            let mut copy = words.clone();
            copy[broken] ^= 1 << 40;
            assert_eq!(KEY.run(tag, 1000, &copy), broken);
        }
        words.fill(0);
        words[40] = 1;
        assert_eq!(KEY.run(Tag::HOLE, 5, &words), 40);
    }

    #[test]
    fn neighbouring_places_share_no_byte_of_the_check() {
        let tag = Tag::new(1, 1);
        let (a, b) = (KEY.encode(tag, 10), KEY.encode(tag, 11));
        let same = (0..4).filter(|i| ((a ^ b) >> (8 * i)) & 0xFF == 0).count();
        assert_eq!(same, 0);
    }
}
