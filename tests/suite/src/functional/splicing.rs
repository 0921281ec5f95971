// SPDX-License-Identifier: GPL-2.0

//! Copies inside the kernel: splice, sendfile, copy_file_range.

use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::sys::mem::{PAGE, READ_WRITE, Region};
use crate::sys::{file, fscall, stat};
use crate::twin::twin;
use anyhow::Result;

pub const TESTS: &[Test] = &[
    test("splice.out", splice_out),
    test("splice.in", splice_in),
    test("splice.sendfile", sendfile),
    test("splice.copy_file_range", copy_file_range),
];

fn splice_out(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 3 * PAGE + 10), 0))?;
        let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
        map.store(7, b"stored");
        for (at, len) in [(0, 100), (4000, 200), (3 * PAGE as i64, 100), (1 << 20, 10)] {
            let (reader, writer) = fscall::pipe()?;
            let n = s
                .get("splice", fscall::splice_out(&fd, at, &writer, len))
                .unwrap_or(0);
            drop(writer);
            let mut buf = vec![0; n + 1];
            let n = file::read(&reader, &mut buf)?;
            s.see("content", buf[..n].to_vec());
        }
        Ok(())
    })
}

fn splice_in(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        let (reader, writer) = fscall::pipe()?;
        for (at, len) in [(0i64, 5000usize), (100, 10), (4090, 10), (20_000, 3000)] {
            file::write(&writer, &pattern(at as u8, at as u64, len))?;
            let mut done = 0;
            while done < len {
                done += fscall::splice_in(&reader, &fd, at + done as i64, len - done)?;
            }
            s.see("size", stat::fstat(&fd));
            s.see("all", file::pread_vec(&fd, 30_000, 0));
        }
        s.see("sync", file::fsync(&fd));
        s.see("all", file::pread_vec(&fd, 30_000, 0));
        Ok(())
    })
}

fn sendfile(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let from = s.must("from", file::create(&s.at("from")))?;
        s.must("write", file::pwrite(&from, &pattern(1, 0, 50_000), 0))?;
        let to = s.must("to", file::create(&s.at("to")))?;
        s.see("send", fscall::sendfile(&to, &from, 1000, 30_000));
        s.see(
            "send the rest",
            fscall::sendfile(&to, &from, 31_000, 100_000),
        );
        s.see("content", file::pread_vec(&to, 100_000, 0));
        let (reader, outside) = fscall::pipe()?;
        drop(reader);
        s.see(
            "send into the pipe with no reader",
            fscall::sendfile(&outside, &from, 0, 10),
        );
        Ok(())
    })
}

fn copy_file_range(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let from = s.must("from", file::create(&s.at("from")))?;
        s.must("write", file::pwrite(&from, &pattern(1, 0, 50_000), 0))?;
        let map = Region::shared(&from, 0, PAGE, READ_WRITE)?;
        map.store(5, b"stored, not synced");
        let to = s.must("to", file::create(&s.at("to")))?;
        s.see("copy", fscall::copy_file_range(&from, 0, &to, 0, 50_000));
        s.see("content", file::pread_vec(&to, 100_000, 0));
        s.see(
            "odd",
            fscall::copy_file_range(&from, 777, &to, 60_001, 3333),
        );
        s.see("content", file::pread_vec(&to, 100_000, 0));
        s.see(
            "beyond the end",
            fscall::copy_file_range(&from, 50_000, &to, 0, 10),
        );
        s.see(
            "overlapping itself",
            fscall::copy_file_range(&from, 0, &from, 100, 1000),
        );
        s.see(
            "within itself",
            fscall::copy_file_range(&from, 0, &from, 100_000, 1000),
        );
        s.see("content", file::pread_vec(&from, 200_000, 0));
        let reader = s.must("reader", file::open(&s.at("to"), libc::O_RDONLY, 0))?;
        s.see(
            "into a reader",
            fscall::copy_file_range(&from, 0, &reader, 0, 10),
        );
        s.see("sync", file::fsync(&to));
        Ok(())
    })
}
