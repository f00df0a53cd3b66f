//! A server of one client over standard input and output. The first byte says what the connection
//! is: FF joins the session of another such server, anything else is HTTP.
//!
//! ```text
//!   standard input, output ◄─ pumps ─► socket ◄─► HTTP, then perhaps a stream, then HTTP again
//!                          ◄─ pumps ─► the session's socket            (after a join)
//! ```

#![forbid(unsafe_code)]

mod joining;
mod pumps;

use crate::config::Config;
use crate::connections::Connections;
use crate::listen::{Behind, converse, tree, uploads};
use crate::ports::Entrances;
use crate::service::Service;
use crate::transfers::Programs;
use joining::Joined;
use pumps::{Pumps, Sequel, Socket, Standard};
use ropewalk::app::signals::{MAIN_SIGNALS, Signal, Signals};
use ropewalk::app::supervise::{STOP_GRACE, Supervisor};
use ropewalk::codec::wire::{ErrorCode, HELLO_MARK, Header, JOIN_SIZE, Join, Request};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::{local, process, pump, thread};
use ropewalk::transfer::link::session_socket;
use ropewalk::transfer::link::token::Token;
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// After so long without a byte on standard input the client is gone: an idle client sends something
/// every 10 s, and asks for an MD5 every 20 s. So nothing stays for 2 minutes when a network drops
/// everything.
pub(crate) const SILENCE: Duration = Duration::from_secs(90);

/// How long after a stream a push may take to say that it has all bytes. Else only the stream ended.
const HAS_ALL_TIME: Duration = Duration::from_secs(1);

/// How long connections have to end after a signal.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The client has no address.
const CLIENT: ([u8; 4], u16) = ([0; 4], 0);

/// Serves the client until either side ends the connection.
pub(crate) fn run(config: Config) -> Result<ExitCode> {
    if io::stdin().is_terminal() {
        let error = Error::usage("--stdio: standard input is a terminal");
        return Err(error.advise("client -e ssh starts the server in this way on another machine"));
    }
    let failed = |error: io::Error| Error::system("standard input", &error);
    let mut first = [0];
    let until = Instant::now() + SILENCE;
    match pump::read_by(io::stdin().as_fd(), &mut first, until).map_err(failed)? {
        0 => Ok(ExitCode::Success),
        _ if first[0] == HELLO_MARK => match joining::run(until)? {
            Joined::Over(code) => Ok(code),
            Joined::Alone => serve(config, &[]),
        },
        _ => serve(config, &first),
    }
}

/// Serves HTTP, of which the bytes `begun` were read.
fn serve(mut config: Config, begun: &[u8]) -> Result<ExitCode> {
    let failed = |error: io::Error| Error::system("start", &error);
    let workers = Programs::find(config.uploads.is_some())?;
    let tree = tree(&config)?;
    let uploads = uploads(&mut config, &workers)?;
    process::raise_descriptor_limit().map_err(failed)?;
    let signals = Signals::install(&MAIN_SIGNALS, &[]).map_err(failed)?;
    let supervisor = Arc::new(Supervisor::start(&[]).map_err(failed)?);
    let token = Token::random().map_err(failed)?;
    let others = local::listen(&session_socket::for_http(&token.bytes())).map_err(failed)?;
    others.set_nonblocking(true).map_err(failed)?;
    let entrances = Entrances::Sockets(Mutex::new(Some(token)));
    let service =
        Service::new(&config, tree, (None, uploads), entrances, workers, supervisor.clone())?;
    let (service, connections) = (Arc::new(service), Connections::new(config.max_connections));
    let talks = Arc::new(Talks { token: token.bytes(), service, connections });
    let (here, there) = UnixStream::pair().map_err(failed)?;
    let there = Socket::new(there).map_err(failed)?;
    pump::write_all(there.as_fd(), begun, None).map_err(failed)?;
    talks.begin_one(here, Behind::Stream);
    let bell = UnixStream::pair().map_err(failed)?;
    let standard = Standard::of_process(SILENCE).map_err(failed)?;
    let pumps = Pumps::start(standard, bell, there, Some(talks.clone())).map_err(failed)?;
    let server = Server { signals, supervisor, talks };
    server.run(&pumps, others).map_err(failed)?;
    Ok(ExitCode::Success)
}

/// What is said over HTTP, on the client's own connection and on others.
struct Talks {
    /// The token of the first session.
    token: [u8; 16],
    service: Arc<Service>,
    connections: Arc<Connections>,
}

impl Talks {
    /// Serves one connection on a thread of its own.
    fn begin_one(&self, stream: UnixStream, behind: Behind) {
        let stream = TcpStream::from(OwnedFd::from(stream));
        if let Ok(connection) = self.connections.admit(stream, SocketAddr::from(CLIENT)) {
            let service = self.service.clone();
            // Without a thread this connection ends, and no other.
            let _ = connection.spawn(move |connection| converse(connection, &service, behind));
        }
    }
}

/// Once the stream on the client's connection has ended, the client of a push asks there what came
/// of it: it may have no other connection.
impl Sequel for Talks {
    fn beginning(&self) -> Option<[u8; JOIN_SIZE]> {
        let token = self.token;
        let is_push = self.service.transfers.outcomes.knows(&token);
        is_push.then(|| Join { token, http: true }.encode())
    }

    fn last_word(&self) -> Vec<u8> {
        match self.service.transfers.outcomes.has_all(&self.token, HAS_ALL_TIME) {
            true => Request::Finished.encode(),
            // The client opens another stream.
            false => Header::error(ErrorCode::Session, "the stream has ended"),
        }
    }

    fn begin(&self) -> io::Result<Socket> {
        let (here, there) = UnixStream::pair()?;
        let there = Socket::new(there)?;
        self.begin_one(here, Behind::Requests);
        Ok(there)
    }
}

/// A server of one client.
struct Server {
    signals: Signals,
    supervisor: Arc<Supervisor>,
    talks: Arc<Talks>,
}

impl Server {
    /// Serves until the client's own connection is over. Then only requests that wait for an
    /// answer on another connection go on.
    fn run(self, pumps: &Pumps, others: UnixListener) -> io::Result<()> {
        loop {
            let wake = self.signals.wait(&[pumps.ended().as_fd(), others.as_fd()], None)?;
            match (wake.signal, wake.ready.as_slice()) {
                (Some(Signal::Pause), _) => self.pause()?,
                (Some(_), _) => return self.stop(),
                (None, [true, _]) => break,
                (None, _) => {
                    if let Ok((stream, _)) = others.accept() {
                        if local::check_peer(&stream).is_ok() {
                            stream.set_nonblocking(false)?;
                            self.talks.begin_one(stream, Behind::Requests);
                        }
                    }
                }
            }
        }
        drop(others);
        self.talks.service.table.stop();
        drop(self.supervisor.stop(STOP_GRACE)?);
        let (over, end) = UnixStream::pair()?;
        let connections = self.talks.connections.clone();
        thread::spawn("last requests", move || {
            connections.wait_until_empty();
            drop(end);
        })?;
        while self.signals.wait(&[over.as_fd()], None)?.signal == Some(Signal::Pause) {
            self.pause()?;
        }
        self.stop()
    }

    /// Ctrl-Z: the senders stop before this process, and continue after it.
    fn pause(&self) -> io::Result<()> {
        self.supervisor.pause()?;
        process::stop_self()?;
        self.supervisor.resume()
    }

    /// Ends connections and senders. A second signal kills the senders at once.
    fn stop(self) -> io::Result<()> {
        let Talks { service, connections, .. } = &*self.talks;
        service.table.stop();
        service.digests.stop();
        service.transfers.outcomes.stop();
        let mut stopped = self.supervisor.stop(STOP_GRACE)?;
        while self.signals.wait(&[stopped.as_fd()], None)?.ready == [false] {
            stopped = self.supervisor.stop(Duration::ZERO)?;
        }
        connections.close(CLOSE_LIMIT);
        service.table.wait_until_logged(CLOSE_LIMIT);
        Ok(())
    }
}
