// SPDX-License-Identifier: GPL-2.0

//! The kinds of lower filesystem.

/// A lower filesystem as it is made and mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ext2Block4k,
    Ext2Block1k,
    Ext3Block4k,
    Ext3Block1k,
    Ext4Block4k,
    Ext4Block1k,
    Ext4Journal,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Ext4Block4k,
        Self::Ext4Block1k,
        Self::Ext4Journal,
        Self::Ext3Block4k,
        Self::Ext3Block1k,
        Self::Ext2Block4k,
        Self::Ext2Block1k,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2Block4k => "ext2-4k",
            Self::Ext2Block1k => "ext2-1k",
            Self::Ext3Block4k => "ext3-4k",
            Self::Ext3Block1k => "ext3-1k",
            Self::Ext4Block4k => "ext4-4k",
            Self::Ext4Block1k => "ext4-1k",
            Self::Ext4Journal => "ext4-journal",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    pub fn mount_type(self) -> &'static str {
        match self {
            Self::Ext2Block4k | Self::Ext2Block1k => "ext2",
            Self::Ext3Block4k | Self::Ext3Block1k => "ext3",
            Self::Ext4Block4k | Self::Ext4Block1k | Self::Ext4Journal => "ext4",
        }
    }

    /// Whether files are mapped by extents, so that a direct write fills a hole asynchronously.
    pub fn has_extents(self) -> bool {
        self.mount_type() == "ext4"
    }

    /// Whether direct I/O really goes past the lower's page cache.
    pub fn is_direct(self) -> bool {
        self != Self::Ext4Journal
    }

    /// Options for mounting it. A journal is committed when somebody asks for it, not every five
    /// seconds: while the device holds writes a commit does not end, and who wants to change an
    /// inode that is in it, if only to note a time, waits for that end.
    pub fn mount_options(self) -> &'static str {
        match self {
            Self::Ext2Block4k | Self::Ext2Block1k => "",
            Self::Ext4Journal => "data=journal,commit=3600",
            _ => "commit=3600",
        }
    }

    /// Arguments for `mkfs.ext4`, but for the device.
    pub fn mkfs_args(self) -> &'static [&'static str] {
        macro_rules! args {
            ($kind:literal, $block:literal $(, $more:literal)*) => {
                &["-q", "-F", "-m", "0", "-t", $kind, "-b", $block, "-I", "256", "-N", "8192",
                  "-U", UUID, "-E", EXTENDED $(, $more)*]
            };
        }
        // With its identities given, mkfs need not wait for a young machine's random numbers; with
        // no lazy initialisation, nothing but the tests writes to the device.
        const UUID: &str = "11111111-2222-4333-8444-555555555555";
        const EXTENDED: &str = "nodiscard,lazy_itable_init=0,\
            hash_seed=11111111-2222-4333-8444-555555555555";
        match self {
            Self::Ext2Block4k => args!("ext2", "4096"),
            Self::Ext2Block1k => args!("ext2", "1024"),
            Self::Ext3Block4k => args!("ext3", "4096", "-J", "size=8"),
            Self::Ext3Block1k => args!("ext3", "1024", "-J", "size=8"),
            Self::Ext4Block4k => args!("ext4", "4096", "-J", "size=8"),
            Self::Ext4Block1k => args!("ext4", "1024", "-J", "size=8"),
            Self::Ext4Journal => args!("ext4", "4096", "-J", "size=16"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
        assert_eq!(Kind::named("ext5"), None);
    }
}
