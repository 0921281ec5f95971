// SPDX-License-Identifier: GPL-2.0
//! The engines by name.

use std::fmt;
use std::str::FromStr;

/// By which interface requests reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// pread(2), pwrite(2).
    Sync,
    /// preadv2(2), pwritev2(2) with a flag.
    Flag(Flag),
    /// io_submit(2), io_getevents(2), one buffer a request.
    Libaio,
    /// The same with several vectors a request.
    LibaioVector,
    /// The same, while `O_DIRECT` is set and cleared on the descriptor.
    Toggle,
    /// io_uring(7).
    Uring(Ring),
    /// Loads and stores in a shared mapping.
    Mmap(Touch),
    /// splice(2) between the file and a pipe, copied into and out of the pipe.
    Splice,
    /// splice(2) between the file and a pipe, vmsplice(2) between the pipe and memory.
    Vmsplice,
    /// sendfile(2): from the file to a socket, from memory to the file.
    Sendfile,
    /// copy_file_range(2) to and from another file of the same filesystem.
    CopyRange,
}

/// A flag of preadv2(2) and pwritev2(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flag {
    /// `RWF_NOWAIT`; what the kernel will not do without waiting, or cannot, is asked again without
    /// the flag.
    Nowait,
    /// `RWF_DSYNC` on writes.
    Dsync,
    /// `RWF_HIPRI`: polls for the end.
    Hipri,
    /// `RWF_DONTCACHE`: through the cache, which keeps nothing.
    DontCache,
    /// `RWF_ATOMIC` on the writes whose place and size allow it.
    Atomic,
    /// `RWF_APPEND`: writes at the end of the file and nowhere else.
    Append,
}

/// A way to use io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ring {
    /// Reads and writes of one buffer.
    Plain,
    /// Several vectors a request.
    Vector,
    /// Registered buffers and a registered file.
    Fixed,
    /// A thread of the kernel fetches the requests.
    Sqpoll,
    /// Completions are polled for, where the device allows it.
    Iopoll,
    /// Each write is linked to an fdatasync, and to the read that follows it.
    Linked,
    /// Each request is punted to a worker thread of the kernel at once.
    Async,
    /// One thread submits, and completions are worked off when it waits for them
    /// (`IORING_SETUP_DEFER_TASKRUN`).
    Defer,
}

/// What is done beside loads and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Touch {
    /// Nothing.
    Plain,
    /// msync(2) after stores and before loads: synchronous, asynchronous, invalidating.
    Synced,
    /// madvise(2) before each access: every advice that leaves the content alone.
    Advised,
    /// The range is mapped for the access, moved by mremap(2), and unmapped.
    Remapped,
}

/// An engine: an interface, and whether the page cache is passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The interface.
    pub path: Path,
    /// `O_DIRECT`.
    pub direct: bool,
}

macro_rules! engines {
    ($($name:literal $constant:ident = $path:expr, $direct:expr;)*) => {
        impl Kind {
            $(#[doc = concat!("The engine called ", $name, ".")]
            pub const $constant: Kind = Kind { path: $path, direct: $direct };)*

            /// Every engine with its name.
            pub const ALL: &[(&str, Kind)] = &[$(($name, Self::$constant)),*];
        }
    };
}

engines! {
    "buffered" BUFFERED = Path::Sync, false;
    "direct" DIRECT = Path::Sync, true;
    "buffered-nowait" BUFFERED_NOWAIT = Path::Flag(Flag::Nowait), false;
    "direct-nowait" DIRECT_NOWAIT = Path::Flag(Flag::Nowait), true;
    "buffered-dsync" BUFFERED_DSYNC = Path::Flag(Flag::Dsync), false;
    "direct-dsync" DIRECT_DSYNC = Path::Flag(Flag::Dsync), true;
    "buffered-append" BUFFERED_APPEND = Path::Flag(Flag::Append), false;
    "direct-append" DIRECT_APPEND = Path::Flag(Flag::Append), true;
    "direct-hipri" DIRECT_HIPRI = Path::Flag(Flag::Hipri), true;
    "direct-atomic" DIRECT_ATOMIC = Path::Flag(Flag::Atomic), true;
    "dontcache" DONTCACHE = Path::Flag(Flag::DontCache), false;
    "libaio" LIBAIO = Path::Libaio, true;
    "libaio-buffered" LIBAIO_BUFFERED = Path::Libaio, false;
    "libaio-vector" LIBAIO_VECTOR = Path::LibaioVector, true;
    "toggle" TOGGLE = Path::Toggle, false;
    "uring" URING = Path::Uring(Ring::Plain), true;
    "uring-buffered" URING_BUFFERED = Path::Uring(Ring::Plain), false;
    "uring-vector" URING_VECTOR = Path::Uring(Ring::Vector), true;
    "uring-vector-buffered" URING_VECTOR_BUFFERED = Path::Uring(Ring::Vector), false;
    "uring-fixed" URING_FIXED = Path::Uring(Ring::Fixed), true;
    "uring-fixed-buffered" URING_FIXED_BUFFERED = Path::Uring(Ring::Fixed), false;
    "uring-sqpoll" URING_SQPOLL = Path::Uring(Ring::Sqpoll), true;
    "uring-sqpoll-buffered" URING_SQPOLL_BUFFERED = Path::Uring(Ring::Sqpoll), false;
    "uring-iopoll" URING_IOPOLL = Path::Uring(Ring::Iopoll), true;
    "uring-linked" URING_LINKED = Path::Uring(Ring::Linked), true;
    "uring-linked-buffered" URING_LINKED_BUFFERED = Path::Uring(Ring::Linked), false;
    "uring-async" URING_ASYNC = Path::Uring(Ring::Async), true;
    "uring-async-buffered" URING_ASYNC_BUFFERED = Path::Uring(Ring::Async), false;
    "uring-defer" URING_DEFER = Path::Uring(Ring::Defer), true;
    "uring-defer-buffered" URING_DEFER_BUFFERED = Path::Uring(Ring::Defer), false;
    "mmap" MMAP = Path::Mmap(Touch::Plain), false;
    "mmap-sync" MMAP_SYNC = Path::Mmap(Touch::Synced), false;
    "mmap-advice" MMAP_ADVICE = Path::Mmap(Touch::Advised), false;
    "mmap-remap" MMAP_REMAP = Path::Mmap(Touch::Remapped), false;
    "splice" SPLICE = Path::Splice, false;
    "splice-direct" SPLICE_DIRECT = Path::Splice, true;
    "vmsplice" VMSPLICE = Path::Vmsplice, false;
    "vmsplice-direct" VMSPLICE_DIRECT = Path::Vmsplice, true;
    "sendfile" SENDFILE = Path::Sendfile, false;
    "copy-range" COPY_RANGE = Path::CopyRange, false;
}

impl Kind {
    /// The engine's name.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, kind)| *kind == self)
            .map_or("unnamed", |(name, _)| name)
    }

    /// Whether more than one request can be outstanding.
    pub fn is_async(self) -> bool {
        matches!(
            self.path,
            Path::Libaio | Path::LibaioVector | Path::Toggle | Path::Uring(_)
        )
    }

    /// Whether it loads and stores.
    pub fn is_mapped(self) -> bool {
        matches!(self.path, Path::Mmap(_))
    }

    /// Whether its writes go to the end of the file, so that they cannot be aimed.
    pub fn appends(self) -> bool {
        self.path == Path::Flag(Flag::Append)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
            .ok_or_else(|| format!("no engine is called \"{name}\""))
    }
}
