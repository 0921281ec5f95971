// SPDX-License-Identifier: GPL-2.0

//! Parts of folios on their way between the page cache and the store, and runs of them.

use super::folio::offset_within;
use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// Bytes of one folio, and where in the file they stand.
///
/// # Invariants
///
/// The bytes lie within the folio. Whoever made the part keeps the folio, locked or under
/// writeback, for as long as the part exists.
pub(super) struct Part {
    folio: NonNull<bindings::folio>,
    pos: i64,
    offset: usize,
    len: usize,
}

impl Part {
    /// The `len` bytes at `pos` of the file; `None` if they do not all lie in the folio.
    ///
    /// # Safety
    ///
    /// `folio` is in a page cache, locked, and stays locked or under writeback for as long as the
    /// part exists.
    pub(super) unsafe fn new(folio: *mut bindings::folio, pos: i64, len: usize) -> Option<Self> {
        let folio = NonNull::new(folio)?;
        // SAFETY: The caller guarantees the folio.
        let offset = unsafe { offset_within(folio.as_ptr(), pos, len) }?;
        // INVARIANT: The offset says that the bytes lie within; the caller guarantees the rest.
        Some(Self {
            folio,
            pos,
            offset,
            len,
        })
    }

    /// The folio.
    pub(super) fn folio(&self) -> *mut bindings::folio {
        self.folio.as_ptr()
    }

    /// The position in the file.
    pub(super) fn pos(&self) -> i64 {
        self.pos
    }

    /// The position in the folio.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The part as an element of an array of page ranges.
    pub(super) fn bvec(&self) -> bindings::bio_vec {
        let mut bvec = bindings::bio_vec::default();
        // SAFETY: By the type invariants the bytes lie within a folio that stays.
        unsafe { bindings::bvec_set_folio(&mut bvec, self.folio(), self.len, self.offset) };
        bvec
    }
}

/// Splits off the leading parts that are contiguous in the file; `None` when there are none.
pub(super) fn split_run<P: AsRef<Part>>(parts: &[P]) -> Option<(&[P], &[P])> {
    let mut end = parts.first()?.as_ref().pos();
    let mut count = 0usize;
    for part in parts.iter().map(P::as_ref) {
        if part.pos() != end {
            break;
        }
        end = end.saturating_add_unsigned(part.len() as u64);
        count = count.saturating_add(1);
    }
    parts.split_at_checked(count)
}

/// Where in the file a run begins, and how many bytes it has.
///
/// # Errors
///
/// `EINVAL` if there are no parts, `EOVERFLOW`.
pub(super) fn extent<P: AsRef<Part>>(run: &[P]) -> Result<(i64, usize)> {
    let pos = run.first().ok_or(EINVAL)?.as_ref().pos();
    let mut len = 0usize;
    for part in run.iter().map(P::as_ref) {
        len = len.checked_add(part.len()).ok_or(EOVERFLOW)?;
    }
    Ok((pos, len))
}

impl AsRef<Part> for Part {
    fn as_ref(&self) -> &Part {
        self
    }
}
