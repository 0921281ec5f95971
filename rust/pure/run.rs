// SPDX-License-Identifier: GPL-2.0

//! Pieces of a file, and runs of them that one call can transfer.

/// Some bytes of a file.
pub trait Piece {
    /// Where they stand in the file.
    fn pos(&self) -> i64;

    /// How many they are.
    fn bytes(&self) -> usize;
}

/// Splits off the leading pieces that are contiguous in the file; `None` when there are none.
pub fn split_run<P: Piece>(pieces: &[P]) -> Option<(&[P], &[P])> {
    let mut end = pieces.first()?.pos();
    let mut count = 0usize;
    for piece in pieces {
        if piece.pos() != end {
            break;
        }
        end = end.saturating_add_unsigned(piece.bytes() as u64);
        count = count.saturating_add(1);
    }
    pieces.split_at_checked(count)
}

/// Where in the file a run begins, and how many bytes it has; `None` if it has no pieces, or more
/// bytes than can be counted.
pub fn extent<P: Piece>(run: &[P]) -> Option<(i64, usize)> {
    let pos = run.first()?.pos();
    let mut bytes = 0usize;
    for piece in run {
        bytes = bytes.checked_add(piece.bytes())?;
    }
    Some((pos, bytes))
}

/// Where in a piece of `size` bytes at `start` the `len` bytes at `pos` lie, if they do lie in it.
pub fn offset_within(start: i64, size: usize, pos: i64, len: usize) -> Option<usize> {
    let offset = usize::try_from(pos.checked_sub(start)?).ok()?;
    (offset.checked_add(len)? <= size).then_some(offset)
}

/// How many of the `len` bytes at `pos` lie before `end`, where the file ends.
pub fn before_end(pos: u64, len: usize, end: u64) -> usize {
    usize::try_from(end.saturating_sub(pos))
        .unwrap_or(usize::MAX)
        .min(len)
}
