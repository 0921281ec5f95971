// SPDX-License-Identifier: GPL-2.0

//! Changing attributes: mode, owner, times, size, and the bits that a change takes away.

use crate::harness::{Ctx, Test, test};
use crate::pattern::pattern;
use crate::sys::mem::{PAGE, READ_WRITE, Region, Slice};
use crate::sys::path::Time;
use crate::sys::stat::{self, Stat};
use crate::sys::{Res, file, path};
use crate::twin::{Script, twin};
use anyhow::Result;

pub const TESTS: &[Test] = &[
    test("setattr.mode", mode),
    test("setattr.owner", owner),
    test("setattr.times", times),
    test("setattr.truncate", truncate),
    test("setattr.truncate_content", truncate_content),
    test("setattr.truncate_mapped", truncate_mapped),
    test("setattr.privileges_dropped", privileges_dropped),
    test(
        "setattr.privileges_dropped_for_user",
        privileges_dropped_for_user,
    ),
    test(
        "setattr.privileges_dropped_by_direct_write",
        privileges_dropped_by_direct,
    ),
];

fn mode(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
        for bits in [0o000, 0o777, 0o4755, 0o2755, 0o1777, 0o6711, 0o7777] {
            s.see(format!("chmod {bits:o}"), path::chmod(&s.at("f"), bits));
            s.see("is", stat::stat(&s.at("f")));
            s.see("directory", path::chmod(&s.at("d"), bits));
            s.see("is", stat::stat(&s.at("d")));
        }
        s.see("fchmod", file::fchmod(&fd, 0o640));
        s.see("is", stat::fstat(&fd));
        s.see("of nothing", path::chmod(&s.at("x"), 0o600));
        s.must("symlink", path::symlink("f", &s.at("l")))?;
        s.see("through a symlink", path::chmod(&s.at("l"), 0o604));
        s.see("hits the target", stat::stat(&s.at("f")));
        Ok(())
    })
}

fn owner(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.see("chown", path::lchown(&s.at("f"), 1000, 1001));
        s.see("is", stat::stat(&s.at("f")));
        s.see("user only", path::lchown(&s.at("f"), 5, u32::MAX));
        s.see("group only", path::lchown(&s.at("f"), u32::MAX, 6));
        s.see("is", stat::stat(&s.at("f")));
        s.see("fchown", file::fchown(&fd, 70_000, 80_000));
        s.see("is", stat::fstat(&fd));
        s.must("symlink", path::symlink("f", &s.at("l")))?;
        s.see("of the symlink", path::lchown(&s.at("l"), 9, 9));
        s.see("is", stat::lstat(&s.at("l")));
        s.see("not its target", stat::stat(&s.at("l")));
        Ok(())
    })
}

fn stamps(st: Stat) -> String {
    format!(
        "{}.{} {}.{}",
        st.atime.sec, st.atime.nsec, st.mtime.sec, st.mtime.nsec
    )
}

fn times(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        drop(s.must("create", file::create(&s.at("f")))?);
        let cases = [
            (Time::At(1, 0), Time::At(2, 0)),
            (
                Time::At(1_000_000_000, 123_456_789),
                Time::At(2_000_000_000, 999_999_999),
            ),
            (Time::At(-1000, 0), Time::At(-1, 500)),
            (Time::At(4_000_000_000, 0), Time::At(5_000_000_000, 7)),
            (Time::Omit, Time::At(77, 0)),
            (Time::At(88, 0), Time::Omit),
            (Time::Omit, Time::Omit),
        ];
        for (i, (atime, mtime)) in cases.into_iter().enumerate() {
            s.see(format!("set {i}"), path::utimens(&s.at("f"), atime, mtime));
            s.see("are", stat::stat(&s.at("f")).map(stamps));
        }
        s.see(
            "out of range",
            path::utimens(&s.at("f"), Time::At(0, 2_000_000_000), Time::Now),
        );
        s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
        s.see(
            "of a directory",
            path::utimens(&s.at("d"), Time::At(3, 4), Time::At(5, 6)),
        );
        s.see("are", stat::stat(&s.at("d")).map(stamps));
        s.must("symlink", path::symlink("f", &s.at("l")))?;
        s.see(
            "of a symlink",
            path::utimens(&s.at("l"), Time::At(3, 4), Time::At(5, 6)),
        );
        s.see("are", stat::lstat(&s.at("l")).map(stamps));
        Ok(())
    })
}

fn truncate(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        for len in [
            0,
            1,
            511,
            512,
            4095,
            4096,
            4097,
            1 << 20,
            3,
            0,
            12_345_678_901,
            -1,
        ] {
            s.see(
                format!("truncate to {len}"),
                path::truncate(&s.at("f"), len),
            );
            s.see("size", stat::fstat(&fd).map(|st| st.size));
            s.see(format!("ftruncate to {len}"), file::ftruncate(&fd, len));
            s.see("end", file::lseek(&fd, 0, libc::SEEK_END));
        }
        let reader = s.must("open to read", file::open(&s.at("f"), libc::O_RDONLY, 0))?;
        s.see("ftruncate while reading", file::ftruncate(&reader, 1));
        s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
        s.see("a directory", path::truncate(&s.at("d"), 0));
        s.see("nothing", path::truncate(&s.at("x"), 0));
        s.must("pipe", path::mknod(&s.at("p"), libc::S_IFIFO | 0o600, 0))?;
        s.see("a pipe", path::truncate(&s.at("p"), 0));
        Ok(())
    })
}

/// Down and up again: what was cut off is zero, whatever was cached or on disk.
fn truncate_content(ctx: &Ctx) -> Result<()> {
    const LEN: usize = 5 * PAGE + 100;
    twin(ctx, |s| {
        for synced in [false, true] {
            for cut in [
                0,
                1,
                511,
                513,
                1023,
                4095,
                4096,
                4097,
                10_000,
                5 * PAGE as i64 + 99,
            ] {
                let fd = s.must("open", file::create(&s.at("f")))?;
                s.must("write", file::pwrite(&fd, &pattern(1, 0, LEN), 0))?;
                if synced {
                    s.must("sync", file::fsync(&fd))?;
                }
                s.see(format!("cut to {cut}"), file::ftruncate(&fd, cut));
                s.see("read all", file::pread_vec(&fd, LEN, 0));
                s.see("extend", file::ftruncate(&fd, LEN as i64));
                s.see("read all", file::pread_vec(&fd, LEN, 0));
                s.see("sync", file::fsync(&fd));
                s.see("write far", file::pwrite(&fd, b"far", LEN as u64 + 9000));
                s.see("read all", file::pread_vec(&fd, 2 * LEN, 0));
            }
        }
        Ok(())
    })
}

/// What a mapping stored beyond the end never becomes content.
fn truncate_mapped(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("create", file::create(&s.at("f")))?;
        s.must("write", file::pwrite(&fd, &pattern(1, 0, 1000), 0))?;
        let map = Region::shared(&fd, 0, PAGE, READ_WRITE)?;
        s.see("zero beyond the end", map.load(1000, PAGE - 1000));
        map.store(1000, b"beyond the end");
        s.see("extend", file::ftruncate(&fd, PAGE as i64));
        s.see("nothing shows", file::pread_vec(&fd, PAGE, 0));
        s.see("nor in the mapping", map.load(0, PAGE));
        s.see("cut", file::ftruncate(&fd, 500));
        map.store(600, b"beyond again");
        s.see("write beyond", file::pwrite(&fd, b"end", 3000));
        s.see("nothing shows", file::pread_vec(&fd, PAGE, 0));
        s.see("sync", file::fsync(&fd));
        s.see("still nothing", file::pread_vec(&fd, PAGE, 0));
        Ok(())
    })
}

/// Makes a file with `mode`, does something to it and records the mode that is left.
fn mode_after<T>(
    s: &mut Script,
    what: &str,
    mode: u32,
    act: impl FnOnce(&Script) -> Res<T>,
) -> Result<()> {
    let name = s.at("f");
    drop(file::create(&name)?);
    path::chmod(&name, mode)?;
    let outcome = act(s).map(|_| ());
    s.see(format!("{what} on {mode:o}"), outcome);
    s.see("mode left", stat::stat(&name));
    path::unlink(&name)?;
    Ok(())
}

const PRIVILEGED: [u32; 6] = [0o4755, 0o2755, 0o6755, 0o2745, 0o4644, 0o6666];

fn privileges_dropped(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for mode in PRIVILEGED {
            mode_after(s, "write", mode, |s| {
                file::pwrite(file::create(&s.at("f"))?, b"x", 0)
            })?;
            mode_after(s, "chown", mode, |s| path::lchown(&s.at("f"), 5, 5))?;
            mode_after(s, "truncate", mode, |s| path::truncate(&s.at("f"), 5))?;
        }
        Ok(())
    })
}

fn privileges_dropped_for_user(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::chmod(s.dir(), 0o777)?;
        s.as_user(1000, |s| {
            for mode in PRIVILEGED {
                mode_after(s, "write", mode, |s| {
                    file::pwrite(file::create(&s.at("f"))?, b"x", 0)
                })?;
                mode_after(s, "empty write", mode, |s| {
                    file::pwrite(file::create(&s.at("f"))?, b"", 0)
                })?;
                mode_after(s, "truncate", mode, |s| path::truncate(&s.at("f"), 5))?;
                mode_after(s, "open to truncate", mode, |s| {
                    file::open(&s.at("f"), libc::O_WRONLY | libc::O_TRUNC, 0)
                })?;
                mode_after(s, "chgrp", mode, |s| {
                    path::lchown(&s.at("f"), u32::MAX, 1000)
                })?;
                mode_after(s, "utimes", mode, |s| {
                    path::utimens(&s.at("f"), Time::Now, Time::Now)
                })?;
                mode_after(s, "store by a mapping", mode, |s| {
                    let fd = file::create(&s.at("f"))?;
                    file::ftruncate(&fd, PAGE as i64)?;
                    Region::shared(&fd, 0, PAGE, READ_WRITE)?.store(0, b"x");
                    Ok(())
                })?;
            }
            mode_after(s, "chmod to a foreign group's", 0o755, |s| {
                path::chmod(&s.at("f"), 0o2755)
            })
        })
    })
}

fn privileges_dropped_by_direct(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::chmod(s.dir(), 0o777)?;
        s.as_user(1000, |s| {
            for mode in PRIVILEGED {
                for prewritten in [false, true] {
                    mode_after(s, "direct write", mode, |s| {
                        if prewritten {
                            let fd = file::create(&s.at("f"))?;
                            file::pwrite(&fd, &[1; PAGE], 0)?;
                            file::fsync(&fd)?;
                            path::chmod(&s.at("f"), mode)?;
                        }
                        let fd = file::open_direct(&s.at("f"))?;
                        file::pwrite_mem(&fd, &Slice::zeroed(PAGE)?, 0)
                    })?;
                }
            }
            Ok(())
        })
    })
}
