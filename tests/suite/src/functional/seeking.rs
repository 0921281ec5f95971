// SPDX-License-Identifier: GPL-2.0

//! Seeking, also to data and holes.

use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::sys::file;
use crate::sys::file::{SEEK_DATA, SEEK_HOLE};
use crate::sys::mem::{PAGE, READ_WRITE, Region};
use crate::twin::twin;
use anyhow::{Result, ensure};

pub const TESTS: &[Test] = &[
    test("llseek.positions", positions),
    test("llseek.data_and_holes", data_and_holes),
    test("llseek.dirty_data_is_data", dirty_data_is_data),
];

fn positions(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::write(&fd, &pattern(1, 0, 1000)))?;
        for (offset, whence) in [
            (0, libc::SEEK_CUR),
            (10, libc::SEEK_SET),
            (5, libc::SEEK_CUR),
            (-15, libc::SEEK_CUR),
            (-1, libc::SEEK_CUR),
            (0, libc::SEEK_END),
            (-1, libc::SEEK_END),
            (100, libc::SEEK_END),
            (-1, libc::SEEK_SET),
            (-2000, libc::SEEK_END),
            (1 << 40, libc::SEEK_SET),
            (i64::MAX, libc::SEEK_SET),
            (0, 77),
        ] {
            s.see(
                format!("seek {offset} from {whence}"),
                file::lseek(&fd, offset, whence),
            );
        }
        s.see("to read", file::lseek(&fd, 990, libc::SEEK_SET));
        let mut buf = [0; 100];
        let n = s.get("read", file::read(&fd, &mut buf)).unwrap_or(0);
        s.see("content", buf[..n].to_vec());
        s.see("position", file::lseek(&fd, 0, libc::SEEK_CUR));
        Ok(())
    })
}

fn data_and_holes(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.see("data in nothing", file::lseek(&fd, 0, SEEK_DATA));
        s.see("hole in nothing", file::lseek(&fd, 0, SEEK_HOLE));
        for at in [0u64, 128 << 10, (512 << 10) + 100] {
            s.must("write", file::pwrite(&fd, &pattern(1, at, 10_000), at))?;
        }
        s.must("extend", file::ftruncate(&fd, 1 << 20))?;
        s.must("sync", file::fsync(&fd))?;
        for at in [
            0,
            1,
            5000,
            12_288,
            20_000,
            128 << 10,
            200_000,
            600_000,
            (1 << 20) - 1,
            1 << 20,
            2 << 20,
            -1,
        ] {
            s.see(format!("data from {at}"), file::lseek(&fd, at, SEEK_DATA));
            s.see(format!("hole from {at}"), file::lseek(&fd, at, SEEK_HOLE));
        }
        Ok(())
    })
}

/// Data that is only in memory is data; a copier that skips holes must not lose it.
fn dirty_data_is_data(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    file::ftruncate(&fd, 1 << 20)?;
    file::fsync(&fd)?;
    file::pwrite(&fd, b"written", 300_000)?;
    let map = Region::shared(&fd, 0, 1 << 20, READ_WRITE)?;
    map.store(700_000, b"stored");
    for place in [300_000i64, 700_000] {
        let data = file::lseek(&fd, place, SEEK_DATA)?;
        ensure!(
            data == place,
            "data at {place} was passed over: SEEK_DATA returned {data}"
        );
        let hole = file::lseek(&fd, place, SEEK_HOLE)?;
        ensure!(
            hole > place,
            "data at {place} was taken for a hole at {hole}"
        );
    }
    file::pwrite(&fd, b"grown", (1 << 20) + PAGE as u64)?;
    let data = file::lseek(&fd, (1 << 20) + PAGE as i64, SEEK_DATA)?;
    ensure!(
        data == (1 << 20) + PAGE as i64,
        "appended data was passed over: {data}"
    );
    Ok(())
}
