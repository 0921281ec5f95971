// SPDX-License-Identifier: GPL-2.0
//! A buffer as several vectors.

use crate::queue::Request;

/// Vectors begin at multiples of this within the buffer, unless the buffer is small.
const PIECE: usize = 4096;

/// The most vectors that a request is cut into.
pub(crate) const MOST: usize = 4;

/// The vectors of a request. They point into its buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors {
    list: [libc::iovec; MOST],
    count: usize,
}

// SAFETY: the pointers are only followed by the kernel, in calls made by whoever owns the buffer.
unsafe impl Send for Vectors {}

impl Vectors {
    /// None.
    pub(crate) const NONE: Vectors = Vectors {
        list: [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; MOST],
        count: 0,
    };

    /// Cuts a request's buffer into at most `pieces` vectors, where its size allows.
    pub(crate) fn cut(request: &Request, pieces: usize) -> Self {
        let len = request.bytes();
        let step = len.div_ceil(pieces.clamp(1, MOST)).next_multiple_of(PIECE);
        let mut vectors = Self::NONE;
        let mut at = 0;
        while at < len && vectors.count < MOST {
            vectors.list[vectors.count] = libc::iovec {
                iov_base: request.buffer.start().wrapping_add(at).cast(),
                iov_len: step.min(len - at),
            };
            vectors.count += 1;
            at += step;
        }
        vectors
    }

    /// For system calls.
    pub(crate) fn as_ptr(&self) -> *const libc::iovec {
        self.list.as_ptr()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}
