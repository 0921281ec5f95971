// SPDX-License-Identifier: GPL-2.0

//! What the file should hold.

/// The content of a file, kept in memory.
#[derive(Default)]
pub struct Image(Vec<u8>);

impl Image {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts `data` at `at`; a gap before it is zero.
    pub fn write(&mut self, at: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = at + data.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[at..end].copy_from_slice(data);
    }

    pub fn truncate(&mut self, len: usize) {
        self.0.resize(len, 0);
    }

    /// What a read of `len` bytes at `at` must return.
    pub fn read(&self, at: usize, len: usize) -> &[u8] {
        let end = (at + len).min(self.0.len());
        self.0.get(at..end).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_zero_and_reads_stop_at_the_end() {
        let mut image = Image::default();
        image.write(4, b"abc");
        assert_eq!(image.read(0, 100), b"\0\0\0\0abc");
        assert_eq!(image.read(6, 1), b"c");
        assert_eq!(image.read(7, 10), b"");
        assert_eq!(image.read(70, 10), b"");
        image.truncate(5);
        image.truncate(7);
        assert_eq!(image.read(4, 10), b"a\0\0");
        image.write(100, b"");
        assert_eq!(image.len(), 7);
    }
}
