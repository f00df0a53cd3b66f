//! The sink of a tree: asks for the entries of folders and for the bytes of files on every stream,
//! compares with what is there, and puts in place what differs. Beside the streams, the lander puts
//! complete files in place, and a thread for each large file keeps its journal durable.

#![forbid(unsafe_code)]

mod conversation;
mod deletion;
mod entries;
mod files;
mod lander;
mod large;
mod md5;
mod meta;
mod several_names;

use self::conversation::Conversation;
use self::deletion::Deletion;
use self::large::Large;
use self::md5::Questions;
use self::meta::{First, Here, Inode, Meta};
use super::health::Health;
use super::run;
use super::work::{Parts, Plan, Work, start_thread};
use crate::codec::message::offer::FolderState;
use crate::codec::message::receiver_job::TreeLimits;
use crate::codec::message::report::{Act, Mended, Report, Tally, TreeTally};
use crate::codec::message::tree_options::TreeOptions;
use crate::codec::message::verify::Verify;
use crate::codec::pattern::{Pattern, Rules};
use crate::codec::text::escape;
use crate::error::{Error, Result};
use crate::sys::sync::lock;
use crate::transfer::link::acceptor::Acceptor;
use crate::transfer::link::dialler::Dialler;
use crate::transfer::link::token::Token;
use crate::transfer::link::{End, Joined, Link, Stop, Terms};
use crate::transfer::queue;
use crate::transfer::queue::board::entries::{File, FileId};
use crate::transfer::queue::board::{Board, Progress};
use crate::transfer::queue::rate::Rate;
use crate::transfer::queue::window::block_size;
use crate::transfer::store::tree::{Attributes, FolderPath, Number, Tree};
use crate::transfer::timing::Timing;
use crate::transfer::trace::{Position, Recorder};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{Scope, ScopedJoinHandle};

/// The longest file that one request asks for, in bytes. A longer one has a queue and a journal.
const SMALL: u64 = crate::codec::wire::MAX_REQUEST as u64;

/// Most files with several names of which the first is remembered.
const MAX_LINKED: usize = 65_536;

/// What is to be received, and how.
pub struct Wanted {
    /// How many streams; where it grows, the most.
    pub streams: u8,
    /// Whether to find out how many streams it should have.
    pub grows: bool,
    /// How to check: by default each block by its CRC32C; with [`Verify::Md5`], each file that is
    /// longer than a block by its MD5 too.
    pub verify: Verify,
    /// What holds the streams to a limit.
    pub rate: Option<Arc<Rate>>,
    /// Whether to report what each stream does.
    pub trace: bool,
    /// The output's name for error messages, escaped.
    pub shown: String,
    /// What the source says of the folder.
    pub top: FolderState,
    /// Where it goes; `None` if nothing is there and nothing is to be made.
    pub store: Option<Tree>,
    /// How to compare, and what to do.
    pub options: TreeOptions,
    /// What the source may have done here; `None` for any.
    pub limits: Option<TreeLimits>,
}

/// The function that hears of entries. Any thread calls it.
pub type Told = Box<dyn Fn(Report) + Send + Sync>;

/// A sink of a tree at work: what its threads share.
pub struct TreeSink {
    wanted: Wanted,
    rules: Rules,
    board: Board<Meta>,
    health: Health,
    recorder: Option<Recorder>,
    told: Told,
    /// The small file that began to come last.
    begun: Mutex<Option<Arc<File<Meta>>>>,
    /// The large files that are open.
    large: Mutex<HashMap<FileId, Arc<Large>>>,
    /// Takes each large file that was opened, until the queue ends.
    opened: Mutex<Option<mpsc::Sender<Arc<Large>>>>,
    /// The first name of each file that has several.
    linked: Mutex<HashMap<Inode, First>>,
    /// Which file of the source each file with several names here was taken for. Files of the source
    /// with one name are all `None`.
    claimed: Mutex<HashMap<Number, Option<Inode>>>,
    /// The MD5s of large files that the source is to say.
    questions: Questions,
    /// Files whose MD5 was the source's.
    hashed: Mutex<u64>,
    deletion: Deletion,
    /// Folders in which killed runs left large files.
    with_large: Mutex<Vec<FolderPath>>,
    /// Entries of all pages, where they are limited.
    entries: Mutex<u64>,
    /// Bytes that older files had. Some machines have no atomic of this size.
    same: Mutex<u64>,
    /// Whether a name could not become a link of its file, and is a copy.
    has_copies: AtomicBool,
    /// Whether something could not be done here: then nothing is deleted.
    has_failed_here: AtomicBool,
    is_delete_refused: AtomicBool,
}

impl TreeSink {
    /// A sink that has received nothing.
    pub fn new(wanted: Wanted, timing: Timing, told: Told) -> TreeSink {
        let mut rules = Rules::default();
        for (action, text) in &wanted.options.rules {
            // A rule that was read is valid.
            if let Ok(pattern) = Pattern::parse(text) {
                rules.add(*action, pattern);
            }
        }
        let top = Meta::of_top(&wanted.top, wanted.store.is_some());
        TreeSink {
            rules,
            board: Board::new(top, SMALL).with_timing(&timing),
            health: Health::new(timing),
            recorder: wanted.trace.then(Recorder::default),
            told,
            begun: Mutex::default(),
            large: Mutex::default(),
            opened: Mutex::default(),
            linked: Mutex::default(),
            claimed: Mutex::default(),
            questions: Questions::new(),
            hashed: Mutex::default(),
            deletion: Deletion::new(),
            with_large: Mutex::default(),
            entries: Mutex::default(),
            same: Mutex::default(),
            has_copies: AtomicBool::new(false),
            has_failed_here: AtomicBool::new(false),
            is_delete_refused: AtomicBool::new(false),
            wanted,
        }
    }

    /// Receives everything over streams that `dialler` opens. `report` gets progress, and word
    /// when a session is lost.
    ///
    /// # Errors
    /// The first failure that ended the transfer. An entry that could not be had is none.
    pub fn dial(&self, dialler: &Dialler, report: impl FnMut(Report)) -> Result<Report> {
        run::dial(self, dialler, report)
    }

    /// Receives everything over streams that come to `acceptor` and show `token`.
    ///
    /// # Errors
    /// The first failure that ended the transfer; no stream came.
    pub fn accept(
        &self,
        acceptor: Acceptor,
        token: &Token,
        report: impl FnMut(Report),
    ) -> Result<Report> {
        run::accept(self, acceptor, token, report)
    }

    /// Bytes of a block on stream `number`. Where more streams may come, the first streams keep
    /// their block size.
    fn block(&self, number: usize) -> u32 {
        match self.wanted.grows {
            true => block_size(u8::try_from(number + 1).unwrap_or(u8::MAX)),
            false => block_size(self.wanted.streams),
        }
    }

    /// Starts the threads of a large file.
    fn start_large<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        large: &Arc<Large>,
    ) -> Result<()> {
        if self.wanted.verify == Verify::Md5 {
            let large = large.clone();
            let compare = move || self.guarded(|| md5::compare(self, &large));
            start_thread(scope, "md5", compare)?;
        }
        let large = large.clone();
        let keep = move || self.guarded(|| large::keep(self, &large));
        start_thread(scope, "large", keep).map(drop)
    }

    /// Whether the MD5 of a file is compared: it is longer than a block.
    fn compares_md5_of(&self, size: u64) -> bool {
        self.wanted.verify == Verify::Md5 && size > self.block(0).into()
    }

    /// Makes the top of the tree a folder that can be changed, and removes what killed runs left there.
    fn begin_top(&self) -> Result<()> {
        let store = self.wanted.store.as_ref().filter(|_| !self.wanted.options.dry_run);
        let Some(store) = store else { return Ok(()) };
        match store.allow_changes().and_then(|()| self.clean(store, &FolderPath::root())) {
            Ok(()) => Ok(()),
            Err(error) => self.refuse_here(b"", &error),
        }
    }

    /// Removes what killed runs left in a folder, but for large files, which may be resumed.
    fn clean(&self, store: &Tree, path: &FolderPath) -> io::Result<()> {
        if store.remove_leftovers(path)? {
            lock(&self.with_large).push(path.clone());
        }
        Ok(())
    }

    /// Removes large files of killed runs that no entry has become: each entry is in place.
    fn clean_useless(&self) {
        let folders = std::mem::take(&mut *lock(&self.with_large));
        let Some(store) = &self.wanted.store else { return };
        if self.board.progress().refused == 0 {
            // What stays does no harm.
            folders.iter().for_each(|path| drop(store.remove_useless(path)));
        }
    }

    /// What an entry gets besides its content.
    fn attributes(&self, meta: &Meta) -> Attributes {
        let owner = self.wanted.options.owner.then_some((meta.uid, meta.gid));
        let mask = self.wanted.limits.map_or(0, |limits| limits.umask);
        Attributes { mode: (meta.mode & !mask).into(), mtime: meta.mtime, owner }
    }

    /// Tells of something that was done, where that is wanted.
    fn tell<P: AsRef<[u8]>>(&self, act: Act, path: impl FnOnce() -> P) {
        if self.wanted.options.verbose {
            let path = escape(path().as_ref());
            (self.told)(Report::Entry { act, path, reason: None });
        }
    }

    /// Tells why an entry could not be had.
    fn tell_refused(&self, path: &[u8], reason: &str) {
        let reason = Some(reason.to_string());
        (self.told)(Report::Entry { act: Act::Refused, path: escape(path), reason });
    }

    /// Tells of an entry that could not be put in place here.
    ///
    /// # Errors
    /// No other entry can be put in place either: the disk is full, or fails.
    fn refuse_here(&self, path: &[u8], error: &io::Error) -> Result<()> {
        self.has_failed_here.store(true, Ordering::Relaxed);
        if is_fatal(error) {
            return Err(Error::system(format!("{}/{}", self.wanted.shown, escape(path)), error));
        }
        self.tell_refused(path, &self.health.words_here(error));
        Ok(())
    }

    /// The file that is moving: the oldest of the large ones, or the last small one.
    fn moving(&self) -> Option<Report> {
        let large =
            lock(&self.large).iter().min_by_key(|(id, _)| **id).map(|(_, l)| l.file.clone());
        let file = large.or_else(|| lock(&self.begun).clone())?;
        Some(Report::Moving { path: escape(&file.path()) })
    }

    /// Older files had so many bytes.
    fn count_same(&self, bytes: u64) {
        *lock(&self.same) += bytes;
    }

    fn warn(&self, text: String) {
        (self.told)(Report::Entry { act: Act::Warning, path: String::new(), reason: Some(text) });
    }

    fn figures(&self, progress: &Progress, report: &mut dyn FnMut(Report)) {
        report(Report::Progress(Tally {
            bytes: progress.bytes_done,
            again: progress.repeats,
            same: self.same(),
            ..self.health.meter.read().tally(self.is_over())
        }));
        report(Report::Tree(self.tree_tally(progress)));
    }

    fn tree_tally(&self, progress: &Progress) -> TreeTally {
        TreeTally {
            files: progress.files_done,
            bytes: progress.bytes_landed,
            files_known: progress.files_known,
            bytes_known: progress.bytes_known,
            is_listed: progress.is_listed,
            same: progress.same,
            skipped: progress.skipped,
            deleted: progress.deleted,
            refused: progress.refused,
            hashed: *lock(&self.hashed),
            is_delete_refused: self.is_delete_refused.load(Ordering::Relaxed),
        }
    }

    /// Tells what the file system refused and no content needed.
    fn warn_of_lacks(&self) {
        let Some(store) = &self.wanted.store else { return };
        let lacks = store.lacks();
        for (count, what) in
            [(lacks.owners, "owner"), (lacks.modes, "mode"), (lacks.mtimes, "modification time")]
        {
            if count > 0 {
                self.warn(format!("{count} entries could not get their {what}"));
            }
        }
        if self.has_copies.load(Ordering::Relaxed) {
            self.warn("some names could not become links of their file, and are copies".into());
        }
        if lacks.locks {
            self.warn("this file system has no locks: no second client may write here".into());
        }
    }

    /// What came of it, after every thread has ended.
    fn outcome(&self, single_port: bool) -> Result<Report> {
        if let Some(error) = self.health.take_failure() {
            return Err(error);
        }
        if !self.is_complete() {
            return Err(Error::internal("nothing came of it"));
        }
        let progress = self.board.progress();
        let streams = self.health.meter.read().peak.min(self.health.streams().into());
        let (bytes, again) = (progress.bytes_done, progress.repeats);
        let same = self.same();
        let tally = Tally { bytes, streams, offset: bytes, again, same, ..Tally::default() };
        let (bad_blocks, reconnects) = self.health.faults();
        let mended = Mended { bad_blocks, reconnects, single_port, ..Mended::default() };
        Ok(Report::Done { tally, md5: None, mended })
    }
}

/// Whether an error concerns every entry and not one.
fn is_fatal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOSPC
                | libc::EDQUOT
                | libc::EIO
                | libc::EROFS
                | libc::EMFILE
                | libc::ENFILE
                | libc::ENOMEM
        )
    )
}

impl Work for TreeSink {
    type Threads<'scope> = Option<ScopedJoinHandle<'scope, Option<()>>>;

    fn terms_of(&self, number: usize) -> Terms {
        let unchecked = self.wanted.verify == Verify::None;
        Terms { max_block: self.block(number), unchecked, from_source: false }
    }

    fn speak(&self, joined: &Joined<'_>) -> Stop {
        Conversation::new(self, joined).run()
    }

    fn release(&self, number: usize) {
        self.board.release(number);
    }

    fn abort(&self) {
        self.board.abort();
    }

    fn parts(&self) -> Parts<'_> {
        let Wanted { streams, grows, .. } = self.wanted;
        Parts {
            health: &self.health,
            recorder: self.recorder.as_ref(),
            rate: self.wanted.rate.as_deref(),
            plan: Plan { streams, grows },
        }
    }

    fn most_streams(&self) -> u8 {
        u8::MAX
    }

    fn start_threads<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        _link: &'scope dyn Link,
        lander: &mut Self::Threads<'scope>,
    ) -> Result<()> {
        self.begin_top()?;
        let (opened, files) = mpsc::channel::<Arc<Large>>();
        *lock(&self.opened) = Some(opened);
        start_thread(scope, "large", move || {
            for large in files {
                let started = self.start_large(scope, &large);
                started.unwrap_or_else(|error| self.fail(error));
            }
        })?;
        *lander = Some(start_thread(scope, "lander", || self.guarded(|| lander::run(self)))?);
        Ok(())
    }

    fn wait_for_end(&self) -> bool {
        self.board.wait_for_end(self.health.timing.report)
    }

    fn is_complete(&self) -> bool {
        self.board.end() == Some(queue::End::Complete)
    }

    fn is_over(&self) -> bool {
        self.board.end().is_some()
    }

    fn reports(&self, report: &mut dyn FnMut(Report)) {
        let progress = self.board.progress();
        self.figures(&progress, report);
        self.moving().map(&mut *report);
        if let Some(recorder) = &self.recorder {
            let files = Some(progress.files_done);
            let position = Position { prefix: progress.bytes_done, hashed: None, files };
            report(Report::Trace(recorder.take(position)));
        }
    }

    fn same(&self) -> u64 {
        *lock(&self.same)
    }

    fn has_ended(&self) {
        lock(&self.opened).take();
        self.questions.end();
    }

    fn finish(
        &self,
        lander: Self::Threads<'_>,
        link: &dyn Link,
        report: &mut dyn FnMut(Report),
    ) -> Result<Report> {
        lander.map(ScopedJoinHandle::join);
        // Large files that stay for another run are closed before this returns.
        lock(&self.large).clear();
        if self.is_complete() {
            deletion::run(self);
            self.clean_useless();
        }
        self.warn_of_lacks();
        // More has landed since the last report, also where the transfer has failed.
        self.figures(&self.board.progress(), report);
        self.outcome(link.shares_port())
    }
}

#[cfg(test)]
mod tests;
