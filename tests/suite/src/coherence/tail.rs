// SPDX-License-Identifier: GPL-2.0

//! The end of the file: what was stored behind it never becomes part of the file (C9), and a direct
//! read sees all of the file though the lower one is shorter (C6).

use super::scene::{OLD, Scene, direct_read};
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, check_zero, pattern};
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::{Res, file};
use anyhow::{Context, Result};

pub const TESTS: &[Test] = &[
    test("c9.stored_behind_the_end", stored_behind_the_end),
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

/// Only the last page was written, and that is not on the lower yet, which ends before: what lies
/// in front of it is a hole, not the end of the file.
fn hole_behind_the_lower_end(ctx: &Ctx) -> Result<()> {
    let fd = file::create(&ctx.at("f"))?;
    let direct = file::open_direct(&ctx.at("f"))?;
    let at = 8 * PAGE;
    file::pwrite(&fd, &pattern(OLD, at as u64, PAGE), at as u64)?;
    let seen = direct_read(&direct, 0, 4 * PAGE)?;
    anyhow::ensure!(
        seen.len() == 4 * PAGE,
        "a direct read of a hole of {} bytes returned {}",
        4 * PAGE,
        seen.len()
    );
    check_zero("a direct read of the hole", &seen, 0)?;
    let seen = direct_read(&direct, at, PAGE)?;
    check("a direct read of the page", &seen, OLD, at as u64)
}
