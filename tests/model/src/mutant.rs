// SPDX-License-Identifier: GPL-2.0

//! What can be broken, and what that must break.

use crate::property::Property;

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $config:literal, $property:ident, $text:literal;)*) => {
        /// A change of the protocol that breaks it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Mutant { $($(#[$doc])* #[doc = $text] $name,)* }

        impl Mutant {
            /// All of them.
            const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it is called on the command line.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// The configuration that shows it.
            pub fn config(self) -> &'static str {
                match self { $(Self::$name => $config,)* }
            }

            /// What it breaks.
            pub fn breaks(self) -> Property {
                match self { $(Self::$name => Property::$property,)* }
            }

            /// What it does.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

mutants! {
    WriteGateBeforeFolio = "write-gate-before-folio", "writes", CachedRead,
        "a buffered write asks the registry before its folio is in the cache";
    Order2007 = "order-2007", "stores", Once,
        "the range is invalidated only after submission, and the error replaces -EIOCBQUEUED";
    NeverCompletes = "never-completes", "reads", Once,
        "the end of a queued write does not complete the caller's request";
    NoFlushBefore = "no-flush-before", "stores", BoundedTries,
        "the range is invalidated without having been written back";
    NoInvalidationBefore = "no-invalidation-before", "reads", Before,
        "the range is written back, but not invalidated, before the write";
    NoInvalidationAfter = "no-invalidation-after", "limits-reads", CachedRead,
        "the range is not invalidated after the write";
    FirstPageOff = "first-page-off", "two-pages-dirty", Before,
        "the first page of the range is left in the cache";
    LastPageOff = "last-page-off", "two-pages-dirty", Before,
        "the last page of the range is left in the cache";
    ReadaheadIgnores = "readahead-ignores", "reads", Registry,
        "readahead does not ask the registry";
    ReadFolioIgnores = "read-folio-ignores", "reads", Registry,
        "read_folio does not ask the registry";
    WriteBeginIgnores = "write-begin-ignores", "writes", CachedRead,
        "a buffered write does not ask the registry";
    MkwriteIgnores = "mkwrite-ignores", "limits-stores", CachedRead,
        "page_mkwrite does not ask the registry";
    WriteGateBeforeLock = "registry-asked-too-early", "writes", Lost,
        "a buffered write asks the registry before it has the inode lock, and not later";
    GateOfBytes = "gate-of-bytes", "writes", CachedRead,
        "a buffered write asks for its bytes only, not for the whole folio";
    GateBeforeFolio = "gate-before-folio", "reads", Registry,
        "a read asks the registry before its folio is in the cache";
    NoBarrierInEnter = "no-barrier-in-enter", "stores", CachedRead,
        "no barrier between entering the registry and looking at the cache";
    NoBarrierInGate = "no-barrier-in-gate", "reads", Registry,
        "no barrier between adding a folio and looking at the registry";
    NoLookAgain = "no-look-again", "limits-stores", Before,
        "no look at the cache after the range was closed again";
    RangeStaysHalfOpen = "range-stays-half-open", "limits-reads", Before,
        "the range is not closed again after the cache was emptied, nor looked at again";
    LeaveBeforeInvalidation = "leave-before-invalidation", "limits-reads", CachedRead,
        "the range leaves the registry before the second invalidation";
    CompletionBeforeInvalidation = "completion-before-invalidation", "limits-reads", CachedRead,
        "the request completes before the second invalidation";
    NoWorker = "no-worker", "limits-reads", CachedRead,
        "an interrupt ends the request although there is something in the range";
    SizeLate = "size-late", "extend", Size,
        "the size is published after the write has returned";
    FreedEarly = "freed-early", "reads", Lifetime,
        "the submitter has no reference to the request";
    PinUnderLowerLock = "pin-under-lower-lock", "own-buffer", Deadlock,
        "user pages are faulted in while the range is registered, under the lower's lock";
    PinAfterEnter = "pin-after-enter", "own-buffer", Deadlock,
        "user pages are faulted in after the range is registered";
    WritebackUnderFolioLock = "writeback-under-folio-lock", "lower-writeback", Deadlock,
        "write-back writes to the lower file with the folio locked";
    ReadWaitsLocked = "read-waits-locked", "reads", Deadlock,
        "read_folio waits at the gate with its folio locked";
    MkwriteWaitsLocked = "mkwrite-waits-locked", "stores", Deadlock,
        "page_mkwrite waits at the gate with its folio locked";
    WriteWaitsLocked = "write-waits-locked", "writes", Deadlock,
        "a buffered write waits at the gate with its folio locked";
    EndTakesInodeLock = "end-takes-inode-lock", "writes", Deadlock,
        "the end of a queued write takes the inode lock";
    TruncateDoesNotWait = "truncate-does-not-wait", "truncate", Truncation,
        "truncation does not wait for direct I/O in flight";
    ReadNotBounced = "read-not-bounced", "own-target", Lost,
        "a direct read into a mapping of the file reads into the pinned pages of the cache";
    LowerGrows = "lower-grows-past-the-end", "extend", Ends,
        "write-back writes whole blocks, so that the lower file grows past the end of the file";
    NoFlushForRead = "no-flush-for-read", "direct-reads", DirectRead,
        "a direct read does not write back first";
    ShrinkUnderInvalidateLock = "shrink-under-invalidate-lock", "truncate-lower-user", Deadlock,
        "the lower file is shrunk under the upper invalidate_lock";
    FillsPastEnd = "fills-past-end", "truncate-half", CachedRead,
        "folios past the end of the file are filled with what the lower file has there still";
    ReadaheadIgnoresAndAfter = "readahead-ignores-no-after", "reads", CachedRead,
        "readahead does not ask the registry, and there is no second invalidation";
    ReadFolioIgnoresAndAfter = "read-folio-ignores-no-after", "reads", CachedRead,
        "read_folio does not ask the registry, and there is no second invalidation";
    NoBarrierInGateAndAfter = "no-barrier-in-gate-no-after", "reads", CachedRead,
        "no barrier between adding a folio and looking, and there is no second invalidation";
    GateBeforeFolioAndAfter = "gate-before-folio-no-after", "reads", CachedRead,
        "a read asks before its folio is in the cache, and there is no second invalidation";
    NoInvalidationAndAfter = "no-invalidation-at-all", "reads", CachedRead,
        "the range is not invalidated, neither before nor after the write";
}

/// What a mutant breaks besides, and where.
pub const BESIDES: &[(Mutant, &str, Property)] = &[
    (
        Mutant::RangeStaysHalfOpen,
        "limits-stores",
        Property::CachedRead,
    ),
    (Mutant::RangeStaysHalfOpen, "limits-stores", Property::Lost),
    (
        Mutant::WriteGateBeforeLock,
        "overlap-writes",
        Property::CachedRead,
    ),
    (Mutant::ReadNotBounced, "own-target-crossed", Property::Lost),
];

/// What can be left out without anybody noticing, and where: something else keeps the promise there.
/// Each of these is explored to the end and must break no promise.
pub const REDUNDANT: &[(Mutant, &str)] = &[
    (Mutant::WriteGateBeforeFolio, "writes"),
    (Mutant::WriteGateBeforeFolio, "overlap-writes"),
    (Mutant::MkwriteIgnores, "stores"),
    (Mutant::NoInvalidationAfter, "reads"),
    (Mutant::NoInvalidationAfter, "writes"),
    (Mutant::NoInvalidationAfter, "stores"),
    (Mutant::NoInvalidationAfter, "overlap"),
    (Mutant::LeaveBeforeInvalidation, "reads"),
];

impl Mutant {
    /// What a mutant that breaks two things consists of.
    pub fn parts(self) -> &'static [Self] {
        match self {
            Self::ReadaheadIgnoresAndAfter => &[Self::ReadaheadIgnores, Self::NoInvalidationAfter],
            Self::ReadFolioIgnoresAndAfter => &[Self::ReadFolioIgnores, Self::NoInvalidationAfter],
            Self::NoBarrierInGateAndAfter => &[Self::NoBarrierInGate, Self::NoInvalidationAfter],
            Self::GateBeforeFolioAndAfter => &[Self::GateBeforeFolio, Self::NoInvalidationAfter],
            Self::NoInvalidationAndAfter => {
                &[Self::NoInvalidationBefore, Self::NoInvalidationAfter]
            }
            _ => &[],
        }
    }

    /// Those that must be noticed.
    pub fn harmful() -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .copied()
            .filter(|mutant| *mutant != Self::WriteGateBeforeFolio)
    }

    /// The mutant called `id`.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.id() == id)
    }
}
