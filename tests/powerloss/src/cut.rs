// SPDX-License-Identifier: GPL-2.0
//! `powerloss cut`: from a log of writes to images of what cuts leave.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::acks::{self, Acked};
use crate::control;
use crate::history::History;
use crate::image::{self, Cache, Image};
use crate::log::Log;
use crate::rng::Rng;

/// What to cut and where.
#[derive(clap::Args)]
pub struct Args {
    /// The log
    log: PathBuf,
    /// How many cuts: where the log ends, right after acknowledgements, and anywhere
    #[arg(long)]
    count: usize,
    /// The seed of the workload, which determines the cuts as well
    #[arg(long)]
    seed: u64,
    /// Bytes of the disk that belong to the filesystem; the notes are behind them
    #[arg(long)]
    size: u64,
    /// Make a control as well: one of these images without one acknowledged write
    #[arg(long)]
    control: bool,
    /// Cut here images and what was acknowledged: PREFIX-1.img, PREFIX-1.acks, ...
    #[arg(long)]
    prefix: PathBuf,
}

/// The notes of a log: where in it, by whom, which step.
type Notes = Vec<(usize, u64, u64)>;

/// Makes the images, and says in a line what each is.
pub fn run(args: &Args) -> Result<()> {
    let log = Log::open(&args.log)?;
    let notes = notes(&log, args.size)?;
    let begun = notes.iter().find(|(_, worker, _)| *worker == acks::BEGIN);
    let Some(&(begin, _, _)) = begun else {
        bail!("{}: the workload had not begun", args.log.display());
    };
    let mut rng = Rng::new(args.seed, 1000);
    let mut lied = false;
    for number in 0..args.count {
        let cut = choose(number, &log, &notes, begin, &mut rng);
        let cache = Cache::ALL[number % Cache::ALL.len()];
        let path = |kind: &str| named(&args.prefix, number + 1, kind);
        let image = Image::replay(&log, cut, cache, &mut rng, args.size)?;
        image.write(&path("img"))?;
        let acked = acknowledged(args.seed, &notes, cut);
        fs::write(path("acks"), acked.to_text())?;
        println!(
            "{}: cut before entry {cut} of {}, {}, {} acknowledgements",
            path("img").display(),
            log.entries.len(),
            cache.name(),
            acked.notes
        );
        if args.control && !lied {
            let flushed = image::durable_before(&log, cut);
            lied = lie(image, flushed, &acked, |kind| {
                named(&args.prefix, number + 1, &format!("control.{kind}"))
            })?;
        }
    }
    ensure!(
        lied || !args.control,
        "{}: in none of {} cuts is there a write to leave out for a control: none replaced an older \
         value, was acknowledged and is the last to its place",
        args.log.display(),
        args.count
    );
    Ok(())
}

/// The image of a cut, had the disk lied about one write, and what has to be said about it; if there is
/// such a write.
fn lie(
    mut image: Image,
    flushed: usize,
    acked: &Acked,
    path: impl Fn(&str) -> PathBuf,
) -> Result<bool> {
    let histories = History::all(acked);
    let lies = control::candidates(&image, flushed, &histories);
    let count = lies.len();
    let Some(lie) = control::choose(lies, &mut Rng::new(acked.seed, 2000)) else {
        return Ok(false);
    };
    lie.tell(&mut image);
    image.write(&path("img"))?;
    fs::write(path("acks"), acked.to_text())?;
    fs::write(path("lost"), lie.verdict(&histories, acked.notes))?;
    println!(
        "{}: without entry {}, which is one of {count} that can be left out: {}",
        path("img").display(),
        lie.entry,
        lie.what()
    );
    Ok(true)
}

fn named(prefix: &Path, number: usize, kind: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!("-{number}.{kind}"));
    name.into()
}

/// All notes. The kernel may have merged some of adjacent sectors into one write.
fn notes(log: &Log, from: u64) -> Result<Notes> {
    let mut notes = Notes::new();
    for (index, entry) in log.entries.iter().enumerate() {
        if entry.offset < from {
            continue;
        }
        for sector in log.data(entry)?.chunks(acks::SECTOR) {
            let note = acks::decode(sector).context("a strange note of an acknowledgement")?;
            notes.push((index, note.0, note.1));
        }
    }
    Ok(notes)
}

/// Where to cut: the first time where the guest was killed, then by turns just after an
/// acknowledgement, when the most is vouched for, and anywhere.
fn choose(number: usize, log: &Log, notes: &Notes, begin: usize, rng: &mut Rng) -> usize {
    let late: Vec<usize> = notes
        .iter()
        .map(|note| note.0)
        .filter(|&at| at >= begin)
        .collect();
    match number {
        0 => log.entries.len(),
        _ if number % 2 == 1 => rng.pick(&late) + 1,
        _ => begin + 1 + rng.below((log.entries.len() - begin) as u64) as usize,
    }
}

fn acknowledged(seed: u64, notes: &Notes, cut: usize) -> Acked {
    let mut acked = Acked {
        seed,
        ..Acked::default()
    };
    for (_, worker, step) in notes
        .iter()
        .filter(|(at, worker, _)| *at < cut && *worker != acks::BEGIN)
    {
        acked.last.insert(*worker, *step);
        acked.notes += 1;
    }
    acked
}
