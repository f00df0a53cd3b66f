//! Transfers from the offer to the log line: the digest, the sender's port, the
//! sender itself, and what it reports.

#![forbid(unsafe_code)]

use crate::config::Config;
use crate::requests::unavailable;
use ropewalk::app::connections::Connection;
use ropewalk::app::report::Report;
use ropewalk::app::supervise::{Supervisor, Worker};
use ropewalk::app::{SMALL_STACK, terminal};
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::codec::json::Value;
use ropewalk::codec::text::escape;
use ropewalk::hash::hex;
use ropewalk::hash::md5::Md5;
use ropewalk::sys::process::Ended;
use ropewalk::sys::socket;
use ropewalk::sys::sync::{lock, wait_for};
use ropewalk::transfer::blocks::BlockPlan;
use ropewalk::transfer::pieces::each_buffer;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Bytes that are hashed at once.
const HASH_BUFFER: usize = 128 << 10;

/// What a client is told of a transfer that begins.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The MD5 of the file, as 32 hexadecimal digits.
    pub(crate) hash: String,
    /// The port that its sender listens on.
    pub(crate) port: u16,
}

/// All transfers that are under way.
pub(crate) struct Transfers {
    sender: PathBuf,
    supervisor: Arc<Supervisor>,
    limit: usize,
    idle: Duration,
    stall: Duration,
    quiet: bool,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    stopping: bool,
}

/// The place of one transfer among those that may be under way.
struct Place(Arc<Transfers>);

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.0.state).running -= 1;
        self.0.ended.notify_all();
    }
}

/// One transfer, for the log.
struct Record {
    peer: SocketAddr,
    path: String,
    size: u64,
    begun: Instant,
}

impl Transfers {
    /// Nothing under way yet.
    pub(crate) fn new(
        config: &Config,
        sender: PathBuf,
        supervisor: Arc<Supervisor>,
    ) -> Arc<Transfers> {
        Arc::new(Transfers {
            sender,
            supervisor,
            limit: config.max_transfers,
            idle: config.idle,
            stall: config.stall,
            quiet: config.quiet,
            state: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// Hashes `file` and starts a sender for it.
    pub(crate) fn offer(
        self: &Arc<Transfers>,
        connection: &Connection,
        file: File,
        target: &[u8],
        threads: u8,
    ) -> Result<Offer, Refusal> {
        let place = self.take_place()?;
        // What is hashed is what is sent: a file that grows meanwhile is cut here.
        let (hash, size) = self.hash(&file).map_err(|error| unavailable(&error))?;
        let mut local = connection.stream().local_addr().map_err(|error| unavailable(&error))?;
        local.set_ip(local.ip().to_canonical());
        local.set_port(0);
        let peer = SocketAddr::new(connection.peer().ip().to_canonical(), connection.peer().port());
        let record = Record { peer, path: escape(target), size, begun: Instant::now() };
        let port = self
            .start(place, local, file, BlockPlan::new(size, threads), threads, record)
            .map_err(|error| unavailable(&error))?;
        Ok(Offer { hash, port })
    }

    fn take_place(self: &Arc<Transfers>) -> Result<Place, Refusal> {
        let mut state = lock(&self.state);
        if state.running >= self.limit || state.stopping {
            return Err(Refusal::new(Status::SERVICE_UNAVAILABLE, "too many transfers"));
        }
        state.running += 1;
        Ok(Place(self.clone()))
    }

    /// The MD5 of `file` and how many bytes it covers. Gives up when the server ends.
    fn hash(&self, file: &File) -> io::Result<(String, u64)> {
        let mut digest = Md5::new();
        let size = each_buffer(file, &mut vec![0; HASH_BUFFER], |bytes, _| {
            if lock(&self.state).stopping {
                return Err(io::Error::other("the server is being stopped"));
            }
            digest.update(bytes);
            Ok(())
        })?;
        Ok((hex(&digest.finish()), size))
    }

    /// Starts a sender, and a thread that sees it through.
    fn start(
        &self,
        place: Place,
        local: SocketAddr,
        file: File,
        plan: BlockPlan,
        threads: u8,
        record: Record,
    ) -> io::Result<u16> {
        let listener = socket::listen(local)?;
        let port = listener.local_addr()?.port();
        let job = vec![
            ("protocol".to_string(), Value::from_u64(1)),
            ("size".to_string(), Value::from_u64(record.size)),
            ("block_size".to_string(), Value::from_u64(plan.block_size())),
            ("threads".to_string(), Value::from_u64(threads.into())),
            ("idle_ms".to_string(), Value::from_u64(self.idle.as_millis() as u64)),
            ("stall_ms".to_string(), Value::from_u64(self.stall.as_millis() as u64)),
            ("peer".to_string(), Value::from(record.peer.ip().to_string())),
        ];
        let worker =
            self.supervisor.start_worker(&self.sender, job, &[listener.as_fd(), file.as_fd()])?;
        let quiet = self.quiet;
        std::thread::Builder::new().name("transfer".into()).stack_size(SMALL_STACK).spawn(
            move || {
                let line = record.follow(worker);
                if !quiet {
                    terminal::log(line);
                }
                drop(place);
            },
        )?;
        Ok(port)
    }

    /// Starts no more transfers, and gives up hashing.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopping = true;
    }

    /// Waits until every transfer has been logged, at most for `limit`.
    pub(crate) fn wait_until_logged(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = lock(&self.state);
        while state.running > 0 && Instant::now() < deadline {
            state =
                wait_for(&self.ended, state, deadline.saturating_duration_since(Instant::now()));
        }
    }
}

impl Record {
    /// Reads what the sender reports until it ends, and makes the log line of it.
    fn follow(&self, mut worker: Worker) -> String {
        let (mut tally, mut outcome) = (Default::default(), None);
        while let Ok(Some(report)) = worker.reports.next_report() {
            match report {
                Report::Progress(so_far) => tally = so_far,
                Report::Lost { .. } => {}
                Report::Done { tally: all, .. } => {
                    tally = all;
                    outcome = Some("complete".to_string());
                }
                Report::Failed { text, .. } => outcome = Some(text),
            }
        }
        let ended = worker.wait();
        let outcome = match (outcome, ended) {
            (Some(outcome), _) => outcome,
            (None, Some(Ended::Killed(signal))) => format!("stopped by signal {signal}"),
            (None, _) => "the sender ended without a word".to_string(),
        };
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
