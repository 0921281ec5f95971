// SPDX-License-Identifier: GPL-2.0

//! What a test is given.

use super::{lacking, skip};
use crate::lower::disk::Span;
use crate::lower::stack::{FsKind, Stack};
use crate::lower::{Device, Kind, Lower};
use crate::sys::dm::Mapper;
use crate::sys::trace;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the device that a test may break.
pub const PRIVATE_DEVICE: &str = "diofs-suite-private";

/// The name of the device that it may lie on.
pub const BOTTOM_DEVICE: &str = "diofs-suite-bottom";

/// The surroundings of one test.
pub struct Ctx<'a> {
    pub fs: FsKind,
    /// The filesystem below. Its device may be held, but must not be broken.
    pub lower: &'a Lower,
    /// The filesystem under test: an empty directory.
    pub up: PathBuf,
    /// The same directory, seen on the lower.
    pub under: PathBuf,
    /// An empty directory of the lower itself, for doing the same things bare.
    pub twin: PathBuf,
    /// A directory outside all of these, for mount points and other files.
    pub work: PathBuf,
    pub seed: u64,
    /// Whether functional tests print what the bare lower answered to each call.
    pub show_steps: bool,
    pub mapper: Arc<Mapper>,
    pub spare: Span,
}

impl Ctx<'_> {
    /// A path in the filesystem under test.
    pub fn at(&self, name: &str) -> PathBuf {
        self.up.join(name)
    }

    /// Leaves the test unless diofs itself is tested.
    pub fn need_diofs(&self) -> Result<()> {
        match self.fs {
            FsKind::Diofs => Ok(()),
            _ => skip("says something about diofs only"),
        }
    }

    /// Leaves the test unless the lower does direct I/O for real.
    pub fn need_direct(&self) -> Result<()> {
        if self.lower.kind.is_direct() {
            return Ok(());
        }
        skip("direct I/O of this lower goes through its page cache")
    }

    /// Leaves the test unless the kernel can be traced.
    pub fn need_tracing(&self) -> Result<()> {
        if trace::available() {
            return Ok(());
        }
        lacking("tracefs is not mounted")
    }

    /// Makes a lower of its own for a test that fills or breaks it, with the filesystem under test
    /// mounted on it.
    pub fn private(&self, kind: Kind, mib: u64) -> Result<Private> {
        self.private_with(kind, &[], mib)
    }

    /// Like [`Ctx::private`], with more arguments for `mkfs.ext4`.
    pub fn private_with(&self, kind: Kind, more: &[&str], mib: u64) -> Result<Private> {
        let device = self.private_device(mib)?;
        let lower = Lower::make_with(kind, more, device, &self.work.join("private"))?;
        Private::over(lower, self.fs, &self.work)
    }

    /// Like [`Ctx::private`], on a device over another one: what the upper one holds back can find
    /// the lower one broken.
    pub fn private_on_two(&self, kind: Kind, mib: u64) -> Result<OnTwo> {
        let bottom = Device::make(&self.mapper, BOTTOM_DEVICE, &self.spare.limited(mib))?;
        let device = Device::make(&self.mapper, PRIVATE_DEVICE, &bottom.span())?;
        let lower = Lower::make(kind, device, &self.work.join("private"))?;
        let top = Private::over(lower, self.fs, &self.work)?;
        Ok(OnTwo { top, bottom })
    }

    /// A device of its own for a test that needs another filesystem than a [`Lower`].
    pub fn private_device(&self, mib: u64) -> Result<Device> {
        Device::make(&self.mapper, PRIVATE_DEVICE, &self.spare.limited(mib))
    }

    /// Makes a lower of its own whose directories can be casefolded; nothing is mounted over it.
    pub fn private_casefold(&self) -> Result<Lower> {
        if !Path::new("/sys/fs/ext4/features/casefold").exists() {
            return lacking("the ext4 of this kernel has no casefolding");
        }
        let device = self.private_device(64)?;
        Lower::make_with(
            Kind::Ext4Block4k,
            &["-O", "casefold"],
            device,
            &self.work.join("private"),
        )
    }
}

/// A lower of its own whose device lies on another one.
pub struct OnTwo {
    pub top: Private,
    pub bottom: Device,
}

/// A lower of its own and the filesystem under test over it.
pub struct Private {
    stack: Option<Stack>,
    pub lower: Lower,
    /// The directory of the lower that the filesystem under test is mounted over.
    pub under: PathBuf,
    pub up: PathBuf,
}

impl Private {
    fn over(lower: Lower, fs: FsKind, work: &Path) -> Result<Self> {
        let under = lower.dir.join("under");
        std::fs::create_dir(&under)?;
        let stack = Stack::mount(fs, &under, &work.join("private-up"))?;
        Ok(Self {
            up: stack.dir.clone(),
            stack: Some(stack),
            under,
            lower,
        })
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.up.join(name)
    }

    /// The surroundings of a test that takes place here instead of where `ctx` says.
    pub fn instead_of<'a>(&'a self, ctx: &Ctx<'_>) -> Ctx<'a> {
        Ctx {
            fs: ctx.fs,
            lower: &self.lower,
            up: self.up.clone(),
            under: self.under.clone(),
            twin: ctx.twin.clone(),
            work: ctx.work.clone(),
            seed: ctx.seed,
            show_steps: ctx.show_steps,
            mapper: Arc::clone(&ctx.mapper),
            spare: ctx.spare.clone(),
        }
    }

    /// Unmounts the filesystem under test, leaves the lower mounted.
    pub fn umount_stack(&mut self) -> Result<()> {
        self.stack.take().map_or(Ok(()), Stack::umount)
    }

    /// Knows nothing of the filesystem under test any more, which something else has unmounted.
    pub fn forget_stack(&mut self) {
        if let Some(stack) = self.stack.take() {
            stack.forget();
        }
    }

    /// Unmounts everything and checks the lower.
    pub fn finish(mut self) -> Result<()> {
        self.umount_stack()?;
        self.lower.umount()?;
        self.lower.check()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.lower.device.pass();
        self.stack.take();
        let _ = self.lower.umount();
    }
}
