// SPDX-License-Identifier: GPL-2.0

//! Contents that name themselves: every word says whose it is and where it belongs.

use anyhow::{Result, bail};

/// Bytes in a word.
const WORD: usize = 8;

/// `len` bytes of writer `tag` for offset `at`. Any two tags differ in every byte of a word's first
/// half, any two places in its second.
pub fn pattern(tag: u8, at: u64, len: usize) -> Vec<u8> {
    (at..at + len as u64).map(|pos| byte(tag, pos)).collect()
}

/// The byte that writer `tag` puts at `pos`.
pub fn byte(tag: u8, pos: u64) -> u8 {
    let within = (pos % WORD as u64) as usize;
    if within < 4 {
        tag
    } else {
        let word = (pos / WORD as u64) as u32;
        word.to_le_bytes()[within - 4] ^ tag
    }
}

/// Checks that `data`, read at `at`, is what writer `tag` wrote there.
pub fn check(what: &str, data: &[u8], tag: u8, at: u64) -> Result<()> {
    check_any(what, data, &[tag], at)
}

/// Checks that each byte of `data` is what one of the writers wrote there.
pub fn check_any(what: &str, data: &[u8], tags: &[u8], at: u64) -> Result<()> {
    for (i, seen) in data.iter().enumerate() {
        let pos = at + i as u64;
        if !tags.iter().any(|t| byte(*t, pos) == *seen) {
            let from = i / WORD * WORD;
            let word = &data[from..(from + WORD).min(data.len())];
            bail!(
                "{what}: at offset {pos} expected tag {tags:02x?}, saw {seen:#04x} (word at {}: {word:02x?})",
                at + from as u64
            );
        }
    }
    Ok(())
}

/// Checks that `data`, read at `at`, is all zero.
pub fn check_zero(what: &str, data: &[u8], at: u64) -> Result<()> {
    match data.iter().position(|b| *b != 0) {
        None => Ok(()),
        Some(i) => bail!(
            "{what}: at offset {} expected zero, saw {:#04x}",
            at + i as u64,
            data[i]
        ),
    }
}

/// Checks that `data` equals `expected`, both read at `at`.
pub fn check_equal(what: &str, data: &[u8], expected: &[u8], at: u64) -> Result<()> {
    if data.len() != expected.len() {
        bail!(
            "{what}: expected {} bytes, saw {}",
            expected.len(),
            data.len()
        );
    }
    match data.iter().zip(expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(i) => {
            let count = data.iter().zip(expected).filter(|(a, b)| a != b).count();
            bail!(
                "{what}: at offset {} expected {:#04x}, saw {:#04x} ({count} of {} bytes differ)",
                at + i as u64,
                expected[i],
                data[i],
                data.len()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_accepted_at_its_place_only() {
        let data = pattern(0x5a, 4096, 100);
        assert!(check("x", &data, 0x5a, 4096).is_ok());
        assert!(check("x", &data, 0x5b, 4096).is_err());
        assert!(check("x", &data, 0x5a, 4104).is_err());
    }

    #[test]
    fn parts_of_two_writers_are_told_from_a_third() {
        let mut data = pattern(1, 0, 64);
        data[32..].copy_from_slice(&pattern(2, 32, 32));
        assert!(check_any("x", &data, &[1, 2], 0).is_ok());
        assert!(check_any("x", &data, &[1, 3], 0).is_err());
    }

    #[test]
    fn the_first_difference_is_named() {
        let error = check_equal("read", &[1, 2, 9], &[1, 2, 3], 100).unwrap_err();
        assert!(error.to_string().contains("offset 102"));
        assert!(check_zero("hole", &[0, 0, 7], 10).is_err());
        assert!(check_zero("hole", &[0; 7], 10).is_ok());
    }
}
