//! What the board does about streams: what each owes, has in hand, and leaves when it is gone.

#![forbid(unsafe_code)]

use super::state::{Asked, At, Hand, Held, Listing, Open, State};
use crate::transfer::queue::StreamId;
use std::cmp::Reverse;

impl<M> State<M> {
    /// Takes the first list, or the first file, that `stream` owes.
    pub(super) fn pop_owed(&mut self, stream: StreamId, is_list: bool) -> Option<Asked> {
        let owed = &mut self.streams.get_mut(&stream)?.owed;
        let at = owed.iter().position(|owed| matches!(owed.what, Asked::List(..)) == is_list)?;
        owed.remove(at).map(|owed| owed.what)
    }

    /// Empties the hand of `stream`.
    pub(super) fn open_hand(&mut self, stream: StreamId) -> Option<Hand> {
        let hand = self.streams.get_mut(&stream)?.hand.take()?;
        self.hands -= 1;
        if let Hand::Page(page) = &hand {
            self.reserved -= page.entries;
            self.reserved_made -= page.made;
        }
        Some(hand)
    }

    pub(super) fn put_back(&mut self, stream: StreamId) {
        match self.open_hand(stream) {
            Some(Hand::File(id)) => self.ask_anew(id),
            Some(Hand::Page(page)) => {
                self.counts.repeats += 1;
                self.let_wait(page.folder);
            }
            None => {}
        }
    }

    pub(super) fn release(&mut self, stream: StreamId) {
        let owed = self.streams.get_mut(&stream).map(|stream| std::mem::take(&mut stream.owed));
        // From behind: each file then waits before those that the stream owed later.
        owed.unwrap_or_default().iter().rev().for_each(|owed| self.give_back(owed.what));
        self.put_back(stream);
        self.streams.remove(&stream);
        for id in self.open.clone() {
            let Some(held) = self.files.get_mut(&id) else { continue };
            match &held.at {
                At::Open(queue) => queue.release(stream),
                At::Opening(opener) if *opener == stream => {
                    held.at = At::Large;
                    self.large.insert((Reverse(held.file.folder.depth), id));
                    self.open.retain(|open| *open != id);
                }
                _ => {}
            }
        }
    }

    /// One stream owes this no longer.
    fn give_back(&mut self, what: Asked) {
        if !self.is_missing(what) {
            return;
        }
        match what {
            Asked::File(id, _) => match self.files.get_mut(&id) {
                Some(Held { at: At::Owed { copies: 1 }, .. }) => self.ask_anew(id),
                Some(Held { at: At::Owed { copies }, .. }) => *copies -= 1,
                _ => {}
            },
            Asked::List(id, _) => match self.folders.get_mut(&id).map(|open| &mut open.listing) {
                Some(Listing::Asked { copies: 1, bytes, .. }) => {
                    self.asked_lists -= 1;
                    self.asked_bytes -= *bytes;
                    self.counts.repeats += 1;
                    self.let_wait(id);
                }
                Some(Listing::Asked { copies, .. }) => *copies -= 1,
                _ => {}
            },
        }
    }

    /// Whether no stream has begun to bring this.
    pub(super) fn is_missing(&self, what: Asked) -> bool {
        self.copies(what).is_some()
    }

    /// How many streams owe this; none where one has begun to bring it.
    pub(super) fn copies(&self, what: Asked) -> Option<usize> {
        match what {
            Asked::File(id, round) => match self.files.get(&id)? {
                Held { at: At::Owed { copies }, round: now, .. } if *now == round => Some(*copies),
                _ => None,
            },
            Asked::List(id, round) => match self.folders.get(&id)? {
                Open { listing: Listing::Asked { copies, .. }, round: now, .. }
                    if *now == round =>
                {
                    Some(*copies)
                }
                _ => None,
            },
        }
    }
}
