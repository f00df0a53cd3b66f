//! Transfers from the offer to the log line: the sender's port, its job, the sender
//! itself, and what it reports.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, unavailable};
use crate::config::{Config, Volume};
use crate::connections::Connection;
use crate::digests::{Digests, Hurry, Pace};
use crate::metrics::counters::{Counted, Counters, Kind, Outcome};
use crate::places::{Place, Places};
use crate::ports::DataPorts;
use crate::sessions::{Session, Sessions};
use crate::shares::{Share, Shares};
use crate::target::Opened;
use ropewalk::app::report::{Report, Tally};
use ropewalk::app::supervise::{Supervisor, Worker};
use ropewalk::app::{SMALL_STACK, terminal};
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::codec::message::offer::{ClassicOffer, RopewalkOffer};
use ropewalk::codec::message::sender_job::{SenderJob, SenderProtocol};
use ropewalk::codec::text::escape;
use ropewalk::error::ExitCode;
use ropewalk::hash::hex;
use ropewalk::sys::process::Ended;
use ropewalk::transfer::blocks::BlockPlan;
use ropewalk::transfer::session::Token;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The file.
    pub(crate) opened: Opened,
    /// Its path, for the log.
    pub(crate) path: Vec<u8>,
    /// Over how many streams.
    pub(crate) threads: u8,
}

/// All transfers that are under way.
pub(crate) struct Transfers {
    sender: PathBuf,
    supervisor: Arc<Supervisor>,
    places: Arc<Places>,
    ports: DataPorts,
    any_address: bool,
    shares: Arc<Shares>,
    counters: Arc<Counters>,
    sessions: Arc<Sessions>,
    idle: Duration,
    stall: Duration,
    volume: Volume,
}

/// What a sender of ropewalk streams has that a classic one has not.
struct Pulled {
    /// Keeps hashes of the file close to it.
    pace: Pace,
    /// What its streams show, wherever they come.
    session: Token,
}

/// One transfer, for the log and the counters.
struct Record {
    peer: SocketAddr,
    path: String,
    size: u64,
    begun: Instant,
    counted: Counted,
}

/// What a transfer holds until it has ended, and who else wants to know how far it is.
struct Held {
    place: Place,
    share: Option<Share>,
    pace: Option<Pace>,
    /// Held for its end alone.
    session: Option<Session>,
}

impl Transfers {
    /// Nothing under way yet.
    pub(crate) fn new(
        config: &Config,
        sender: PathBuf,
        supervisor: Arc<Supervisor>,
        shares: Arc<Shares>,
        counters: Arc<Counters>,
        sessions: Arc<Sessions>,
    ) -> Arc<Transfers> {
        Arc::new(Transfers {
            sender,
            supervisor,
            places: Places::new(config.max_transfers, config.max_per_address, config.idle),
            ports: DataPorts::new(config.data_ports.clone()),
            any_address: config.any_address,
            shares,
            counters,
            sessions,
            idle: config.idle,
            stall: config.stall,
            volume: config.volume,
        })
    }

    /// Waits for the file's digest and starts a sender of classic streams.
    pub(crate) fn offer_classic(
        self: &Arc<Transfers>,
        connection: &Connection,
        wanted: Wanted,
        digests: &Arc<Digests>,
    ) -> Result<ClassicOffer, NoAnswer> {
        let place = self.places.take(connection.peer().ip(), Instant::now())?;
        let Opened { file, identity } = &wanted.opened;
        let hurry = Hurry::BeforeTransfer;
        // What was hashed is what is sent, even if the file changed meanwhile: one that
        // grows is cut there, and of another one the digest will differ.
        let hashed = digests.digest(file, identity, connection.stream(), hurry)?;
        let plan = BlockPlan::new(hashed.length, wanted.threads);
        let (size, block_size) = (hashed.length, plan.block_size());
        let peer = connection.peer().ip();
        let protocol = SenderProtocol::Classic { size, block_size, peer };
        let record = self.record(connection, &wanted, hashed.length);
        let port = self.start(connection, place, wanted, protocol, record, None)?;
        Ok(ClassicOffer { hash: hex(&hashed.md5), port })
    }

    /// Starts a sender of ropewalk streams. Hashes of the file keep close to it.
    pub(crate) fn offer_ropewalk(
        self: &Arc<Transfers>,
        connection: &Connection,
        wanted: Wanted,
        digests: &Arc<Digests>,
    ) -> Result<RopewalkOffer, NoAnswer> {
        let place = self.places.take(connection.peer().ip(), Instant::now())?;
        let session = Token::random().map_err(|error| unavailable(&error))?;
        let identity = wanted.opened.identity;
        let (token, stored, version) = (session.bytes(), identity.stored, identity.version);
        // The token tells whose a stream is, so its address need not.
        let peer = (!self.any_address).then(|| connection.peer().ip());
        let protocol = SenderProtocol::Pulled { token, stored, version, peer };
        let record = self.record(connection, &wanted, identity.version.size);
        let pulled = Pulled { pace: digests.pace(&identity.key()), session };
        let port = self.start(connection, place, wanted, protocol, record, Some(pulled))?;
        let etag = format!("\"{}\"", identity.etag());
        let size = identity.version.size;
        Ok(RopewalkOffer { port, token, size, stored, granted: None, etag })
    }

    fn record(&self, connection: &Connection, wanted: &Wanted, size: u64) -> Record {
        let peer = connection.peer();
        let counted = self.counters.begin(Kind::Transfer);
        Record { peer, path: escape(&wanted.path), size, begun: Instant::now(), counted }
    }

    /// Starts a sender of this protocol, and a thread that follows it to its end. The
    /// answer is its port.
    fn start(
        &self,
        connection: &Connection,
        place: Place,
        wanted: Wanted,
        protocol: SenderProtocol,
        record: Record,
        pulled: Option<Pulled>,
    ) -> Result<u16, Refusal> {
        let listener = connection.stream().local_addr().and_then(|mut local| {
            local.set_ip(local.ip().to_canonical());
            self.ports.listen(local)
        });
        let listener = listener.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                place.make_room(Instant::now()); // for when it is asked again
                Refusal::new(Status::SERVICE_UNAVAILABLE, "every data port is taken")
            }
            _ => unavailable(&error),
        })?;
        let job = SenderJob {
            streams: wanted.threads,
            idle: self.idle,
            stall: self.stall,
            rate: self.shares.next(),
            protocol,
        };
        let volume = self.volume;
        let started = || -> io::Result<u16> {
            let port = listener.local_addr()?.port();
            let descriptors = [listener.as_fd(), wanted.opened.file.as_fd()];
            let worker = self.supervisor.start_worker(&self.sender, job.to_json(), &descriptors)?;
            let share = self.shares.add_sender(worker.lifeline())?;
            let (pace, token) = pulled.map(|own| (own.pace, own.session)).unzip();
            let session = match token {
                Some(token) => {
                    let lifeline = Arc::new(worker.lifeline().try_clone()?);
                    place.is_session(lifeline.clone(), Instant::now());
                    Some(self.sessions.add(token, lifeline))
                }
                None => None,
            };
            let mut held = Held { place, share, pace, session };
            std::thread::Builder::new().name("transfer".into()).stack_size(SMALL_STACK).spawn(
                move || {
                    let line = record.follow(worker, &held, volume);
                    held.session = None; // who has read that it has ended finds it ended
                    if volume > Volume::Quiet {
                        terminal::log(line);
                    }
                    drop(held);
                },
            )?;
            Ok(port)
        };
        started().map_err(|error| unavailable(&error))
    }

    /// Starts no more transfers.
    pub(crate) fn stop(&self) {
        self.places.stop();
    }

    /// Waits until every transfer has been logged, at most for `limit`.
    pub(crate) fn wait_until_logged(&self, limit: Duration) {
        self.places.wait_until_empty(limit);
    }
}

impl Held {
    /// The transfer has come so far.
    fn reached(&self, tally: &Tally) {
        // Holes are no bytes, but something moves.
        let moved = tally.bytes.wrapping_add(tally.offset);
        let now = Instant::now();
        self.place.reached(moved, now);
        if let Some(share) = &self.share {
            share.reached(moved, now);
        }
        if let Some(pace) = &self.pace {
            pace.reached(tally.offset);
        }
    }
}

impl Record {
    /// Reads what the sender reports until it ends, counts it, and makes the log line.
    fn follow(mut self, mut worker: Worker, held: &Held, volume: Volume) -> String {
        let (mut tally, mut outcome, mut counts_as) = (Tally::default(), None, Outcome::Failed);
        while let Ok(Some(report)) = worker.reports.next_report() {
            match report {
                Report::Confined { text } if volume == Volume::Verbose => {
                    terminal::log(format_args!(
                        "{} {} sender: {}",
                        self.peer,
                        self.path,
                        escape(text.as_bytes())
                    ));
                }
                Report::Confined { .. } => {}
                Report::Lost { .. } | Report::Trace(_) => {} // only receivers say so
                Report::Progress(so_far) => {
                    tally = so_far;
                    self.counted.reached(tally.bytes, tally.streams);
                    held.reached(&tally);
                }
                Report::Done { tally: all, .. } => {
                    tally = all;
                    self.counted.reached(tally.bytes, tally.streams);
                    (outcome, counts_as) = (Some("complete".to_string()), Outcome::Complete);
                }
                Report::Failed { code, text } => {
                    outcome = Some(text);
                    if code == ExitCode::Changed {
                        counts_as = Outcome::Changed;
                    }
                }
            }
        }
        let ended = worker.wait();
        let outcome = match (outcome, ended) {
            (Some(outcome), _) => outcome,
            (None, _) if held.place.was_given_up() => {
                "moved nothing, and made room for another transfer".to_string()
            }
            (None, Some(Ended::Killed(signal))) => format!("stopped by signal {signal}"),
            (None, _) => "the sender ended without a report".to_string(),
        };
        self.counted.end(counts_as);
        format!(
            "{} {} {} bytes of {} over {} streams in {:.3} s: {outcome}",
            self.peer,
            self.path,
            tally.bytes,
            self.size,
            tally.streams,
            self.begun.elapsed().as_secs_f64(),
        )
    }
}
