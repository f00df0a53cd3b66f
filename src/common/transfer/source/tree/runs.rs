//! The runs that a transfer keeps: so few that a sink that lists many large folders at once costs
//! no memory, and enough that a folder is not read anew for each page.

#![forbid(unsafe_code)]

use super::run::{Batch, LIMITS, Limits, Run};
use crate::sys::dir::Dir;
use crate::sys::sync::{lock, wait_for};
use crate::transfer::source::wait_blocks::WaitBlocks;
use std::io;
use std::sync::{Condvar, Mutex};

/// The most runs of a transfer, kept or being read. Small ones do not count: they are not kept.
const MAX_RUNS: usize = 4;

/// Which folder a run is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Its name in the tree.
    pub(super) name: Vec<u8>,
    /// Its own numbers: the name may come to mean another folder.
    pub(super) device: u64,
    pub(super) inode: u64,
}

#[derive(Debug)]
struct Kept {
    key: Key,
    run: Run,
}

#[derive(Debug, Default)]
struct State {
    /// Those of which names are left, the one that was used last at the end.
    kept: Vec<Kept>,
    /// How many large ones are being read.
    reading: usize,
}

/// The runs of a transfer.
#[derive(Debug)]
pub(super) struct Runs {
    limits: Limits,
    state: Mutex<State>,
    /// Notified when one has been read.
    freed: Condvar,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs::new(LIMITS)
    }
}

impl Runs {
    pub(super) fn new(limits: Limits) -> Runs {
        Runs { limits, state: Mutex::default(), freed: Condvar::new() }
    }

    /// The first names of a folder after `after` whose entries fit into `room` bytes. Opens the
    /// folder with `open` where no run has them.
    ///
    /// # Errors
    /// Those of `open`; no name can be read.
    pub(super) fn batch(
        &self,
        key: &Key,
        open: impl FnOnce() -> io::Result<Dir>,
        after: &[u8],
        room: usize,
        waits: &mut WaitBlocks<'_>,
    ) -> io::Result<Batch> {
        if let Some(batch) = self.known(key, after, room) {
            return Ok(batch);
        }
        let mut place = None;
        let grow = |waits: &mut WaitBlocks<'_>| place = Some(Reading::begin(self, waits));
        let run = Run::read(&open()?, after, self.limits, waits, grow)?;
        let (batch, has_rest) = run.batch(after, room);
        if let Some(place) = place {
            place.end(has_rest.then(|| Kept { key: key.clone(), run }));
        }
        Ok(batch)
    }

    /// The batch, from a run that is kept.
    fn known(&self, key: &Key, after: &[u8], room: usize) -> Option<Batch> {
        let mut state = lock(&self.state);
        let serves = |kept: &Kept| kept.key == *key && kept.run.serves(after);
        let at = state.kept.iter().position(serves)?;
        let kept = state.kept.remove(at);
        let (batch, has_rest) = kept.run.batch(after, room);
        if has_rest {
            state.kept.push(kept);
        }
        Some(batch)
    }

    /// How many runs are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        lock(&self.state).kept.len()
    }
}

/// The place of a run that is being read. It is given back whatever happens.
struct Reading<'a>(&'a Runs);

impl Reading<'_> {
    /// Waits for a place; those who have one only read a folder. The run that was not used for
    /// the longest time makes room.
    fn begin<'a>(runs: &'a Runs, waits: &mut WaitBlocks<'_>) -> Reading<'a> {
        loop {
            let mut state = lock(&runs.state);
            if state.reading >= MAX_RUNS {
                state = wait_for(&runs.freed, state, waits.until_due());
            }
            if state.reading < MAX_RUNS {
                state.reading += 1;
                let surplus = (state.kept.len() + state.reading).saturating_sub(MAX_RUNS);
                state.kept.drain(..surplus);
                return Reading(runs);
            }
            drop(state);
            waits.send_if_due();
        }
    }

    /// Keeps what was read, instead of older runs of that folder.
    fn end(self, read: Option<Kept>) {
        let runs = self.0;
        drop(self);
        let Some(read) = read else { return };
        let mut state = lock(&runs.state);
        state.kept.retain(|kept| kept.key != read.key);
        if state.kept.len() + state.reading < MAX_RUNS {
            state.kept.push(read);
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).reading -= 1;
        self.0.freed.notify_one();
    }
}
