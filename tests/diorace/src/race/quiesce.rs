// SPDX-License-Identifier: GPL-2.0
//! After the race: every mode must show something legal, and all of them the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engines::{Buffer, Completion, Errno, Op, Queue, Request};
use oracle::{Class, Finding, Mode, Profile, Read, Seen, Severity, Tally};

use crate::crew::and_save;
use crate::crew::pulse::Pulse;
use crate::race::plan::{engine, reads_whole};
use crate::race::recheck::Rechecker;
use crate::race::shared::Shared;

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

/// What fsync reported, and what was found.
#[derive(Debug, Default)]
pub struct Quiet {
    /// What is wrong with the content.
    pub tally: Tally,
    /// Reads that failed, of what had been acknowledged.
    pub unreadable: u64,
    /// The error that the descriptor was told of that was opened before the race.
    pub sentinel: Option<Errno>,
}

/// Reads the whole file in every mode: as the race left it, after fsync, and after the cache was
/// dropped. `slot` is a reader's slot of the history; the one after it is used for second looks.
pub fn check(
    shared: &Arc<Shared>,
    pulse: &Arc<Pulse>,
    slot: usize,
    quiet: &mut Quiet,
) -> Result<()> {
    let mut checker = Checker::new(shared, pulse, slot);
    let done = and_save(
        &mut checker,
        |checker| checker.passes(&mut quiet.sentinel),
        |checker| {
            quiet.tally.merge(mem::take(&mut checker.tally));
            quiet.unreadable += checker.unreadable;
        },
    );
    checker.close();
    done
}

/// What could be had of a chunk.
struct Got {
    /// What the first read returned, none after an error.
    first: Option<u64>,
    /// The bytes there are, with those for which it was asked again.
    bytes: u64,
    /// The error that ended it.
    failed: Option<Errno>,
    buffer: Buffer,
}

impl Got {
    /// The words there are; none if the first read failed: the buffer still holds what somebody else
    /// has read there.
    fn words(&self) -> Option<&[u64]> {
        self.first?;
        Some(&self.buffer.words()[..(self.bytes / 8) as usize])
    }

    /// How many bytes there are if fewer than the file has, although nothing failed. With `promised`
    /// the first read must have returned them all.
    fn is_short(&self, n: u64, promised: bool) -> Option<u64> {
        let first = self.first.filter(|_| self.failed.is_none())?;
        let counts = if promised { first } else { self.bytes };
        (counts < n).then_some(counts)
    }

    /// Adds what a read has returned that began at `start` of the chunk; false if that is nothing new.
    fn add(&mut self, start: u64, count: u64, n: u64, from: &Buffer) -> bool {
        let (have, end) = (self.bytes / 8 * 8, (start + count).min(n));
        if end <= self.bytes {
            return false;
        }
        let words = |bytes: u64| (bytes / 8) as usize;
        let more = &from.words()[words(have - start)..words(end - start)];
        self.buffer.words_mut()[words(have)..words(end)].copy_from_slice(more);
        self.bytes = end;
        true
    }
}

struct Checker<'a> {
    shared: &'a Arc<Shared>,
    pulse: &'a Arc<Pulse>,
    slot: usize,
    /// Opened when first needed.
    queues: HashMap<&'static str, Box<dyn Queue>>,
    again: Rechecker,
    tally: Tally,
    unreadable: u64,
}

impl<'a> Checker<'a> {
    fn new(shared: &'a Arc<Shared>, pulse: &'a Arc<Pulse>, slot: usize) -> Self {
        Self {
            shared,
            pulse,
            slot,
            queues: HashMap::new(),
            again: Rechecker::watched(slot + 1, pulse),
            tally: Tally::default(),
            unreadable: 0,
        }
    }

    /// Looks, calls fsync, looks again, drops the cache, and looks again.
    fn passes(&mut self, sentinel: &mut Option<Errno>) -> Result<()> {
        let shared = self.shared;
        // Direct last: it writes back what is cached.
        self.pass(
            "after the race",
            &[Mode::Buffered, Mode::Mmap, Mode::Direct],
        )?;
        *sentinel = self.pulse.during(|| shared.store.fsync()).err();
        self.pass("after fsync", &[Mode::Direct, Mode::Mmap, Mode::Buffered])?;
        self.drop_cache();
        self.pass("after dropping the cache", &[Mode::Buffered, Mode::Direct])
    }

    /// Drops the cache, which works for pages only that nobody maps.
    fn drop_cache(&mut self) {
        self.close();
        let left = self.pulse.during(|| self.shared.store.drop_cache());
        if let Some(left @ 1..) = left {
            self.shared.note(format!(
                "the last look was not at the disk alone: {left} pages could not be dropped from the \
                 cache; does somebody else use the file?"
            ));
        }
    }

    /// Closes all engines.
    fn close(&mut self) {
        let pulse = self.pulse;
        pulse.during(|| {
            self.queues.clear();
            self.again = Rechecker::watched(self.slot + 1, pulse);
        });
    }

    /// The engine of a mode.
    fn queue(&mut self, mode: Mode) -> Result<&mut dyn Queue> {
        let (store, pulse) = (&self.shared.store, self.pulse);
        Ok(match self.queues.entry(mode.name()) {
            Entry::Occupied(open) => open.into_mut().as_mut(),
            Entry::Vacant(none) => none
                .insert(pulse.during(|| store.open(engine(mode), 1))?)
                .as_mut(),
        })
    }

    /// Reads the file in several modes and compares them.
    fn pass(&mut self, when: &str, modes: &[Mode]) -> Result<()> {
        let len = self.size()?;
        let buffers: Result<Vec<_>> = modes.iter().map(|_| self.buffer()).collect();
        let mut buffers = buffers?;
        let mut at = 0;
        while at < len {
            let n = CHUNK.min(len - at);
            let mut got = Vec::new();
            for mode in modes {
                let buffer = buffers.pop().context("a buffer got lost")?;
                got.push(self.read(when, *mode, at, n, buffer)?);
            }
            self.compare(at, &got);
            buffers.extend(got.into_iter().map(|(_, buffer)| buffer));
            let who = || format!("the check {when}");
            self.shared.explain(&mut self.tally, &mut self.again, who);
            at += n;
        }
        Ok(())
    }

    /// How long the file is, which must be explained by what was done to it.
    fn size(&mut self) -> Result<u64> {
        let shared = self.shared;
        let read = shared.history.begin_read(self.slot);
        let size = self.pulse.during(|| shared.store.size())?;
        let read = shared.history.end_read(read);
        if !shared.history.size_is_legal(&read, size) {
            let finding = count(shared, Class::Size, 0, size, size, Some(read));
            self.tally.add(finding);
        }
        shared.history.release(&read);
        let whole = shared.history.len_bytes();
        // What is missing of a file whose size nobody changes is looked for in every mode.
        Ok(match shared.history.is_sized() {
            true => size.min(whole) / 8 * 8,
            false => whole,
        })
    }

    /// Reads and judges a chunk in one mode; says how many words of it there are in the buffer, if any.
    fn read(
        &mut self,
        when: &str,
        mode: Mode,
        at: u64,
        n: u64,
        buffer: Buffer,
    ) -> Result<(Option<usize>, Buffer)> {
        let history = &self.shared.history;
        let read = history.begin_read(self.slot);
        let got = self.fetch(mode, at, n, buffer);
        let got = got.with_context(|| format!("the check {when}"))?;
        let read = history.end_read(read);
        if let Some(words) = got.words() {
            history.check(&read, at, words, &mut self.tally);
        }
        if let Some(bytes) = got.is_short(n, self.promised(mode)) {
            let finding = count(self.shared, Class::Short, at, n, bytes, Some(read));
            self.tally.add(finding);
        }
        if let Some(errno) = got.failed {
            self.failed(when, mode, at, n, errno);
        }
        history.release(&read);
        let (who, mode) = (when, mode.name());
        let who = || format!("a {mode} read of {n} bytes at {at} in the check {who}");
        self.shared.explain(&mut self.tally, &mut self.again, who);
        Ok((got.words().map(<[u64]>::len), got.buffer))
    }

    /// Whether a read in this mode must return all that the file has at once.
    fn promised(&self, mode: Mode) -> bool {
        self.shared.history.profile() == Profile::Strict && reads_whole(engine(mode))
    }

    /// A read failed, of which nobody can be the reason who is still at work.
    fn failed(&mut self, when: &str, mode: Mode, at: u64, n: u64, errno: Errno) {
        let unreadable = match errno {
            errno if errno.is_damage() => true,
            // On some filesystems a load needs room: then it may fail, unless more is promised.
            Errno::EFAULT => self.shared.history.profile() == Profile::Strict,
            _ => false,
        };
        let mode = mode.name();
        if unreadable {
            self.unreadable += 1;
            self.shared.note(format!(
                "unreadable: a {mode} read of {n} bytes at {at} {when} fails with {errno}"
            ));
        } else {
            let what = format!("{mode} in the check {when}");
            self.shared.failed(&what, errno);
        }
    }

    /// Reads all that can be had of a chunk in a mode: for what a read does not return it is asked again.
    fn fetch(&mut self, mode: Mode, at: u64, n: u64, buffer: Buffer) -> Result<Got> {
        // Behind an end that is no multiple of anything there is nothing to be had.
        let align = match mode {
            Mode::Direct => self.shared.geometry.align.max(8),
            _ => 8,
        };
        let done = self.request(mode, at, n.next_multiple_of(align), buffer)?;
        let first = done.result.map(|got| (got as u64).min(n));
        let mut got = Got {
            first: first.ok(),
            bytes: first.unwrap_or(0),
            failed: first.err(),
            buffer: done.buffer,
        };
        let mut spare = None;
        while got.failed.is_none() && got.bytes < n {
            let start = (at + got.bytes) / align * align;
            let len = (at + n).next_multiple_of(align) - start;
            let room = match spare.take() {
                Some(room) => room,
                None => self.buffer()?,
            };
            let more = self.request(mode, start, len, room)?;
            match more.result {
                Err(errno) => got.failed = Some(errno),
                Ok(count) if !got.add(start - at, count as u64, n, &more.buffer) => break,
                Ok(_) => {}
            }
            spare = Some(more.buffer);
        }
        Ok(got)
    }

    fn buffer(&self) -> Result<Buffer> {
        let page = self.shared.geometry.page as usize;
        Ok(Buffer::new(CHUNK as usize, page)?)
    }

    /// Reads once in a mode.
    fn request(&mut self, mode: Mode, at: u64, len: u64, buffer: Buffer) -> Result<Completion> {
        let pulse = self.pulse;
        let queue = self.queue(mode)?;
        let request = Request {
            id: 0,
            op: Op::Read,
            offset: at,
            len: len as usize,
            buffer,
        };
        pulse.begin(0, Op::Read, at, len);
        if let Err(rejected) = queue.submit(request) {
            anyhow::bail!("{}", rejected.errno);
        }
        let mut done = Vec::new();
        while queue.in_flight() > 0 {
            queue.reap(Duration::from_secs(1), &mut done)?;
        }
        let done = done.pop().context("a completion got lost")?;
        pulse.end(0, done.result.map(|n| n as u64).map_err(|_| ()));
        Ok(done)
    }

    /// Finds words in which the modes differ although nothing is under way, as far as they were read.
    fn compare(&mut self, at: u64, got: &[(Option<usize>, Buffer)]) {
        let mut read = got
            .iter()
            .filter_map(|(count, buffer)| Some(&buffer.words()[..(*count)?]));
        let Some(first) = read.next() else {
            return;
        };
        let (shared, history) = (self.shared, &self.shared.history);
        let place = |nth: usize| at + nth as u64 * 8;
        for other in read {
            // A chunk may have words that need not agree before one that must.
            let differ = (0..first.len().min(other.len()))
                .filter(|nth| first[*nth] != other[*nth])
                .filter(|nth| history.is_settled(place(*nth), 8));
            let (mut excused, mut wrong) = (None, None);
            for nth in differ {
                let (one, other) = (first[nth], other[nth]);
                if !shared.may_differ(place(nth), one, other) {
                    wrong = Some(nth);
                    break;
                }
                excused = excused.or(Some(nth));
            }
            if let Some(nth) = wrong {
                self.differ(history.severity_at(place(nth)), place(nth), other[nth]);
            } else if let Some(nth) = excused {
                self.differ(Severity::Warning, place(nth), other[nth]);
            }
        }
    }

    fn differ(&mut self, severity: Severity, offset: u64, word: u64) {
        self.tally.add(Finding {
            class: Class::Stale,
            severity,
            offset,
            len: 8,
            seen: self.shared.history.describe(word),
            value: None,
            legal: Vec::new(),
            superseded_by: None,
            overlapping: Vec::new(),
            read: None,
        });
    }
}

/// A finding about a number of bytes.
pub fn count(
    shared: &Shared,
    class: Class,
    offset: u64,
    len: u64,
    seen: u64,
    read: Option<Read>,
) -> Finding {
    let bounds = read.map(|read| shared.history.size_bounds(&read));
    if let Some((least, greatest)) = bounds {
        shared.note(format!(
            "{}: {seen} bytes at {offset}, when the file had at least {least} and at most {greatest}",
            class.name()
        ));
    }
    Finding {
        class,
        severity: Severity::Violation,
        offset,
        len,
        seen: Seen::Bytes(seen),
        value: None,
        legal: Vec::new(),
        superseded_by: None,
        overlapping: Vec::new(),
        read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    use engines::{Advice, Error, File, Kind, Mapping, Rejected};
    use oracle::{Change, Config, History, Outcome};

    use crate::arena::{Arena, Geometry};
    use crate::crew::Crew;
    use crate::crew::pulse::Role;
    use crate::liar::{Liar, LiarStore};
    use crate::race::shared::MIRRORED;
    use crate::race::store::{FileStore, Store};

    /// What a direct read does.
    #[derive(Clone, Copy)]
    enum Answer {
        /// It returns this, and anything.
        Ends(Result<usize, Errno>),
        /// It returns no more than so many bytes, which are right.
        Piece(usize),
    }

    /// A step of the check that never ends.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Hang {
        /// Opening for the so manieth time.
        Open(u64),
        Size,
        Fsync,
        Drop,
    }

    /// Honest memory, but for every direct read other than the first.
    struct Broken {
        memory: LiarStore,
        opens: AtomicU64,
        hang: Option<Hang>,
        answer: Answer,
        reads: Arc<AtomicU64>,
    }

    struct BrokenQueue {
        memory: Box<dyn Queue>,
        answer: Answer,
        reads: Arc<AtomicU64>,
        done: Option<Completion>,
    }

    impl Queue for BrokenQueue {
        fn depth(&self) -> usize {
            1
        }

        fn in_flight(&self) -> usize {
            self.memory.in_flight() + usize::from(self.done.is_some())
        }

        fn submit(&mut self, mut request: Request) -> Result<(), Box<Rejected>> {
            if self.reads.fetch_add(1, Ordering::SeqCst) == 0 {
                return self.memory.submit(request);
            }
            let result = match self.answer {
                Answer::Ends(result) => result,
                Answer::Piece(most) => {
                    request.len = request.len.min(most);
                    return self.memory.submit(request);
                }
            };
            // It may have left anything there.
            request.buffer.words_mut().fill(0xBAD);
            self.done = Some(Completion {
                id: request.id,
                result,
                buffer: request.buffer,
            });
            Ok(())
        }

        fn reap(&mut self, wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
            out.extend(self.done.take());
            self.memory.reap(wait, out)
        }
    }

    impl Broken {
        fn reach(&self, step: Hang) {
            if self.hang == Some(step) {
                // The test is over before.
                thread::sleep(Duration::from_secs(3600));
            }
        }
    }

    impl Store for Broken {
        fn open(&self, kind: Kind, depth: usize) -> Result<Box<dyn Queue>, Error> {
            self.reach(Hang::Open(self.opens.fetch_add(1, Ordering::SeqCst)));
            let memory = self.memory.open(kind, depth)?;
            if !kind.direct {
                return Ok(memory);
            }
            Ok(Box::new(BrokenQueue {
                memory,
                answer: self.answer,
                reads: Arc::clone(&self.reads),
                done: None,
            }))
        }

        fn fsync(&self) -> Result<(), Errno> {
            self.reach(Hang::Fsync);
            self.memory.fsync()
        }

        fn drop_cache(&self) -> Option<u64> {
            self.reach(Hang::Drop);
            self.memory.drop_cache()
        }

        fn advise(&self, advice: Advice, offset: u64, len: u64) -> Result<(), Errno> {
            self.memory.advise(advice, offset, len)
        }

        fn change(&self, change: Change) -> Result<(), Errno> {
            self.memory.change(change)
        }

        fn size(&self) -> Result<u64, Errno> {
            self.reach(Hang::Size);
            self.memory.size()
        }

        fn label(&self) -> String {
            self.memory.label()
        }
    }

    /// The events of the check of a file whose direct reads end so, by class, what could not be read,
    /// and the other errors.
    fn checked(
        result: Result<usize, Errno>,
        lie: Option<Class>,
    ) -> (Vec<(&'static str, u64)>, u64, u64) {
        checked_as(Profile::Strict, Answer::Ends(result), lie)
    }

    fn checked_as(
        profile: Profile,
        answer: Answer,
        lie: Option<Class>,
    ) -> (Vec<(&'static str, u64)>, u64, u64) {
        let mut config = Config::new(2 * CHUNK);
        config.readers = 2;
        config.profile = profile;
        let history = History::new(config).unwrap();
        let memory = LiarStore(Arc::new(Liar::new(&history, lie, 1)));
        let store = Arc::new(Broken {
            memory,
            opens: AtomicU64::new(0),
            hang: None,
            answer,
            reads: Arc::default(),
        });
        let stop = Arc::new(AtomicBool::new(true));
        let shared = Shared::of(history, store, stop);
        let pulse = Crew::<()>::new().pulse("check", Role::Read, 1);
        let mut quiet = Quiet::default();
        check(&shared, &pulse, 0, &mut quiet).unwrap();
        let count = |class: Class| quiet.tally.events(Severity::Violation, class);
        let counts = Class::ALL.map(|class| (class.name(), count(class)));
        let found = counts.into_iter().filter(|(_, n)| *n > 0).collect();
        let errors = shared.take_found().errors.values().sum();
        (found, quiet.unreadable, errors)
    }

    #[test]
    fn what_could_not_be_read_is_compared_with_nothing() {
        assert_eq!(checked(Err(Errno::EIO), None), (Vec::new(), 5, 0));
        assert_eq!(checked(Err(Errno::EUCLEAN), None), (Vec::new(), 5, 0));
        // The data may be there all the same.
        assert_eq!(checked(Err(Errno::ENOMEM), None), (Vec::new(), 0, 5));
    }

    /// A chunk as somebody has read it: mostly zeroes.
    fn read_as(words: &[(usize, u64)]) -> (Option<usize>, Buffer) {
        let mut buffer = Buffer::new(4096, 4096).unwrap();
        for (nth, word) in words {
            buffer.words_mut()[*nth] = *word;
        }
        (Some(512), buffer)
    }

    /// The findings where two modes have read this.
    fn compared(
        shared: &Arc<Shared>,
        one: &[(usize, u64)],
        other: &[(usize, u64)],
    ) -> Vec<(u64, Severity)> {
        let pulse = Crew::<()>::new().pulse("check", Role::Read, 1);
        let mut checker = Checker::new(shared, &pulse, 0);
        checker.compare(0, &[read_as(one), read_as(other)]);
        let findings = checker.tally.take_findings();
        findings.iter().map(|f| (f.offset, f.severity)).collect()
    }

    #[test]
    fn a_word_that_must_agree_is_compared_behind_one_that_need_not() {
        let history = History::new(Config::new(CHUNK)).unwrap();
        let failed = history.begin_write(1, Mode::Direct, 0, 512).unwrap();
        history.end_write(&failed, Outcome::Failed);
        let store = LiarStore(Arc::new(Liar::new(&history, None, 1)));
        let shared = Shared::of(history, Arc::new(store), Arc::default());
        let found = |nth: &[usize]| {
            let words: Vec<_> = nth.iter().map(|nth| (*nth, 1)).collect();
            compared(&shared, &[], &words)
        };
        assert!(found(&[0, 63]).is_empty());
        assert_eq!(found(&[0, 63, 100, 200]), [(800, Severity::Violation)]);
    }

    #[test]
    fn on_a_mirror_writes_that_met_may_be_in_any_order() {
        for mirrored in [false, true] {
            let history = History::new(Config::new(CHUNK)).unwrap();
            let write = |writer| history.begin_write(writer, Mode::Direct, 0, 512).unwrap();
            let (one, other) = (write(1), write(2));
            let end = |write| history.end_write(write, Outcome::Done(512));
            [&one, &other].map(end);
            let store = LiarStore(Arc::new(Liar::new(&history, None, 1)));
            let stop = Arc::default();
            let mut shared =
                Shared::new(history, Arc::new(store), Geometry::USUAL, Vec::new(), stop);
            shared.mirrored = mirrored;
            let shared = Arc::new(shared);
            let found = |more| {
                let words = [(0, other.word(0)), (1, other.word(1)), (2, more)];
                let ours = [(0, one.word(0)), (1, one.word(1)), (2, one.word(2))];
                compared(&shared, &ours, &words)
            };
            let (met, met_and_more) = match mirrored {
                false => ((0, Severity::Violation), (0, Severity::Violation)),
                true => ((0, Severity::Warning), (16, Severity::Violation)),
            };
            assert_eq!(found(one.word(2)), [met]);
            assert_eq!(found(shared.history.initial_word(2)), [met_and_more]);
            let notes = shared.take_found().notes;
            assert_eq!(notes.contains(MIRRORED), mirrored);
        }
    }

    #[test]
    fn what_ends_early_is_short_and_nothing_else() {
        assert_eq!(checked(Ok(0), None), (vec![("short", 5)], 0, 0));
    }

    #[test]
    fn the_rest_of_a_short_read_is_asked_for() {
        // Pieces that end in the middle of what direct I/O takes.
        let piece = |profile| checked_as(profile, Answer::Piece(100_008), None);
        assert_eq!(piece(Profile::Bare), (Vec::new(), 0, 0));
        assert_eq!(piece(Profile::Strict), (vec![("short", 5)], 0, 0));
        // What was returned before is right, and compared; the rest is missing.
        let ends = |result| checked_as(Profile::Bare, Answer::Ends(result), None);
        assert_eq!(ends(Ok(0)), (vec![("short", 5)], 0, 0));
    }

    #[test]
    fn a_file_that_has_grown_though_nobody_made_it_grow_is_noticed() {
        let (found, ..) = checked(Err(Errno::EIO), Some(Class::Size));
        assert_eq!(found, [("size", 3)]);
    }

    /// What a check says of a file of which somebody else maps so many bytes; none where files have no
    /// other place than the cache.
    fn said_of_a_file(name: &str, mapped: usize) -> Option<Vec<String>> {
        let mut config = Config::new(2 * CHUNK);
        config.readers = 2;
        let history = History::new(config).unwrap();
        let program = std::env::current_exe().unwrap();
        let dir = program.parent().unwrap().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        let arena = Arena::new(&dir).unwrap();
        let path = arena.fill("file", &history).unwrap();
        let file = File::open(&path, false).unwrap();
        let memory = file.is_in_memory().unwrap();
        let mapping = Mapping::new(file, 2 * CHUNK as usize).unwrap();
        mapping.load(0, &mut vec![0; mapped / 8]).unwrap();
        let store = Arc::new(FileStore::new(path, 2 * CHUNK).unwrap());
        let shared = Shared::of(history, store, Arc::new(AtomicBool::new(true)));
        let pulse = Crew::<()>::new().pulse("check", Role::Read, 1);
        let mut quiet = Quiet::default();
        check(&shared, &pulse, 0, &mut quiet).unwrap();
        assert!(quiet.tally.is_clean());
        drop(arena);
        std::fs::remove_dir(&dir).unwrap();
        let notes = shared.take_found().notes.into_iter().collect();
        (!memory).then_some(notes)
    }

    #[test]
    fn the_last_look_finds_nothing_in_the_cache() {
        let Some(said) = said_of_a_file("dropped", 0) else {
            eprintln!("skipped: files are in memory here");
            return;
        };
        assert!(said.is_empty(), "{said:?}");
        let said = said_of_a_file("mapped", 4096).unwrap();
        assert!(
            matches!(&said[..], [note] if note.contains("could not be dropped")),
            "{said:?}"
        );
    }

    /// Whether a check is found to hang in a step of it, of a file in which something is wrong.
    fn is_seen_to_hang(step: Hang) -> bool {
        let mut config = Config::new(4096);
        config.readers = 2;
        let history = History::new(config).unwrap();
        let store = Arc::new(Broken {
            memory: LiarStore(Arc::new(Liar::new(&history, None, 1))),
            opens: AtomicU64::new(0),
            hang: Some(step),
            answer: Answer::Piece(4096),
            reads: Arc::default(),
        });
        let lost = history.begin_write(1, Mode::Direct, 0, 512).unwrap();
        history.end_write(&lost, Outcome::Done(512));
        let mut crew = Crew::<Quiet>::new();
        let shared = Shared::of(history, store, crew.stop());
        let (pulse, long) = (crew.pulse("check", Role::Read, 1), Duration::from_secs(30));
        let mine = Arc::clone(&pulse);
        crew.start(pulse, move |quiet| check(&shared, &mine, 0, quiet))
            .unwrap();
        let short = Duration::from_millis(200);
        let ending = crew.race(long, short, |_, time| match time > long / 2 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        ending
            .hung
            .iter()
            .any(|thread| thread.contains("outstanding"))
    }

    #[test]
    fn every_step_is_watched() {
        // The fourth engine is that of a second look.
        let opens = [0, 2, 3].map(Hang::Open);
        let steps = opens
            .into_iter()
            .chain([Hang::Size, Hang::Fsync, Hang::Drop]);
        let tests = steps.map(|step| (step, thread::spawn(move || is_seen_to_hang(step))));
        for (step, test) in tests.collect::<Vec<_>>() {
            assert!(test.join().unwrap(), "{step:?}");
        }
    }
}
