// SPDX-License-Identifier: GPL-2.0

//! Which versions of a word a read may no longer return.
//!
//! The rule is that of `Documentation/coherence.rst`, "What may be asserted": a read may return the
//! version of `w` unless there is an acknowledged write `x` of the word that started after `w` ended
//! and ended before the read started. Only the order of events counts, so that a few bits suffice.

use crate::world::{Version, WORDS, words_of};

/// A set of versions, one bit each.
pub type Versions = u8;

/// What has started and ended so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct History {
    ended: Versions,
    /// For each write that goes on, the writes that had ended when it started.
    before: [Versions; 8],
    superseded: [Versions; WORDS],
}

impl History {
    /// The history of a file whose initial content, version 0, was written long ago.
    pub fn new() -> Self {
        Self {
            ended: 1,
            before: [0; 8],
            superseded: [0; WORDS],
        }
    }

    /// The write of `version` starts.
    pub fn start(&mut self, version: Version) {
        self.before[usize::from(version)] = self.ended;
    }

    /// The write of `version` to `words` was seen to be complete.
    pub fn acknowledge(&mut self, version: Version, words: u8) {
        let before = std::mem::take(&mut self.before[usize::from(version)]);
        for word in words_of(words) {
            self.superseded[word] |= before;
        }
        self.ended |= 1 << version;
    }

    /// The write of `version` failed: it is never acknowledged.
    pub fn abandon(&mut self, version: Version) {
        self.before[usize::from(version)] = 0;
    }

    /// What a read that starts now may not return, for each word.
    pub fn illegal(&self) -> [Versions; WORDS] {
        self.superseded
    }

    /// Whether a read of `word` that starts now may return `version`.
    pub fn is_legal(&self, word: usize, version: Version) -> bool {
        self.superseded[word] & (1 << version) == 0
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}
