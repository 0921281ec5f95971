// SPDX-License-Identifier: GPL-2.0

//! Who may do what.

use crate::harness::{Ctx, Test, lacking, test};
use crate::sys::mem::{PAGE, Slice};
use crate::sys::{dir, file, path, stat};
use crate::twin::{Confinement, twin};
use anyhow::Result;

pub const TESTS: &[Test] = &[
    test("permission.files", files),
    test("permission.directories", directories),
    test("permission.sticky", sticky),
    test("permission.attributes", attributes),
    test("permission.groups", groups),
    test("permission.owner_of_new", owner_of_new),
    test("permission.sandbox", sandbox).once(),
    test("permission.profile", profile).once(),
];

const USER: u32 = 1000;

fn files(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for mode in [0o000, 0o444, 0o222, 0o666, 0o640, 0o711] {
            let name = s.at(&format!("{mode:o}"));
            drop(file::create(&name)?);
            path::chmod(&name, mode)?;
        }
        s.as_user(USER, |s| {
            for mode in [0o000, 0o444, 0o222, 0o666, 0o640, 0o711] {
                let name = s.at(&format!("{mode:o}"));
                for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_TRUNC] {
                    s.see(
                        format!("open {mode:o} by {flags}"),
                        file::open(&name, flags, 0),
                    );
                }
                for right in [libc::R_OK, libc::W_OK, libc::X_OK, libc::F_OK] {
                    s.see(
                        format!("access {mode:o} by {right}"),
                        path::access(&name, right),
                    );
                }
                s.see("truncate", path::truncate(&name, 0));
                s.see("stat needs nothing", stat::stat(&name));
            }
            Ok(())
        })
    })
}

fn directories(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        const MODES: [u32; 6] = [0o700, 0o755, 0o711, 0o744, 0o777, 0o733];
        for mode in MODES {
            let name = s.at(&format!("{mode:o}"));
            path::mkdir(&name, 0o755)?;
            drop(file::create(&name.join("f"))?);
            path::chmod(&name, mode)?;
        }
        s.as_user(USER, |s| {
            for mode in MODES {
                let name = s.at(&format!("{mode:o}"));
                let list =
                    file::open(&name, libc::O_RDONLY, 0).and_then(|fd| dir::read_all(&fd, 4096));
                s.see(format!("list {mode:o}"), list);
                s.see("look inside", stat::stat(&name.join("f")));
                s.see("look for nothing", stat::stat(&name.join("none")));
                s.see("create", file::create(&name.join("new")));
                s.see("make a directory", path::mkdir(&name.join("newdir"), 0o755));
                s.see("rename", path::rename(&name.join("f"), &name.join("g")));
                s.see("link", path::link(&name.join("f"), &name.join("h")));
                s.see("unlink", path::unlink(&name.join("f")));
                s.see("change into it", path::chdir(&name));
            }
            Ok(())
        })
    })
}

fn sticky(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::mkdir(&s.at("t"), 0o755)?;
        path::chmod(&s.at("t"), 0o1777)?;
        drop(file::create(&s.at("t/root"))?);
        path::mkdir(&s.at("t/rootdir"), 0o755)?;
        s.as_user(2000, |s| {
            drop(s.must("another user's", file::create(&s.at("t/other")))?);
            Ok(())
        })?;
        s.as_user(USER, |s| {
            drop(s.must("own", file::create(&s.at("t/own")))?);
            s.see("unlink root's", path::unlink(&s.at("t/root")));
            s.see("rmdir root's", path::rmdir(&s.at("t/rootdir")));
            s.see("unlink another's", path::unlink(&s.at("t/other")));
            s.see(
                "rename another's",
                path::rename(&s.at("t/other"), &s.at("t/x")),
            );
            s.see(
                "rename over another's",
                path::rename(&s.at("t/own"), &s.at("t/other")),
            );
            s.see("rename own", path::rename(&s.at("t/own"), &s.at("t/mine")));
            s.see("unlink own", path::unlink(&s.at("t/mine")));
            Ok(())
        })
    })
}

fn attributes(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::chmod(s.dir(), 0o777)?;
        drop(file::create(&s.at("root"))?);
        path::chmod(&s.at("root"), 0o666)?;
        s.as_user(USER, |s| {
            use path::Time::{At, Now};
            drop(s.must("own", file::create(&s.at("own")))?);
            for name in ["root", "own"] {
                let p = s.at(name);
                s.see(format!("chmod {name}"), path::chmod(&p, 0o600));
                s.see("give away", path::lchown(&p, 7, u32::MAX));
                s.see("to a foreign group", path::lchown(&p, u32::MAX, 7));
                s.see("to the own group", path::lchown(&p, u32::MAX, USER));
                s.see("times to now", path::utimens(&p, Now, Now));
                s.see("times to then", path::utimens(&p, At(1, 0), At(1, 0)));
                s.see(
                    "without access time",
                    file::open(&p, libc::O_RDONLY | libc::O_NOATIME, 0),
                );
                s.see("is", stat::stat(&p));
            }
            Ok(())
        })
    })
}

fn groups(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        for (name, uid, gid) in [("group", 0, USER), ("other", 0, 0), ("owner", USER, 0)] {
            drop(file::create(&s.at(name))?);
            path::lchown(&s.at(name), uid, gid)?;
        }
        for mode in [0o640, 0o604, 0o460, 0o046, 0o066, 0o400] {
            for name in ["group", "other", "owner"] {
                path::chmod(&s.at(name), mode)?;
            }
            s.as_user(USER, |s| {
                for name in ["group", "other", "owner"] {
                    let p = s.at(name);
                    s.see(
                        format!("read {name} {mode:o}"),
                        file::open(&p, libc::O_RDONLY, 0),
                    );
                    s.see(
                        format!("write {name} {mode:o}"),
                        file::open(&p, libc::O_WRONLY, 0),
                    );
                }
                Ok(())
            })?;
        }
        Ok(())
    })
}

/// Whatever a user makes is that user's, not the mounter's.
fn owner_of_new(ctx: &Ctx) -> Result<()> {
    twin(ctx, |s| {
        path::chmod(s.dir(), 0o777)?;
        s.as_user(USER, |s| {
            drop(s.must("file", file::create(&s.at("f")))?);
            s.must("directory", path::mkdir(&s.at("d"), 0o755))?;
            s.must("symlink", path::symlink("f", &s.at("l")))?;
            s.must("pipe", path::mknod(&s.at("p"), libc::S_IFIFO | 0o600, 0))?;
            for name in ["f", "d", "l", "p"] {
                s.see(name, stat::lstat(&s.at(name)));
            }
            let fd = s.must("write own", file::open(&s.at("f"), libc::O_RDWR, 0))?;
            s.see("write", file::write(&fd, b"mine"));
            s.see("sync", file::fsync(&fd));
            Ok(())
        })
    })
}

/// A program that has confined itself to the directory can do everything there: what is opened below
/// on its behalf lies outside of what it may open.
fn sandbox(ctx: &Ctx) -> Result<()> {
    confined(ctx, Confinement::Landlock)
}

/// The same for a program that an administrator has confined, who is asked at each access.
fn profile(ctx: &Ctx) -> Result<()> {
    confined(ctx, Confinement::AppArmor)
}

fn confined(ctx: &Ctx, by: Confinement) -> Result<()> {
    if !by.available() {
        return lacking(format!("{by:?} is not there"));
    }
    twin(ctx, |s| {
        path::mkdir(&s.at("d"), 0o755)?;
        drop(file::create(&s.at("d/f"))?);
        s.confined(by, |s| {
            s.see("outside", file::open("/etc".as_ref(), libc::O_RDONLY, 0));
            let fd = file::open(&s.at("d"), libc::O_RDONLY, 0);
            s.see("list", fd.and_then(|fd| dir::read_all(&fd, 4096)));
            s.see("attributes", stat::stat(&s.at("d/f")));
            let fd = s.must("open", file::open(&s.at("d/f"), libc::O_RDWR, 0))?;
            s.see("write", file::write(&fd, b"confined"));
            s.see("read", file::pread_vec(&fd, 100, 0));
            s.see("sync", file::fsync(&fd));
            let direct = s.must("direct", file::open_direct(&s.at("d/f")))?;
            let page = Slice::of(&[b'd'; PAGE])?;
            s.see("direct write", file::pwrite_mem(&direct, &page, 0));
            s.see("direct read", file::pread_mem(&direct, &page, 0));
            s.see("cached read after it", file::pread_vec(&fd, PAGE, 0));
            s.see("create", file::create(&s.at("d/g")));
            s.see("mkdir", path::mkdir(&s.at("d/e"), 0o755));
            s.see("rename", path::rename(&s.at("d/g"), &s.at("d/h")));
            s.see("link", path::link(&s.at("d/h"), &s.at("d/i")));
            s.see("truncate", path::truncate(&s.at("d/f"), 3));
            s.see("unlink", path::unlink(&s.at("d/h")));
            s.see("rmdir", path::rmdir(&s.at("d/e")));
            let fd = s.must("directory", file::open(&s.at("d"), libc::O_RDONLY, 0))?;
            s.see("sync it", file::fsync(&fd));
            Ok(())
        })
    })
}
