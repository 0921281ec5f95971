// SPDX-License-Identifier: GPL-2.0

//! Which requests race.

use crate::{
    mutant::Mutant,
    property::Property,
    step::Step::{self, *},
    world::page_words,
};

/// What an actor does.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// An `O_DIRECT` write of some words, perhaps queued, perhaps from a mapping of a page.
    DirectWrite {
        /// What is written.
        words: u8,
        /// Whether the caller does not wait.
        queued: bool,
        /// The page that the buffer is a mapping of.
        buffer: Option<u8>,
    },
    /// An `O_DIRECT` read, likewise.
    DirectRead {
        /// What is read.
        words: u8,
        /// Whether the caller does not wait.
        queued: bool,
        /// The page that the buffer is a mapping of.
        buffer: Option<u8>,
    },
    /// A cached read of a page.
    Read {
        /// The page.
        page: u8,
        /// Whether it reads ahead, to the end of the file.
        ahead: bool,
    },
    /// A buffered write of words of one page.
    Write {
        /// What is written.
        words: u8,
    },
    /// A load through a mapping.
    Load {
        /// The page.
        page: u8,
    },
    /// A store through a mapping.
    Store {
        /// The word, as a set.
        words: u8,
    },
    /// Write-back in the background.
    WriteBack {
        /// What may be dirty.
        words: u8,
    },
    /// Truncation to the first of the words, and growth to the size that was.
    Truncate {
        /// What is cut off.
        words: u8,
    },
    /// A request to the lower file, its buffer a mapping of a page of the upper one.
    LowerUser {
        /// The page.
        page: u8,
    },
}

impl Op {
    /// What the request is for.
    pub fn words(self) -> u8 {
        match self {
            Op::DirectWrite { words, .. }
            | Op::DirectRead { words, .. }
            | Op::Write { words }
            | Op::Store { words }
            | Op::WriteBack { words }
            | Op::Truncate { words } => words,
            Op::Read { page, .. } | Op::Load { page } | Op::LowerUser { page } => page_words(page),
        }
    }

    /// The words that get a version of its own, which is acknowledged: what it writes, or, for a
    /// direct read, the page that its buffer is a mapping of.
    pub fn stored(self) -> u8 {
        match self {
            Op::DirectRead { buffer, .. } => buffer.map_or(0, page_words),
            _ if self.writes() => self.words(),
            _ => 0,
        }
    }

    /// Whether it writes what it is for.
    pub fn writes(self) -> bool {
        matches!(
            self,
            Op::DirectWrite { .. } | Op::Write { .. } | Op::Store { .. } | Op::Truncate { .. }
        )
    }

    /// Whether it bypasses the cache.
    pub fn is_direct(self) -> bool {
        matches!(self, Op::DirectWrite { .. } | Op::DirectRead { .. })
    }

    /// Whether the caller does not wait.
    pub fn may_queue(self) -> bool {
        matches!(
            self,
            Op::DirectWrite { queued: true, .. } | Op::DirectRead { queued: true, .. }
        )
    }

    /// Whether readahead comes before its reads.
    pub fn reads_ahead(self) -> bool {
        matches!(self, Op::Read { ahead: true, .. })
    }

    /// A name for traces.
    pub fn name(self) -> &'static str {
        match self {
            Op::DirectWrite { queued: true, .. } => "async write",
            Op::DirectWrite { .. } => "direct write",
            Op::DirectRead { queued: true, .. } => "async read",
            Op::DirectRead { .. } => "direct read",
            Op::Read { .. } => "cached read",
            Op::Write { .. } => "buffered write",
            Op::Load { .. } => "mapped load",
            Op::Store { .. } => "mapped store",
            Op::WriteBack { .. } => "write-back",
            Op::Truncate { .. } => "truncate",
            Op::LowerUser { .. } => "lower user",
        }
    }

    /// Its steps.
    pub(crate) fn steps(self, broken: impl Fn(Mutant) -> bool) -> &'static [Step] {
        match self {
            Op::DirectWrite { buffer, .. } => direct_write(buffer.is_some(), broken),
            Op::DirectRead { buffer: None, .. } => &[LockForRead, FlushForRead, Submit],
            Op::DirectRead { .. } => &[PinTarget, LockForRead, FlushForRead, Submit],
            Op::Read { .. } => &[SizeCheck],
            Op::Write { .. } if broken(Mutant::WriteGateBeforeFolio) => {
                &[WriteLock, WriteGate, Return]
            }
            Op::Write { .. } if broken(Mutant::WriteGateBeforeLock) => {
                &[WriteGate, WriteLock, GetFolio, Return]
            }
            Op::Write { .. } => &[WriteLock, GetFolio, Return],
            Op::Load { .. } => &[Load],
            Op::Store { .. } => &[Store],
            Op::WriteBack { words } => match crate::world::pages_of(words) {
                (0, 0) => &[Flush(0, 0)],
                (1, _) => &[Flush(1, 1)],
                _ => &[Flush(0, 1)],
            },
            Op::Truncate { words } => match crate::world::pages_of(words) {
                (0, _) => &[
                    TruncateLock,
                    WaitDirect,
                    CutSize,
                    CutLock,
                    Cut(0, 1),
                    LowerShrink,
                    Grow,
                    Return,
                ],
                _ => &[
                    TruncateLock,
                    WaitDirect,
                    CutSize,
                    CutLock,
                    Cut(1, 1),
                    LowerShrink,
                    Grow,
                    Return,
                ],
            },
            Op::LowerUser { .. } => &[LowerLock, Load, LowerUnlock],
        }
    }
}

fn direct_write(mapped: bool, broken: impl Fn(Mutant) -> bool) -> &'static [Step] {
    match () {
        () if broken(Mutant::Order2007) => &[LockForWrite, FlushForRead, Submit],
        () if broken(Mutant::NoBarrierInEnter) => &[LockForWrite, Enter, Look, Drain, Submit],
        () if broken(Mutant::PinAfterEnter) && mapped => {
            &[LockForWrite, Enter, Look, PinSource, Submit]
        }
        () if broken(Mutant::PinUnderLowerLock) && mapped => &[
            LockForWrite,
            Enter,
            Look,
            LowerLock,
            PinSource,
            LowerUnlock,
            Submit,
        ],
        () if mapped => &[PinSource, LockForWrite, Enter, Look, Submit],
        () => &[LockForWrite, Enter, Look, Submit],
    }
}

/// A set of requests that race on one file.
#[derive(Debug)]
pub struct Config {
    /// Its name.
    pub name: &'static str,
    /// What each actor does, one after the other. A direct request is the last of its actor.
    pub actors: &'static [&'static [Op]],
    /// The size of the file, in words.
    pub size: u8,
    /// Whether waits at the gate end when their time is up. Where they do not, a deadlock cannot
    /// hide behind them.
    pub limits: bool,
    /// Whether the lower file's buffered reads take its inode lock, as on XFS.
    pub lower_reads_lock: bool,
    /// What is known to be broken and documented as a limit.
    pub known: Option<Property>,
}

impl Config {
    /// Whether the file can shrink.
    pub fn truncates(&self) -> bool {
        let mut ops = self.actors.iter().copied().flatten();
        ops.any(|op| matches!(op, Op::Truncate { .. }))
    }
}

const fn config(name: &'static str, actors: &'static [&'static [Op]]) -> Config {
    Config {
        name,
        actors,
        size: 2,
        limits: false,
        lower_reads_lock: false,
        known: None,
    }
}

const fn two_pages(config: Config) -> Config {
    Config { size: 4, ..config }
}

const fn with_limits(config: Config) -> Config {
    Config {
        limits: true,
        ..config
    }
}

const fn as_on_xfs(config: Config) -> Config {
    Config {
        lower_reads_lock: true,
        ..config
    }
}

const fn async_write(words: u8) -> Op {
    Op::DirectWrite {
        words,
        queued: true,
        buffer: None,
    }
}

const fn sync_write(words: u8) -> Op {
    Op::DirectWrite {
        words,
        queued: false,
        buffer: None,
    }
}

const fn write_from(words: u8, page: u8) -> Op {
    Op::DirectWrite {
        words,
        queued: true,
        buffer: Some(page),
    }
}

const fn async_read(words: u8) -> Op {
    Op::DirectRead {
        words,
        queued: true,
        buffer: None,
    }
}

const fn sync_read(words: u8) -> Op {
    Op::DirectRead {
        words,
        queued: false,
        buffer: None,
    }
}

const fn read_to(words: u8, page: u8) -> Op {
    Op::DirectRead {
        words,
        queued: true,
        buffer: Some(page),
    }
}

const fn read(page: u8) -> Op {
    Op::Read { page, ahead: true }
}

const fn read_alone(page: u8) -> Op {
    Op::Read { page, ahead: false }
}

const fn load(page: u8) -> Op {
    Op::Load { page }
}

const fn write(words: u8) -> Op {
    Op::Write { words }
}

const fn store(words: u8) -> Op {
    Op::Store { words }
}

const fn write_back(words: u8) -> Op {
    Op::WriteBack { words }
}

const fn truncate(words: u8) -> Op {
    Op::Truncate { words }
}

const fn lower_user(page: u8) -> Op {
    Op::LowerUser { page }
}

/// All configurations.
pub const CONFIGS: &[Config] = &[
    config(
        "reads",
        &[
            &[async_write(0b01)],
            &[read(0), read(0)],
            &[write(0b10), load(0)],
        ],
    ),
    config(
        "writes",
        &[
            &[async_write(0b01)],
            &[write(0b10), write(0b11)],
            &[write_back(0b11), write_back(0b11)],
            &[read(0)],
        ],
    ),
    config(
        "stores",
        &[
            &[async_write(0b01)],
            &[store(0b10), store(0b01)],
            &[write_back(0b11), write_back(0b11)],
        ],
    ),
    config(
        "sync",
        &[
            &[sync_write(0b01)],
            &[store(0b10), write(0b01)],
            &[write_back(0b11), read(0)],
        ],
    ),
    config(
        "overlap",
        &[
            &[async_write(0b01)],
            &[async_write(0b11)],
            &[store(0b10), write_back(0b11)],
            &[read(0)],
        ],
    ),
    config(
        "overlap-writes",
        &[
            &[async_write(0b01)],
            &[async_write(0b11)],
            &[write(0b10), write(0b01)],
            &[read(0)],
        ],
    ),
    config(
        "direct-reads",
        &[
            &[store(0b01), async_read(0b11)],
            &[write(0b10), sync_read(0b11)],
            &[async_write(0b10)],
            &[write_back(0b11)],
        ],
    ),
    two_pages(config(
        "two-pages",
        &[
            &[async_write(0b0110)],
            &[read(0), store(0b1000)],
            &[write(0b0001), write_back(0b1111)],
        ],
    )),
    two_pages(config(
        "two-pages-dirty",
        &[
            &[write(0b0001), write(0b1000)],
            &[async_write(0b1111)],
            &[write_back(0b1111), load(1)],
        ],
    )),
    Config {
        size: 1,
        ..config(
            "extend",
            &[
                &[write(0b01), sync_write(0b10)],
                &[read(0), read(0)],
                &[store(0b01), write_back(0b01)],
            ],
        )
    },
    two_pages(config(
        "own-buffer",
        &[
            &[write_from(0b0011, 0)],
            &[store(0b0010), write_back(0b1111)],
            &[read(0), write(0b0001)],
        ],
    )),
    two_pages(config(
        "own-buffer-crossed",
        &[
            &[write_from(0b0011, 1)],
            &[write_from(0b1100, 0)],
            &[store(0b0001)],
            &[write_back(0b1111)],
        ],
    )),
    two_pages(config(
        "own-target",
        &[
            &[read_to(0b0011, 0)],
            &[async_write(0b0001)],
            &[store(0b0010), write_back(0b0011)],
        ],
    )),
    two_pages(config(
        "own-target-crossed",
        &[
            &[read_to(0b0011, 1)],
            &[async_write(0b1100)],
            &[write(0b0001), write_back(0b1111)],
        ],
    )),
    config(
        "truncate",
        &[
            &[async_write(0b01)],
            &[truncate(0b11)],
            &[store(0b10), write_back(0b11)],
        ],
    ),
    config(
        "truncate-reads",
        &[
            &[write(0b01), truncate(0b11)],
            &[read(0), load(0)],
            &[async_write(0b10)],
        ],
    ),
    two_pages(config(
        "truncate-half",
        &[
            &[write(0b1000), truncate(0b1100)],
            &[read(0), load(1)],
            &[write_back(0b1100)],
        ],
    )),
    with_limits(config(
        "limits-reads",
        &[
            &[async_write(0b01)],
            &[read(0), read(0)],
            &[write(0b10), load(0)],
        ],
    )),
    with_limits(config(
        "limits-stores",
        &[
            &[async_write(0b01)],
            &[store(0b10), store(0b01)],
            &[write_back(0b11), read(0)],
        ],
    )),
    with_limits(config(
        "limits-overlap",
        &[
            &[async_write(0b01)],
            &[async_write(0b11)],
            &[load(0), read_alone(0)],
        ],
    )),
    with_limits(config(
        "limits-target",
        &[
            &[read_to(0b11, 0)],
            &[async_write(0b01)],
            &[store(0b10), write_back(0b11)],
        ],
    )),
    with_limits(config(
        "lower-user",
        &[&[async_write(0b01)], &[lower_user(0)], &[read(0)]],
    )),
    config(
        "lower-writeback",
        &[
            &[write(0b01), write_back(0b11)],
            &[lower_user(0)],
            &[store(0b10)],
        ],
    ),
    config(
        "truncate-lower-user",
        &[
            &[write(0b01), truncate(0b11)],
            &[lower_user(0)],
            &[write_back(0b11)],
        ],
    ),
    Config {
        known: Some(Property::Deadlock),
        ..with_limits(config(
            "lower-user-known",
            &[
                &[async_write(0b01)],
                &[lower_user(0)],
                &[store(0b10), store(0b10)],
                &[write_back(0b11), write_back(0b11)],
            ],
        ))
    },
    as_on_xfs(config(
        "xfs",
        &[
            &[async_write(0b01)],
            &[read(0), store(0b10)],
            &[write(0b10), write_back(0b11)],
        ],
    )),
];

/// The configuration called `name`.
pub fn find(name: &str) -> Option<&'static Config> {
    CONFIGS.iter().find(|config| config.name == name)
}
