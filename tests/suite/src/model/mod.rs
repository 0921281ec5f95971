// SPDX-License-Identifier: GPL-2.0

//! One file, one process, thousands of random operations of every kind, and an image of the file in
//! memory that every read must agree with, byte for byte.

mod image;
mod operation;
mod random;
mod subject;

use crate::harness::{Ctx, Test, test};
use crate::lower::stack::FsKind;
use anyhow::{Context, Result};
use image::Image;
use operation::{Mix, Operation};
use random::Random;
use std::collections::VecDeque;
use subject::Subject;

pub const TESTS: &[Test] = &[
    test("model.mixed", |ctx| walk(ctx, "mixed", 256 << 10, 2000)).limit(300),
    test("model.few_pages", |ctx| walk(ctx, "few", 20_000, 2000)).limit(300),
    test("model.large", |ctx| walk(ctx, "large", 3 << 20, 600)).limit(300),
];

pub fn tests() -> Vec<Test> {
    TESTS.to_vec()
}

/// How many operations before a failure are told.
const HISTORY: usize = 12;

/// Does `count` operations on a file of at most `limit` bytes.
fn walk(ctx: &Ctx, name: &str, limit: usize, count: usize) -> Result<()> {
    let salt = name.bytes().fold(0, |sum, b| sum * 31 + u64::from(b));
    let mut random = Random::new(ctx.seed ^ salt);
    let mix = Mix {
        limit,
        // Elsewhere a store beside a direct write in flight is lost, and that is known.
        beside: ctx.fs == FsKind::Diofs && ctx.lower.kind.is_direct(),
    };
    let mut subject = Subject::open(&ctx.at("model"), limit)?;
    let mut image = Image::default();
    let mut history = VecDeque::new();
    for number in 0..count {
        let operation = Operation::random(&mut random, &mix, image.len());
        history.push_back(format!("{number} {operation:?}"));
        if history.len() > HISTORY {
            history.pop_front();
        }
        operation
            .run(&mut subject, &mut image, &mut random)
            .with_context(|| {
                let last: Vec<String> = history.iter().cloned().collect();
                format!("seed {}, last operations: {}", ctx.seed, last.join(", "))
            })?;
    }
    subject
        .check_all(&image)
        .with_context(|| format!("seed {}, at the end", ctx.seed))
}
