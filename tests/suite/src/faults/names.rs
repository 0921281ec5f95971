// SPDX-License-Identifier: GPL-2.0

//! Names and attributes: a call that has failed has done all of it below or nothing, and what is
//! seen above is what is below.

use super::inject::{Injector, Target};
use super::points::every_point;
use super::stage::NOMEM;
use crate::harness::{Ctx, Test, test};
use crate::sys::path::{self, Time};
use crate::sys::{Errno, Res, dir, file, fscall, stat};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("faults.open", opening).limit(120),
    test("faults.make_names", make_names).limit(120),
    test("faults.remove_names", remove_names).limit(120),
    test("faults.rename", renames).limit(120),
    test("faults.attributes", attributes).limit(120),
    test("faults.look", looks).limit(120),
];

/// A change: what is there before, below; the call; what a second one may say when the first has
/// failed with everything done.
struct Change {
    what: &'static str,
    before: fn(&Path) -> Result<()>,
    call: fn(&Path) -> Res<()>,
    done: &'static [i32],
}

/// Does each change at every point: in a directory of its own that diofs has not seen yet, so that
/// it has to be looked up as well.
fn each(ctx: &Ctx, changes: &[Change]) -> Result<()> {
    ctx.need_diofs()?;
    let injector = Injector::at(Target::Memory)?;
    for (number, change) in changes.iter().enumerate() {
        every_point(change.what, &injector, |round| {
            let name = format!("{number}-{}", round.n);
            let (above, below) = (ctx.up.join(&name), ctx.under.join(&name));
            std::fs::create_dir(&below)?;
            (change.before)(&below)?;
            let done = round.call(NOMEM, || (change.call)(&above))?.is_some();
            agree(&above, &below)?;
            if !done {
                match (change.call)(&above) {
                    Ok(()) => {}
                    Err(Errno(errno)) if change.done.contains(&errno) => {}
                    Err(errno) => Err(errno).context("once more, without a fault")?,
                }
                agree(&above, &below).context("once more, without a fault")?;
            }
            let last = (change.call)(&above);
            let expected = match change.done {
                [] => last.is_ok(),
                done => matches!(last, Err(Errno(errno)) if done.contains(&errno)),
            };
            ensure!(expected, "after it was done: {last:?}");
            Ok(std::fs::remove_dir_all(&above)?)
        })?;
    }
    Ok(())
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "d/x"];

/// The directory above is the one below: the same names, lead to the same things.
fn agree(above: &Path, below: &Path) -> Result<()> {
    let list = |dir: &Path| -> Result<BTreeSet<String>> {
        let fd = file::open(dir, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let entries = dir::read_all(&fd, 4096)?;
        Ok(entries.into_iter().map(|e| e.name).collect())
    };
    let (up, down) = (list(above)?, list(below)?);
    ensure!(up == down, "names above {up:?}, below {down:?}");
    for name in NAMES {
        let up = stat::lstat(&above.join(name));
        let down = stat::lstat(&below.join(name));
        match (up, down) {
            (Ok(up), Ok(down)) => {
                let key = |s: &stat::Stat| (s.mode, s.nlink, s.size, s.uid, s.mtime, s.ino);
                ensure!(
                    key(&up) == key(&down),
                    "{name}: above {up:?}, below {down:?}"
                );
            }
            (Err(up), Err(down)) if up == down => {}
            (up, down) => bail!("{name}: above {up:?}, below {down:?}"),
        }
    }
    Ok(())
}

fn nothing(_: &Path) -> Result<()> {
    Ok(())
}

fn file_a(dir: &Path) -> Result<()> {
    Ok(std::fs::write(dir.join("a"), "content")?)
}

fn files_a_b(dir: &Path) -> Result<()> {
    file_a(dir)?;
    Ok(std::fs::write(dir.join("b"), "other")?)
}

fn dir_d(dir: &Path) -> Result<()> {
    Ok(std::fs::create_dir(dir.join("d"))?)
}

fn file_and_dir(dir: &Path) -> Result<()> {
    file_a(dir)?;
    dir_d(dir)
}

fn link_a(dir: &Path) -> Result<()> {
    Ok(std::os::unix::fs::symlink("target", dir.join("a"))?)
}

fn opened(path: &Path, flags: i32) -> Res<()> {
    file::open(path, flags, 0o644).and_then(file::close)
}

fn opening(ctx: &Ctx) -> Result<()> {
    let change = |what, flags_call, done| Change {
        what,
        before: file_a,
        call: flags_call,
        done,
    };
    each(
        ctx,
        &[
            change(
                "open to read",
                |d| opened(&d.join("a"), libc::O_RDONLY),
                &[],
            ),
            change("open to write", |d| opened(&d.join("a"), libc::O_RDWR), &[]),
            change(
                "open directly",
                |d| opened(&d.join("a"), libc::O_RDWR | libc::O_DIRECT),
                &[],
            ),
            change(
                "open and empty",
                |d| opened(&d.join("a"), libc::O_RDWR | libc::O_TRUNC),
                &[],
            ),
            change(
                "open or create",
                |d| opened(&d.join("b"), libc::O_RDWR | libc::O_CREAT),
                &[],
            ),
            change("open a directory", |d| opened(d, libc::O_DIRECTORY), &[]),
            change(
                "open what is not there",
                |d| match opened(&d.join("c"), libc::O_RDONLY) {
                    Err(Errno(libc::ENOENT)) => Ok(()),
                    Ok(()) => Err(Errno(libc::EEXIST)),
                    Err(errno) => Err(errno),
                },
                &[],
            ),
        ],
    )
}

fn make_names(ctx: &Ctx) -> Result<()> {
    let change = |what, before, call| Change {
        what,
        before,
        call,
        done: &[libc::EEXIST],
    };
    each(
        ctx,
        &[
            change("create", nothing, |d| {
                opened(&d.join("a"), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)
            }),
            change("mkdir", nothing, |d| path::mkdir(&d.join("a"), 0o755)),
            change("mknod", nothing, |d| {
                path::mknod(&d.join("a"), libc::S_IFIFO | 0o644, 0)
            }),
            change("symlink", nothing, |d| {
                path::symlink("target", &d.join("a"))
            }),
            change("link", file_a, |d| path::link(&d.join("a"), &d.join("b"))),
        ],
    )
}

fn remove_names(ctx: &Ctx) -> Result<()> {
    let change = |what, before, call| Change {
        what,
        before,
        call,
        done: &[libc::ENOENT],
    };
    each(
        ctx,
        &[
            change("unlink", file_a, |d| path::unlink(&d.join("a"))),
            change("unlink a symlink", link_a, |d| path::unlink(&d.join("a"))),
            change("rmdir", dir_d, |d| path::rmdir(&d.join("d"))),
        ],
    )
}

fn renames(ctx: &Ctx) -> Result<()> {
    let change = |what, before, call| Change {
        what,
        before,
        call,
        done: &[libc::ENOENT],
    };
    let exchange = Change {
        what: "exchange",
        before: files_a_b,
        call: |d| path::rename2(&d.join("a"), &d.join("b"), path::RENAME_EXCHANGE),
        done: &[],
    };
    each(
        ctx,
        &[
            change("rename", file_a, |d| {
                path::rename(&d.join("a"), &d.join("b"))
            }),
            change("rename over", files_a_b, |d| {
                path::rename(&d.join("a"), &d.join("b"))
            }),
            change("rename into a directory", file_and_dir, |d| {
                path::rename(&d.join("a"), &d.join("d/x"))
            }),
            change("rename a directory", dir_d, |d| {
                path::rename(&d.join("d"), &d.join("c"))
            }),
            exchange,
        ],
    )
}

fn attributes(ctx: &Ctx) -> Result<()> {
    let change = |what, call| Change {
        what,
        before: file_a,
        call,
        done: &[],
    };
    each(
        ctx,
        &[
            change("chmod", |d| path::chmod(&d.join("a"), 0o600)),
            change("chown", |d| path::lchown(&d.join("a"), 5, 6)),
            change("set times", |d| {
                path::utimens(&d.join("a"), Time::At(5, 6), Time::At(7, 8))
            }),
            change("truncate", |d| path::truncate(&d.join("a"), 3)),
            change("truncate to grow", |d| path::truncate(&d.join("a"), 30_000)),
            change("allocate", |d| {
                let fd = file::open(&d.join("a"), libc::O_RDWR, 0)?;
                match fscall::fallocate(&fd, 0, 0, 50_000) {
                    // Not on files without extents.
                    Err(Errno(libc::EOPNOTSUPP)) => Ok(()),
                    answer => answer,
                }
            }),
        ],
    )
}

fn looks(ctx: &Ctx) -> Result<()> {
    let change = |what, before, call| Change {
        what,
        before,
        call,
        done: &[],
    };
    each(
        ctx,
        &[
            change("stat", file_a, |d| stat::stat(&d.join("a")).map(|_| ())),
            change("readlink", link_a, |d| {
                path::readlink(&d.join("a"), 100).map(|_| ())
            }),
            change("list", files_a_b, |d| {
                let fd = file::open(d, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
                let names = dir::read_all(&fd, 4096)?.len();
                if names == 4 {
                    Ok(())
                } else {
                    Err(Errno(libc::EIO))
                }
            }),
            change("file handle", file_a, |d| {
                match path::file_handle(&d.join("a")) {
                    Err(Errno(libc::EOPNOTSUPP)) => Ok(()),
                    other => other.map(|_| ()),
                }
            }),
        ],
    )
}
