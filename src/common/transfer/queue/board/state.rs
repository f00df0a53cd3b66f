//! The board's state, and what can be read from it. `pages`, `files`, `streams` and `claiming` have the
//! steps that it can take. Under the board's lock; waits for nothing and wakes no thread.

#![forbid(unsafe_code)]

use super::deepest::Deepest;
use super::entries::{File, FileId, Folder, FolderId, MAX_DEPTH};
use super::numbered::Numbered;
use super::speed::Speed;
use super::{Finished, Limits, Progress};
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
    pub(super) small_size: u64,
    /// An answer that is owed for less than this is not late.
    pub(super) least_patience: Duration,
    pub(super) last_id: u64,

    /// All folders that are held.
    pub(super) folders: Numbered<FolderId, Open<M>>,
    /// Those that wait to be listed, deepest first.
    pub(super) lists: BTreeSet<(Reverse<u16>, FolderId)>,
    /// How many of them there are at each depth.
    pub(super) waiting: Vec<usize>,
    /// Those with a list request under way, and the bytes that these ask for.
    pub(super) asked_lists: usize,
    pub(super) asked_bytes: u32,
    /// Entries of a page, on average over the last ones; at least a share.
    pub(super) usual_page: usize,
    /// Those whose listing has not ended.
    pub(super) unlisted: usize,
    /// Those that are finished, in this order, until the lander takes them.
    pub(super) finished: Vec<FolderId>,
    /// Those that are finished and held.
    pub(super) finishing: usize,

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
    pub(super) landing_bytes: u64,
    /// How many are in [`At::Landing`].
    pub(super) landing_count: usize,

    pub(super) streams: Numbered<StreamId, Stream>,
    /// How many streams have something in hand.
    pub(super) hands: usize,
    /// Room for the entries of pages in hand: all but links, and links.
    pub(super) reserved: usize,
    pub(super) reserved_made: usize,

    pub(super) counts: Progress,
    /// Bytes that the lander waits for.
    pub(super) enough_to_land: u64,
    pub(super) lander: LanderWaits,
    /// Streams that wait for a change.
    pub(super) waiters: usize,
    /// Counts changes.
    pub(super) version: u64,
    pub(super) aborted: bool,
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
    pub(super) left: usize,
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
    pub(super) hand: Option<Hand>,
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
pub(super) enum Hand {
    File(FileId),
    Page(PageInHand),
}

pub(super) struct PageInHand {
    pub(super) folder: FolderId,
    /// The entries that there is room for: all but links, and links.
    pub(super) entries: usize,
    pub(super) made: usize,
    /// The last of them, or of those left out behind it.
    pub(super) last: Option<Arc<[u8]>>,
    /// Whether entries of the page were dropped.
    pub(super) is_cut: bool,
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
    pub(super) fn finished(&self) -> Finished<M> {
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
