//! The queue of work of a tree: which folders are to be listed, and which files to be asked for.
//! It also knows which stream owes which answer, and what waits to be put in place. It is to a
//! tree what [`Queue`] is to one file, and holds such a queue for each large file.
//!
//! ```text
//! a folder
//!           claim             take_page           page, whole
//!   lists  ───────►  asked  ────────────►  taken  ───────────►  ended ──► finished ──► gone
//!    ▲                 │ release             │ put_back, release,    when no entry
//!    └─────────────────┴─────────────────────┘ page with more        is left
//!
//! a file of one request
//!           claim             take_file           written            landed
//!   small  ───────►  owed   ────────────►  taken  ───────►  landing  ───────► gone
//!    ▲                 │ release             │ put_back, release
//!    └─────────────────┴─────────────────────┘
//!
//! a larger file
//!           claim              opened           complete            landed
//!   large  ───────►  opening  ───────►  open  ──────────►  landing  ───────► gone
//!    ▲                  │ release
//!    └──────────────────┘
//! ```
//!
//! A file is in exactly one of these states, and each file lands once. `leave` and `change` take
//! it from any of them but landing. An answer that several streams owe is taken from the first
//! that brings it. The others' are discarded.
//!
//! What bounds the memory:
//!
//! - Folders, and files that have not landed: [`Limits::held`]. A list request goes out when
//!   there is room for a page of the usual length, and reserves [`Limits::share`] entries.
//!   Entries of a page for which there is no room are dropped. Then the folder is listed again
//!   behind the last entry that was kept.
//! - The deepest folder is listed first. A page brings no folder while [`Limits::waiting`] folders
//!   of that depth or deeper wait to be listed. So the folders of one depth leave room for deeper
//!   ones. When only folders are held and there is no room, one list request goes out all the
//!   same. Else the board would wait for room that cannot come. It exceeds the limit by at most
//!   a share for each depth.
//! - What waits for its sync: [`Limits::landing`]. Near it nothing new is asked for.
//!
//! All of it is under one lock. Does no I/O and knows no sockets.

#![forbid(unsafe_code)]

pub mod entries;

mod claiming;
mod deepest;
mod files;
mod numbered;
mod pages;
mod speed;
mod state;
mod streams;

#[cfg(test)]
mod tests;

use self::entries::{Beyond, Fate, File, FileId, Folder, FolderId, Found, Kind, PageEnd};
use self::state::{LanderWaits, State};
use super::{End, Queue, StreamId};
use crate::sys::sync::{lock, wait, wait_for, wait_until};
use crate::transfer::timing::Timing;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Most requests that one claim hands out.
pub const MAX_CLAIMS: usize = 64;

/// Most list requests of one claim: the others are left to other streams.
const MAX_LISTS_A_CLAIM: usize = 16;

/// Most requests of an idle stream for what another stream is late with.
const MAX_LATE_A_CLAIM: usize = 8;

/// The most entries that one list request asks for, in bytes.
pub const MAX_PAGE: u32 = 64 << 10;

/// The same while many folders wait to be listed.
const CROWDED_PAGE: u32 = 32 << 10;

/// How often a file may change at the source until it is refused.
pub const MAX_CHANGES: u32 = 3;

/// How much a board holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Folders that are not finished, and files that have not landed.
    pub held: usize,
    /// Entries of a page that are kept even when there is no room.
    pub share: usize,
    /// Files that wait for their sync.
    pub landing: usize,
    /// Folders for which a list request is under way.
    pub lists: usize,
    /// Bytes of entries that these requests ask for.
    pub list_bytes: u32,
    /// Folders at one depth and below that wait to be listed.
    pub waiting: usize,
    /// Large files that are open at a time.
    pub large: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            held: 10_000,
            share: 32,
            landing: 10_000,
            lists: 128,
            list_bytes: 4 << 20,
            waiting: 1024,
            large: 4,
        }
    }
}

/// What a stream can take in one claim.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Requests; at most [`MAX_CLAIMS`] count.
    pub requests: usize,
    /// Bytes of paths in them. An idle stream gets one request of any length.
    pub names: usize,
    /// Bytes of content: a request goes out while any of them is left.
    pub content: u64,
    /// Whether nothing is under way on the stream.
    pub idle: bool,
    /// How long an answer takes. One that is owed for twice that long is late.
    pub answer_time: Duration,
}

/// Something to ask a source for, or to prepare for that.
pub enum Claim<M> {
    /// Entries of a folder.
    List {
        /// The folder.
        folder: Arc<Folder<M>>,
        /// The name behind which they begin; none at the start.
        after: Option<Arc<[u8]>>,
        /// The most bytes of entries.
        bytes: u32,
        /// Whether another stream owes it too.
        again: bool,
    },
    /// A whole file.
    Small {
        /// The file.
        file: Arc<File<M>>,
        /// Whether another stream owes it too.
        again: bool,
    },
    /// A range of a large file. The caller deals with the queue, and calls [`Board::wake`] when
    /// it rejects the range.
    Part {
        /// The file.
        file: Arc<File<M>>,
        /// Its queue.
        queue: Arc<Queue>,
        /// The range.
        range: Range<u64>,
        /// Whether another stream owes it too.
        again: bool,
    },
    /// Nothing to ask for: the caller opens the output of a large file and calls
    /// [`Board::opened`].
    Open {
        /// The file.
        file: Arc<File<M>>,
    },
}

/// The answer to a claim.
pub enum Claimed<M> {
    /// One request or more. The stream owes the answers, in this order.
    Work(Vec<Claim<M>>),
    /// Nothing now. After this long there may be, or when the board changes.
    Later(Option<Duration>),
    /// Nothing any more.
    Over,
}

/// What the caller does with a page that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It deals with this many entries from the start, and calls [`Board::page`].
    Entries(usize),
    /// It discards the page: another stream brought it first.
    Discard,
    /// It ends the stream: the names do not rise, or the page brings nothing and is not the last.
    Wrong,
}

/// A folder whose listing has ended and whose entries have all landed or left.
#[derive(Debug)]
pub struct Finished<M> {
    /// The folder.
    pub folder: Arc<Folder<M>>,
    /// Whether its listing came whole.
    pub is_whole: bool,
}

/// What the lander puts in place: first the files, then the folders, from the bottom up.
#[derive(Debug)]
pub struct Landing<M> {
    /// Files that are written.
    pub files: Vec<Arc<File<M>>>,
    /// Folders that get their times.
    pub folders: Vec<Finished<M>>,
}

/// A snapshot for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files and links to be moved, those that are done included.
    pub files_known: u64,
    /// Their bytes.
    pub bytes_known: u64,
    /// Files and links that are in place.
    pub files_done: u64,
    /// Their bytes.
    pub bytes_landed: u64,
    /// Bytes that are written.
    pub bytes_done: u64,
    /// Files that were there already.
    pub same: u64,
    /// Entries of types that are not transferred.
    pub skipped: u64,
    /// Entries that could not be had, and folders that could not be listed whole.
    pub refused: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Whether every folder has been listed: no more becomes known.
    pub is_listed: bool,
    /// Requests that were or will be made a second time.
    pub repeats: u64,
}

/// The queue of a tree.
pub struct Board<M> {
    state: Mutex<State<M>>,
    /// For streams: there may be something to ask for.
    changed: Condvar,
    /// For the lander: there is something to land.
    landable: Condvar,
    /// For threads that wait for the end.
    ended: Condvar,
}

impl<M> Board<M> {
    /// The board of a tree whose top has this metadata. A file of at most `small` bytes takes one
    /// request.
    pub fn new(top: M, small: u64) -> Board<M> {
        Board::with_limits(top, small, Limits::default())
    }

    /// The same with other limits than those of the default.
    pub fn with_limits(top: M, small: u64, limits: Limits) -> Board<M> {
        let patience = Timing::default().tree_patience;
        Board {
            state: Mutex::new(State::new(top, small, limits, patience)),
            changed: Condvar::new(),
            landable: Condvar::new(),
            ended: Condvar::new(),
        }
    }

    /// With other waits than those of the default. To be called before the first claim.
    pub fn with_timing(self, timing: &Timing) -> Board<M> {
        lock(&self.state).least_patience = timing.tree_patience;
        self
    }

    /// The top of the tree.
    pub fn top(&self) -> Arc<Folder<M>> {
        lock(&self.state).top.clone()
    }

    /// The next requests for `stream`.
    pub fn claim(&self, stream: StreamId, ask: &Ask) -> Claimed<M> {
        self.claim_at(stream, ask, Instant::now())
    }

    fn claim_at(&self, stream: StreamId, ask: &Ask, now: Instant) -> Claimed<M> {
        lock(&self.state).claim(stream, ask, now)
    }

    /// Counts changes, for [`Board::wait_for_change`].
    pub fn version(&self) -> u64 {
        lock(&self.state).version
    }

    /// Waits until the board is another one than at `version`, at most for `limit`. The version
    /// is that from before the claim that had no answer, so that no change in between is missed.
    pub fn wait_for_change(&self, version: u64, limit: Option<Duration>) {
        let mut state = lock(&self.state);
        if state.end().is_some() || state.version != version {
            return;
        }
        state.waiters += 1;
        state = match limit {
            Some(limit) => wait_for(&self.changed, state, limit),
            None => wait(&self.changed, state),
        };
        state.waiters -= 1;
    }

    /// Wakes the streams: the queue of a large file has something to ask for again. Whoever
    /// rejects a range of it or follows its prefix says so.
    pub fn wake(&self) {
        self.tell(lock(&self.state), true);
    }

    /// The answer to the first list request that `stream` owes has come with these entries, in
    /// the order in which they came. Those to be left out take no room.
    pub fn take_page(&self, stream: StreamId, entries: &[(&[u8], Kind)], end: PageEnd) -> Taken {
        let mut state = lock(&self.state);
        let taken = state.take_page(stream, entries, end);
        let has_work = matches!(taken, Taken::Wrong);
        self.tell(state, has_work);
        taken
    }

    /// The entries of the page that `stream` has taken, except those left out; and how the page
    /// ended. Answers those that cannot be held; they count as refused.
    pub fn page(
        &self,
        stream: StreamId,
        found: Vec<Found<M>>,
        end: PageEnd,
    ) -> Vec<(Box<[u8]>, Beyond)> {
        let mut state = lock(&self.state);
        let beyond = state.page(stream, found, end);
        self.tell(state, true);
        beyond
    }

    /// The answer to the first file that `stream` owes begins to come. Whether the caller writes
    /// it; if not, it discards the answer.
    pub fn take_file(&self, stream: StreamId) -> bool {
        lock(&self.state).take_file(stream)
    }

    /// The file that `stream` has taken is written.
    pub fn written(&self, stream: StreamId) {
        let mut state = lock(&self.state);
        state.written(stream);
        self.tell(state, false);
    }

    /// What `stream` has taken was damaged: it has to be asked for again.
    pub fn put_back(&self, stream: StreamId) {
        let mut state = lock(&self.state);
        state.put_back(stream);
        self.tell(state, true);
    }

    /// The output of a large file is open. Whether it is still wanted.
    pub fn opened(&self, file: FileId, queue: Arc<Queue>) -> bool {
        let mut state = lock(&self.state);
        let is_wanted = state.opened(file, queue);
        self.tell(state, true);
        is_wanted
    }

    /// Every byte of a large file is written and checked. True for the first caller.
    pub fn complete(&self, file: FileId) -> bool {
        let mut state = lock(&self.state);
        let is_first = state.complete(file);
        self.tell(state, true);
        is_first
    }

    /// A file leaves the board and is not put in place. False if it has left or is landing. The
    /// queue of a large file is aborted.
    pub fn leave(&self, file: FileId, fate: Fate) -> bool {
        let mut state = lock(&self.state);
        let has_left = state.leave(file, fate);
        self.tell(state, true);
        has_left
    }

    /// A file is another one at the source than the listing said: it is asked for anew. One that
    /// is empty now needs no request, and waits to land. After
    /// [`MAX_CHANGES`] it is refused. The answer says whether this call refused it.
    pub fn change(&self, file: FileId, size: u64, meta: M) -> bool {
        let mut state = lock(&self.state);
        let is_refused = state.change(file, size, meta);
        self.tell(state, true);
        is_refused
    }

    /// `stream` is gone: any stream may take what it owes.
    pub fn release(&self, stream: StreamId) {
        let mut state = lock(&self.state);
        state.release(stream);
        self.tell(state, true);
    }

    /// Waits for something to land: at least `bytes` or half of [`Limits::landing`], or less when
    /// `until` has come or nothing else can be done. False at the end of the run, when nothing will
    /// ever wait to land. After [`Board::abort`] what is written still lands.
    pub fn wait_to_land(&self, bytes: u64, until: Instant) -> bool {
        let mut state = lock(&self.state);
        state.enough_to_land = bytes;
        while !state.is_landing_over() && !state.must_land() {
            if !state.has_landable() {
                state.lander = LanderWaits::ForAny;
                state = wait(&self.landable, state);
            } else if Instant::now() < until {
                state.lander = LanderWaits::ForEnough;
                let pressing = |state: &State<M>| state.is_landing_over() || state.must_land();
                state = wait_until(&self.landable, state, until, pressing);
            } else {
                break;
            }
        }
        state.lander = LanderWaits::No;
        !state.is_landing_over()
    }

    /// Takes all that waits to land. The lander then calls [`Board::landed`] for each.
    pub fn take_landing(&self) -> Landing<M> {
        lock(&self.state).take_landing()
    }

    /// These files and folders are in place.
    pub fn landed(&self, files: &[FileId], folders: &[FolderId]) {
        let mut state = lock(&self.state);
        files.iter().for_each(|file| state.landed(*file, None));
        folders.iter().for_each(|folder| state.folder_landed(*folder));
        self.tell(state, true);
    }

    /// A file that was to land could not be put in place, or need not.
    pub fn not_landed(&self, file: FileId, fate: Fate) {
        let mut state = lock(&self.state);
        state.landed(file, Some(fate));
        self.tell(state, true);
    }

    /// So many entries were deleted, and so many could not be.
    pub fn deleted(&self, count: u64, refused: u64) {
        let mut state = lock(&self.state);
        state.counts.deleted += count;
        state.counts.refused += refused;
    }

    /// Ends the run early: nothing is asked for any more.
    pub fn abort(&self) {
        let mut state = lock(&self.state);
        state.abort();
        self.tell(state, true);
    }

    /// Whether the run is at its end, and how.
    pub fn end(&self) -> Option<End> {
        lock(&self.state).end()
    }

    /// Waits for the end of the run, at most for `limit`. Whether it has come.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let over = |state: &State<M>| state.end().is_some();
        wait_until(&self.ended, lock(&self.state), until, over).end().is_some()
    }

    /// How far the run has come.
    pub fn progress(&self) -> Progress {
        lock(&self.state).progress()
    }

    /// Wakes the threads for which there is something, and no others: this is called for each file.
    fn tell(&self, mut state: MutexGuard<'_, State<M>>, has_work: bool) {
        let over = state.end().is_some();
        let work = has_work || over;
        state.version += u64::from(work);
        let wake = work && state.waiters > 0;
        let land = match state.lander {
            LanderWaits::No => false,
            LanderWaits::ForAny => over || state.has_landable(),
            LanderWaits::ForEnough => over || state.must_land(),
        };
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        if land {
            self.landable.notify_all();
        }
        if over {
            self.ended.notify_all();
        }
    }
}
