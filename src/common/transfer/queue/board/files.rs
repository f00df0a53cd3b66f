//! What the board does about files: from the listing to their place, or to their end before that.

#![forbid(unsafe_code)]

use super::entries::{Fate, File, FileId, FolderId};
use super::state::{Asked, At, Hand, Held, Listing, Open, State};
use super::{Landing, MAX_CHANGES};
use crate::transfer::queue::{Queue, StreamId};
use std::cmp::Reverse;
use std::sync::Arc;

impl<M> State<M> {
    /// Holds a file that is to be asked for.
    pub(super) fn hold_file(&mut self, file: File<M>) {
        let depth = file.folder.depth;
        let at = match file.size <= self.small_size {
            true => {
                self.small.push(depth, file.id);
                At::Small
            }
            false => {
                self.large.insert((Reverse(depth), file.id));
                At::Large
            }
        };
        self.counts.files_known += 1;
        self.counts.bytes_known += file.size;
        self.files.insert(file.id, Held { file: Arc::new(file), at, round: 0 });
    }

    /// A file is asked for anew.
    pub(super) fn ask_anew(&mut self, id: FileId) {
        if let Some(held) = self.files.get_mut(&id) {
            held.at = At::Small;
            self.small.push_front(held.file.folder.depth, id);
            self.asked_files -= 1;
            self.counts.repeats += 1;
        }
    }

    pub(super) fn take_file(&mut self, stream: StreamId) -> bool {
        let Some(Asked::File(id, round)) = self.pop_owed(stream, false) else { return false };
        match self.files.get_mut(&id) {
            Some(held) if held.round == round && matches!(held.at, At::Owed { .. }) => {
                held.round += 1;
                held.at = At::Taken(stream);
                self.hands += 1;
                self.streams.entry(stream).or_default().hand = Some(Hand::File(id));
                true
            }
            _ => false,
        }
    }

    pub(super) fn written(&mut self, stream: StreamId) {
        if let Some(Hand::File(id)) = self.open_hand(stream) {
            self.asked_files -= 1;
            self.land(id);
        }
    }

    pub(super) fn opened(&mut self, id: FileId, queue: Arc<Queue>) -> bool {
        match self.files.get_mut(&id) {
            Some(held) if matches!(held.at, At::Opening(_)) && !self.aborted => {
                held.at = At::Open(queue);
                true
            }
            _ => false,
        }
    }

    pub(super) fn complete(&mut self, id: FileId) -> bool {
        let is_open = matches!(self.files.get(&id), Some(Held { at: At::Open(_), .. }));
        if is_open {
            self.open.retain(|open| *open != id);
            self.land(id);
        }
        is_open
    }

    /// A file waits for its sync from now on.
    pub(super) fn land(&mut self, id: FileId) {
        if let Some(held) = self.files.get_mut(&id) {
            held.at = At::Landing;
            self.counts.bytes_done += held.file.size;
            self.landing_bytes += held.file.size;
            self.landing.push(id);
            self.landing_count += 1;
        }
    }

    pub(super) fn take_landing(&mut self) -> Landing<M> {
        self.landing_bytes = 0;
        let files = std::mem::take(&mut self.landing);
        let folders = std::mem::take(&mut self.finished);
        Landing {
            files: files.iter().map(|id| self.files[id].file.clone()).collect(),
            folders: folders.iter().map(|id| self.folders[id].finished()).collect(),
        }
    }

    pub(super) fn landed(&mut self, id: FileId, fate: Option<Fate>) {
        if !matches!(self.files.get(&id), Some(Held { at: At::Landing, .. })) {
            return;
        }
        let Some(held) = self.files.remove(&id) else { return };
        self.landing_count -= 1;
        match fate {
            None => {
                self.counts.files_done += 1;
                self.counts.bytes_landed += held.file.size;
            }
            Some(fate) => {
                self.counts.bytes_done -= held.file.size;
                self.forget(&held.file, fate);
            }
        }
        self.lose_entry(held.file.folder.id);
    }

    pub(super) fn folder_landed(&mut self, id: FolderId) {
        let ended = |open: &Open<M>| matches!(open.listing, Listing::Ended { .. });
        if self.folders.get(&id).is_some_and(|open| open.left == 0 && ended(open)) {
            self.folders.remove(&id);
            self.finishing -= 1;
        }
    }

    pub(super) fn leave(&mut self, id: FileId, fate: Fate) -> bool {
        let Some(held) = self.take_out(id) else { return false };
        self.forget(&held.file, fate);
        self.lose_entry(held.file.folder.id);
        true
    }

    pub(super) fn change(&mut self, id: FileId, size: u64, meta: M) -> bool {
        let Some(Held { file: old, .. }) = self.take_out(id) else { return false };
        if old.changes == MAX_CHANGES {
            self.forget(&old, Fate::Refused);
            self.lose_entry(old.folder.id);
            return true;
        }
        self.last_id += 1;
        self.counts.repeats += 1;
        self.counts.files_known -= 1;
        self.counts.bytes_known -= old.size;
        let id = FileId(self.last_id);
        let (folder, name) = (old.folder.clone(), old.name.clone());
        let file = File { id, folder, name, size, meta, changes: old.changes + 1 };
        match size {
            // No request can ask for it.
            0 => self.hold_made(file),
            _ => self.hold_file(file),
        }
        false
    }

    /// Takes a file from wherever it is, but not from landing. It still is an entry of its folder.
    fn take_out(&mut self, id: FileId) -> Option<Held<M>> {
        if matches!(self.files.get(&id)?.at, At::Landing) {
            return None;
        }
        let held = self.files.remove(&id)?;
        let depth = held.file.folder.depth;
        match &held.at {
            At::Small => self.small.remove(depth, id),
            At::Large => _ = self.large.remove(&(Reverse(depth), id)),
            At::Owed { .. } => self.asked_files -= 1,
            At::Taken(stream) => {
                self.open_hand(*stream);
                self.asked_files -= 1;
            }
            At::Opening(_) => self.open.retain(|open| *open != id),
            At::Open(queue) => {
                queue.abort();
                self.open.retain(|open| *open != id);
            }
            At::Landing => {}
        }
        Some(held)
    }

    /// A file is not to be moved any more.
    fn forget(&mut self, file: &File<M>, fate: Fate) {
        self.counts.files_known -= 1;
        self.counts.bytes_known -= file.size;
        self.count(fate);
    }

    pub(super) fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Same => self.counts.same += 1,
            Fate::Skipped => self.counts.skipped += 1,
            Fate::Refused => self.counts.refused += 1,
            Fate::Gone => {}
        }
    }

    fn lose_entry(&mut self, folder: FolderId) {
        if let Some(open) = self.folders.get_mut(&folder) {
            open.left -= 1;
            self.finish(folder);
        }
    }
}
