// SPDX-License-Identifier: GPL-2.0

//! A model of the direct-write protocol of diofs, small enough that every interleaving of a few
//! requests on a few pages can be looked at.
//!
//! The *world* ([`world`]) is one file: its upper page cache, its in-flight registry, its locks, and
//! the lower file. *Tasks* act on it. Each has a stack of *steps* ([`step`]); a step is what no
//! other task can come between, and names the function of the module or of the kernel that it
//! stands for. [`machine`] says what each does, and the files beside it hold the paths:
//!
//! - [`direct`], [`transfer`]: direct reads and writes, and their ends in the caller, in an
//!   interrupt, or in a worker;
//! - [`fill`], [`store`], [`buffered`]: cached reads and readahead, faults, stores, buffered writes;
//! - [`cache`]: write-back and invalidation, which the others call;
//! - [`truncate`], [`lower_user`]: truncation, and somebody who opened the lower file himself.
//!
//! The file's content is versions: each write has a number, and [`history`] says for each word
//! which numbers a read may no longer return. [`property`] says what must hold, [`mutant`] what can
//! be broken, [`config`] which requests race, and [`explore`] hands it all to Stateright, which
//! visits every state. See `Documentation/model.rst`.

pub mod buffered;
pub mod cache;
pub mod config;
pub mod direct;
pub mod explore;
pub mod fill;
pub mod history;
pub mod lower_user;
pub mod machine;
pub mod mutant;
pub mod property;
pub mod registry;
pub mod rwsem;
pub mod step;
pub mod store;
pub mod trace;
pub mod transfer;
pub mod truncate;
pub mod world;
