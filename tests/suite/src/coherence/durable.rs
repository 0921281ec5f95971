// SPDX-License-Identifier: GPL-2.0

//! What was acknowledged as durable survives the loss of everything that the lower has not written
//! by then (C10).

use super::queue::{Engine, Queue};
use super::scene::{LIMIT, NEW, OLD, direct_read, write_all};
use crate::harness::{Ctx, Test, skip, test};
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{Res, file, stat};
use anyhow::{Context, Result, ensure};
use std::os::fd::OwnedFd;

pub const TESTS: &[Test] = &[
    test("c10.fsync_is_kept", |ctx| kept(ctx, 0, by_fsync)),
    test("c10.direct_dsync_is_kept", |ctx| {
        kept(ctx, libc::O_DSYNC, write)
    }),
    test("c10.queued_dsync_is_kept", |ctx| {
        kept(ctx, libc::O_DSYNC, queued)
    }),
];

const LEN: usize = 16 * PAGE;

/// Appends to the file in such a way that it is durable, size and all.
type Append = fn(&OwnedFd, &Slice) -> Res<usize>;

fn write(fd: &OwnedFd, data: &Slice) -> Res<usize> {
    file::pwrite_mem(fd, data, LEN as u64)
}

fn by_fsync(fd: &OwnedFd, data: &Slice) -> Res<usize> {
    let n = write(fd, data)?;
    file::fsync(fd)?;
    Ok(n)
}

fn queued(fd: &OwnedFd, data: &Slice) -> Res<usize> {
    let mut queue = Queue::new(Engine::Uring, 1)?;
    queue.write(fd, data, LEN as u64)?;
    queue.reap(1, LIMIT)?[0].result
}

/// Nothing is written after the acknowledgement; the journal of the lower, which is committed only
/// when somebody asks, then says what the file was.
fn kept(ctx: &Ctx, flags: i32, append: Append) -> Result<()> {
    if ctx.lower.kind.mount_type() == "ext2" {
        return skip("without a journal this lower does not come back from a loss");
    }
    let mut own = ctx.private(ctx.lower.kind, 64)?;
    let fd = file::create(&own.at("f"))?;
    write_all(&fd, &pattern(OLD, 0, LEN), 0)?;
    file::fsync(&fd)?;
    own.lower.settle()?;
    let direct = file::open(&own.at("f"), libc::O_RDWR | libc::O_DIRECT | flags, 0)?;
    let data = Slice::of(&pattern(NEW, LEN as u64, LEN))?;
    let n = append(&direct, &data).context("the write")?;
    ensure!(n == LEN, "a direct write of {LEN} bytes returned {n}");
    own.lower.device.fail_writes()?;
    drop((fd, direct));
    own.umount_stack()?;
    own.lower.umount()?;
    own.lower.device.pass()?;
    own.lower.mount()?;
    let size = stat::stat(&own.under.join("f"))?.size;
    ensure!(
        size == 2 * LEN as u64,
        "after the loss the file has {size} bytes of {}",
        2 * LEN
    );
    let fd = file::open_direct(&own.under.join("f"))?;
    check("before it", &direct_read(&fd, 0, LEN)?, OLD, 0)?;
    check(
        "what was acknowledged",
        &direct_read(&fd, LEN, LEN)?,
        NEW,
        LEN as u64,
    )?;
    drop(fd);
    own.lower.umount()
}
