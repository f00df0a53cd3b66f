//! What a claim hands out, and in which order. First lists, deepest first, since they bring work
//! for all streams. Then small files, then ranges of large files. An idle stream also gets what
//! other streams are late with.

#![forbid(unsafe_code)]

use super::state::{Asked, At, Held, Listing, Owed, State};
use super::{Ask, Claim, Claimed, MAX_CLAIMS, MAX_LATE_A_CLAIM, MAX_LISTS_A_CLAIM};
use crate::transfer::queue::{self, MAX_COPIES, StreamId};
use std::time::{Duration, Instant};

/// One claim while it is made.
struct Batch<'a, M> {
    stream: StreamId,
    ask: &'a Ask,
    now: Instant,
    claims: Vec<Claim<M>>,
    /// What is left of [`Ask::names`] and [`Ask::content`].
    names: usize,
    content: u64,
    /// When something becomes late.
    later: Option<Duration>,
}

impl<M> Batch<'_, M> {
    /// Requests that may still be added.
    fn left(&self) -> usize {
        self.ask.requests.min(MAX_CLAIMS) - self.claims.len()
    }

    /// Whether a request with a path of so many bytes may be added.
    fn fits(&self, path: usize) -> bool {
        let is_first = self.ask.idle && self.claims.is_empty();
        self.left() > 0 && (is_first || (path <= self.names && self.content > 0))
    }

    fn add(&mut self, claim: Claim<M>, path: usize, content: u64) {
        self.claims.push(claim);
        self.names = self.names.saturating_sub(path);
        self.content = self.content.saturating_sub(content);
    }

    fn look_again_after(&mut self, delay: Duration) {
        self.later = Some(self.later.map_or(delay, |later| later.min(delay)));
    }
}

impl<M> State<M> {
    pub(super) fn claim(&mut self, stream: StreamId, ask: &Ask, now: Instant) -> Claimed<M> {
        if self.end().is_some() {
            return Claimed::Over;
        }
        let (names, content) = (ask.names, ask.content);
        let claims = Vec::new();
        let mut batch = Batch { stream, ask, now, claims, names, content, later: None };
        self.claim_lists(&mut batch);
        self.claim_small(&mut batch);
        self.claim_parts(&mut batch, false);
        self.claim_open(&mut batch);
        if batch.claims.is_empty() && ask.idle {
            self.claim_late(&mut batch);
            self.claim_parts(&mut batch, true);
        }
        match batch.claims.is_empty() {
            true => Claimed::Later(batch.later),
            false => Claimed::Work(batch.claims),
        }
    }

    fn claim_lists(&mut self, batch: &mut Batch<M>) {
        while batch.claims.len() < MAX_LISTS_A_CLAIM && self.may_list() {
            let path = |id| self.folders.get(id).map_or(0, |open| open.folder.path_size());
            if !self.lists.first().is_some_and(|(_, id)| batch.fits(path(id))) {
                return;
            }
            let (bytes, forced) = (self.page_bytes(), !self.has_room());
            let Some(id) = self.next_list() else { return };
            let Some(open) = self.folders.get_mut(&id) else { return };
            open.listing = Listing::Asked { copies: 1, bytes, forced };
            let what = Asked::List(id, open.round);
            let (folder, after) = (open.folder.clone(), open.after.clone());
            self.asked_lists += 1;
            self.asked_bytes += bytes;
            self.owe(batch, what);
            let path = folder.path_size();
            batch.add(Claim::List { folder, after, bytes, again: false }, path, 0);
        }
    }

    /// While there are large files too, small ones take half of a claim.
    fn claim_small(&mut self, batch: &mut Batch<M>) {
        let has_large = !self.open.is_empty() || !self.large.is_empty();
        let (least, content) = match has_large {
            true => (batch.left() / 2, batch.content / 2),
            false => (0, 0),
        };
        while batch.left() > least && (batch.content > content || batch.claims.is_empty()) {
            let Some(id) = self.small.first() else { return };
            let Some(held) = self.files.get(&id) else { return };
            let path = held.file.path_size();
            if !batch.fits(path) || self.landing_soon() >= self.limits.landing {
                return;
            }
            self.small.pop_first();
            let Some(held) = self.files.get_mut(&id) else { return };
            held.at = At::Owed { copies: 1 };
            let (file, what) = (held.file.clone(), Asked::File(id, held.round));
            self.asked_files += 1;
            self.owe(batch, what);
            let size = file.size;
            batch.add(Claim::Small { file, again: false }, path, size);
        }
    }

    /// Ranges of the large files that are open, of one file after the other, as disks read and
    /// write best. At high speed each stream begins with another file. An idle stream also gets
    /// ranges that are late.
    fn claim_parts(&mut self, batch: &mut Batch<M>, idle: bool) {
        let first = if self.speed.is_high() { batch.stream % self.open.len().max(1) } else { 0 };
        let (before, from) = self.open.split_at(first);
        for id in from.iter().chain(before) {
            let Some(Held { at: At::Open(queue), file, .. }) = self.files.get(id) else { continue };
            let path = file.path_size();
            while batch.fits(path) {
                let claim = queue.claim_at(batch.stream, idle, batch.ask.answer_time, batch.now);
                let again = matches!(claim, queue::Claim::Copy(_));
                let range = match claim {
                    queue::Claim::Range(range) | queue::Claim::Copy(range) => range,
                    queue::Claim::Later(delay) => {
                        delay.into_iter().for_each(|delay| batch.look_again_after(delay));
                        break;
                    }
                    queue::Claim::Over => break,
                };
                let size = range.end - range.start;
                self.speed.add(size, batch.now);
                let (file, queue) = (file.clone(), queue.clone());
                batch.add(Claim::Part { file, queue, range, again }, path, size);
            }
        }
    }

    /// A large file to open, at the end of the claim: requests go out before.
    fn claim_open(&mut self, batch: &mut Batch<M>) {
        let is_full = self.landing_soon() >= self.limits.landing;
        if batch.left() == 0 || self.open.len() >= self.limits.large || is_full {
            return;
        }
        let Some((_, id)) = self.large.pop_first() else { return };
        let Some(held) = self.files.get_mut(&id) else { return };
        held.at = At::Opening(batch.stream);
        self.open.push(id);
        batch.claims.push(Claim::Open { file: held.file.clone() });
    }

    /// What other streams are late with. What a stream owes behind its front cannot come before
    /// it, so the front alone says whether the stream is late.
    fn claim_late(&mut self, batch: &mut Batch<M>) {
        let patience = batch.ask.answer_time.saturating_mul(2).max(self.least_patience);
        let mut late = Vec::new();
        let me = batch.stream;
        for (_, other) in self.streams.iter().filter(|(id, _)| **id != me) {
            let missing = other.owed.iter().filter(|owed| self.may_ask_again(owed.what));
            let all: Vec<Owed> = missing.take(MAX_LATE_A_CLAIM).copied().collect();
            let Some(front) = all.first() else { continue };
            let left = patience.saturating_sub(batch.now.saturating_duration_since(front.since));
            match left.is_zero() {
                true => late.extend(all),
                false => batch.look_again_after(left),
            }
        }
        late.sort_by_key(|owed| owed.since);
        for owed in late.into_iter().take(MAX_LATE_A_CLAIM) {
            // Two streams may owe the same.
            let mine = self.streams.get(&me);
            let is_mine = mine.is_some_and(|mine| mine.owed.iter().any(|o| o.what == owed.what));
            if is_mine || !self.may_ask_again(owed.what) || !self.ask_again(batch, owed.what) {
                continue;
            }
            self.counts.repeats += 1;
            self.owe(batch, owed.what);
        }
    }

    fn may_ask_again(&self, what: Asked) -> bool {
        self.copies(what).is_some_and(|copies| copies < MAX_COPIES)
    }

    /// Adds a request that another stream was asked for, if it fits.
    fn ask_again(&mut self, batch: &mut Batch<M>, what: Asked) -> bool {
        match what {
            Asked::File(id, _) => {
                let Some(held) = self.files.get_mut(&id) else { return false };
                let (path, size) = (held.file.path_size(), held.file.size);
                let At::Owed { copies } = &mut held.at else { return false };
                if !batch.fits(path) {
                    return false;
                }
                *copies += 1;
                batch.add(Claim::Small { file: held.file.clone(), again: true }, path, size);
            }
            Asked::List(id, _) => {
                let Some(open) = self.folders.get_mut(&id) else { return false };
                let path = open.folder.path_size();
                let Listing::Asked { copies, bytes, .. } = &mut open.listing else { return false };
                if !batch.fits(path) {
                    return false;
                }
                *copies += 1;
                let (folder, after, bytes) = (open.folder.clone(), open.after.clone(), *bytes);
                batch.add(Claim::List { folder, after, bytes, again: true }, path, 0);
            }
        }
        true
    }

    fn owe(&mut self, batch: &Batch<M>, what: Asked) {
        let stream = self.streams.entry(batch.stream).or_default();
        stream.owed.push_back(Owed { what, since: batch.now });
    }
}
