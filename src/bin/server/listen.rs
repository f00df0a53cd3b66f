//! The server's main thread: accepts connections, and ends the server on a signal.

#![forbid(unsafe_code)]

use crate::activation;
use crate::answer;
use crate::auth::Auth;
use crate::config::{Config, ListenAt, Volume};
use crate::connections::{Connection, Connections};
use crate::metrics::{Listening, Metrics};
use crate::ports::{DataPorts, Entrances};
use crate::service::Service;
use crate::target::Tree;
use crate::transfers::{Programs, handover};
use crate::uploads::Uploads;
use ropewalk::app::http::{Http, NoRequest, Patience};
use ropewalk::app::signals::{MAIN_SIGNALS, Signal, Signals};
use ropewalk::app::supervise::{STOP_GRACE, Supervisor};
use ropewalk::app::terminal;
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::sys::connect::advise_zone;
use ropewalk::sys::socket::{self, Keepalive};
use ropewalk::sys::{process, user};
use ropewalk::transfer::source::confine::Root;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many refused connections are kept open for a while.
const MAX_TURNED_AWAY: usize = 64;

/// How long connections and transfers have to end when the server does.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Keepalive of control connections: a dead client is noticed within two minutes.
const KEEPALIVE: Keepalive = Keepalive::probes(4);

/// A server that listens.
pub(crate) struct Server {
    listeners: Vec<TcpListener>,
    signals: Signals,
    connections: Arc<Connections>,
    service: Arc<Service>,
    supervisor: Arc<Supervisor>,
    /// Refused connections that are still open. If one was closed while its request is on its
    /// way, it would be reset, and its client would not read why.
    turned_away: VecDeque<Arc<TcpStream>>,
    metrics: Option<Metrics>,
}

impl Server {
    /// Listens, and does everything else that can fail before the first request. `handed` are
    /// the sockets that the program was started with.
    pub(crate) fn bind(mut config: Config, handed: Vec<TcpListener>) -> Result<Server> {
        let workers = Programs::find(config.uploads.is_some())?;
        let tree = tree(&config)?;
        let uploads = uploads(&mut config, &workers)?;
        let auth = config.auth.as_deref().map(|path| Auth::new(path, config.auth_md5));
        let auth = auth.transpose()?;
        let listeners = listeners(config.listen_at, handed)?;
        let metrics = config.metrics.map(listen_for_metrics).transpose()?;
        let failed = |error: io::Error| Error::system("start", &error);
        // Each control connection and each transfer holds descriptors.
        process::raise_descriptor_limit().map_err(failed)?;
        if let Some(name) = &config.user {
            become_user(name)?; // before the first thread, and the first worker
        }
        // With passwords SIGHUP ends nothing, so there is no reason to go on ignoring it.
        let always = if auth.is_some() { &[Signal::HangUp][..] } else { &[] };
        let wanted = [&MAIN_SIGNALS[..], &[Signal::User]].concat();
        let signals = Signals::install(&wanted, always).map_err(failed)?;
        let supervisor = Arc::new(Supervisor::start(&activation::VARIABLES).map_err(failed)?);
        let entrances = Entrances::Ports(DataPorts::new(config.data_ports.clone()));
        let service =
            Service::new(&config, tree, (auth, uploads), entrances, workers, supervisor.clone())?;
        let (counters, table) = (service.counters.clone(), service.table.clone());
        let metrics = metrics.map(|listening| listening.serve(counters, table));
        let metrics = metrics.transpose().map_err(failed)?;
        Ok(Server {
            listeners,
            signals,
            connections: Connections::new(config.max_connections),
            service: Arc::new(service),
            supervisor,
            turned_away: VecDeque::new(),
            metrics,
        })
    }

    /// Says that the server is ready, and where.
    pub(crate) fn announce(&self) -> Result<()> {
        let heard = self.service.volume > Volume::Quiet;
        if let (Tree::Everything, true) = (&*self.service.tree, heard) {
            let is_guarded = self.service.auth.is_some();
            terminal::log(warning(process::effective_user() == 0, is_guarded));
        }
        let failed = |error: io::Error| Error::system("standard output", &error);
        let mut lines = String::new();
        for listener in &self.listeners {
            let address = listener.local_addr().map_err(failed)?;
            lines.push_str(&format!("listening on {address}\n"));
        }
        if let Some(metrics) = &self.metrics {
            lines.push_str(&format!("metrics on {}\n", metrics.address()));
        }
        if let Some(uploads) = &self.service.uploads {
            lines.push_str(&format!("{}\n", uploads.announcement()));
        }
        terminal::print(lines.as_bytes()).map_err(failed)
    }

    /// Serves until a signal ends it.
    pub(crate) fn run(mut self) -> Result<ExitCode> {
        let failed = |error: io::Error| Error::system("listener", &error);
        let mut backoff = None;
        loop {
            let mut listening: Vec<BorrowedFd<'_>> = Vec::new();
            if backoff.is_none() {
                listening.extend(self.listeners.iter().map(TcpListener::as_fd));
            }
            let limit = [backoff.take(), self.connections.measure()].into_iter().flatten().min();
            let wake = self.signals.wait(&listening, limit).map_err(failed)?;
            match wake.signal {
                Some(Signal::Pause) => self.pause().map_err(failed)?,
                Some(Signal::HangUp) if self.reload() => {}
                Some(Signal::User) => self.service.log.reopen(),
                Some(_) => break,
                None => backoff = self.accept(&wake.ready),
            }
        }
        self.stop().map_err(failed)?;
        Ok(ExitCode::Success)
    }

    /// Reads the passwords again. `false` where there are none.
    fn reload(&self) -> bool {
        self.service.auth.as_ref().map(Auth::reload).is_some()
    }

    /// Accepts one connection of each listener that is ready. The answer is how long to accept
    /// none, where the system has no room.
    fn accept(&mut self, ready: &[bool]) -> Option<Duration> {
        let mut backoff = None;
        let ready = self.listeners.iter().zip(ready).filter(|(_, ready)| **ready);
        let accepted: Vec<_> = ready.map(|(listener, _)| listener.accept()).collect();
        for connection in accepted {
            match connection {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if socket::out_of_room(&error) => backoff = Some(socket::ROOM_PAUSE),
                Err(_) => {} // the client has gone already
            }
        }
        backoff
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let _ = socket::set_keepalive(
            stream.as_fd(),
            KEEPALIVE.idle,
            KEEPALIVE.interval,
            KEEPALIVE.count,
        );
        let _ = socket::set_user_timeout(stream.as_fd(), self.service.stall + socket::SILENCE);
        let _ = stream.set_nodelay(true);
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        match self.connections.admit(stream, peer) {
            Ok(connection) => {
                let service = self.service.clone();
                // Without a thread this connection ends, and no other.
                let _ = connection.spawn(move |connection| {
                    converse(connection, &service, Behind::Requests);
                });
            }
            Err(stream) => {
                // The socket's buffer is empty, so this does not block.
                let refusal = Refusal::new(Status::SERVICE_UNAVAILABLE, "too many connections");
                self.service.counters.answered(refusal.status);
                self.service.log.refused(peer, None, &refusal);
                let stream = Arc::new(stream);
                let _ = Http::new(stream.clone())
                    .write_response(&answer::refusal(&refusal).close(), false);
                let _ = stream.shutdown(Shutdown::Write);
                if self.turned_away.len() == MAX_TURNED_AWAY {
                    self.turned_away.pop_front();
                }
                self.turned_away.push_back(stream);
            }
        }
    }

    /// Ctrl-Z: the senders stop before this process, and continue after it.
    fn pause(&self) -> io::Result<()> {
        self.supervisor.pause()?;
        process::stop_self()?;
        self.supervisor.resume()
    }

    /// Ends connections and senders. A second signal kills the senders at once.
    fn stop(self) -> io::Result<()> {
        drop(self.listeners);
        self.service.table.stop();
        self.service.digests.stop();
        self.service.transfers.outcomes.stop();
        let mut stopped = self.supervisor.stop(STOP_GRACE)?;
        while self.signals.wait(&[stopped.as_fd()], None)?.ready == [false] {
            stopped = self.supervisor.stop(Duration::ZERO)?;
        }
        self.connections.close(CLOSE_LIMIT);
        self.service.table.wait_until_logged(CLOSE_LIMIT);
        drop(self.metrics);
        Ok(())
    }
}

/// Listens where the user wants it, or takes the sockets that were handed over.
fn listeners(at: ListenAt, handed: Vec<TcpListener>) -> Result<Vec<TcpListener>> {
    let listeners = match at {
        ListenAt::Everywhere(port) => {
            vec![socket::listen_everywhere(port).map_err(|error| no_port(port, None, &error))?]
        }
        ListenAt::Address(address) => vec![listen(address)?],
        ListenAt::Handed | ListenAt::Nowhere => handed,
    };
    for listener in &listeners {
        listener.set_nonblocking(true).map_err(|error| Error::system("listener", &error))?;
    }
    Ok(listeners)
}

fn listen_for_metrics(address: SocketAddr) -> Result<Listening> {
    Listening::on(address)
        .map_err(|cause| advise_zone(Error::system("--metrics", &cause), &cause, &[address]))
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    socket::listen(address).map_err(|error| no_port(address.port(), Some(address), &error))
}

/// Why a port of one address or of all is not free, and what to do about it.
fn no_port(port: u16, address: Option<SocketAddr>, cause: &io::Error) -> Error {
    let error = Error::system(format!("port {port}"), cause);
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            error.advise("another program listens there: use another port, or 0 for any free port")
        }
        io::ErrorKind::PermissionDenied => {
            error.advise("ports below 1024 need root, which --user gives up afterwards")
        }
        io::ErrorKind::AddrNotAvailable => {
            error.advise("this machine does not have the address of --bind")
        }
        _ => advise_zone(error, cause, address.as_slice()),
    }
}

/// Becomes another user, for good.
fn become_user(name: &OsStr) -> Result<()> {
    let shown = escape(name.as_bytes());
    let failed = |error| Error::system(format!("--user {shown}"), &error);
    let found = user::find(name.as_bytes()).map_err(failed)?;
    let nobody = || Error::usage(format!("--user: this machine has no user '{shown}'"));
    let found = found.ok_or_else(nobody)?;
    user::become_user(&found).map_err(failed)
}

/// The files that may be sent.
pub(crate) fn tree(config: &Config) -> Result<Tree> {
    let Some(path) = &config.root else { return Ok(Tree::Everything) };
    let failed = |error| Error::system(escape(path.as_os_str().as_bytes()), &error);
    Root::open(path).map(Tree::Beneath).map_err(failed)
}

/// The folder that clients may write to, which has no file that the server itself trusts.
pub(crate) fn uploads(config: &mut Config, workers: &Programs) -> Result<Option<Uploads>> {
    let Some(rules) = config.uploads.take() else { return Ok(None) };
    let uploads = Uploads::open(rules, config.root.as_deref())?;
    for program in [Some(&workers.sender), workers.receiver.as_ref()].into_iter().flatten() {
        uploads.check_outside("the program", program)?;
    }
    if let Ok(own) = std::env::current_exe() {
        uploads.check_outside("the program", &own)?;
    }
    for (option, path) in [("--auth", &config.auth), ("--log", &config.log)] {
        path.as_deref().map_or(Ok(()), |path| uploads.check_outside(option, path))?;
    }
    Ok(Some(uploads))
}

/// The warning about a server without `--root`.
fn warning(is_root: bool, is_guarded: bool) -> String {
    let (who, advice) = match is_guarded {
        true => ("every user of --auth", "--root"),
        false => ("everybody who can connect", "--root, --bind and --auth"),
    };
    match is_root {
        true => format!(
            "warning: this runs as root and without --root: {who} can fetch EVERY file of this \
             machine, keys and password hashes too; see {advice}"
        ),
        false => {
            format!("warning: {who} can fetch every file that this user can read; see {advice}")
        }
    }
}

/// What may come behind a request on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Further requests only.
    Requests,
    /// A stream too: the connection is all that there is.
    Stream,
}

/// Serves one connection from its first request to its end, or until it turns out to be a
/// stream.
pub(crate) fn converse(connection: &Connection, service: &Service, behind: Behind) {
    let deadline = Instant::now() + service.request;
    if handover::take(&service.table, connection, deadline) {
        return;
    }
    let mut http = Http::new(connection.stream().clone());
    let left = deadline.saturating_duration_since(Instant::now());
    let mut patience = Patience { request: left, idle: None };
    loop {
        match http.receive_request(patience) {
            Ok((head, body)) => {
                service.name_client(connection, &head);
                let more = match service.turn_away(connection, &http, &head) {
                    Some(more) => more,
                    None => connection
                        .while_served(|| service.serve(connection, &mut http, &head, &body))
                        .unwrap_or_else(|| service.put_off(connection, &http, &head)),
                };
                if !more {
                    break;
                }
            }
            Err(NoRequest::Refused(refusal)) => {
                service.counters.answered(refusal.status);
                service.log.refused(connection.peer(), None, &refusal);
                if http.write_response(&answer::refusal(&refusal).close(), false).is_ok() {
                    http.close_gently();
                }
                return;
            }
            Err(NoRequest::Closed) => break,
        }
        patience = Patience { request: service.request, idle: Some(service.idle) };
        if behind == Behind::Stream && !http.has_more() {
            let deadline = Instant::now() + service.idle;
            if handover::take(&service.table, connection, deadline) {
                return;
            }
        }
    }
    if http.has_unread_body() {
        http.close_after_body();
    }
}
