//! The board's state and every step that it can take, but for claims. Under the board's lock;
//! waits for nothing and wakes no thread.

#![forbid(unsafe_code)]

use super::deepest::Deepest;
use super::entries::{
    Beyond, Fate, File, FileId, Folder, FolderId, Found, Kind, MAX_DEPTH, PageEnd, What,
};
use super::numbered::Numbered;
use super::speed::Speed;
use super::{Finished, Landing, Limits, MAX_CHANGES, Progress, Taken};
use crate::transfer::queue::{End, Queue, StreamId};
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where every folder and file is, and which stream owes what.
pub(super) struct State<M> {
    pub(super) limits: Limits,
    pub(super) top: Arc<Folder<M>>,
    /// Most bytes of a file of one request.
    small_size: u64,
    /// An answer that is owed for less than this is not late.
    pub(super) least_patience: Duration,
    last_id: u64,

    /// All folders that are held.
    pub(super) folders: Numbered<FolderId, Open<M>>,
    /// Those that wait to be listed, deepest first.
    pub(super) lists: BTreeSet<(Reverse<u16>, FolderId)>,
    /// How many of them there are at each depth.
    waiting: Vec<usize>,
    /// Those with a list request under way, and the bytes that these ask for.
    pub(super) asked_lists: usize,
    pub(super) asked_bytes: u32,
    /// Entries of a page, on average over the last ones; at least a share.
    usual_page: usize,
    /// Those whose listing has not ended.
    unlisted: usize,
    /// Those that are finished, in this order, until the lander takes them.
    pub(super) finished: Vec<FolderId>,
    /// Those that are finished and held.
    finishing: usize,

    /// All files that are held.
    pub(super) files: Numbered<FileId, Held<M>>,
    /// Those in [`At::Small`], deepest first.
    pub(super) small: Deepest,
    /// Those in [`At::Large`], deepest first.
    pub(super) large: BTreeSet<(Reverse<u16>, FileId)>,
    /// Those in [`At::Opening`] and [`At::Open`].
    pub(super) open: Vec<FileId>,
    /// How fast parts of those in [`At::Open`] are claimed.
    pub(super) speed: Speed,
    /// How many are in [`At::Owed`] and [`At::Taken`].
    pub(super) asked_files: usize,
    /// Those in [`At::Landing`] until the lander takes them, with their bytes.
    pub(super) landing: Vec<FileId>,
    landing_bytes: u64,
    /// How many are in [`At::Landing`].
    pub(super) landing_count: usize,

    pub(super) streams: Numbered<StreamId, Stream>,
    /// How many streams have something in hand.
    hands: usize,
    /// Room for the entries of pages in hand: all but links, and links.
    reserved: usize,
    reserved_made: usize,

    pub(super) counts: Progress,
    /// Bytes that the lander waits for.
    pub(super) enough_to_land: u64,
    pub(super) lander: LanderWaits,
    /// Streams that wait for a change.
    pub(super) waiters: usize,
    /// Counts changes.
    pub(super) version: u64,
    aborted: bool,
}

/// What the lander waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LanderWaits {
    /// It does not wait.
    No,
    /// For the first thing to land.
    ForAny,
    /// For as much as is worth a sync.
    ForEnough,
}

/// A folder that is held.
pub(super) struct Open<M> {
    pub(super) folder: Arc<Folder<M>>,
    pub(super) listing: Listing,
    /// The last entry that was kept.
    pub(super) after: Option<Arc<[u8]>>,
    /// Counts the pages that were taken: an answer of an earlier round is discarded.
    pub(super) round: u32,
    /// Entries that have not landed, and folders that are not finished.
    left: usize,
}

/// How far the listing of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// In `lists`.
    Waiting,
    /// So many streams owe a page of so many bytes. A forced one was asked for without room.
    Asked { copies: usize, bytes: u32, forced: bool },
    /// A stream deals with a page.
    Taken,
    /// Nothing more comes.
    Ended { is_whole: bool },
}

/// A file that is held.
pub(super) struct Held<M> {
    pub(super) file: Arc<File<M>>,
    pub(super) at: At,
    /// Counts how often its answer was taken, as [`Open::round`].
    pub(super) round: u32,
}

/// Where a file is.
pub(super) enum At {
    /// It is to be asked for in one request.
    Small,
    /// So many streams owe it.
    Owed { copies: usize },
    /// This stream writes it.
    Taken(StreamId),
    /// It takes several requests, and no output is open.
    Large,
    /// This stream opens its output.
    Opening(StreamId),
    /// Its queue knows which stream owes what.
    Open(Arc<Queue>),
    /// It is written.
    Landing,
}

/// What one stream owes and has.
#[derive(Default)]
pub(super) struct Stream {
    /// In the order of the requests.
    pub(super) owed: VecDeque<Owed>,
    hand: Option<Hand>,
}

/// An answer that a stream was asked for and has not begun to bring.
#[derive(Clone, Copy)]
pub(super) struct Owed {
    pub(super) what: Asked,
    pub(super) since: Instant,
}

/// A request, with the round in which it was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    List(FolderId, u32),
    File(FileId, u32),
}

/// What a stream deals with.
enum Hand {
    File(FileId),
    Page(PageInHand),
}

struct PageInHand {
    folder: FolderId,
    /// The entries that there is room for: all but links, and links.
    entries: usize,
    made: usize,
    /// The last of them, or of those left out behind it.
    last: Option<Arc<[u8]>>,
    /// Whether entries of the page were dropped.
    is_cut: bool,
}

impl<M> State<M> {
    pub(super) fn new(top: M, small_size: u64, limits: Limits, patience: Duration) -> State<M> {
        let top = Arc::new(Folder::top(top));
        let mut state = State {
            limits,
            top: top.clone(),
            small_size,
            least_patience: patience,
            last_id: 0,
            folders: Numbered::default(),
            lists: BTreeSet::new(),
            waiting: vec![0; usize::from(MAX_DEPTH) + 1],
            asked_lists: 0,
            asked_bytes: 0,
            usual_page: limits.share,
            unlisted: 0,
            finished: Vec::new(),
            finishing: 0,
            files: Numbered::default(),
            small: Deepest::default(),
            large: BTreeSet::new(),
            open: Vec::new(),
            speed: Speed::default(),
            asked_files: 0,
            landing: Vec::new(),
            landing_bytes: 0,
            landing_count: 0,
            streams: Numbered::default(),
            hands: 0,
            reserved: 0,
            reserved_made: 0,
            counts: Progress::default(),
            enough_to_land: 0,
            lander: LanderWaits::No,
            waiters: 0,
            version: 0,
            aborted: false,
        };
        state.hold_folder(top);
        state
    }

    pub(super) fn end(&self) -> Option<End> {
        match (self.aborted, self.folders.is_empty()) {
            (true, _) => Some(End::Aborted),
            (false, true) => Some(End::Complete),
            (false, false) => None,
        }
    }

    pub(super) fn abort(&mut self) {
        self.aborted = true;
        for id in &self.open {
            if let Some(Held { at: At::Open(queue), .. }) = self.files.get(id) {
                queue.abort();
            }
        }
    }

    /// Entries that are held, with those that a page may bring in any case.
    pub(super) fn held(&self) -> usize {
        let files = self.files.len() - self.landing_count;
        self.folders.len() + files + self.asked_lists * self.limits.share + self.reserved
    }

    /// Files that wait for their sync, with those that will unless something happens to them.
    pub(super) fn landing_soon(&self) -> usize {
        self.landing_count + self.asked_files + self.open.len() + self.reserved_made
    }

    /// Whether something is under way or may be asked for, but for lists.
    fn has_work(&self) -> bool {
        self.asked_lists + self.asked_files + self.hands + self.open.len() > 0
            || !self.small.is_empty()
            || !self.large.is_empty()
    }

    /// Whether a list request may go out.
    pub(super) fn may_list(&self) -> bool {
        // Near the limit of what may land, a page of links might bring nothing.
        let (landing, all) = (self.landing_soon(), self.limits.landing);
        !self.lists.is_empty()
            && self.asked_lists < self.limits.lists
            && self.asked_bytes + self.page_bytes() <= self.limits.list_bytes
            && landing <= all / 4 * 3
            && (self.has_room() || self.is_stuck())
    }

    /// Whether there is room for one page more than those under way, if all are as long as
    /// usual. What a page brings without room is sent in vain.
    pub(super) fn has_room(&self) -> bool {
        let under_way = self.asked_lists * (self.usual_page - self.limits.share);
        self.held() + under_way + self.usual_page <= self.limits.held
    }

    /// Whether only folders are held that wait to be listed: room can come from these alone.
    fn is_stuck(&self) -> bool {
        !self.has_work() && self.landing_count + self.finishing == 0
    }

    /// Bytes of entries that the next list request asks for.
    pub(super) fn page_bytes(&self) -> u32 {
        let whole_pages = self.limits.list_bytes / super::MAX_PAGE;
        match self.lists.len() + self.asked_lists > whole_pages as usize {
            true => super::CROWDED_PAGE,
            false => super::MAX_PAGE,
        }
    }

    pub(super) fn is_landing_over(&self) -> bool {
        let nothing_waits = self.landing.is_empty() && self.finished.is_empty();
        match self.end() {
            Some(End::Complete) => true,
            Some(End::Aborted) => nothing_waits && self.hands == 0,
            None => false,
        }
    }

    /// Whether something waits to land.
    pub(super) fn has_landable(&self) -> bool {
        !self.landing.is_empty() || !self.finished.is_empty()
    }

    /// Whether the lander is not to wait any longer.
    pub(super) fn must_land(&self) -> bool {
        let waiting = self.landing.len() + self.finished.len();
        waiting > 0
            && (self.aborted
                || self.landing_bytes >= self.enough_to_land
                || waiting >= self.limits.landing / 2
                || !(self.has_work() || self.may_list()))
    }

    // Pages.

    /// Holds a folder, which waits to be listed.
    fn hold_folder(&mut self, folder: Arc<Folder<M>>) {
        let id = folder.id;
        let listing = Listing::Waiting;
        self.folders.insert(id, Open { folder, listing, after: None, round: 0, left: 0 });
        self.unlisted += 1;
        self.let_wait(id);
    }

    fn let_wait(&mut self, id: FolderId) {
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
    fn hold_made(&mut self, file: File<M>) {
        let id = file.id;
        self.counts.files_known += 1;
        self.files.insert(id, Held { file: Arc::new(file), at: At::Landing, round: 0 });
        self.land(id);
    }

    /// A folder is finished when its listing has ended and no entry is left. Then the folder
    /// that it is in may be finished too.
    fn finish(&mut self, mut id: FolderId) {
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

    // Files.

    /// Holds a file that is to be asked for.
    fn hold_file(&mut self, file: File<M>) {
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
    fn ask_anew(&mut self, id: FileId) {
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
    fn land(&mut self, id: FileId) {
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

    fn count(&mut self, fate: Fate) {
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

    // Streams.

    /// Takes the first list, or the first file, that `stream` owes.
    fn pop_owed(&mut self, stream: StreamId, is_list: bool) -> Option<Asked> {
        let owed = &mut self.streams.get_mut(&stream)?.owed;
        let at = owed.iter().position(|owed| matches!(owed.what, Asked::List(..)) == is_list)?;
        owed.remove(at).map(|owed| owed.what)
    }

    /// Empties the hand of `stream`.
    fn open_hand(&mut self, stream: StreamId) -> Option<Hand> {
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

    pub(super) fn progress(&self) -> Progress {
        let mut counts = self.counts;
        for id in &self.open {
            if let Some(Held { at: At::Open(queue), .. }) = self.files.get(id) {
                counts.bytes_done += queue.progress().done;
            }
        }
        counts.is_listed = self.unlisted == 0;
        counts
    }
}

impl<M> Open<M> {
    fn finished(&self) -> Finished<M> {
        let is_whole = self.listing == Listing::Ended { is_whole: true };
        Finished { folder: self.folder.clone(), is_whole }
    }
}

#[cfg(test)]
impl<M> State<M> {
    /// Compares every count with what it counts.
    pub(super) fn check(&self) {
        let files = |is: fn(&At) -> bool| self.files.values().filter(|held| is(&held.at)).count();
        let lists = |is: fn(&Listing) -> bool| {
            self.folders.values().filter(|open| is(&open.listing)).count()
        };
        assert_eq!(self.small.len(), files(|at| matches!(at, At::Small)));
        assert_eq!(self.large.len(), files(|at| matches!(at, At::Large)));
        assert_eq!(self.open.len(), files(|at| matches!(at, At::Opening(_) | At::Open(_))));
        assert_eq!(self.asked_files, files(|at| matches!(at, At::Owed { .. } | At::Taken(_))));
        assert_eq!(self.landing_count, files(|at| matches!(at, At::Landing)));
        assert_eq!(self.lists.len(), lists(|listing| *listing == Listing::Waiting));
        assert_eq!(self.lists.len(), self.waiting.iter().sum());
        assert_eq!(self.asked_lists, lists(|listing| matches!(listing, Listing::Asked { .. })));
        assert_eq!(
            self.folders.len() - self.unlisted,
            lists(|listing| matches!(listing, Listing::Ended { .. }))
        );
        let hands: Vec<&Hand> = self.streams.values().filter_map(|s| s.hand.as_ref()).collect();
        assert_eq!(self.hands, hands.len());
        let pages: Vec<&PageInHand> = hands
            .iter()
            .filter_map(|hand| if let Hand::Page(p) = hand { Some(p) } else { None })
            .collect();
        assert_eq!(self.reserved, pages.iter().map(|page| page.entries).sum());
        assert_eq!(self.reserved_made, pages.iter().map(|page| page.made).sum());
        let owed: Vec<Asked> =
            self.streams.values().flat_map(|stream| &stream.owed).map(|owed| owed.what).collect();
        let copies = |what| owed.iter().filter(|other| **other == what).count();
        for (id, held) in &self.files {
            if let At::Owed { copies: count } = held.at {
                assert!(count > 0 && count == copies(Asked::File(*id, held.round)));
            }
        }
        for (id, open) in &self.folders {
            if let Listing::Asked { copies: count, .. } = open.listing {
                assert!(count > 0 && count == copies(Asked::List(*id, open.round)));
            }
        }
    }
}
