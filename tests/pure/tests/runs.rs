// SPDX-License-Identifier: GPL-2.0

//! Runs of pieces, and a limit that is found by trying.

use proptest::collection::vec;
use proptest::prelude::*;
use pure::pure::bisect::largest;
use pure::pure::run::{Piece, before_end, extent, offset_within, split_run};
use std::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes {
    pos: i64,
    len: usize,
}

impl Piece for Bytes {
    fn pos(&self) -> i64 {
        self.pos
    }

    fn bytes(&self) -> usize {
        self.len
    }
}

/// Ascending pieces as the page cache gives them: some of them touch, between others is a gap.
fn pieces() -> impl Strategy<Value = Vec<Bytes>> {
    let start = prop_oneof![0i64..10_000, Just(i64::MAX - 100_000)];
    (
        start,
        vec((1usize..9000, prop_oneof![Just(0i64), 1i64..500]), 0..40),
    )
        .prop_map(|(mut pos, parts)| {
            let mut pieces = Vec::new();
            for (len, gap) in parts {
                pieces.push(Bytes { pos, len });
                pos = pos.saturating_add(len as i64).saturating_add(gap);
            }
            pieces
        })
}

fn touch(a: &Bytes, b: &Bytes) -> bool {
    a.pos.saturating_add(a.len as i64) == b.pos
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn runs_are_contiguous_as_long_as_can_be_and_lose_nothing(pieces in pieces()) {
        let mut rest = &pieces[..];
        let mut seen = Vec::new();
        while let Some((run, after)) = split_run(rest) {
            prop_assert!(!run.is_empty());
            prop_assert!(run.windows(2).all(|w| touch(&w[0], &w[1])));
            if let (Some(last), Some(next)) = (run.last(), after.first()) {
                prop_assert!(!touch(last, next));
            }
            let (pos, len) = extent(run).unwrap();
            prop_assert_eq!(pos, run[0].pos);
            prop_assert_eq!(len, run.iter().map(|p| p.len).sum::<usize>());
            seen.extend_from_slice(run);
            rest = after;
        }
        prop_assert_eq!(seen, pieces);
    }

    #[test]
    fn an_extent_is_of_something_and_can_be_counted(lens in vec(any::<usize>(), 0..5)) {
        let pieces: Vec<_> = lens.iter().map(|&len| Bytes { pos: 0, len }).collect();
        let sum: u128 = lens.iter().map(|&len| len as u128).sum();
        let countable = !lens.is_empty() && sum <= usize::MAX as u128;
        prop_assert_eq!(extent(&pieces).is_some(), countable);
    }

    #[test]
    fn an_offset_is_given_to_what_lies_within(
        start in 0..=i64::MAX, size in any::<usize>(), pos in any::<i64>(), len in any::<usize>(),
        near in 0usize..9000,
    ) {
        // Random places seldom lie within: half of the cases are near the piece.
        for (pos, size, len) in [
            (pos, size, len),
            (start.saturating_add_unsigned(near as u64), size % 16384, len % 9000),
        ] {
            let offset = i128::from(pos) - i128::from(start);
            let within = offset >= 0 && offset + len as i128 <= size as i128;
            prop_assert_eq!(
                offset_within(start, size, pos, len).map(|o| o as i128),
                within.then_some(offset)
            );
        }
    }

    #[test]
    fn nothing_is_written_behind_the_end(pos in any::<u64>(), len in any::<usize>(), end in any::<u64>()) {
        for end in [end, pos.saturating_add(len as u64 / 2), pos] {
            let data = before_end(pos, len, end);
            prop_assert!(data <= len);
            prop_assert!(data == 0 || u128::from(pos) + data as u128 <= u128::from(end));
            let all = u128::from(pos) + len as u128 <= u128::from(end);
            prop_assert_eq!(all && len > 0, data == len && len > 0);
        }
    }

    #[test]
    fn the_largest_that_fits_is_found_in_few_tries(most in any::<usize>(), limit in any::<usize>()) {
        for limit in [limit, most, most.saturating_sub(1), limit % 1000, 0] {
            let tries = Cell::new(0);
            let found = largest(most, |n| {
                tries.set(tries.get() + 1);
                n <= limit
            });
            prop_assert_eq!(found, most.min(limit));
            prop_assert!(tries.get() <= 1 + usize::BITS);
        }
    }
}
