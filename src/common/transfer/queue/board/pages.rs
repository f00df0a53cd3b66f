//! What the board does about folders: which one is to be listed, the pages that come, and the end of
//! a folder.

#![forbid(unsafe_code)]

use super::Taken;
use super::entries::{Beyond, File, FileId, Folder, FolderId, Found, Kind, PageEnd, What};
use super::state::{Asked, At, Hand, Held, Listing, Open, PageInHand, State};
use crate::transfer::queue::StreamId;
use std::cmp::Reverse;
use std::sync::Arc;

impl<M> State<M> {
    /// Holds a folder, which waits to be listed.
    pub(super) fn hold_folder(&mut self, folder: Arc<Folder<M>>) {
        let id = folder.id;
        let listing = Listing::Waiting;
        self.folders.insert(id, Open { folder, listing, after: None, round: 0, left: 0 });
        self.unlisted += 1;
        self.let_wait(id);
    }

    pub(super) fn let_wait(&mut self, id: FolderId) {
        if let Some(open) = self.folders.get_mut(&id) {
            open.listing = Listing::Waiting;
            self.waiting[usize::from(open.folder.depth)] += 1;
            self.lists.insert((Reverse(open.folder.depth), id));
        }
    }

    /// Takes the deepest folder that waits.
    pub(super) fn next_list(&mut self) -> Option<FolderId> {
        let (Reverse(depth), id) = self.lists.pop_first()?;
        self.waiting[usize::from(depth)] -= 1;
        Some(id)
    }

    pub(super) fn take_page(
        &mut self,
        stream: StreamId,
        entries: &[(&[u8], Kind)],
        end: PageEnd,
    ) -> Taken {
        let Some(Asked::List(id, round)) = self.pop_owed(stream, true) else {
            return Taken::Discard;
        };
        let Some(open) = self.folders.get_mut(&id).filter(|open| open.round == round) else {
            return Taken::Discard;
        };
        let Listing::Asked { bytes, forced, .. } = open.listing else { return Taken::Discard };
        let depth = usize::from(open.folder.depth);
        let is_rising = entries
            .iter()
            .try_fold(open.after.as_deref(), |before, (name, _)| {
                before.is_none_or(|before| before < *name).then_some(Some(*name))
            })
            .is_some();
        open.round += 1;
        open.listing = Listing::Taken;
        self.asked_lists -= 1;
        self.asked_bytes -= bytes;
        self.usual_page = ((self.usual_page * 7 + entries.len()) / 8).max(self.limits.share);
        if !is_rising || (entries.is_empty() && end == PageEnd::More) {
            self.counts.repeats += 1;
            self.let_wait(id);
            return Taken::Wrong;
        }
        let (count, page) = self.room_for(id, depth, forced, entries);
        self.reserved += page.entries;
        self.reserved_made += page.made;
        self.hands += 1;
        self.streams.entry(stream).or_default().hand = Some(Hand::Page(page));
        Taken::Entries(count)
    }

    /// How many of the entries there is room for.
    fn room_for(
        &self,
        folder: FolderId,
        depth: usize,
        forced: bool,
        entries: &[(&[u8], Kind)],
    ) -> (usize, PageInHand) {
        let least = if forced { self.limits.share } else { 0 };
        let deeper: usize = self.waiting[depth + 1..].iter().sum();
        let room = self.limits.held.saturating_sub(self.held()).max(least);
        let folder_room = self.limits.waiting.saturating_sub(deeper).max(least);
        let made_room = self.limits.landing.saturating_sub(self.landing_soon());
        let (mut all, mut folders, mut made) = (0, 0, 0);
        let fits = |(_, kind): &&(&[u8], Kind)| {
            match kind {
                Kind::LeftOut => return true,
                Kind::Made => made += 1,
                Kind::File => all += 1,
                Kind::Folder => (all, folders) = (all + 1, folders + 1),
            }
            all <= room && folders <= folder_room && made <= made_room
        };
        let count = entries.iter().take_while(fits).count();
        let kept = &entries[..count];
        let made = kept.iter().filter(|(_, kind)| *kind == Kind::Made).count();
        let left_out = kept.iter().filter(|(_, kind)| *kind == Kind::LeftOut).count();
        let page = PageInHand {
            folder,
            entries: count - made - left_out,
            made,
            last: kept.last().map(|(name, _)| Arc::from(*name)),
            is_cut: count < entries.len(),
        };
        (count, page)
    }

    pub(super) fn page(
        &mut self,
        stream: StreamId,
        found: Vec<Found<M>>,
        end: PageEnd,
    ) -> Vec<(Box<[u8]>, Beyond)> {
        let Some(Hand::Page(page)) = self.open_hand(stream) else { return Vec::new() };
        debug_assert!(found.len() <= page.entries + page.made);
        let mut all_beyond = Vec::new();
        for entry in found {
            all_beyond.extend(self.hold(page.folder, entry));
        }
        let Some(open) = self.folders.get_mut(&page.folder) else { return all_beyond };
        open.after = page.last.or(open.after.take());
        match end {
            PageEnd::Whole | PageEnd::Other | PageEnd::Broken if page.is_cut => {
                self.let_wait(page.folder);
            }
            PageEnd::More => self.let_wait(page.folder),
            PageEnd::Whole
            | PageEnd::Other
            | PageEnd::NotEntered
            | PageEnd::Broken
            | PageEnd::Gone => {
                open.listing = Listing::Ended { is_whole: end == PageEnd::Whole };
                self.unlisted -= 1;
                self.counts.refused += u64::from(end == PageEnd::Broken);
                self.counts.skipped += u64::from(end == PageEnd::NotEntered);
                self.finish(page.folder);
            }
        }
        all_beyond
    }

    /// Holds an entry of a folder, unless it is beyond what can be held.
    fn hold(&mut self, folder: FolderId, entry: Found<M>) -> Option<(Box<[u8]>, Beyond)> {
        let Found { name, meta, what } = entry;
        if let What::Nothing(fate) = what {
            self.count(fate);
            return None;
        }
        let open = self.folders.get_mut(&folder)?;
        if let Some(beyond) = open.folder.beyond(&name, what == What::Folder) {
            self.counts.refused += 1;
            return Some((name, beyond));
        }
        open.left += 1;
        let parent = open.folder.clone();
        self.last_id += 1;
        let (id, size) = match what {
            What::Folder => {
                let id = FolderId(self.last_id);
                self.hold_folder(Arc::new(Folder::new(id, &parent, name, meta)));
                return None;
            }
            What::File(size) => (FileId(self.last_id), size),
            _ => (FileId(self.last_id), 0),
        };
        let file = File { id, folder: parent, name, size, meta, changes: 0 };
        if what != What::Made {
            self.hold_file(file);
            return None;
        }
        self.hold_made(file);
        None
    }

    /// Holds what needs no request.
    pub(super) fn hold_made(&mut self, file: File<M>) {
        let id = file.id;
        self.counts.files_known += 1;
        self.files.insert(id, Held { file: Arc::new(file), at: At::Landing, round: 0 });
        self.land(id);
    }

    /// A folder is finished when its listing has ended and no entry is left. Then the folder
    /// that it is in may be finished too.
    pub(super) fn finish(&mut self, mut id: FolderId) {
        while let Some(open) = self.folders.get_mut(&id) {
            if open.left > 0 || !matches!(open.listing, Listing::Ended { .. }) {
                return;
            }
            self.finished.push(id);
            self.finishing += 1;
            let Some(parent) = &open.folder.parent else { return };
            id = parent.id;
            if let Some(open) = self.folders.get_mut(&id) {
                open.left -= 1;
            }
        }
    }
}
