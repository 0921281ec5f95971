// SPDX-License-Identifier: GPL-2.0

//! Reading directories.

use crate::harness::{Ctx, Test, test};
use crate::sys::dir::{self, Entry};
use crate::sys::{file, path, stat};
use crate::twin::twin;
use anyhow::{Result, bail, ensure};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

pub const TESTS: &[Test] = &[
    test("readdir.types", types),
    test("readdir.many", many),
    test("readdir.seek", seek),
    test("readdir.while_deleting", while_deleting),
    test("readdir.while_creating", while_creating),
    test("readdir.errors", errors),
    test("readdir.inode_numbers", inode_numbers),
];

fn open_dir(ctx: &Ctx) -> Result<OwnedFd> {
    Ok(file::open(&ctx.up, libc::O_RDONLY | libc::O_DIRECTORY, 0)?)
}

fn fill(ctx: &Ctx, count: usize) -> Result<()> {
    for i in 0..count {
        drop(file::create(&ctx.at(&name(i)))?);
    }
    Ok(())
}

fn name(i: usize) -> String {
    format!("an-entry-with-a-name-of-some-length-{i:05}")
}

fn names(entries: &[Entry]) -> Result<BTreeSet<String>> {
    let mut set = BTreeSet::new();
    for entry in entries {
        if !set.insert(entry.name.clone()) {
            bail!("'{}' came twice", entry.name);
        }
    }
    Ok(set)
}

fn types(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        drop(s.must("file", file::create(&s.at("f")))?);
        s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
        s.must("symlink", path::symlink("f", &s.at("l")))?;
        s.must("pipe", path::mknod(&s.at("p"), libc::S_IFIFO, 0))?;
        s.must("socket", path::mknod(&s.at("s"), libc::S_IFSOCK, 0))?;
        s.must("device", path::mknod(&s.at("c"), libc::S_IFCHR, 0))?;
        let fd = s.must(
            "open",
            file::open(s.dir(), libc::O_RDONLY | libc::O_DIRECTORY, 0),
        )?;
        s.see("listed", dir::read_all(&fd, 4096));
        s.see("at the end", dir::read_all(&fd, 4096));
        s.see("rewound", file::lseek(&fd, 0, libc::SEEK_SET));
        drop(s.must("one more", file::create(&s.at("later")))?);
        s.see("listed again", dir::read_all(&fd, 4096));
        let empty = s.must("open empty", file::open(&s.at("d"), libc::O_RDONLY, 0))?;
        s.see("empty", dir::read_all(&empty, 4096));
        Ok(())
    })
}

/// Enough entries for several blocks, an index and many calls.
fn many(ctx: &Ctx) -> Result<()> {
    const COUNT: usize = 1500;
    fill(ctx, COUNT)?;
    for size in [300, 4096, 65536] {
        let found = names(&dir::read_all(open_dir(ctx)?, size)?)?;
        ensure!(
            found.len() == COUNT + 2,
            "by {size} bytes: expected {} entries, saw {}",
            COUNT + 2,
            found.len()
        );
        ensure!(
            (0..COUNT).all(|i| found.contains(&name(i))),
            "an entry is missing"
        );
    }
    Ok(())
}

/// From the place that an entry names, exactly what followed it comes.
fn seek(ctx: &Ctx) -> Result<()> {
    fill(ctx, 300)?;
    let fd = open_dir(ctx)?;
    let all = dir::read_all(&fd, 700)?;
    for at in [0, 1, 7, 150, all.len() - 2, all.len() - 1] {
        file::lseek(&fd, all[at].next, libc::SEEK_SET)?;
        let rest = names(&dir::read_all(&fd, 900)?)?;
        let expected = names(&all[at + 1..])?;
        ensure!(
            rest == expected,
            "from entry {at} of {}: expected {} entries, saw {}",
            all.len(),
            expected.len(),
            rest.len()
        );
    }
    file::lseek(&fd, 0, libc::SEEK_SET)?;
    ensure!(
        dir::read_all(&fd, 900)?.len() == all.len(),
        "rewound, not all entries came"
    );
    Ok(())
}

/// What is not deleted meanwhile is seen, once; in the end nothing is left.
fn while_deleting(ctx: &Ctx) -> Result<()> {
    const COUNT: usize = 600;
    fill(ctx, COUNT)?;
    let fd = open_dir(ctx)?;
    let mut seen = BTreeSet::new();
    loop {
        let some = dir::getdents(&fd, 1000)?;
        if some.is_empty() {
            break;
        }
        for entry in some.iter().filter(|e| !e.name.starts_with('.')) {
            path::unlink(&ctx.at(&entry.name))?;
            ensure!(
                seen.insert(entry.name.clone()),
                "'{}' came twice",
                entry.name
            );
        }
    }
    ensure!(
        seen.len() == COUNT,
        "expected {COUNT} entries, saw {}",
        seen.len()
    );
    let left = dir::read_all(open_dir(ctx)?, 4096)?;
    ensure!(
        left.len() == 2,
        "after deleting all, {} entries are left",
        left.len()
    );
    Ok(())
}

fn while_creating(ctx: &Ctx) -> Result<()> {
    const COUNT: usize = 300;
    fill(ctx, COUNT)?;
    let fd = open_dir(ctx)?;
    let mut entries = dir::getdents(&fd, 1000)?;
    for i in COUNT..COUNT + 100 {
        drop(file::create(&ctx.at(&name(i)))?);
    }
    entries.extend(dir::read_all(&fd, 1000)?);
    let found = names(&entries)?;
    ensure!(
        (0..COUNT).all(|i| found.contains(&name(i))),
        "an entry that was there all the time did not come"
    );
    Ok(())
}

fn errors(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let fd = s.must("open", file::open(s.dir(), libc::O_RDONLY, 0))?;
        s.see("too small a buffer", dir::getdents(&fd, 8));
        s.see("read", file::pread_vec(&fd, 10, 0));
        s.see("write", file::pwrite(&fd, b"x", 0));
        s.see("truncate", file::ftruncate(&fd, 0));
        s.see("sync", file::fsync(&fd));
        s.see("seek to nowhere", file::lseek(&fd, -5, libc::SEEK_SET));
        s.must("a directory", path::mkdir(&s.at("d"), 0o755))?;
        let gone = s.must("open it", file::open(&s.at("d"), libc::O_RDONLY, 0))?;
        s.must("remove it", path::rmdir(&s.at("d")))?;
        s.see("list what is removed", dir::read_all(&gone, 4096));
        let f = s.must("a file", file::create(&s.at("f")))?;
        s.see("list a file", dir::getdents(&f, 4096));
        Ok(())
    })
}

fn inode_numbers(ctx: &Ctx) -> Result<()> {
    fill(ctx, 20)?;
    for entry in dir::read_all(open_dir(ctx)?, 4096)? {
        if entry.name != ".." {
            let ino = stat::lstat(&ctx.at(&entry.name))?.ino;
            ensure!(
                ino == entry.ino,
                "{}: listed with inode {}, has {ino}",
                entry.name,
                entry.ino
            );
        }
    }
    Ok(())
}
