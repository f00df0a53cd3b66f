//! The streams of a transfer: one thread accepts them, each has a thread of its own,
//! and the main thread hears of both. What is said on a stream is the protocol's.

#![forbid(unsafe_code)]

use crate::places::{Place, Places};
use ropewalk::app::SMALL_STACK;
use ropewalk::app::report::REPORT_INTERVAL;
use ropewalk::error::{Error, Result};
use ropewalk::sys::socket;
use ropewalk::transfer::rate::Rate;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long nothing is accepted after the system ran out of descriptors.
const BACKOFF: Duration = Duration::from_millis(100);

/// How long the sender waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a stream while none is open.
    pub(crate) idle: Duration,
    /// For a stream to accept more data.
    pub(crate) stall: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { idle: Duration::from_secs(30), stall: Duration::from_secs(60) }
    }
}

/// How fast the streams of a transfer may send.
#[derive(Clone, Default)]
pub(crate) struct Pace {
    /// The limit; none without one.
    pub(crate) rate: Option<Arc<Rate>>,
    /// How many streams share it.
    pub(crate) streams: u8,
}

impl Pace {
    /// Waits until some of `wanted` bytes may go, and says how many.
    pub(crate) fn wait(&self, wanted: usize) -> usize {
        let Some(rate) = &self.rate else { return wanted };
        let portion = rate.portion(wanted as u64, self.streams.into());
        rate.take(portion);
        portion as usize
    }
}

/// A stream that has come.
pub(crate) struct Arrival {
    pub(crate) stream: Arc<TcpStream>,
    peer: SocketAddr,
    /// What the server has read of it to know whose it is; empty for one that came to
    /// this process itself.
    pub(crate) hello: Vec<u8>,
}

/// What is said on the streams of a transfer.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// Most streams that may be open at once; as many may be about to say whose they are.
    fn room(&self) -> usize;

    /// The only address from which streams may come; any without one.
    fn peer(&self) -> Option<IpAddr>;

    /// Serves one stream, from its first byte to its end. One that belongs here joins
    /// before it is served.
    fn carry(&self, arrival: &Arrival, place: &Place) -> Ended;

    /// How a transfer ends that no stream comes to any more.
    fn abandoned(&self) -> Error;

    /// Until when streams may stay that are told how the transfer has ended; none where
    /// nobody is told.
    fn told_until(&self) -> Option<Instant> {
        None
    }

    /// Called while streams are open, at most ten times a second.
    fn report(&self);
}

/// What the end of a stream means.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It never became part of the transfer, and does not count as activity.
    Stranger,
    /// The stream is over, and the transfer goes on.
    Stream,
    /// The whole transfer is over.
    Transfer(Result<()>),
}

/// What the threads tell the main one.
enum Event {
    Arrived(Arrival),
    Ended(Ended),
}

/// Where streams come in. What waits there is bounded by the descriptors that this
/// process may have.
pub(crate) struct Entrance {
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
}

/// Where streams come in that somebody else has accepted.
pub(crate) struct SideEntrance(mpsc::Sender<Event>);

impl Entrance {
    /// Nobody has come yet.
    pub(crate) fn new() -> Entrance {
        let (events, inbox) = mpsc::channel();
        Entrance { events, inbox }
    }

    /// One for streams that are handed over.
    pub(crate) fn side(&self) -> SideEntrance {
        SideEntrance(self.events.clone())
    }
}

impl SideEntrance {
    /// Lets a stream in of which `hello` was read. One whose peer has gone is closed.
    pub(crate) fn hand(&self, stream: TcpStream, hello: Vec<u8>) {
        if let Ok(peer) = stream.peer_addr() {
            let stream = Arc::new(stream);
            let _ = self.0.send(Event::Arrived(Arrival { stream, peer, hello }));
        }
    }
}

/// Serves streams until the transfer is over, or none is open for `idle`.
pub(crate) fn serve(
    protocol: &Arc<impl Protocol>,
    listener: TcpListener,
    entrance: Entrance,
    idle: Duration,
) -> Result<()> {
    let Entrance { events, inbox } = entrance;
    accept_for_ever(listener, events.clone())?;
    let places = Places::new(protocol.room());
    let (mut idle_since, mut reported) = (Instant::now(), Instant::now());
    let mut carried: usize = 0;
    let let_in = |arrival: Arrival| {
        let from = arrival.peer.ip().to_canonical();
        let comes_in = protocol.peer().is_none_or(|peer| peer == from);
        if comes_in {
            let place = places.let_in(&arrival.stream);
            start(arrival, protocol, place, &events);
        }
        usize::from(comes_in)
    };
    let outcome = loop {
        let patience = match places.are_empty() {
            true => idle.saturating_sub(idle_since.elapsed()),
            false => REPORT_INTERVAL.saturating_sub(reported.elapsed()),
        };
        let event = inbox.recv_timeout(patience);
        carried -= usize::from(matches!(event, Ok(Event::Ended(_))));
        match event {
            Ok(Event::Arrived(arrival)) => carried += let_in(arrival),
            Ok(Event::Ended(Ended::Stream)) => idle_since = Instant::now(),
            Ok(Event::Ended(Ended::Transfer(outcome))) => break outcome,
            // Strangers do not keep a transfer alive that nobody else comes to.
            Ok(Event::Ended(Ended::Stranger)) | Err(_) => {
                if places.members() == 0 && idle_since.elapsed() >= idle {
                    return Err(protocol.abandoned());
                }
            }
        }
        if reported.elapsed() >= REPORT_INTERVAL {
            reported = Instant::now();
            if places.members() > 0 {
                idle_since = reported;
                protocol.report();
            }
        }
    };
    // Every other stream is told, and has the time to read it.
    while let Some(deadline) = protocol.told_until().filter(|_| carried > 0) {
        match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Arrived(arrival)) => carried += let_in(arrival),
            Ok(Event::Ended(_)) => carried -= 1,
            Err(_) => break,
        }
    }
    outcome
}

/// Accepts connections on a thread that ends with the process.
fn accept_for_ever(listener: TcpListener, events: mpsc::Sender<Event>) -> Result<()> {
    let accept = move || loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let arrival = Arrival { stream: Arc::new(stream), peer, hello: Vec::new() };
                if events.send(Event::Arrived(arrival)).is_err() {
                    return;
                }
            }
            Err(error) if socket::out_of_room(&error) => std::thread::sleep(BACKOFF),
            Err(_) => {} // that client went away again
        }
    };
    std::thread::Builder::new()
        .name("accept".into())
        .stack_size(SMALL_STACK)
        .spawn(accept)
        .map_err(|error| Error::system("thread", &error))?;
    Ok(())
}

/// Starts the thread of a stream. Where none can be had, the stream is closed, and its
/// guard tells so just the same.
fn start(
    arrival: Arrival,
    protocol: &Arc<impl Protocol>,
    place: Place,
    events: &mpsc::Sender<Event>,
) {
    let protocol = protocol.clone();
    let guard = EndGuard { events: events.clone(), ended: None };
    let thread = std::thread::Builder::new().name("stream".into()).stack_size(SMALL_STACK);
    let _ = thread.spawn(move || {
        guard.end(protocol.carry(&arrival, &place));
        drop(place); // now it is known why
    });
}

/// Tells the main thread that a stream's thread is at its end, also when it panicked.
struct EndGuard {
    events: mpsc::Sender<Event>,
    ended: Option<Ended>,
}

impl EndGuard {
    fn end(mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let ended = self.ended.take().unwrap_or(Ended::Stranger);
        let _ = self.events.send(Event::Ended(ended));
    }
}
