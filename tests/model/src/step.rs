// SPDX-License-Identifier: GPL-2.0

//! The steps that tasks consist of, and the function that each stands for.

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident $(($($field:ident),*))? = $file:literal, $function:literal;)*) => {
        /// What a task does without anybody coming in between.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Step {
            /// What an empty place of a stack holds.
            Nothing,
            $($(#[$doc])* $name $(($(steps!(@type $field)),*))?,)*
        }

        impl Step {
            /// The file below `rust/` and the function that the step stands for; the file is
            /// `kernel` for a function of the kernel.
            pub fn source(self) -> (&'static str, &'static str) {
                match self {
                    Step::Nothing => ("", ""),
                    $(Step::$name { .. } => ($file, $function),)*
                }
            }

            /// All of [`Step::source`].
            pub const SOURCES: &'static [(&'static str, &'static str)] = &[$(($file, $function)),*];
        }
    };
    (@type $field:ident) => { u8 };
}

steps! {
    /// A direct write faults in and pins its buffer, a mapping of this file.
    PinSource = "vfs/pin.rs", "pin";
    /// A direct read does, and finds that it is one.
    PinTarget = "vfs/pin.rs", "pin";
    /// It lets go of the buffer; one that was cleaned meanwhile is dirtied again.
    LetGo = "vfs/pin.rs", "release";
    /// A direct read dirties its pinned buffer before it reads (mutant only: of a mapping of this
    /// file, nothing is pinned by then).
    MarkPinned = "vfs/pin.rs", "mark_dirty";
    /// A direct write takes the inode lock.
    LockForWrite = "fs/direct.rs", "lock_for_write";
    /// A direct write that extends the file takes it anew, exclusively.
    LockAlone = "fs/direct.rs", "lock_for_write";
    /// A direct read takes it.
    LockForRead = "fs/direct.rs", "prepare_read";
    /// A direct write's range enters the registry.
    Enter = "vfs/range_set.rs", "enter";
    /// A store leaves the store buffer (mutants only).
    Drain = "vfs/range_set.rs", "enter";
    /// A direct write looks at the cache for the first time.
    Look = "fs/direct.rs", "make_way";
    /// It opens its range halfway.
    Reopen = "vfs/range_set.rs", "set_closed";
    /// It waits until the lower inode is not locked.
    WaitLower = "vfs/lower.rs", "wait_unlocked";
    /// It closes its range again.
    Close = "vfs/range_set.rs", "set_closed";
    /// It looks at the cache again.
    LookAgain = "fs/direct.rs", "empty_cache";
    /// It looks whether the invalidation went well, its range closed.
    LookClosed = "fs/direct.rs", "empty_cache";
    /// A direct request goes to the lower file.
    Submit = "vfs/transfer.rs", "call_lower";
    /// The lower call has queued the request and looks at it once more; the inode lock is released.
    Queued = "vfs/transfer.rs", "call_lower";
    /// The error of an invalidation takes the place of `-EIOCBQUEUED` (mutant only).
    Overwrite = "vfs/kiocb.rs", "into_c";
    /// The device does what was submitted.
    Device = "kernel", "bio_endio";
    /// The lower call of a request that was not queued returns.
    LowerReturn = "vfs/transfer.rs", "submit";
    /// A queued lower request has ended; this is an interrupt.
    LowerComplete = "vfs/transfer.rs", "lower_complete";
    /// The second invalidation looks for something to do.
    LookAfter = "fs/direct.rs", "invalidate_after";
    /// The second invalidation is over.
    After = "fs/direct.rs", "invalidate_after";
    /// The new size is published.
    PublishSize = "fs/direct.rs", "publish_size";
    /// The range leaves the registry, the buffer and `i_dio_count` are let go.
    Leave = "vfs/transfer.rs", "end";
    /// A queued request is completed.
    Complete = "vfs/transfer.rs", "complete";
    /// The inode lock is released and the call returns.
    Return = "vfs/lock.rs", "drop";
    /// A direct read looks for something to write back.
    FlushForRead = "fs/direct.rs", "flush_for_read";
    /// A direct read into pages of its own releases the inode lock.
    Unlock = "vfs/lock.rs", "drop";
    /// It stores one of the words that it has read, the one with number `.0` in its page.
    CopyTo(half) = "vfs/bounce.rs", "copy_to";

    /// Dirty pages `.0` to `.1` are collected for write-back.
    Flush(from, to) = "vfs/writeback.rs", "write_folio";
    /// The same, waiting with the folio locked for write-back that has begun meanwhile.
    FlushLocked(from, to) = "kernel", "writeback_iter";
    /// What was collected is written to the lower file.
    WriteLower(to) = "vfs/writeback.rs", "submit";
    /// Write-back of a page is waited for.
    WaitWriteback(page) = "kernel", "folio_wait_writeback";
    /// Pages `.0` to `.1` are unmapped and removed.
    Invalidate(from, to) = "vfs/cache.rs", "invalidate";
    /// The same, waiting with the folio locked for its write-back.
    InvalidateLocked(from, to) = "kernel", "invalidate_inode_pages2_range";

    /// A cached read or fault looks at the size.
    SizeCheck = "kernel", "filemap_read";
    /// It looks for its folio, and adds one.
    Lookup = "kernel", "filemap_get_pages";
    /// The folio is added only now (mutant only).
    AddFolio = "kernel", "filemap_add_folio";
    /// Readahead asks the registry.
    ReadaheadGate = "vfs/fill.rs", "readahead";
    /// `read_folio` asks.
    ReadFolioGate = "vfs/fill.rs", "read_folio";
    /// Locked folios are filled from the lower file.
    Fill = "vfs/fill.rs", "fill_run";
    /// They are up to date, and unlocked.
    FillDone = "vfs/fill.rs", "finish";
    /// `read_folio` waits at the gate.
    ReadWait = "fs/registry.rs", "wait";
    /// Its wait given up, it locks its folio again.
    AfterWait = "vfs/fill.rs", "after_wait";
    /// A load through a mapping.
    Load = "kernel", "filemap_fault";
    /// A store through a mapping.
    Store = "kernel", "do_shared_fault";
    /// A store locks its folio and asks the registry.
    Mkwrite = "vfs/fault.rs", "try_dirty";
    /// It dirties the folio, and the page may be stored to.
    MkwriteDirty = "vfs/fault.rs", "try_dirty";
    /// It waits at the gate.
    MkwriteWait = "vfs/fault.rs", "dirty";

    /// A buffered write takes the inode lock.
    WriteLock = "fs/file.rs", "write_cached";
    /// It takes a folio.
    GetFolio = "vfs/buffered.rs", "open_folio";
    /// It asks the registry.
    WriteGate = "vfs/buffered.rs", "open_folio";
    /// It waits at the gate.
    WriteWait = "vfs/buffered.rs", "open_folio";
    /// It fills what it leaves standing.
    WriteFill = "vfs/buffered.rs", "read_folio_range";
    /// It copies its data.
    WriteCopy = "vfs/buffered.rs", "write";

    /// A truncation takes the inode lock.
    TruncateLock = "kernel", "do_truncate";
    /// It waits for direct transfers.
    WaitDirect = "vfs/cache.rs", "wait_direct";
    /// It sets the new size.
    CutSize = "vfs/cache.rs", "truncate_cache";
    /// It keeps faults and fills out.
    CutLock = "vfs/cache.rs", "truncate_cache";
    /// It removes pages `.0` to `.1`.
    Cut(from, to) = "vfs/cache.rs", "truncate_cache";
    /// The same, waiting with the folio locked for its write-back.
    CutLocked(from, to) = "kernel", "truncate_inode_pages_range";
    /// The lower file shrinks.
    LowerShrink = "fs/page_cache.rs", "shrink";
    /// The lower file grows, and then this one.
    Grow = "fs/page_cache.rs", "set_size";

    /// A task that has the lower file open locks it, for a request of its own.
    LowerLock = "kernel", "ext4_dio_write_iter";
    /// It unlocks it.
    LowerUnlock = "kernel", "ext4_dio_write_iter";
}
