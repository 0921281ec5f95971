// SPDX-License-Identifier: GPL-2.0

//! Parts of folios on their way between the page cache and the store.

use super::folio::offset_within;
use crate::{
    bindings,
    pure::run::Piece, //
};
use core::ptr::NonNull;

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

impl Piece for Part {
    fn pos(&self) -> i64 {
        self.pos
    }

    fn bytes(&self) -> usize {
        self.len
    }
}
