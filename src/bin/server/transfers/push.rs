//! A push from its admission to its log line: the receiver, its reports, the file that gets its name
//! and what the client is told.

#![forbid(unsafe_code)]

use super::outcomes::{Key, Outcomes};
use super::table::{Patience, TransferEntry};
use super::totals;
use super::{Transfers, unavailable};
use crate::config::Volume;
use crate::connections::Connection;
use crate::uploads::Uploads;
use crate::uploads::space::Space;
use crate::uploads::target::{PreparedFile, PreparedFolder};
use ropewalk::app::report::{Act, Mended, Report, Tally, TreeTally};
use ropewalk::app::supervise::{Supervisor, Worker};
use ropewalk::app::terminal;
use ropewalk::codec::http::Refusal;
use ropewalk::codec::message::outcome::{MAX_ENTRIES, MAX_ENTRY_BYTES, Outcome, OutcomeEntry};
use ropewalk::codec::message::push::{PushSession, PushedFile, PushedFolder};
use ropewalk::codec::message::receiver_job::{ReceiverJob, ReceiverProtocol, Sink, TreeJob};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::text::escape;
use ropewalk::error::ExitCode;
use ropewalk::hash::{from_hex, hex};
use ropewalk::sys::process::Ended;
use ropewalk::sys::sync::lock;
use ropewalk::sys::thread;
use ropewalk::transfer::link::token::Token;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A session without a stream for so long has no client any more, if another one wants its place.
const GONE: Duration = Duration::from_secs(2);

/// A session that has moved nothing for so long ends for another one, whatever its client says: a
/// source may ask to wait for one answer as long.
const SILENT: Duration = Duration::from_secs(600);

/// How long a session may take to end.
const END_LIMIT: Duration = Duration::from_secs(6);

/// How often an idle session is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// What a push brings.
pub(crate) enum Content {
    /// A file.
    File(Box<FilePush>),
    /// A folder.
    Folder(Box<TreePush>),
}

/// A file that is pushed.
pub(crate) struct FilePush {
    pub(crate) prepared: PreparedFile,
    pub(crate) file: PushedFile,
    /// Held while the file gets its name.
    pub(crate) landing: Arc<Mutex<()>>,
}

/// A folder that is pushed.
pub(crate) struct TreePush {
    pub(crate) prepared: PreparedFolder,
    pub(crate) folder: PushedFolder,
}

/// The request for a push that was found good.
pub(crate) struct Wanted<'a> {
    pub(crate) key: Key,
    /// For the log.
    pub(crate) path: &'a [u8],
    /// How many streams, or the most where it grows.
    pub(crate) streams: u8,
    /// Whether the receiver finds the best number.
    pub(crate) grows: bool,
    pub(crate) sync: bool,
    /// What came of the sessions before this one, if the push goes on.
    pub(crate) earlier: Option<Outcome>,
    pub(crate) content: Content,
}

/// When a session ends for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Its own client has said so.
    Always,
    /// If its client has gone.
    WithoutClient,
}

/// A push under way.
struct Push {
    entry: TransferEntry,
    outcomes: Arc<Outcomes>,
    supervisor: Arc<Supervisor>,
    token: Token,
    space: Space,
    peer: SocketAddr,
    path: String,
    sync: bool,
    earlier: Option<Outcome>,
    begun: Instant,
    volume: Volume,
}

/// What the receiver has reported.
#[derive(Default)]
struct Reported {
    tally: Tally,
    tree: TreeTally,
    refused: Entries,
    others: Entries,
    /// The MD5, where one was made.
    md5: Option<String>,
    mended: Mended,
    /// The most streams that were open in any report.
    peak: u64,
    /// The code and the words of a failure; `None` for success.
    last: Option<Result<(), (ExitCode, String)>>,
}

impl Reported {
    /// The outcome of a folder, with the figures of what is in place.
    fn of_tree(&self, outcome: Outcome) -> Outcome {
        let (tree, found) = (self.tree, self.tally.same);
        Outcome { bytes: tree.bytes, found, tree, ..outcome }
    }

    /// The outcome with the figures that files and folders have, with the entries to be told, and
    /// with what came of the sessions before.
    fn complete(self, outcome: Outcome, earlier: Option<&Outcome>) -> Outcome {
        let Mended { bad_blocks, asked_again, .. } = self.mended;
        let mut entries = self.refused;
        // This session has found anew what could not be had.
        let done = earlier.into_iter().flat_map(|earlier| &earlier.entries);
        done.filter(|entry| is_done(entry.act)).for_each(|entry| entries.add(entry.clone()));
        self.others.all.into_iter().for_each(|entry| entries.add(entry));
        let told = outcome.entries.into_iter().chain(entries.all).collect();
        let streams = self.tally.streams;
        let outcome = Outcome { streams, bad_blocks, asked_again, entries: told, ..outcome };
        match earlier {
            Some(earlier) => outcome.after(earlier),
            None => outcome,
        }
    }
}

/// Whether what was done to an entry is done once, so that no later session does it again.
fn is_done(act: Act) -> bool {
    match act {
        Act::File | Act::Link | Act::Folder | Act::Deleted => true,
        Act::Skipped | Act::Refused | Act::Warning => false,
    }
}

/// Entries that the client is told of, as far as there is room.
#[derive(Default)]
struct Entries {
    all: Vec<OutcomeEntry>,
    bytes: usize,
}

impl Entries {
    fn add(&mut self, entry: OutcomeEntry) {
        let bytes = entry.path.len() + entry.reason.as_ref().map_or(0, String::len);
        if self.all.len() < MAX_ENTRIES && self.bytes + bytes <= MAX_ENTRY_BYTES {
            self.bytes += bytes;
            self.all.push(entry);
        }
    }
}

impl Transfers {
    /// Ends the session of a push, and waits until it has ended. `false` if it goes on.
    pub(crate) fn end_push(&self, token: &[u8; 16], ends: Ends) -> bool {
        let (patience, silence) = match ends {
            Ends::Always => (None, Duration::ZERO),
            Ends::WithoutClient => (Some(Patience { without_stream: GONE, at_all: SILENT }), GONE),
        };
        let until = Instant::now() + END_LIMIT;
        loop {
            // Each time, since the client may go meanwhile.
            self.outcomes.give_way(token, Some(silence));
            self.table.end_session(token, patience, Instant::now());
            if self.outcomes.wait_for_end(token, LOOK) {
                return true;
            }
            if Instant::now() >= until {
                self.outcomes.give_way(token, None);
                return false;
            }
        }
    }

    /// Starts a receiver of a push, and a thread that follows it to its end.
    pub(crate) fn offer_push(
        &self,
        connection: &Connection,
        entry: TransferEntry,
        uploads: &Uploads,
        wanted: Wanted<'_>,
    ) -> Result<PushSession, Refusal> {
        let failed = |error: io::Error| unavailable(&error);
        let token = self.entrances.token().map_err(failed)?;
        let Wanted { key, path, streams, grows, sync, earlier, content } = wanted;
        let listener = self.listen(connection, Some(&token), &entry)?;
        let port = listener.port().map_err(failed)?;
        let protocol = match &content {
            Content::File(push) => {
                let streams = self.accepted(connection, token.bytes(), streams);
                push.job(streams, grows, sync, uploads.rules().max_size)
            }
            Content::Folder(push) => {
                let streams = self.accepted(connection, token.bytes(), streams);
                let limits = Some(uploads.tree_limits());
                ReceiverProtocol::Tree(Box::new(TreeJob {
                    streams,
                    top: push.folder.top,
                    has_folder: push.prepared.folder.is_some(),
                    sync,
                    grows,
                    verify: push.folder.verify,
                    options: push.folder.options.clone(),
                    limits,
                }))
            }
        };
        let rate = self.table.next_rate(Instant::now());
        let job = ReceiverJob { shown: escape(path), trace: false, rate, protocol };
        let push = Push {
            entry,
            outcomes: self.outcomes.clone(),
            supervisor: self.supervisor.clone(),
            token,
            space: uploads.space().clone(),
            peer: connection.peer(),
            path: escape(path),
            sync,
            earlier,
            begun: Instant::now(),
            volume: self.volume,
        };
        let started = || -> io::Result<()> {
            let mut descriptors = vec![listener.as_fd()];
            descriptors.extend(content.descriptors());
            let receiver = self.workers.receiver.as_deref().ok_or(io::ErrorKind::NotFound)?;
            let worker = self.supervisor.start_worker(receiver, job.to_json(), &descriptors)?;
            push.entry.has_receiver(worker.lifeline(), token, Instant::now())?;
            self.outcomes.begin(token, key);
            let outcomes = self.outcomes.clone();
            thread::spawn("transfer", move || push.follow(worker, content)).inspect_err(|_| {
                outcomes.end(&token, Outcome::failed(ExitCode::Network, "no thread is left"));
            })?;
            Ok(())
        };
        started().map_err(failed)?;
        Ok(PushSession { port, token: token.bytes(), streams, resumed: 0, files: None })
    }
}

impl FilePush {
    fn job(
        &self,
        streams: ropewalk::codec::message::streams::Streams,
        grows: bool,
        sync: bool,
        most: u64,
    ) -> ReceiverProtocol {
        let most = most.min(i64::MAX.unsigned_abs());
        ReceiverProtocol::Ropewalk {
            streams,
            sink: Sink::Kept { sync, basis: self.prepared.part.basis().is_some() },
            size: self.file.known.map_or(most, |known| known.size),
            is_open_ended: self.file.known.is_none(),
            grows,
            verify: self.file.verify,
        }
    }
}

impl Content {
    /// What the receiver gets beside its listener.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Content::File(push) => {
                let part = &push.prepared.part;
                let files = [Some(part.file()), Some(part.journal()), part.basis()];
                files.into_iter().flatten().map(AsFd::as_fd).collect()
            }
            Content::Folder(push) => push.prepared.folder.iter().map(AsFd::as_fd).collect(),
        }
    }

    /// Whether the file system that is written to has room. A folder has announced nothing: what
    /// others have announced goes before.
    fn has_room(&self, space: &Space) -> bool {
        match self {
            Content::File(push) => space.check(push.prepared.part.file(), 0).is_ok(),
            Content::Folder(push) => match &push.prepared.folder {
                Some(folder) => space.check_beside_promises(folder).is_ok(),
                None => true,
            },
        }
    }
}

impl Push {
    /// Follows the receiver to its end, puts a file in place, and logs that.
    fn follow(self, mut worker: Worker, mut content: Content) {
        let mut reported = self.read_reports(&mut worker, &mut content);
        let ended = worker.wait();
        let failed = match reported.last.take() {
            Some(Ok(())) => None,
            Some(Err((code, words))) => Some(Outcome::failed(code, words)),
            None if self.entry.was_evicted() => {
                let words = "the session ended for another one";
                Some(Outcome::failed(ExitCode::Network, words))
            }
            None => Some(Outcome::failed(
                ExitCode::Network,
                match ended {
                    Some(Ended::Killed(signal)) => format!("stopped by signal {signal}"),
                    _ => "the receiver ended without a report".to_string(),
                },
            )),
        };
        let is_folder = matches!(content, Content::Folder(_));
        let size = match &content {
            Content::File(push) => push.file.known.map(|known| known.size),
            Content::Folder(_) => None,
        };
        let outcome = match (failed, content) {
            (Some(outcome), Content::File(push)) => {
                Outcome { kept: leave(*push), found: reported.tally.same, ..outcome }
            }
            (Some(outcome), Content::Folder(_)) => reported.of_tree(outcome),
            (None, Content::File(push)) => self.land(*push, &reported),
            (None, Content::Folder(_)) => self.of_tree(&reported),
        };
        let (tally, tree) = (reported.tally, reported.tree);
        let outcome = reported.complete(outcome, self.earlier.as_ref());
        let took = self.begun.elapsed();
        let kind = match outcome.code {
            ExitCode::Success | ExitCode::Incomplete | ExitCode::DeleteRefused => {
                totals::Outcome::Complete
            }
            ExitCode::Changed => totals::Outcome::Changed,
            _ => totals::Outcome::Failed,
        };
        // Before the line is logged: a reader of the line finds the session ended.
        self.entry.end(kind, took);
        let words = outcome.text.clone();
        self.outcomes.end(&self.token, outcome);
        if self.volume > Volume::Quiet {
            let moved = match size {
                Some(size) => format!("{} bytes of {size}", tally.bytes),
                None if is_folder => {
                    format!("{} files, {} bytes", tree.files, tree.bytes)
                }
                None => format!("{} bytes", tally.bytes),
            };
            terminal::log(format_args!(
                "{} PUSH {} {moved} over {} streams in {:.3} s: {words}",
                self.peer,
                self.path,
                tally.streams,
                took.as_secs_f64(),
            ));
        }
    }

    /// Reads the receiver's reports until it ends.
    fn read_reports(&self, worker: &mut Worker, content: &mut Content) -> Reported {
        let mut reported = Reported::default();
        while let Ok(Some(report)) = worker.reports.next_report() {
            match report {
                Report::Confined { text } => self.log_rights(&text),
                Report::Lost { .. } | Report::Trace(_) | Report::Stream | Report::Moving { .. } => {
                }
                Report::Progress(tally) => {
                    self.reached(&mut reported, tally, content);
                    if reported.last.is_none() && !content.has_room(&self.space) {
                        let words = "the server has too little free space";
                        reported.last = Some(Err((ExitCode::System, words.to_string())));
                        self.supervisor.end_worker(worker);
                    }
                }
                Report::Tree(tree) => reported.tree = tree,
                Report::Entry { act, path, reason } => {
                    let entries = match act {
                        Act::Refused | Act::Warning => &mut reported.refused,
                        _ => &mut reported.others,
                    };
                    entries.add(OutcomeEntry { act, path, reason });
                }
                Report::Done { tally, md5, mended } => {
                    self.outcomes.is_landing(&self.token);
                    self.reached(&mut reported, tally, content);
                    (reported.md5, reported.last) = (md5, Some(Ok(())));
                    reported.mended = mended;
                }
                Report::Failed { code, text } => {
                    reported.last.get_or_insert(Err((code, text)));
                    // The files of a folder that landed at its end count too.
                    let tally = reported.tally;
                    self.reached(&mut reported, tally, content);
                }
            }
        }
        if !matches!(reported.last, Some(Ok(()))) {
            reported.tally.streams = reported.peak;
        }
        reported
    }

    fn reached(&self, reported: &mut Reported, tally: Tally, content: &mut Content) {
        if let Content::File(push) = content {
            let more = tally.bytes.saturating_sub(reported.tally.bytes.max(push.prepared.resumed));
            push.prepared.promise.keep(more);
        }
        reported.peak = reported.peak.max(tally.streams);
        reported.tally = tally;
        // What is the same is progress too.
        let files = reported.tree.files;
        let offset = files.wrapping_add(reported.tree.same).wrapping_add(tally.same);
        self.entry.reached(&Tally { offset, files, ..tally }, Instant::now());
    }

    /// Gives a file that has come whole its name, if its MD5 is the client's.
    fn land(&self, push: FilePush, reported: &Reported) -> Outcome {
        let FilePush { prepared: PreparedFile { mut part, .. }, file, landing } = push;
        part.keep(file.known.is_some());
        if file.verify == Verify::Md5 {
            let came = reported.md5.as_deref().and_then(from_hex);
            let Some(said) = self.outcomes.md5(&self.token) else {
                let words = "the client has not said which MD5 its file has";
                let kept = if file.known.is_some() { part.kept_bytes() } else { 0 };
                return Outcome { kept, ..Outcome::failed(ExitCode::Network, words) };
            };
            if came.as_deref() != Some(&said[..]) {
                part.keep(false); // no byte of it can be used again
                let came = reported.md5.as_deref().unwrap_or("none");
                let words = format!("MD5 differs: {} here, {came} on the server", hex(&said));
                return Outcome::failed(ExitCode::Integrity, words);
            }
        }
        let size = file.known.map_or(reported.tally.bytes, |known| known.size);
        let mtime = file.known.map(|known| known.mtime);
        let completed = part.complete(size, mtime, self.sync);
        let warning = match completed {
            Ok(warning) => warning,
            Err(error) => return Outcome::failed(error.code(), error.to_string()),
        };
        let durable = self.sync && part.syncs();
        let placed = {
            let _landing = lock(&landing);
            part.put_in_place(self.sync)
        };
        if let Err(error) = placed {
            return Outcome::failed(error.code(), error.to_string());
        }
        let tree = TreeTally { files: 1, files_known: 1, is_listed: true, ..TreeTally::default() };
        let warning = warning.map(|reason| OutcomeEntry {
            act: Act::Warning,
            path: String::new(),
            reason: Some(reason),
        });
        Outcome {
            durable,
            bytes: size,
            found: reported.tally.same,
            tree,
            entries: warning.into_iter().collect(),
            ..Outcome::failed(ExitCode::Success, "complete")
        }
    }

    /// What came of a folder whose receiver has done all that it could.
    fn of_tree(&self, reported: &Reported) -> Outcome {
        let tree = reported.tree;
        let (code, words) = match () {
            () if tree.refused > 0 => (ExitCode::Incomplete, "incomplete"),
            () if tree.is_delete_refused => {
                (ExitCode::DeleteRefused, "complete, but for deletions")
            }
            () => (ExitCode::Success, "complete"),
        };
        reported.of_tree(Outcome { durable: self.sync, ..Outcome::failed(code, words) })
    }

    /// Logs which rights the receiver has given up, for the operator.
    fn log_rights(&self, text: &str) {
        if self.volume == Volume::Verbose {
            let text = escape(text.as_bytes());
            terminal::log(format_args!("{} {} receiver: {text}", self.peer, self.path));
        }
    }
}

/// Leaves what has come of a file for the next push; nothing if nothing has come, or cannot come
/// again. How many bytes the next push finds.
fn leave(push: FilePush) -> u64 {
    let mut part = push.prepared.part;
    let is_of_use = push.file.known.is_some() && part.has_records();
    part.keep(is_of_use);
    if is_of_use { part.kept_bytes() } else { 0 }
}
