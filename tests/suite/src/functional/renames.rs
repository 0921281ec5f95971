// SPDX-License-Identifier: GPL-2.0

//! Rename, in every form and with every flag.

use crate::harness::{Ctx, Test, test};
use crate::sys::path::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
use crate::sys::{file, path, stat};
use crate::twin::{Script, twin};
use anyhow::Result;
use std::path::Path;

pub const TESTS: &[Test] = &[
    test("rename.files", files),
    test("rename.directories", directories),
    test("rename.refused", refused),
    test("rename.noreplace", noreplace),
    test("rename.exchange", exchange),
    test("rename.whiteout", whiteout),
    test("rename.open_file", open_file),
    test("rename.deep", deep),
];

fn write_file(p: &Path, text: &str) -> Result<()> {
    let fd = file::create(p)?;
    file::write(&fd, text.as_bytes())?;
    Ok(())
}

fn content(s: &mut Script, name: &str) {
    let text =
        file::open(&s.at(name), libc::O_RDONLY, 0).and_then(|fd| file::pread_vec(&fd, 100, 0));
    s.see(format!("content of {name}"), text);
}

fn files(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        write_file(&s.at("a"), "first")?;
        write_file(&s.at("b"), "second")?;
        path::mkdir(&s.at("d"), 0o755)?;
        s.see("to a new name", path::rename(&s.at("a"), &s.at("c")));
        s.see("the old name", stat::stat(&s.at("a")));
        content(s, "c");
        s.see("over a file", path::rename(&s.at("c"), &s.at("b")));
        content(s, "b");
        s.see("into a directory", path::rename(&s.at("b"), &s.at("d/b")));
        content(s, "d/b");
        s.see(
            "out and to itself",
            path::rename(&s.at("d/b"), &s.at("d/b")),
        );
        path::link(&s.at("d/b"), &s.at("l"))?;
        s.see(
            "onto its own other link",
            path::rename(&s.at("l"), &s.at("d/b")),
        );
        s.see("both stay", stat::stat(&s.at("l")));
        path::symlink("nowhere", &s.at("s"))?;
        s.see("a symlink", path::rename(&s.at("s"), &s.at("t")));
        s.see("its target", path::readlink(&s.at("t"), 100));
        s.see("over a symlink", path::rename(&s.at("l"), &s.at("t")));
        s.see("is a file now", stat::lstat(&s.at("t")));
        Ok(())
    })
}

fn directories(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::mkdir(&s.at("a"), 0o755)?;
        path::mkdir(&s.at("b"), 0o755)?;
        path::mkdir(&s.at("a/x"), 0o755)?;
        write_file(&s.at("a/x/f"), "inside")?;
        s.see("to a new name", path::rename(&s.at("a"), &s.at("c")));
        content(s, "c/x/f");
        s.see("over an empty one", path::rename(&s.at("c"), &s.at("b")));
        content(s, "b/x/f");
        s.see("links before", stat::stat(s.dir()).map(|st| st.nlink));
        s.see("up one level", path::rename(&s.at("b/x"), &s.at("y")));
        s.see("links after", stat::stat(s.dir()).map(|st| st.nlink));
        s.see("links of the old parent", stat::stat(&s.at("b")));
        s.see("dots follow", stat::stat(&s.at("y/..")).map(|st| st.nlink));
        content(s, "y/f");
        Ok(())
    })
}

fn refused(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::mkdir(&s.at("d"), 0o755)?;
        path::mkdir(&s.at("full"), 0o755)?;
        write_file(&s.at("full/f"), "x")?;
        write_file(&s.at("f"), "y")?;
        s.see("from nothing", path::rename(&s.at("none"), &s.at("x")));
        s.see("into nothing", path::rename(&s.at("f"), &s.at("none/x")));
        s.see(
            "a file over a directory",
            path::rename(&s.at("f"), &s.at("d")),
        );
        s.see(
            "a directory over a file",
            path::rename(&s.at("d"), &s.at("f")),
        );
        s.see(
            "over a full directory",
            path::rename(&s.at("d"), &s.at("full")),
        );
        s.see("into itself", path::rename(&s.at("d"), &s.at("d/e")));
        s.see(
            "its ancestor over it",
            path::rename(&s.at("full/f"), s.dir()),
        );
        s.see("dot", path::rename(&s.at("d/."), &s.at("e")));
        s.see("dots", path::rename(&s.at("d"), &s.at("full/..")));
        s.see("below a file", path::rename(&s.at("d"), &s.at("f/e")));
        s.see(
            "unknown flag",
            path::rename2(&s.at("f"), &s.at("g"), 1 << 7),
        );
        content(s, "f");
        content(s, "full/f");
        Ok(())
    })
}

fn noreplace(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        write_file(&s.at("a"), "first")?;
        write_file(&s.at("b"), "second")?;
        let go = |from: &Path, to: &Path| path::rename2(from, to, RENAME_NOREPLACE);
        s.see("over a file", go(&s.at("a"), &s.at("b")));
        content(s, "a");
        content(s, "b");
        s.see("to a new name", go(&s.at("a"), &s.at("c")));
        content(s, "c");
        s.see("from nothing", go(&s.at("a"), &s.at("d")));
        let both = RENAME_NOREPLACE | RENAME_EXCHANGE;
        s.see("with exchange", path::rename2(&s.at("b"), &s.at("c"), both));
        Ok(())
    })
}

fn exchange(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        write_file(&s.at("a"), "first")?;
        write_file(&s.at("b"), "second")?;
        path::mkdir(&s.at("d"), 0o755)?;
        write_file(&s.at("d/in"), "inside")?;
        let go = |from: &Path, to: &Path| path::rename2(from, to, RENAME_EXCHANGE);
        s.see("two files", go(&s.at("a"), &s.at("b")));
        content(s, "a");
        content(s, "b");
        s.see("a file and a directory", go(&s.at("a"), &s.at("d")));
        content(s, "d");
        content(s, "a/in");
        s.see("across directories", go(&s.at("a/in"), &s.at("b")));
        content(s, "a/in");
        content(s, "b");
        s.see("with nothing", go(&s.at("b"), &s.at("none")));
        s.see("with its own child", go(&s.at("a"), &s.at("a/in")));
        s.see("links", stat::stat(s.dir()).map(|st| st.nlink));
        Ok(())
    })
}

fn whiteout(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        write_file(&s.at("a"), "first")?;
        s.see(
            "leave one",
            path::rename2(&s.at("a"), &s.at("b"), RENAME_WHITEOUT),
        );
        s.see("what is left", stat::lstat(&s.at("a")));
        content(s, "b");
        write_file(&s.at("c"), "second")?;
        let flags = RENAME_WHITEOUT | RENAME_NOREPLACE;
        s.see(
            "not over a file",
            path::rename2(&s.at("b"), &s.at("c"), flags),
        );
        let flags = RENAME_WHITEOUT | RENAME_EXCHANGE;
        s.see(
            "with exchange",
            path::rename2(&s.at("b"), &s.at("c"), flags),
        );
        content(s, "c");
        Ok(())
    })
}

fn open_file(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        write_file(&s.at("a"), "first")?;
        write_file(&s.at("b"), "victim")?;
        let fd = s.must("open", file::open(&s.at("a"), libc::O_RDWR, 0))?;
        let victim = s.must("open the victim", file::open(&s.at("b"), libc::O_RDWR, 0))?;
        s.see("rename over it", path::rename(&s.at("a"), &s.at("b")));
        s.see("write on", file::pwrite(&fd, b"more", 5));
        content(s, "b");
        s.see("the victim is alive", file::pread_vec(&victim, 100, 0));
        s.see("but has no name", stat::fstat(&victim));
        s.see("and can be written", file::pwrite(&victim, b"V", 0));
        s.see("and synced", file::fsync(&victim));
        s.see("the new one too", file::fsync(&fd));
        content(s, "b");
        Ok(())
    })
}

fn deep(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        let mut dir = s.at("0");
        path::mkdir(&dir, 0o755)?;
        for level in 1..20 {
            dir.push(level.to_string());
            path::mkdir(&dir, 0o755)?;
        }
        write_file(&dir.join("f"), "deep down")?;
        s.see("move the top", path::rename(&s.at("0"), &s.at("top")));
        s.see("through the old path", stat::stat(&dir.join("f")));
        let moved = s.at("top").join(dir.strip_prefix(s.at("0"))?);
        s.see("through the new path", stat::stat(&moved.join("f")));
        s.see("under itself", path::rename(&s.at("top"), &moved.join("x")));
        Ok(())
    })
}
