// SPDX-License-Identifier: GPL-2.0
//! What is written: 8-byte words, each of which says where it comes from.

/// Bytes of a word.
pub const WORD: u64 = 8;

/// The word that step `step` of a worker writes to a place, counted in words. Never 0, which is what
/// was never written.
pub fn encode(worker: usize, step: u64, place: u64) -> u64 {
    let body = ((worker as u64 + 1) << 48) | ((step & 0xff_ffff) << 24) | (place & 0xff_ffff);
    (check(body) << 56) | body
}

/// Who wrote a word, in which step and to which place, if anybody did.
pub fn source(word: u64) -> Option<(usize, u64, u64)> {
    let body = word & ((1 << 56) - 1);
    let worker = (body >> 48) as usize;
    if worker == 0 || check(body) != word >> 56 {
        return None;
    }
    Some((worker - 1, (body >> 24) & 0xff_ffff, body & 0xff_ffff))
}

/// What a word says about itself, for messages.
pub fn describe(word: u64) -> String {
    match source(word) {
        Some((worker, step, place)) => {
            format!("step {step} of worker {worker} for {}", place * WORD)
        }
        None if word == 0 => "zero".to_string(),
        None => format!("{word:#018x}, which nobody wrote"),
    }
}

/// The words that bytes hold.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let words = bytes.chunks_exact(WORD as usize);
    words.map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
}

fn check(body: u64) -> u64 {
    body.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_tells_where_it_comes_from() {
        let word = encode(3, 1234, 77);
        assert_eq!(source(word), Some((3, 1234, 77)));
        assert_eq!((source(word ^ 1), source(0)), (None, None));
        assert_eq!(describe(word), "step 1234 of worker 3 for 616");
        assert!(describe(word ^ 1).contains("nobody"));
        assert_eq!(describe(0), "zero");
    }

    #[test]
    fn the_pattern_of_blank_images_is_nobodys_word() {
        assert!(describe(crate::image::BLANK_WORD).contains("nobody"));
    }
}
