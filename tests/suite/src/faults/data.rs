// SPDX-License-Identifier: GPL-2.0

//! Cached data: reading, writing, stores, and getting them to disk.

use super::inject::{Injector, Target};
use super::points::{Round, every_point};
use super::stage::{LEN, NOMEM, Stage};
use crate::coherence::scene::{NEW, OLD};
use crate::harness::{Ctx, Test, test};
use crate::pattern::{check, pattern};
use crate::sys::mem::{PAGE, READ, READ_WRITE, Region};
use crate::sys::{Errno, Res, file, fscall, process};
use anyhow::{Context, Result, bail, ensure};
use std::ops::Range;

pub const TESTS: &[Test] = &[
    test("faults.read_cached", read_cached).limit(120),
    test("faults.read_mapped", read_mapped).limit(120),
    test("faults.write_cached", write_cached).limit(120),
    test("faults.write_copies", write_copies).limit(120),
    test("faults.store_mapped", store_mapped).limit(120),
    test("faults.write_back", write_back).limit(240),
    test("faults.write_back_limited", write_back_limited).limit(120),
    test("faults.change_size", change_size).limit(120),
];

/// What is written: from the middle of a page to the middle of another.
const PART: Range<usize> = 3 * PAGE + 700..6 * PAGE + 900;

/// A call that reads some of the file.
type Read = fn(&Stage) -> Res<Vec<u8>>;

fn read_cached(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    let ways: [(&str, Read); 4] = [
        ("read", |s| file::pread_vec(&s.0.cached, LEN, 0)),
        ("read the middle", |s| file::pread_vec(&s.0.cached, 5000, 0)),
        ("splice", |s| {
            let (reader, writer) = fscall::pipe()?;
            let n = fscall::splice_out(&s.0.cached, 0, &writer, 4 * PAGE)?;
            let mut bytes = vec![0; n];
            file::read(&reader, &mut bytes)?;
            Ok(bytes)
        }),
        ("read ahead", |s| {
            fscall::readahead(&s.0.cached, 0, LEN)?;
            file::pread_vec(&s.0.cached, LEN, 0)
        }),
    ];
    for (what, read) in ways {
        stage.reset()?;
        every_point(what, &injector, |round| {
            stage.0.chill()?;
            if let Some(bytes) = round.call(NOMEM, || read(&stage))? {
                ensure!(!bytes.is_empty(), "nothing was read");
                check("read with a fault", &bytes, OLD, 0)?;
            }
            let again = read(&stage).context("without a fault")?;
            check("read without a fault", &again, OLD, 0)?;
            stage.reads_old(LEN)
        })?;
    }
    Ok(())
}

fn read_mapped(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    every_point("load", &injector, |round| {
        stage.0.chill()?;
        let map = Region::shared(&stage.0.cached, 0, LEN, READ)?;
        if let Some(bytes) = round.in_child(|| map.load(5 * PAGE, 2 * PAGE))? {
            check("loaded with a fault", &bytes, OLD, 5 * PAGE as u64)?;
        }
        check("loaded without", &map.load(0, LEN), OLD, 0)
    })
}

/// Writes until all is written, or until a call says no.
fn write_range(stage: &Stage, range: &Range<usize>) -> Res<()> {
    let data = pattern(NEW, range.start as u64, range.len());
    let mut done = 0;
    while done < data.len() {
        done += file::pwrite(&stage.0.cached, &data[done..], (range.start + done) as u64)?;
    }
    Ok(())
}

fn write_cached(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    every_point("overwrite", &injector, |round| {
        stage.reset()?;
        round.call(NOMEM, || write_range(&stage, &PART))?;
        stage.is_old_or_new(&PART)?;
        write_range(&stage, &PART)?;
        stage.is_new(&PART)
    })?;
    let end = LEN + 100..LEN + 3 * PAGE + 5;
    every_point("extend", &injector, |round| {
        stage.reset()?;
        round.call(NOMEM, || write_range(&stage, &end))?;
        write_range(&stage, &end)?;
        stage.is_new(&end)
    })?;
    every_point("write synchronously", &injector, |round| {
        stage.reset()?;
        let sync = file::open(&stage.0.path, libc::O_RDWR | libc::O_SYNC, 0)?;
        let data = pattern(NEW, PART.start as u64, PART.len());
        let write = || file::pwrite(&sync, &data, PART.start as u64);
        match round.call(NOMEM, write)? {
            Some(n) if n == PART.len() => stage.is_on_disk(&PART)?,
            _ => stage.is_old_or_new(&PART)?,
        }
        write_and_sync(&stage)
    })
}

/// A copy from the caller's memory that fails: a short write, or `EFAULT`.
fn write_copies(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Copies)?;
    let stage = Stage::new(ctx)?;
    every_point("overwrite, copies", &injector, |round| {
        stage.reset()?;
        round.call(&[libc::EFAULT], || write_range(&stage, &PART))?;
        stage.is_old_or_new(&PART)?;
        write_range(&stage, &PART)?;
        stage.is_new(&PART)
    })?;
    every_point("read, copies", &injector, |round| {
        let read = || file::pread_vec(&stage.0.cached, LEN, 0);
        let expect = |bytes: &[u8]| {
            ensure!(!bytes.is_empty(), "nothing was read");
            check("before", &bytes[..PART.start.min(bytes.len())], OLD, 0)
        };
        if let Some(bytes) = round.call(&[libc::EFAULT], read)? {
            expect(&bytes)?;
        }
        expect(&read()?)
    })
}

fn store_mapped(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    for warm in [false, true] {
        let what = if warm { "store into cached" } else { "store" };
        every_point(what, &injector, |round| {
            stage.reset()?;
            let map = Region::shared(&stage.0.cached, 0, LEN, READ_WRITE)?;
            if warm {
                map.load(0, LEN);
            }
            let data = pattern(NEW, PART.start as u64, PART.len());
            round.in_child(|| {
                map.store(PART.start, &data);
                Vec::new()
            })?;
            stage.is_old_or_new(&PART)?;
            map.store(PART.start, &data);
            map.msync(0, LEN, libc::MS_SYNC)?;
            stage.is_on_disk(&PART)
        })?;
    }
    Ok(())
}

/// Writes [`PART`] again and syncs: what one has to do whom a sync has told of an error.
fn write_and_sync(stage: &Stage) -> Result<()> {
    // The error may be told once more: to this descriptor.
    let _ = file::fsync(&stage.0.cached);
    write_range(stage, &PART)?;
    stage.is_new(&PART)
}

/// A call that gets the file to disk.
type Sync = fn(&Stage) -> Res<()>;

fn write_back(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    let ways: [(&str, Sync); 4] = [
        ("fsync", |s| file::fsync(&s.0.cached)),
        ("fdatasync", |s| file::fdatasync(&s.0.cached)),
        ("syncfs", |s| file::syncfs(&s.0.cached)),
        ("msync", |s| {
            let map = Region::shared(&s.0.cached, 0, LEN, READ)?;
            map.msync(0, LEN, libc::MS_SYNC)
        }),
    ];
    for (what, sync) in ways {
        every_point(what, &injector, |round| {
            stage.reset_dirty(&PART)?;
            acknowledged(round, &stage, || sync(&stage))
        })?;
    }
    every_point("fsync of a longer file", &injector, |round| {
        stage.reset()?;
        let end = LEN + 100..LEN + 3 * PAGE + 5;
        stage.write_cached(&end)?;
        let sync = || file::fsync(&stage.0.cached);
        if round.call(NOMEM, sync)?.is_some() {
            return stage.is_on_disk(&end);
        }
        write_range(&stage, &end)?;
        stage.is_new(&end)
    })
}

/// If the sync says that all is well, it is on disk; and afterwards all can be well.
fn acknowledged(round: &mut Round, stage: &Stage, sync: impl Fn() -> Res<()>) -> Result<()> {
    match round.call(NOMEM, &sync)? {
        Some(()) => stage.is_on_disk(&PART),
        None => {
            stage.is_old_or_new(&PART)?;
            match sync() {
                // Memory was short for a moment only, and nothing has been given up.
                Ok(()) => stage.is_on_disk(&PART)?,
                Err(Errno(libc::ENOMEM)) => {}
                Err(errno) => bail!("the next sync: {errno}"),
            }
            write_and_sync(stage)
        }
    }
}

/// Written back by a task that may not write so far itself, and has it done by a kernel thread.
fn write_back_limited(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    every_point("fsync under a limit of file size", &injector, |round| {
        stage.reset_dirty(&PART)?;
        let synced = round.in_child(|| {
            let done = process::limit_file_size(PAGE as u64).and(file::fsync(&stage.0.cached));
            done.err().map_or(0, |e| e.0).to_le_bytes().to_vec()
        })?;
        match synced.as_deref() {
            Some([0, ..]) => stage.is_on_disk(&PART)?,
            Some([errno, ..]) if i32::from(*errno) == libc::ENOMEM => {
                stage.is_old_or_new(&PART)?;
            }
            other => bail!("fsync said {other:?}"),
        }
        write_and_sync(&stage)
    })
}

fn change_size(ctx: &Ctx) -> Result<()> {
    let injector = Injector::at(Target::Memory)?;
    let stage = Stage::new(ctx)?;
    let sizes = [0, 5 * PAGE + 100, 8 * PAGE, LEN + 7 * PAGE + 9];
    for (dirty, size) in [false, true]
        .into_iter()
        .flat_map(|d| sizes.map(|s| (d, s)))
    {
        let what = format!("truncate to {size}{}", if dirty { ", dirty" } else { "" });
        every_point(&what, &injector, |round| {
            if dirty {
                stage.reset_dirty(&PART)?;
            } else {
                stage.reset()?;
            }
            let cut = || file::ftruncate(&stage.0.cached, size as i64);
            round.call(NOMEM, cut)?;
            stage.has_size(&[LEN, size])?;
            cut().context("without a fault")?;
            stage.has_size(&[size])?;
            let seen = file::pread_vec(&stage.0.cached, 2 * LEN, 0)?;
            ensure!(seen.len() == size, "{} bytes can be read", seen.len());
            let old = PART.start.min(size);
            check("before", &seen[..old], OLD, 0)?;
            let new = PART.end.min(size);
            let tag = if dirty { NEW } else { OLD };
            check("within", &seen[old..new], tag, old as u64)?;
            let rest = LEN.min(size);
            check("behind", &seen[new..rest], OLD, new as u64)?;
            crate::pattern::check_zero("grown", &seen[rest..], rest as u64)?;
            // An error of write-back that was told of is over with this.
            let _ = file::fsync(&stage.0.cached);
            Ok(())
        })?;
    }
    Ok(())
}
