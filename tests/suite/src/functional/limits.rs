// SPDX-License-Identifier: GPL-2.0

//! Limits of files: the process's and the filesystem's.

use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{file, path, process, stat};
use crate::twin::{Script, twin};
use anyhow::Result;

pub const TESTS: &[Test] = &[
    test("limits.file_size_of_process", file_size_of_process),
    test("limits.file_size_of_filesystem", file_size_of_filesystem),
    test("limits.links", links),
];

fn file_size_of_process(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::chmod(s.dir(), 0o777)?;
        let others = s.must("create", file::create(&s.at("others")))?;
        file::fchmod(&others, 0o666)?;
        s.see(
            "of others",
            file::pwrite(&others, &pattern(4, 0, 20_000), 0),
        );
        s.as_user(1000, |s| {
            process::limit_file_size(10_000)?;
            let fd = s.must("open", file::open(&s.at("others"), libc::O_RDWR, 0))?;
            s.see("truncate to what it is", file::ftruncate(&fd, 20_000));
            s.see("truncate to less", file::ftruncate(&fd, 15_000));
            s.see("content", file::pread_vec(&fd, 20_000, 0));
            let fd = s.must("create", file::create(&s.at("f")))?;
            s.see("below", file::pwrite(&fd, &pattern(1, 0, 9000), 0));
            s.see("across", file::pwrite(&fd, &pattern(2, 9000, 5000), 9000));
            s.see("at the limit", file::pwrite(&fd, b"x", 10_000));
            s.see("beyond", file::pwrite(&fd, b"x", 20_000));
            s.see("truncate to it", file::ftruncate(&fd, 10_000));
            s.see("truncate beyond", file::ftruncate(&fd, 10_001));
            s.see("size", stat::fstat(&fd));
            s.see("content", file::pread_vec(&fd, 20_000, 0));
            let direct = s.must("direct", file::open_direct(&s.at("f")))?;
            let page = Slice::of(&pattern(3, 0, PAGE))?;
            s.see("direct below", file::pwrite_mem(&direct, &page, 0));
            s.see(
                "direct beyond",
                file::pwrite_mem(&direct, &page, 3 * PAGE as u64),
            );
            let append = file::open(&s.at("f"), libc::O_WRONLY | libc::O_APPEND, 0);
            let append = s.must("append", append)?;
            s.see("append", file::write(&append, b"more"));
            s.see("size", stat::fstat(&fd));
            Ok(())
        })
    })
}

/// The end of what the lower can address, found at the call that goes beyond it.
fn file_size_of_filesystem(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for shift in [33, 34, 35, 40, 41, 42, 43, 44, 45, 62] {
            at_size(s, 1 << shift)?;
        }
        at_size(s, (1 << 63) - 2 * PAGE as u64)
    })
}

fn at_size(s: &mut Script, size: u64) -> Result<()> {
    let name = s.at("f");
    let fd = s.must("create", file::create(&name))?;
    s.see(
        format!("write just below {size}"),
        file::pwrite(&fd, b"abcd", size - 4),
    );
    s.see(
        format!("write across {size}"),
        file::pwrite(&fd, b"efgh", size - 2),
    );
    s.see("write behind", file::pwrite(&fd, b"ijkl", size + 4096));
    s.see("size", stat::fstat(&fd));
    s.see("sync", file::fsync(&fd));
    s.see("read back", file::pread_vec(&fd, 20, size - 10));
    s.see("truncate to it", file::ftruncate(&fd, size as i64));
    s.see("truncate behind", file::ftruncate(&fd, size as i64 + 4096));
    let direct = s.must("direct", file::open_direct(&name))?;
    let page = Slice::of(&pattern(3, 0, PAGE))?;
    s.see(
        "direct write behind",
        file::pwrite_mem(&direct, &page, size),
    );
    let map = Region::shared(&fd, 0, PAGE, READ_WRITE).map(|_| ());
    s.see("map", map);
    path::unlink(&name)?;
    Ok(())
}

fn links(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        drop(s.must("create", file::create(&s.at("f")))?);
        for i in 0..200 {
            path::link(&s.at("f"), &s.at(&format!("l{i}")))?;
        }
        s.see("count", stat::stat(&s.at("l150")));
        for i in 0..150 {
            path::mkdir(&s.at(&format!("d{i}")), 0o755)?;
        }
        s.see("directories", stat::stat(s.dir()).map(|st| st.nlink));
        Ok(())
    })
}
