// SPDX-License-Identifier: GPL-2.0

//! The superblock: one for each mount of a lower directory.

use super::{
    inode,
    options::{
        self,
        Given,
        Options, //
    },
    stats::Stats,
    Diofs, //
};
use crate::vfs::{
    context::{
        Context,
        Mount,
        Parameter, //
    },
    cred,
    lower::{
        ErrorCursor,
        LowerMount,
        LowerPath,
        PrivateMount, //
    },
    superblock::SuperOperations,
    Inode,
    SuperBlock, //
};
use kernel::{
    bindings::FILESYSTEM_MAX_STACK_DEPTH,
    cred::Credential,
    page::PAGE_SIZE,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::aref::ARef, //
};

/// Private data of a superblock.
// `mount` comes after `root`: the private mount goes when nothing of it is in use any more.
pub struct SuperData {
    /// The lower directory in a mount of our own, which nobody can unmount or change.
    pub root: LowerPath,
    _mount: PrivateMount,
    /// Who mounted it, without the right to exceed quotas. Lower files are opened with these
    /// credentials, and the page cache is filled.
    pub mounter: ARef<Credential>,
    /// The same in no group. Write-back uses these with the owner of the file in place
    /// of the mounter, because it runs on behalf of nobody in particular.
    pub writer: ARef<Credential>,
    /// The mount options.
    pub options: Options,
    /// The statistics.
    pub stats: Stats,
    /// Which errors of the lower filesystem's write-back `syncfs(2)` has been told of.
    lower_errors: ErrorCursor,
}

#[vtable]
impl SuperOperations for Diofs {
    const MAGIC: u32 = u32::from_be_bytes(*b"diof");

    fn lower_root(data: &SuperData) -> &LowerPath {
        &data.root
    }

    fn root_inode(sb: &SuperBlock<Self>) -> Result<ARef<Inode<Self>>> {
        let lower = sb.data().root.dentry.inode().ok_or(ENOENT)?;
        inode::get(sb, lower)
    }

    fn drop_now(inode: &Inode<Self>) -> bool {
        // An inode without a name below cannot be looked up again, and would keep its blocks.
        inode.lower().nlink() == 0
    }

    fn sync_fs(sb: &SuperBlock<Self>, wait: bool) -> Result {
        // The VFS wrote our pages into the lower filesystem, possibly after its own turn in
        // `sync(2)`, so it has to be synced again.
        if !wait {
            return Ok(());
        }
        let mount = &sb.data().root.mount;
        let synced = mount.sync_filesystem();
        // What was written back to the lower filesystem was written back from there, or was not.
        if let Err(error) = mount.new_error(&sb.data().lower_errors) {
            sb.set_error(error);
        }
        synced
    }

    fn show_options(sb: &SuperBlock<Self>, m: &SeqFile) {
        sb.data().options.given().show(m);
    }

    fn show_stats(sb: &SuperBlock<Self>, m: &SeqFile) {
        // The VFS has begun the line with the name of the mount.
        seq_print!(m, "statvers=1\n");
        sb.data().stats.show(m);
    }
}

impl Mount for Diofs {
    type Options = Given;

    const PARAMETERS: &'static [Parameter] = options::PARAMETERS;

    fn options(sb: Option<&SuperBlock<Self>>) -> Given {
        sb.map_or(Given::DEFAULT, |sb| sb.data().options.given())
    }

    fn parse(options: &mut Given, number: u8, value: &CStr, context: &Context<'_>) -> Result {
        options.parse(number, value, context)
    }

    fn mount(options: &Given, context: &mut Context<'_>) -> Result<Pin<KBox<SuperData>>> {
        let lower = find_lower(context)?;
        check_lower(&lower, context)?;
        let mount = PrivateMount::clone_of(&lower).inspect_err(|error| {
            context.error(fmt!(
                "cannot clone the mount of the lower directory: {error:?}"
            ));
        })?;
        if mount.is_read_only() {
            context.set_read_only();
        }
        follow_sync_flags(&lower.mount, None, context)?;
        let mounter = cred::without_resource_cap()?;
        let writer = cred::without_groups(&mounter)?;
        let data = SuperData {
            root: LowerPath {
                dentry: lower.dentry.clone(),
                mount: (&*mount).into(),
            },
            _mount: mount,
            mounter,
            writer,
            options: Options::new(options),
            stats: Stats::zero(),
            lower_errors: lower.mount.error_cursor(),
        };
        Ok(KBox::pin(data, GFP_KERNEL)?)
    }

    fn remount(sb: &SuperBlock<Self>, options: &Given, context: &mut Context<'_>) -> Result {
        let data = sb.data();
        if !context.is_read_only() && data.root.mount.is_read_only() {
            context.error(fmt!("cannot write: the lower filesystem is read-only"));
            return Err(EROFS);
        }
        follow_sync_flags(&data.root.mount, Some(sb), context)?;
        data.options.change(options);
        Ok(())
    }
}

/// Has the filesystem be as synchronous as the lower one.
///
/// What the VFS makes durable by these flags it makes so on the lower filesystem, by its own. More
/// than that cannot be had here: direct writes and changes of names are durable when the lower
/// filesystem says so. A remount may ask for what was there, as `mount(8)` does.
fn follow_sync_flags(
    lower: &LowerMount,
    sb: Option<&SuperBlock<Diofs>>,
    context: &mut Context<'_>,
) -> Result {
    let (flags, wanted) = (lower.sync_flags(), context.sync_flags());
    if !wanted.are_within(flags) && !sb.is_some_and(|sb| wanted.are_within(sb.sync_flags())) {
        context.error(fmt!(
            "mount the lower filesystem with 'sync' or 'dirsync', this one does as it does"
        ));
        return Err(EINVAL);
    }
    context.set_sync_flags(flags);
    Ok(())
}

/// The directory that is to be mounted.
fn find_lower(context: &Context<'_>) -> Result<LowerPath> {
    let Some(name) = context.source() else {
        context.error(fmt!("no lower directory given as the source"));
        return Err(EINVAL);
    };
    LowerPath::lookup_directory(name).inspect_err(|&error| {
        let why = if error == ENOENT {
            "no such directory"
        } else if error == ENOTDIR {
            "not a directory"
        } else {
            "cannot be looked up"
        };
        context.error(fmt!("lower directory '{name}': {why}"));
    })
}

/// Whether we can stack on it.
fn check_lower(lower: &LowerPath, context: &Context<'_>) -> Result {
    if lower.mount.stack_depth() >= FILESYSTEM_MAX_STACK_DEPTH as i32 {
        context.error(fmt!(
            "the lower filesystem is stacked {FILESYSTEM_MAX_STACK_DEPTH} deep already"
        ));
        return Err(EINVAL);
    }
    // It would cache such a file in folios of at least a block. A page of it under a direct write
    // and its neighbour under write-back would meet there.
    if lower.block_size()? > PAGE_SIZE {
        context.error(fmt!(
            "a lower filesystem with blocks larger than a page cannot be used"
        ));
        return Err(EINVAL);
    }
    inode::check_directory(&lower.dentry).inspect_err(|_| {
        context.error(fmt!(
            "a lower directory with case-insensitive names or automounts cannot be used"
        ));
    })
}
