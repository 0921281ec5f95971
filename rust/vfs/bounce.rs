// SPDX-License-Identifier: GPL-2.0

//! Kernel pages that stand in for a caller's memory during a direct read.
//!
//! C headers: [`include/linux/uio.h`](srctree/include/linux/uio.h) (`copy_page_to_iter()`)

use super::{
    iov::IovIter,
    pin::PinnedBuffer, //
};
use crate::bindings;
use kernel::{
    page::{
        Page,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::Arc, //
};

/// Pages to read into, whose content is copied to its destination afterwards.
pub struct Bounce {
    pages: Arc<KVec<Page>>,
    len: usize,
}

impl Bounce {
    /// Allocates pages for `len` bytes. Their content is not to be shown to anybody before it is
    /// read into them.
    ///
    /// Context: process context, may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(len: usize) -> Result<Self> {
        let mut pages = KVec::new();
        for _ in 0..len.div_ceil(PAGE_SIZE) {
            pages.push(Page::alloc_page(GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self {
            pages: Arc::new(pages, GFP_KERNEL)?,
            len,
        })
    }

    /// The pages, to read into.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn buffer(&self) -> Result<PinnedBuffer> {
        PinnedBuffer::of_pages(self.pages.clone(), self.len)
    }

    /// Copies the first `bytes` to `iter`, which moves on; returns how many could be copied.
    ///
    /// Context: process context, no locks held: user memory is faulted in.
    pub fn copy_to(&self, bytes: usize, iter: &mut IovIter<'_>) -> usize {
        let mut copied = 0usize;
        for page in self.pages.iter() {
            let wanted = bytes.saturating_sub(copied).min(PAGE_SIZE);
            // SAFETY: The page is ours, and `wanted` bytes lie within it; the iterator is valid.
            let got =
                unsafe { bindings::copy_page_to_iter(page.as_ptr(), 0, wanted, iter.as_raw()) };
            copied = copied.saturating_add(got);
            if got < wanted || copied == bytes {
                break;
            }
        }
        copied
    }
}
