// SPDX-License-Identifier: GPL-2.0

//! The end of the file: what was stored behind it never becomes part of the file (C9), and a direct
//! read sees all of the file though the lower one is shorter (C6).

use super::flight::cold_source;
use super::race::Racer;
use super::scene::{OLD, Scene, direct_read};
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, check_zero, pattern};
use crate::sys::mem::{PAGE, READ, READ_WRITE, Region, Slice};
use crate::sys::{Res, file, fscall, stat};
use anyhow::{Context, Result, ensure};

pub const TESTS: &[Test] = &[
    test("c9.stored_behind_the_end", stored_behind_the_end),
    test("c9.read_while_truncated", read_while_truncated),
    test("c6.hole_behind_the_lower_end", hole_behind_the_lower_end),
];

const LEN: usize = 2 * PAGE + 700;
/// Where the file ends after it has grown.
const GROWN: usize = 4 * PAGE;

/// A way to make the file grow.
type Grow = fn(&Scene) -> Res<()>;

/// A mapping reaches to the end of the last page. What it leaves there is gone when the file grows,
/// however it does.
fn stored_behind_the_end(ctx: &Ctx) -> Result<()> {
    let ways: [(&str, Grow); 3] = [
        ("truncate", |s| file::ftruncate(&s.cached, GROWN as i64)),
        ("a buffered write", |s| {
            file::pwrite(&s.cached, &[0; 100], (GROWN - 100) as u64).map(|_| ())
        }),
        ("a direct write", |s| {
            let zeros = Slice::zeroed(PAGE)?;
            file::pwrite_mem(&s.direct, &zeros, (GROWN - PAGE) as u64).map(|_| ())
        }),
    ];
    for (name, grow) in ways {
        let scene = Scene::new(ctx, LEN)?;
        let map = Region::shared(&scene.cached, 0, 3 * PAGE, READ_WRITE)?;
        map.load(0, LEN);
        map.store(LEN, &pattern(0x77, LEN as u64, 3 * PAGE - LEN));
        grow(&scene).context(name)?;
        let zero = |mode: &str, bytes: &[u8]| {
            check("before the old end", &bytes[..LEN], OLD, 0)?;
            check_zero(
                &format!("grown by {name}, {mode}"),
                &bytes[LEN..],
                LEN as u64,
            )
        };
        zero("cached", &file::pread_vec(&scene.cached, GROWN, 0)?)?;
        zero("direct", &direct_read(&scene.direct, 0, GROWN)?)?;
        file::fsync(&scene.cached)?;
        scene.chill()?;
        zero("from disk", &file::pread_vec(&scene.cached, GROWN, 0)?)?;
    }
    Ok(())
}

/// The file is cut, but the lower one is not yet, as somebody has its inode lock. What is read then
/// of the last page ends where the file ends, and a mapping shows no more afterwards.
fn read_while_truncated(ctx: &Ctx) -> Result<()> {
    ctx.need_diofs()?;
    const CUT: usize = 700;
    let scene = Scene::new(ctx, 2 * PAGE)?;
    let under = file::open(&ctx.under.join("scene"), libc::O_RDWR, 0)?;
    let source = cold_source(ctx)?;
    // The lower has it in its cache, so that reading needs no device.
    file::pread_vec(&under, 2 * PAGE, 0)?;
    let reads = ctx.lower.hold_reads()?;
    // It takes the lower lock, and then its buffer has to come from the device.
    let holder = Racer::start(move || file::pwrite_mem(&under, &source, PAGE as u64));
    reads.wait_reads(1)?;
    let cut = {
        let fd = file::dup(&scene.cached)?;
        Racer::start(move || file::ftruncate(&fd, CUT as i64))
    };
    ensure!(!cut.finished_soon(), "nobody holds the lower inode lock");
    let size = stat::fstat(&scene.cached)?.size;
    ensure!(
        size == CUT as u64,
        "the size is {size} before the lower is cut"
    );
    fscall::fadvise(&scene.cached, 0, 0, libc::POSIX_FADV_DONTNEED)?;
    let map = Region::shared(&scene.cached, 0, PAGE, READ)?;
    check("what is left", &map.load(0, CUT), OLD, 0)?;
    reads.release()?;
    holder.join()?.context("the write to the lower file")?;
    cut.join()?.context("truncate")?;
    check("what is left, afterwards", &map.load(0, CUT), OLD, 0)?;
    check_zero("behind the end", &map.load(CUT, PAGE - CUT), CUT as u64)
}

/// Only the last page was written, and that is not on the lower yet, which ends before: what lies
/// in front of it is a hole, not the end of the file.
fn hole_behind_the_lower_end(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    let direct = file::open_direct(&ctx.at("f"))?;
    let at = 8 * PAGE;
    file::pwrite(&fd, &pattern(OLD, at as u64, PAGE), at as u64)?;
    let seen = direct_read(&direct, 0, 4 * PAGE)?;
    ensure!(
        seen.len() == 4 * PAGE,
        "a direct read of a hole of {} bytes returned {}",
        4 * PAGE,
        seen.len()
    );
    check_zero("a direct read of the hole", &seen, 0)?;
    let seen = direct_read(&direct, at, PAGE)?;
    check("a direct read of the page", &seen, OLD, at as u64)
}
