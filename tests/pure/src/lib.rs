// SPDX-License-Identifier: GPL-2.0

//! The files of `rust/pure`, as the module has them, on the host: so that their properties can be
//! tested for many more values than a guest could try. Nothing is copied; [`pure`] is the module's.

#[path = "../../../rust/pure/mod.rs"]
pub mod pure;

/// The kernel's values, by the names that the module knows them by.
mod bindings {
    macro_rules! flags_of_open {
        ($($name:ident),*) => { $(pub const $name: u32 = libc::$name as u32;)* };
    }
    flags_of_open!(O_ACCMODE, O_CREAT, O_EXCL, O_NOATIME, O_NOCTTY, O_TRUNC);
    // The C library says that all files are large; the kernel has a flag.
    pub const O_LARGEFILE: u32 = 0o100_000;

    // What `include/linux/fs.h` makes of the flags of `preadv2(2)`, and the kernel's own.
    pub const IOCB_DSYNC: i32 = libc::RWF_DSYNC;
    pub const IOCB_SYNC: i32 = libc::RWF_SYNC;
    pub const IOCB_NOWAIT: i32 = libc::RWF_NOWAIT;
    pub const IOCB_DIRECT: i32 = 1 << 17;
    pub const IOCB_WRITE: i32 = 1 << 18;
}
