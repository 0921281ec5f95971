// SPDX-License-Identifier: GPL-2.0

//! Mount options.

use crate::{
    pure::dio_busy::DioBusy,
    vfs::context::{
        Context,
        Parameter, //
    },
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The options, as given to `mount(8)`.
#[derive(Clone, Copy)]
pub struct Given {
    dio_busy: DioBusy,
}

const DIO_BUSY: u8 = 0;

/// The options by name.
pub const PARAMETERS: &[Parameter] = &[Parameter::string(c"dio_busy", DIO_BUSY), Parameter::END];

impl Given {
    /// Those of a mount for which none are given.
    pub const DEFAULT: Self = Self {
        dio_busy: DioBusy::Eio,
    };

    /// Takes in the option `number`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a value that is none, with a message in the log of `context`.
    pub fn parse(&mut self, number: u8, value: &CStr, context: &Context<'_>) -> Result {
        match number {
            DIO_BUSY => {
                self.dio_busy = DioBusy::from_name(value.to_bytes()).ok_or_else(|| {
                    context.error(fmt!("dio_busy is 'eio' or 'sync', not '{value}'"));
                    EINVAL
                })?;
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    /// Shows the options that are not the default, as `/proc/mounts` does.
    pub fn show(self, m: &SeqFile) {
        if self.dio_busy != Self::DEFAULT.dio_busy {
            seq_print!(m, ",dio_busy={}", self.dio_busy.name());
        }
    }
}

/// The options in force, which a remount changes while they are in use.
pub struct Options {
    busy_writes_sync: Atomic<bool>,
}

impl Options {
    /// Puts options in force.
    pub fn new(given: &Given) -> Self {
        Self {
            busy_writes_sync: Atomic::new(given.dio_busy == DioBusy::Sync),
        }
    }

    /// Puts other options in force, also for requests that have begun and have not asked yet.
    pub fn change(&self, given: &Given) {
        self.busy_writes_sync
            .store(given.dio_busy == DioBusy::Sync, Relaxed);
    }

    /// The options in force.
    pub fn given(&self) -> Given {
        Given {
            dio_busy: if self.busy_writes_sync() {
                DioBusy::Sync
            } else {
                DioBusy::Eio
            },
        }
    }

    /// Whether a direct write whose range cannot be invalidated goes through the cache instead of
    /// failing.
    pub fn busy_writes_sync(&self) -> bool {
        self.busy_writes_sync.load(Relaxed)
    }
}
