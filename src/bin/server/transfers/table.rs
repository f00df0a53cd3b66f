//! The table of all transfers, downloads and uploads under way: their clients, what they do, their
//! progress and their rates, under one lock. `admission.rs` and `share.rs` decide over the rows;
//! the table does what they decide.

#![forbid(unsafe_code)]

use super::admission::{self, Decision, Limits};
use super::row::{Row, Rows, Stage};
use super::share::Shares;
use super::totals::{Kind, Outcome, Totals};
use crate::origin::origin;
use ropewalk::app::report::Tally;
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::sys::sync::{lock, wait_until};
use ropewalk::transfer::link::token::Token;
use ropewalk::transfer::queue::rate::Rate;
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// All transfers, downloads and uploads.
pub(crate) struct Table {
    limits: Limits,
    /// Bytes per second of all rows together.
    rate: Option<u64>,
    content: Mutex<Content>,
    /// Notified whenever a row is removed.
    removed: Condvar,
}

#[derive(Default)]
struct Content {
    rows: Rows,
    last_id: u64,
    /// No transfer is admitted any more.
    stopping: bool,
    /// The numbers of all that has ended.
    ended: Totals,
}

/// Owns a row, and removes it when dropped. A row that is removed before its end was counted
/// never began, as far as the totals go.
struct Entry {
    table: Arc<Table>,
    id: u64,
}

/// How long a session may move nothing before it ends for another one that writes the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// While it has no stream.
    pub(crate) without_stream: Duration,
    /// Whatever streams it has.
    pub(crate) at_all: Duration,
}

/// Owns the row of a transfer.
pub(crate) struct TransferEntry {
    entry: Entry,
    /// Whether a session had to go for it.
    replaced: bool,
}

/// Owns the row of a download or an upload.
pub(crate) struct BodyEntry {
    entry: Entry,
    rate: Option<Arc<Rate>>,
    /// Bytes that were taken from the rate.
    taken: Cell<u64>,
}

impl Table {
    /// An empty table with these limits on transfers, and on the bytes per second of all rows
    /// together.
    pub(crate) fn new(limits: Limits, rate: Option<u64>) -> Arc<Table> {
        Arc::new(Table { limits, rate, content: Mutex::default(), removed: Condvar::new() })
    }

    /// Admits a transfer to a client at `address`. At a limit a silent session may lose its
    /// place to it. The sender of that session may still be ending when this returns.
    ///
    /// # Errors
    /// 503 where there is no room.
    pub(crate) fn admit(
        self: &Arc<Table>,
        address: IpAddr,
        now: Instant,
    ) -> Result<TransferEntry, Refusal> {
        let refuse = |reason| Err(Refusal::new(Status::SERVICE_UNAVAILABLE, reason));
        let origin = origin(address);
        let mut content = lock(&self.content);
        if content.stopping {
            return refuse("the server is stopping");
        }
        let replaced = match admission::admit(&content.rows, &self.limits, origin, now) {
            Decision::Admit => false,
            Decision::Replace(id) => {
                self.evict(&mut content, id, now);
                true
            }
            Decision::Refuse(reason) => return refuse(reason),
        };
        let id = content.add(Row::new(origin, Stage::Preparing, now));
        Ok(TransferEntry { entry: Entry { table: self.clone(), id }, replaced })
    }

    /// Adds a download by a client at `address`.
    pub(crate) fn add_download(self: &Arc<Table>, address: IpAddr, now: Instant) -> BodyEntry {
        self.add_body(address, now, Stage::Download)
    }

    /// Adds an upload by a client at `address`.
    pub(crate) fn add_upload(self: &Arc<Table>, address: IpAddr, now: Instant) -> BodyEntry {
        self.add_body(address, now, Stage::Upload)
    }

    fn add_body(
        self: &Arc<Table>,
        address: IpAddr,
        now: Instant,
        stage: impl FnOnce(Option<Arc<Rate>>) -> Stage,
    ) -> BodyEntry {
        let mut content = lock(&self.content);
        let rate = self.rate.map(|limit| Arc::new(Rate::new(self.next(&content, limit, now))));
        let stage = stage(rate.clone());
        let id = content.add(Row::new(origin(address), stage, now));
        self.tell_rates(&mut content, now);
        let entry = Entry { table: self.clone(), id };
        BodyEntry { entry, rate, taken: Cell::new(0) }
    }

    /// The rate of a transfer that would begin now, in bytes per second; `None` without a
    /// limit.
    pub(crate) fn next_rate(&self, now: Instant) -> Option<u64> {
        let limit = self.rate?;
        Some(self.next(&lock(&self.content), limit, now))
    }

    fn next(&self, content: &Content, limit: u64, now: Instant) -> u64 {
        Shares::new(&content.rows, limit, 1, now).moving
    }

    /// The lifeline of the session with this token. Takes the same time for every wrong
    /// token.
    pub(crate) fn session(&self, shown: &[u8; 16]) -> Option<Arc<UnixStream>> {
        let content = lock(&self.content);
        content.rows.values().fold(None, |found, row| match &row.stage {
            Stage::Session { token, lifeline } if token.is(shown) => Some(lifeline.clone()),
            _ => found,
        })
    }

    /// Ends the session with this token; with `patience` only if it has moved nothing for longer
    /// than that.
    pub(crate) fn end_session(&self, token: &[u8; 16], patience: Option<Patience>, now: Instant) {
        let mut content = lock(&self.content);
        let found = content.rows.iter().find(|(_, row)| {
            let is_it = matches!(&row.stage, Stage::Session { token: own, .. } if own.is(token));
            let is_idle = |Patience { without_stream, at_all }| {
                let limit = if row.streams == 0 { without_stream } else { at_all };
                row.silence(now) >= limit
            };
            is_it && patience.is_none_or(is_idle)
        });
        if let Some(id) = found.map(|(id, _)| *id) {
            self.evict(&mut content, id, now);
        }
    }

    /// The numbers since the start of the server.
    pub(crate) fn totals(&self) -> Totals {
        let content = lock(&self.content);
        let mut totals = content.ended.clone();
        for row in content.rows.values() {
            if let Some(kind) = row.kind() {
                let numbers = totals.of(kind);
                numbers.active += 1;
                numbers.bytes += row.bytes;
                numbers.files += row.files;
                numbers.streams += row.streams;
            }
        }
        totals
    }

    /// Admits no transfer any more.
    pub(crate) fn stop(&self) {
        lock(&self.content).stopping = true;
    }

    /// Waits until every transfer has been logged, at most for `limit`.
    pub(crate) fn wait_until_logged(&self, limit: Duration) {
        let done = |content: &Content| {
            let is_body = |row: &Row| matches!(row.stage, Stage::Download(_) | Stage::Upload(_));
            content.rows.values().all(is_body)
        };
        let content = lock(&self.content);
        drop(wait_until(&self.removed, content, Instant::now() + limit, done));
    }

    fn evict(&self, content: &mut Content, id: u64, now: Instant) {
        if let Some(row) = content.rows.get_mut(&id) {
            row.evict();
        }
        self.tell_rates(content, now);
    }

    /// Tells every row its rate if that has changed.
    fn tell_rates(&self, content: &mut Content, now: Instant) {
        let Some(limit) = self.rate else { return };
        let shares = Shares::new(&content.rows, limit, 0, now);
        for row in content.rows.values_mut() {
            if let Some(rate) = shares.of(row, now) {
                row.tell(rate);
            }
        }
    }
}

impl Content {
    fn add(&mut self, row: Row) -> u64 {
        self.last_id += 1;
        self.rows.insert(self.last_id, row);
        self.last_id
    }
}

impl Entry {
    /// Changes the row, and shares the rate anew.
    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut Row) -> T) -> Option<T> {
        let mut content = lock(&self.table.content);
        let changed = content.rows.get_mut(&self.id).map(change);
        self.table.tell_rates(&mut content, now);
        changed
    }

    /// Ends the row: its numbers are added to the totals, and it holds nothing any more. Only
    /// the first end counts.
    fn end(&self, outcome: Outcome, took: Duration) {
        let mut content = lock(&self.table.content);
        let Content { rows, ended, .. } = &mut *content;
        if let Some(row) = rows.get_mut(&self.id) {
            if let Some(kind) = row.kind() {
                let numbers = ended.of(kind);
                numbers.bytes += row.bytes;
                numbers.files += row.files;
                numbers.end(outcome, row.stream_peak, took);
            }
            row.stage = Stage::Ended;
        }
        self.table.tell_rates(&mut content, Instant::now());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut content = lock(&self.table.content);
        if let Some(row) = content.rows.remove(&self.id) {
            if let Some(kind) = row.kind() {
                let numbers = content.ended.of(kind);
                numbers.bytes += row.bytes;
                numbers.files += row.files;
            }
        }
        self.table.tell_rates(&mut content, Instant::now());
        drop(content);
        self.table.removed.notify_all();
    }
}

impl TransferEntry {
    /// The transfer has a sender now, with this lifeline, which never blocks from here on.
    /// With a token it is a session.
    ///
    /// # Errors
    /// What dup(2) gives.
    pub(crate) fn has_sender(
        &self,
        lifeline: &UnixStream,
        token: Option<Token>,
        now: Instant,
    ) -> io::Result<()> {
        let lifeline = lifeline.try_clone()?;
        // A sender that was stopped reads nothing, and must not hold up the server.
        lifeline.set_nonblocking(true)?;
        let stage = match token {
            Some(token) => Stage::Session { token, lifeline: Arc::new(lifeline) },
            None => Stage::Classic(lifeline),
        };
        self.entry.change(now, |row| (row.stage, row.moved_at) = (stage, now));
        Ok(())
    }

    /// As [`TransferEntry::has_sender`], with a receiver of a push.
    ///
    /// # Errors
    /// What dup(2) gives.
    pub(crate) fn has_receiver(
        &self,
        lifeline: &UnixStream,
        token: Token,
        now: Instant,
    ) -> io::Result<()> {
        self.entry.change(now, |row| row.moves = Kind::Push);
        self.has_sender(lifeline, Some(token), now)
    }

    /// Records a report of the sender.
    pub(crate) fn reached(&self, tally: &Tally, now: Instant) {
        self.entry.change(now, |row| {
            // A hole has no bytes, but the offset moves.
            row.reached(tally.bytes.wrapping_add(tally.offset), now);
            row.bytes = row.bytes.max(tally.bytes);
            row.files = row.files.max(tally.files);
            row.streams = tally.streams;
            row.stream_peak = row.stream_peak.max(tally.streams);
        });
    }

    /// Whether the transfer lost its place to another one.
    pub(crate) fn was_evicted(&self) -> bool {
        let content = lock(&self.entry.table.content);
        content.rows.get(&self.entry.id).is_some_and(|row| matches!(row.stage, Stage::Evicted))
    }

    /// Something else that the transfer needs is not free: ends the session that has been
    /// silent for longest, which holds such a thing too. Does nothing where a session had to
    /// go for this transfer already.
    pub(crate) fn make_room(&self, now: Instant) {
        let table = &self.entry.table;
        if !self.replaced {
            let mut content = lock(&table.content);
            let patience = table.limits.patience;
            let victim = admission::longest_silent(&content.rows, None, patience, now);
            if let Some(id) = victim {
                table.evict(&mut content, id, now);
            }
        }
    }

    /// The transfer has ended after `took`. Its place, its session and its share are free.
    pub(crate) fn end(&self, outcome: Outcome, took: Duration) {
        self.entry.end(outcome, took);
    }
}

impl BodyEntry {
    /// How many of `wanted` bytes to move at once, so that they flow at the rate.
    pub(crate) fn piece(&self, wanted: u64) -> u64 {
        self.rate.as_ref().map_or(wanted, |rate| rate.piece(wanted))
    }

    /// Waits until `bytes` may move.
    pub(crate) fn take(&self, bytes: u64) {
        if let Some(rate) = &self.rate {
            rate.take(bytes);
            self.taken.set(self.taken.get().wrapping_add(bytes));
            let now = Instant::now();
            self.entry.change(now, |row| row.reached(self.taken.get(), now));
        }
    }

    /// It has ended after `took`; `bytes` of the body were sent to the kernel or received from it.
    pub(crate) fn end(&self, bytes: u64, outcome: Outcome, took: Duration) {
        self.entry.change(Instant::now(), |row| row.bytes = bytes);
        self.entry.end(outcome, took);
    }
}

#[cfg(test)]
mod tests;
