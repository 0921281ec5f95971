// SPDX-License-Identifier: GPL-2.0
//! A file in memory that tells the truth, except when asked not to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engines::{Advice, Completion, Errno, Error, Kind, Op, Queue, Rejected, Request};
use oracle::{Change, Class, History, Key, Tag};

use crate::race::store::Store;
use crate::rng::Rng;

/// Of how many requests one is corrupted.
const RARITY: u64 = 20;

/// Words in memory.
#[derive(Debug)]
pub struct Liar {
    words: Vec<AtomicU64>,
    /// What each word was before it was written last.
    before: Vec<AtomicU64>,
    /// How long it is in bytes.
    size: AtomicU64,
    lie: Option<Class>,
    /// Key of a file that is not this one.
    foreign: Key,
    seed: u64,
    opened: AtomicU64,
    told: AtomicU64,
}

impl Liar {
    /// A file with the initial content of a history. Its `lie` is what it does wrong now and then.
    pub fn new(history: &History, lie: Option<Class>, seed: u64) -> Self {
        let mut initial = vec![0u64; (history.len_bytes() / 8) as usize];
        history.fill_initial(0, &mut initial);
        let copy = || initial.iter().map(|word| AtomicU64::new(*word)).collect();
        Self {
            words: copy(),
            before: copy(),
            size: AtomicU64::new(history.len_bytes()),
            lie,
            foreign: Key::new(seed, 1),
            seed,
            opened: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    /// The same, with words of a file of that key for foreign ones.
    pub fn beside(mut self, foreign: Key) -> Self {
        self.foreign = foreign;
        self
    }

    /// How often it lied.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// `mapped` says that it is a store, which never makes the file longer.
    fn write(&self, first: usize, data: &[u64], mapped: bool, rng: &mut Rng) -> usize {
        if self.lie == Some(Class::Lost) && rng.once_in(RARITY) {
            self.told.fetch_add(1, Ordering::Relaxed);
            return data.len() * 8;
        }
        for (nth, word) in data.iter().enumerate() {
            if !mapped || self.has(first + nth) {
                self.put(first + nth, *word);
            }
        }
        if !mapped {
            let end = (first + data.len()) as u64 * 8;
            self.size.fetch_max(end, Ordering::SeqCst);
        }
        data.len() * 8
    }

    fn has(&self, nth: usize) -> bool {
        (nth as u64) < self.size.load(Ordering::SeqCst) / 8
    }

    fn put(&self, nth: usize, word: u64) {
        let old = self.words[nth].swap(word, Ordering::Relaxed);
        self.before[nth].store(old, Ordering::Relaxed);
    }

    /// Makes words zero.
    fn cut(&self, offset: u64, end: u64) {
        let end = (end / 8).min(self.words.len() as u64);
        (offset / 8..end).for_each(|nth| self.put(nth as usize, 0));
    }

    fn read(&self, first: usize, out: &mut [u64], mapped: bool, rng: &mut Rng) -> usize {
        let size = self.size.load(Ordering::SeqCst) as usize / 8;
        for (nth, word) in out.iter_mut().enumerate() {
            *word = self.words[first + nth].load(Ordering::Relaxed);
        }
        let room = if mapped {
            out.len()
        } else {
            size.saturating_sub(first)
        };
        let out = if room < out.len() {
            &mut out[..room]
        } else {
            out
        };
        if out.is_empty() {
            return 0;
        }
        let Some(lie) = self.lie else {
            return out.len() * 8;
        };
        if lie == Class::Short {
            // Asking again must not help: nothing can be read from this place on.
            let end = self.words.len() / 2;
            let got = end.saturating_sub(first).min(out.len());
            let short = first <= end && got < out.len();
            self.told.fetch_add(u64::from(short), Ordering::Relaxed);
            return if short { got } else { out.len() } * 8;
        }
        if !rng.once_in(RARITY) {
            return out.len() * 8;
        }
        let at = rng.below(out.len() as u64) as usize;
        let (true_word, old) = (out[at], self.before[first + at].load(Ordering::Relaxed));
        let place = (first + at) as u64;
        out[at] = match lie {
            Class::Stale => old,
            Class::Torn => (true_word & 0xFFFF_FFFF) | (old & !0xFFFF_FFFF),
            Class::Foreign => self.foreign.encode(Tag::new(1, 1), place),
            Class::Misplaced => {
                self.words[(first + at + 1) % self.words.len()].load(Ordering::Relaxed)
            }
            Class::Exposed => rng.next() | 1,
            Class::Resurrected if true_word == 0 => old,
            Class::Lost | Class::Resurrected | Class::Short | Class::Size => true_word,
        };
        self.told
            .fetch_add(u64::from(out[at] != true_word), Ordering::Relaxed);
        out.len() * 8
    }
}

/// A file in memory that several threads use.
pub struct LiarStore(pub Arc<Liar>);

impl Store for LiarStore {
    fn open(&self, kind: Kind, _depth: usize) -> Result<Box<dyn Queue>, Error> {
        let nth = self.0.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(LiarQueue {
            liar: Arc::clone(&self.0),
            rng: Rng::new(self.0.seed, nth),
            done: None,
            mapped: kind.is_mapped(),
        }))
    }

    fn fsync(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn advise(&self, _advice: Advice, _offset: u64, _len: u64) -> Result<(), Errno> {
        Ok(())
    }

    fn change(&self, change: Change) -> Result<(), Errno> {
        let range = change.range();
        match change {
            Change::Truncate { len } => {
                self.0.size.store(len, Ordering::SeqCst);
                self.0.cut(len, u64::MAX);
            }
            Change::Punch { .. } => self.0.cut(range.start, range.end),
            _ => return Err(Errno::EOPNOTSUPP),
        }
        Ok(())
    }

    fn size(&self) -> Result<u64, Errno> {
        let size = self.0.size.load(Ordering::SeqCst);
        let lies = self.0.lie == Some(Class::Size);
        self.0.told.fetch_add(u64::from(lies), Ordering::Relaxed);
        Ok(if lies { size + 8 } else { size })
    }

    fn label(&self) -> String {
        "memory".to_owned()
    }
}

struct LiarQueue {
    liar: Arc<Liar>,
    rng: Rng,
    done: Option<Completion>,
    mapped: bool,
}

impl Queue for LiarQueue {
    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        usize::from(self.done.is_some())
    }

    fn submit(&mut self, mut request: Request) -> Result<(), Box<Rejected>> {
        let first = (request.offset / 8) as usize;
        let room = self.liar.words.len().saturating_sub(first);
        let count = (request.len / 8).min(room);
        let result = match request.op {
            Op::Write => self.liar.write(
                first,
                &request.buffer.words()[..count],
                self.mapped,
                &mut self.rng,
            ),
            Op::Read => {
                let out = &mut request.buffer.words_mut()[..count];
                self.liar.read(first, out, self.mapped, &mut self.rng)
            }
        };
        self.done = Some(Completion {
            id: request.id,
            result: Ok(result),
            buffer: request.buffer,
        });
        Ok(())
    }

    fn reap(&mut self, _wait: Duration, out: &mut Vec<Completion>) -> Result<(), Error> {
        out.extend(self.done.take());
        Ok(())
    }
}
