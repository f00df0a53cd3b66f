//! Transfers from the offer to the log line: the sender's port, its job, the sender itself,
//! and its reports. `transfers/table.rs` holds those under way.

#![forbid(unsafe_code)]

pub(crate) mod admission;
pub(crate) mod handover;
pub(crate) mod outcomes;
pub(crate) mod push;
mod row;
mod share;
pub(crate) mod table;
pub(crate) mod totals;

use crate::answer::{NoAnswer, unavailable};
use crate::config::{Config, Volume};
use crate::connections::Connection;
use crate::digests::{Digests, Followed, Hurry};
use crate::ports::Entrances;
use crate::target::{Opened, OpenedFolder};
use outcomes::Outcomes;
use ropewalk::app::report::{Report, Tally};
use ropewalk::app::supervise::{Supervisor, Worker};
use ropewalk::app::{terminal, workers};
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::codec::message::offer::{ClassicOffer, RopewalkOffer, TreeOffer};
use ropewalk::codec::message::sender_job::{SenderJob, SenderProtocol};
use ropewalk::codec::message::streams::Streams;
use ropewalk::codec::message::transfer_request::TreeWish;
use ropewalk::codec::text::escape;
use ropewalk::error::{ExitCode, Result as Started};
use ropewalk::hash::hex;
use ropewalk::sys::listener::Listener;
use ropewalk::sys::process::Ended;
use ropewalk::sys::thread;
use ropewalk::transfer::classic::blocks::BlockPlan;
use ropewalk::transfer::link::token::Token;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::{Table, TransferEntry};
use totals::Outcome;

/// The request of a client for a file or a folder.
#[derive(Debug)]
pub(crate) struct Wanted<T> {
    /// The file or the folder.
    pub(crate) opened: T,
    /// Its path, for the log.
    pub(crate) path: Vec<u8>,
    /// Over how many streams.
    pub(crate) threads: u8,
}

/// The programs of the workers.
pub(crate) struct Programs {
    /// The sender.
    pub(crate) sender: PathBuf,
    /// The receiver, of a server that takes uploads.
    pub(crate) receiver: Option<PathBuf>,
}

impl Programs {
    /// Finds them.
    ///
    /// # Errors
    /// One is missing.
    pub(crate) fn find(takes_uploads: bool) -> Started<Programs> {
        let receiver = takes_uploads.then(|| workers::find("receiver")).transpose()?;
        Ok(Programs { sender: workers::find("sender")?, receiver })
    }
}

/// Starts transfers.
pub(crate) struct Transfers {
    workers: Programs,
    /// What came of pushes.
    pub(crate) outcomes: Arc<Outcomes>,
    supervisor: Arc<Supervisor>,
    table: Arc<Table>,
    entrances: Entrances,
    any_address: bool,
    idle: Duration,
    stall: Duration,
    volume: Volume,
}

/// A transfer from its admission to its log line.
struct Transfer {
    entry: TransferEntry,
    /// The token of a session; a classic transfer has none.
    token: Option<Token>,
    /// Makes hashes of the file follow a session.
    followed: Option<Followed>,
    peer: SocketAddr,
    path: String,
    /// Bytes of the file; a folder has no size that anybody knows.
    size: Option<u64>,
    begun: Instant,
    volume: Volume,
}

impl Transfers {
    /// Transfers that stand in `table`, each with a worker of its own.
    pub(crate) fn new(
        config: &Config,
        entrances: Entrances,
        workers: Programs,
        supervisor: Arc<Supervisor>,
        table: Arc<Table>,
    ) -> Transfers {
        Transfers {
            workers,
            outcomes: Arc::default(),
            supervisor,
            table,
            entrances,
            any_address: config.any_address,
            idle: config.idle,
            stall: config.stall,
            volume: config.volume,
        }
    }

    /// Whether streams come in at ports.
    pub(crate) fn has_ports(&self) -> bool {
        self.entrances.has_ports()
    }

    /// Waits for the file's digest, and starts a sender of classic streams.
    pub(crate) fn offer_classic(
        &self,
        connection: &Connection,
        wanted: Wanted<Opened>,
        digests: &Arc<Digests>,
    ) -> Result<ClassicOffer, NoAnswer> {
        if !self.entrances.has_ports() {
            return Err(
                Refusal::new(Status::BAD_REQUEST, "the classic protocol needs ports").into()
            );
        }
        let entry = self.table.admit(connection.peer().ip(), Instant::now())?;
        let Opened { file, identity } = &wanted.opened;
        let hurry = Hurry::BeforeTransfer;
        // What was hashed is what is sent, even if the file changes meanwhile. A file that
        // grew is cut there; the digest of any other change differs.
        let hashed = digests.digest(file, identity, connection.stream(), (hurry, None))?;
        let plan = BlockPlan::new(hashed.length, wanted.threads);
        let (size, block_size) = (hashed.length, plan.block_size());
        let peer = connection.peer().ip();
        let Wanted { opened, path, threads } = wanted;
        let (streams, idle, stall) = (threads, self.idle, self.stall);
        let protocol = SenderProtocol::Classic { size, block_size, streams, peer, idle, stall };
        let transfer = self.transfer(connection, entry, &path, Some(hashed.length));
        let port = self.start(connection, opened.file.as_fd(), protocol, transfer)?;
        Ok(ClassicOffer { hash: hex(&hashed.md5), port })
    }

    /// Starts a sender of ropewalk streams. Hashes of the file keep close to it.
    pub(crate) fn offer_ropewalk(
        &self,
        connection: &Connection,
        wanted: Wanted<Opened>,
        digests: &Arc<Digests>,
    ) -> Result<RopewalkOffer, NoAnswer> {
        let entry = self.table.admit(connection.peer().ip(), Instant::now())?;
        let session = self.entrances.token().map_err(|error| unavailable(&error))?;
        let Wanted { opened: Opened { file, identity }, path, threads } = wanted;
        let (token, stored, version) = (session.bytes(), identity.stored, identity.version);
        let streams = self.accepted(connection, token, threads);
        let protocol = SenderProtocol::Ropewalk { streams, stored, version, grows: false };
        let size = identity.version.size;
        let mut transfer = self.transfer(connection, entry, &path, Some(size));
        transfer.token = Some(session);
        transfer.followed = Some(digests.follow(&identity.key()));
        let port = self.start(connection, file.as_fd(), protocol, transfer)?;
        let (mtime, etag) = (Some(version.mtime), identity.etag_field());
        Ok(RopewalkOffer { port, token, size, stored, granted: None, mtime, etag })
    }

    /// Starts a sender of everything below a folder.
    pub(crate) fn offer_tree(
        &self,
        connection: &Connection,
        wanted: Wanted<OpenedFolder>,
        wish: TreeWish,
    ) -> Result<TreeOffer, NoAnswer> {
        let entry = self.table.admit(connection.peer().ip(), Instant::now())?;
        let session = self.entrances.token().map_err(|error| unavailable(&error))?;
        let Wanted { opened: OpenedFolder { dir, state }, path, threads } = wanted;
        let token = session.bytes();
        let TreeWish { one_file_system } = wish;
        let streams = self.accepted(connection, token, threads);
        let protocol = SenderProtocol::Tree { streams, one_file_system, grows: false };
        let mut transfer = self.transfer(connection, entry, &path, None);
        transfer.token = Some(session);
        let port = self.start(connection, dir.as_fd(), protocol, transfer)?;
        Ok(TreeOffer { port, token, granted: None, folder: state })
    }

    /// The streams of a session. The token says which transfer a stream belongs to, so its address
    /// need not.
    fn accepted(&self, connection: &Connection, token: [u8; 16], streams: u8) -> Streams {
        let peer = (!self.any_address).then(|| connection.peer().ip());
        Streams::Accepted { token, streams, peer, idle: self.idle, stall: self.stall }
    }

    fn transfer(
        &self,
        connection: &Connection,
        entry: TransferEntry,
        path: &[u8],
        size: Option<u64>,
    ) -> Transfer {
        Transfer {
            entry,
            token: None,
            followed: None,
            peer: connection.peer(),
            path: escape(path),
            size,
            begun: Instant::now(),
            volume: self.volume,
        }
    }

    /// Listens for the streams of a transfer.
    fn listen(
        &self,
        connection: &Connection,
        token: Option<&Token>,
        entry: &TransferEntry,
    ) -> Result<Listener, Refusal> {
        self.entrances.listen(connection.stream(), token).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                // For the next attempt of this client.
                entry.make_room(Instant::now());
                Refusal::new(Status::SERVICE_UNAVAILABLE, "every data port is taken")
            }
            _ => unavailable(&error),
        })
    }

    /// Starts a sender of `content` in this protocol, and a thread that follows it to its end. The
    /// answer is its port, 0 without one.
    fn start(
        &self,
        connection: &Connection,
        content: BorrowedFd<'_>,
        protocol: SenderProtocol,
        transfer: Transfer,
    ) -> Result<u16, Refusal> {
        let listener = self.listen(connection, transfer.token.as_ref(), &transfer.entry)?;
        let rate = self.table.next_rate(Instant::now());
        let job = SenderJob { rate, trace: false, protocol };
        let started = || -> io::Result<u16> {
            let port = listener.port()?;
            let descriptors = [listener.as_fd(), content];
            let worker =
                self.supervisor.start_worker(&self.workers.sender, job.to_json(), &descriptors)?;
            transfer.entry.has_sender(worker.lifeline(), transfer.token, Instant::now())?;
            thread::spawn("transfer", move || transfer.follow(worker))?;
            Ok(port)
        };
        started().map_err(|error| unavailable(&error))
    }
}

impl Transfer {
    /// Follows the sender to its end, and logs that.
    fn follow(self, mut worker: Worker) {
        let (tally, outcome, words) = self.read_reports(&mut worker);
        let ended = worker.wait();
        let words = match (words, ended) {
            (Some(words), _) => words,
            (None, _) if self.entry.was_evicted() => {
                "moved nothing, and made room for another transfer".to_string()
            }
            (None, Some(Ended::Killed(signal))) => format!("stopped by signal {signal}"),
            (None, _) => "the sender ended without a report".to_string(),
        };
        let took = self.begun.elapsed();
        // Before the line is logged: a reader of the line finds the session ended.
        self.entry.end(outcome, took);
        if self.volume > Volume::Quiet {
            let moved = match self.size {
                Some(size) => format!("{} bytes of {size}", tally.bytes),
                None => format!("{} files, {} bytes sent", tally.files, tally.bytes),
            };
            terminal::log(format_args!(
                "{} {} {moved} over {} streams in {:.3} s: {words}",
                self.peer,
                self.path,
                tally.streams,
                took.as_secs_f64(),
            ));
        }
    }

    /// Reads the sender's reports until it ends. The answer is how far it came, and its last
    /// report in words, if it made one.
    fn read_reports(&self, worker: &mut Worker) -> (Tally, Outcome, Option<String>) {
        let (mut tally, mut outcome, mut words) = (Tally::default(), Outcome::Failed, None);
        while let Ok(Some(report)) = worker.reports.next_report() {
            match report {
                Report::Confined { text } => self.log_rights(&text),
                // Only receivers say so.
                Report::Lost { .. }
                | Report::Trace(_)
                | Report::Stream
                | Report::Tree(_)
                | Report::Moving { .. }
                | Report::Entry { .. } => {}
                Report::Progress(so_far) => {
                    tally = so_far;
                    self.reached(&tally);
                    if let Some(followed) = &self.followed {
                        followed.reached(tally.offset);
                    }
                }
                Report::Done { tally: all, .. } => {
                    tally = all;
                    self.reached(&tally);
                    // Its client waits for the hash, which no slower session may hold back now.
                    self.followed.iter().for_each(|followed| followed.reached(u64::MAX));
                    (outcome, words) = (Outcome::Complete, Some("complete".to_string()));
                }
                Report::Failed { code, text } => {
                    words = Some(text);
                    if code == ExitCode::Changed {
                        outcome = Outcome::Changed;
                    }
                }
            }
        }
        (tally, outcome, words)
    }

    fn reached(&self, tally: &Tally) {
        self.entry.reached(tally, Instant::now());
    }

    /// Logs which rights the sender has given up, for the operator.
    fn log_rights(&self, text: &str) {
        if self.volume == Volume::Verbose {
            let text = escape(text.as_bytes());
            terminal::log(format_args!("{} {} sender: {text}", self.peer, self.path));
        }
    }
}
