// SPDX-License-Identifier: GPL-2.0
//! Reads that ask again for what a short one has left out.

use engines::Errno;

/// What a read has returned at first, and with what was asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// Bytes of the first answer.
    pub first: usize,
    /// Bytes that there are.
    pub all: usize,
}

/// Asks again for what a short read has left out, until nothing more comes. `read` is told how far from
/// the beginning it is to read.
pub fn read_all(
    words: &mut [u64],
    align: usize,
    mut read: impl FnMut(&mut [u64], u64) -> Result<usize, Errno>,
) -> Result<Got, Errno> {
    let first = read(words, 0)?;
    let mut all = first;
    while all < size_of_val(words) {
        // A direct read cannot go on anywhere.
        let from = all / align * align;
        let end = from + read(&mut words[from / 8..], from as u64)?;
        if end <= all {
            break;
        }
        all = end;
    }
    Ok(Got { first, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads 4 KiB of a file of `size` bytes, of which one call returns `most`.
    fn got(size: usize, most: usize) -> (Got, Vec<u64>) {
        let mut words = vec![0; 512];
        let got = read_all(&mut words, 512, |part, from| {
            assert_eq!(from % 512, 0);
            let n = size_of_val(part).min(most);
            let n = n.min(size.saturating_sub(from as usize));
            let numbers = from / 8..;
            part[..n / 8]
                .iter_mut()
                .zip(numbers)
                .for_each(|(w, n)| *w = n);
            Ok(n)
        });
        (got.unwrap(), words)
    }

    #[test]
    fn a_short_read_goes_on_as_long_as_anything_comes() {
        for (size, most, first, all) in [
            (8192, 8192, 4096, 4096),
            (8192, 1024, 1024, 4096),
            // No multiple of what direct I/O needs.
            (8192, 1000, 1000, 4096),
            (1000, 8192, 1000, 1000),
            (1000, 600, 600, 1000),
            (0, 512, 0, 0),
        ] {
            let (got, words) = got(size, most);
            assert_eq!(got, Got { first, all }, "{size} {most}");
            let right = words.iter().zip(0..).take(all / 8);
            assert!(
                right.clone().all(|(word, nth)| *word == nth),
                "{size} {most}"
            );
        }
    }

    #[test]
    fn an_error_ends_it() {
        let answers = [Ok(512), Err(Errno::EIO)];
        let mut answers = answers.into_iter();
        let got = read_all(&mut [0; 512], 512, |_, _| answers.next().unwrap());
        assert_eq!(got, Err(Errno::EIO));
    }
}
