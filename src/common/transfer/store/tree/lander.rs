//! Lands complete files: makes them durable in groups, then gives them their names. One thread
//! runs it. Without sync, files are landed at once by the thread that completes them.

#![forbid(unsafe_code)]

use super::volume::Volume;
use super::{Complete, Tree};
use crate::sys::sync::{lock, wait, wait_for};
use crate::transfer::timing::Timing;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Most complete files that wait.
pub const MAX_WAITING: usize = 10_000;

/// So many begin a sync: the rest of the room is for what comes meanwhile.
const FULL_GROUP: usize = MAX_WAITING / 2;

/// So many bytes begin a sync.
const FULL_BYTES: u64 = 256 << 20;

/// A group waits this many times as long as the last sync took: so the disk has nine tenths of
/// its time for writing.
const SYNC_SHARE: u32 = 10;

/// The function that hears what became of each file, once: its ticket, and the error if it was
/// not put in place. No lock of the lander is held.
type Told<T> = Box<dyn Fn(T, io::Result<()>) + Send + Sync>;

/// Complete files on the way to their names. A ticket `T` stands for each.
pub struct Lander<T> {
    tree: Arc<Tree>,
    told: Told<T>,
    queue: Mutex<Queue<T>>,
    /// Told of a first file, of a full group, and of the end.
    work: Condvar,
    /// Told of room.
    room: Condvar,
}

struct Queue<T> {
    waiting: Vec<(Complete, T)>,
    /// The bytes of these.
    bytes: u64,
    /// How many are being landed.
    landing: usize,
    state: State,
    /// When the last sync ended, and how long it took.
    last_sync: (Instant, Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Files come.
    Open,
    /// No file comes any more; what is complete is landed.
    Ending,
    /// Over, or a sync has failed.
    Closed,
}

impl<T: Send> Lander<T> {
    /// A lander for the files of `tree`. `told` hears of each file.
    pub fn new(tree: Arc<Tree>, told: Told<T>) -> Lander<T> {
        let queue = Queue {
            waiting: Vec::new(),
            bytes: 0,
            landing: 0,
            state: State::Open,
            last_sync: (Instant::now(), Duration::ZERO),
        };
        let queue = Mutex::new(queue);
        Lander { tree, told, queue, work: Condvar::new(), room: Condvar::new() }
    }

    /// Takes a complete file. Without sync it is in place after that. Else this waits while
    /// [`MAX_WAITING`] files wait; [`Lander::run`] ends the wait.
    pub fn land(&self, complete: Complete, ticket: T) {
        if !self.tree.durable {
            let put = self.tree.put_in_place(&complete);
            return (self.told)(ticket, put);
        }
        let mut queue = lock(&self.queue);
        while queue.waiting.len() + queue.landing >= MAX_WAITING && queue.state != State::Closed {
            queue = wait(&self.room, queue);
        }
        if queue.state == State::Closed {
            drop(queue);
            return (self.told)(ticket, Err(closed()));
        }
        let was_full = queue.is_full();
        queue.bytes = queue.bytes.saturating_add(complete.size);
        queue.waiting.push((complete, ticket));
        if queue.waiting.len() == 1 || (queue.is_full() && !was_full) {
            self.work.notify_one();
        }
    }

    /// How many complete files wait to be landed.
    pub fn waiting(&self) -> usize {
        let queue = lock(&self.queue);
        queue.waiting.len() + queue.landing
    }

    /// Has [`Lander::run`] land everything that is complete, and return.
    pub fn end(&self) {
        let mut queue = lock(&self.queue);
        if queue.state == State::Open {
            queue.state = State::Ending;
        }
        self.work.notify_one();
    }

    /// Lands files until [`Lander::end`]. With sync, everything that was landed is durable then.
    ///
    /// # Errors
    /// A failed sync: the kernel may have dropped what it could not write. Files that wait are not
    /// put in place then.
    pub fn run(&self) -> io::Result<()> {
        while let Some(group) = self.next_group() {
            let start = Instant::now();
            if let Err(error) = sync(group.iter().map(|(complete, _)| &complete.volume)) {
                self.close(group);
                return Err(error);
            }
            let took = start.elapsed();
            for (complete, ticket) in group {
                (self.told)(ticket, self.tree.put_in_place(&complete));
            }
            let mut queue = lock(&self.queue);
            queue.landing = 0;
            queue.last_sync = (Instant::now(), took);
            self.room.notify_all();
        }
        self.close(Vec::new());
        if !self.tree.durable {
            return Ok(());
        }
        // The names that were given since.
        let volumes = lock(&self.tree.volumes).clone();
        volumes.iter().try_for_each(|volume| volume.sync())
    }

    /// Waits for the files that one sync is to cover. `None` at the end.
    fn next_group(&self) -> Option<Vec<(Complete, T)>> {
        let mut queue = lock(&self.queue);
        loop {
            let left = queue.time_left(Instant::now(), &self.tree.timing);
            match (queue.state, left) {
                (State::Closed, _) | (State::Ending, None) => return None,
                (State::Ending, Some(_)) | (State::Open, Some(Duration::ZERO)) => break,
                (State::Open, Some(left)) => queue = wait_for(&self.work, queue, left),
                (State::Open, None) => queue = wait(&self.work, queue),
            }
        }
        queue.bytes = 0;
        queue.landing = queue.waiting.len();
        Some(std::mem::take(&mut queue.waiting))
    }

    /// Tells of files that are not put in place, and takes no further ones.
    fn close(&self, group: Vec<(Complete, T)>) {
        let mut queue = lock(&self.queue);
        queue.state = State::Closed;
        queue.landing = 0;
        let waiting = std::mem::take(&mut queue.waiting);
        self.room.notify_all();
        drop(queue);
        for (_, ticket) in group.into_iter().chain(waiting) {
            (self.told)(ticket, Err(closed()));
        }
    }
}

impl<T> Queue<T> {
    fn is_full(&self) -> bool {
        self.waiting.len() >= FULL_GROUP || self.bytes >= FULL_BYTES
    }

    /// How long the files that wait have to wait still; `None` if there are none.
    fn time_left(&self, now: Instant, timing: &Timing) -> Option<Duration> {
        if self.waiting.is_empty() {
            return None;
        }
        if self.is_full() {
            return Some(Duration::ZERO);
        }
        let (ended, took) = self.last_sync;
        Some(pause(took, timing).saturating_sub(now.duration_since(ended)))
    }
}

/// How long a group is collected after a sync that took this long.
fn pause(took: Duration, timing: &Timing) -> Duration {
    took.saturating_mul(SYNC_SHARE).max(timing.soonest_landing).min(timing.latest_landing)
}

/// Syncs each of these file systems once, if it covers its files.
fn sync<'a>(volumes: impl Iterator<Item = &'a Arc<Volume>>) -> io::Result<()> {
    let mut synced: Vec<&Arc<Volume>> = Vec::new();
    for volume in volumes.filter(|volume| volume.syncs_whole()) {
        if !synced.iter().any(|known| Arc::ptr_eq(known, volume)) {
            volume.sync()?;
            synced.push(volume);
        }
    }
    Ok(())
}

/// The error of a file that is not landed any more.
fn closed() -> io::Error {
    io::Error::other("a sync has failed, or the run has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_waits_ten_times_the_last_sync_within_limits() {
        let timing = Timing::default();
        let paused = |milliseconds| pause(Duration::from_millis(milliseconds), &timing);
        assert_eq!(paused(50), Duration::from_millis(500));
        assert_eq!(paused(0), timing.soonest_landing);
        assert_eq!(paused(60_000), timing.latest_landing);
    }
}
