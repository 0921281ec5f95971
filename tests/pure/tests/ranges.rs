// SPDX-License-Identifier: GPL-2.0

//! Ranges of bytes and the pages that hold them.

use proptest::prelude::*;
use pure::pure::byte_range::ByteRange;

const MAX: i64 = i64::MAX;

/// Positions and lengths, with those near the limits as likely as any.
fn position() -> impl Strategy<Value = i64> {
    prop_oneof![0..1i64 << 20, 0..=MAX, MAX - 10_000..=MAX, any::<i64>()]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..1usize << 20, any::<usize>(), Just(usize::MAX), 0..3usize]
}

fn range() -> impl Strategy<Value = ByteRange> {
    (position(), length()).prop_filter_map("no range", |(pos, len)| ByteRange::new(pos, len))
}

/// The first and the last byte of `len` bytes at `pos`, counted where nothing overflows.
fn bytes(pos: i64, len: usize) -> (i128, i128) {
    (i128::from(pos), i128::from(pos) + len as i128 - 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_range_is_what_fits_into_a_file(pos in position(), len in length()) {
        let (first, last) = bytes(pos, len);
        let fits = first >= 0 && len > 0 && last <= i128::from(MAX);
        let range = ByteRange::new(pos, len);
        prop_assert_eq!(range.is_some(), fits);
        if let Some(range) = range {
            prop_assert_eq!(i128::from(range.start()), first);
            prop_assert_eq!(i128::from(range.last()), last);
            prop_assert_eq!(i128::from(range.end()), last + 1);
        }
    }

    #[test]
    fn a_range_between_two_places_ends_before_the_second(range in range(), less in 0..=MAX) {
        let (start, end) = (range.start(), range.end());
        if let Ok(end) = i64::try_from(end) {
            prop_assert_eq!(ByteRange::between(start, end), Some(range));
        }
        prop_assert_eq!(ByteRange::between(start, start.saturating_sub(less)), None);
    }

    #[test]
    fn every_byte_lies_in_one_of_the_pages(range in range(), shift in 9usize..22, part in 0.0..=1.0) {
        let (first, last) = (range.first_page(shift), range.last_page(shift));
        let start = |page: usize| (page as u128) << shift;
        prop_assert!(start(first) <= range.start() as u128);
        prop_assert!(start(first + 1) > range.start() as u128);
        prop_assert!(start(last) <= range.last() as u128);
        prop_assert!(start(last + 1) > range.last() as u128);
        let inside = range.start() + ((range.last() - range.start()) as f64 * part) as i64;
        let page = (inside.clamp(range.start(), range.last()) as usize) >> shift;
        prop_assert!((first..=last).contains(&page));
    }

    #[test]
    fn a_range_extends_a_file_that_ends_before_its_last_byte(range in range(), size in position()) {
        prop_assert_eq!(range.extends(size), size <= range.last());
    }

    #[test]
    fn a_file_that_ends_with_the_range_is_not_extended(range in range()) {
        if let Ok(end) = i64::try_from(range.end()) {
            prop_assert!(!range.extends(end));
        }
        prop_assert!(range.extends(range.last()));
    }
}
