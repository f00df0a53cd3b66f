//! The acceptor: takes the streams that come to a listener or are handed over, gives each a
//! thread of its own, and hears of their ends. What is said on a stream is the service's.

#![forbid(unsafe_code)]

use super::admission::{Admission, Admitted};
use crate::error::{Error, Result};
use crate::sys::stream::Stream;
use crate::sys::{poll, socket, thread};
use crate::transfer::timing::Timing;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Scope;
use std::time::Instant;

/// A stream that has come.
pub struct Arrival {
    /// The connection.
    pub stream: Arc<Stream>,
    /// The address that the stream comes from; `None` for a Unix socket.
    peer: Option<SocketAddr>,
    /// Bytes that somebody else has read of the stream to know its session; empty for a stream
    /// that came to the listener.
    pub begun: Vec<u8>,
}

/// What is said on the streams of a transfer.
pub trait Service: Sync {
    /// Most streams that may be open at once; as many may be about to say whose they are.
    fn room(&self) -> usize;

    /// Serves one stream, from its first byte to its end. A stream that belongs here joins
    /// before it is served.
    fn serve(&self, arrival: &Arrival, admitted: &Admitted) -> Ended;

    /// How a transfer ends to which no stream comes any more.
    fn abandoned(&self) -> Error;

    /// Until when streams may stay that are told how the transfer has ended; `None` where
    /// they are not told.
    fn told_until(&self) -> Option<Instant> {
        None
    }

    /// Ends every stream that has joined.
    fn end(&self);
}

/// What the end of a stream means.
#[derive(Debug)]
pub enum Ended {
    /// It never became part of the transfer, and does not count as activity.
    Stranger,
    /// The stream is over, and the transfer goes on.
    Stream,
    /// The whole transfer is over.
    Transfer(Result<()>),
}

/// What the acceptor hears.
enum Event {
    Arrived(Arrival),
    Ended(Ended),
    /// The end that is served has come to its own end.
    Over,
}

/// Where the streams of a transfer come in. What waits there is bounded by the descriptors
/// that this process may have.
pub struct Acceptor {
    listener: Option<TcpListener>,
    /// The only address from which streams may come; any without one.
    peer: Option<IpAddr>,
    timing: Timing,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    /// Comes to its end with the transfer, for the thread that accepts.
    bell: UnixStream,
    ringer: UnixStream,
}

/// Tells an acceptor from outside.
#[derive(Clone)]
pub struct Entrance(mpsc::Sender<Event>);

impl Acceptor {
    /// Takes streams from `listener`, where there is one, and from `peer` only.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(
        listener: Option<TcpListener>,
        peer: Option<IpAddr>,
        timing: Timing,
    ) -> io::Result<Acceptor> {
        let (events, inbox) = mpsc::channel();
        let (bell, ringer) = UnixStream::pair()?;
        // A connection that made the listener readable may be gone when it is accepted.
        listener.iter().for_each(|listener| drop(listener.set_nonblocking(true)));
        Ok(Acceptor { listener, peer, timing, events, inbox, bell, ringer })
    }

    /// The way in for streams that are handed over.
    pub fn entrance(&self) -> Entrance {
        Entrance(self.events.clone())
    }

    /// Serves streams until the transfer is over, or none is open for the idle time. Calls
    /// `report` while streams are open, once in the report time at most.
    ///
    /// # Errors
    /// What the service says of its transfer; no thread can be had to accept streams.
    pub fn serve(self, service: &dyn Service, report: &mut dyn FnMut()) -> Result<()> {
        let Acceptor { listener, peer, timing, events, inbox, bell, ringer } = self;
        std::thread::scope(|scope| {
            if let Some(listener) = listener {
                let (events, bell) = (events.clone(), &bell);
                thread::spawn_scoped(scope, "accept", move || {
                    accept(&listener, bell, &events, timing);
                })
                .map_err(|error| Error::system("thread", &error))?;
            }
            let admission = Admission::new(service.room());
            let mut serving = Serving { scope, service, peer, timing, admission, events, inbox };
            let outcome = serving.run(report);
            // The threads are joined by the scope: none of them may wait for a stream.
            let _ = ringer.shutdown(Shutdown::Both);
            serving.admission.end();
            service.end();
            outcome
        })
    }
}

impl Entrance {
    /// Lets a stream in of which `begun` was read.
    pub fn hand(&self, stream: Stream, begun: Vec<u8>) {
        let peer = stream.peer();
        let _ = self.0.send(Event::Arrived(Arrival { stream: Arc::new(stream), peer, begun }));
    }

    /// Ends the acceptor: the end that it serves needs no stream any more.
    pub fn close(&self) {
        let _ = self.0.send(Event::Over);
    }
}

/// The main thread of an acceptor.
struct Serving<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    service: &'scope dyn Service,
    peer: Option<IpAddr>,
    timing: Timing,
    admission: Arc<Admission>,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
}

impl Serving<'_, '_> {
    /// Hears of streams until the transfer is over, and of those that are then told.
    fn run(&mut self, report: &mut dyn FnMut()) -> Result<()> {
        let Timing { idle, report: interval, .. } = self.timing;
        let (mut idle_since, mut reported) = (Instant::now(), Instant::now());
        let mut served: usize = 0;
        let outcome = loop {
            let patience = match self.admission.is_empty() {
                true => idle.saturating_sub(idle_since.elapsed()),
                false => interval.saturating_sub(reported.elapsed()),
            };
            let event = self.inbox.recv_timeout(patience);
            served -= usize::from(matches!(event, Ok(Event::Ended(_))));
            match event {
                Ok(Event::Arrived(arrival)) => served += self.admit(arrival),
                Ok(Event::Over) => break Ok(()),
                Ok(Event::Ended(Ended::Stream)) => idle_since = Instant::now(),
                Ok(Event::Ended(Ended::Transfer(outcome))) => break outcome,
                // Strangers do not keep a transfer alive to which no other stream comes.
                Ok(Event::Ended(Ended::Stranger)) | Err(_) => {
                    if self.admission.members() == 0 && idle_since.elapsed() >= idle {
                        return Err(self.service.abandoned());
                    }
                }
            }
            if reported.elapsed() >= interval {
                reported = Instant::now();
                if self.admission.members() > 0 {
                    idle_since = reported;
                    report();
                }
            }
        };
        self.tell(served);
        outcome
    }

    /// Waits until each of the streams was told how the transfer has ended.
    fn tell(&mut self, mut served: usize) {
        while let Some(deadline) = self.service.told_until().filter(|_| served > 0) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left) {
                Ok(Event::Arrived(arrival)) => served += self.admit(arrival),
                Ok(Event::Ended(_)) => served -= 1,
                Ok(Event::Over) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Starts the thread of a stream, and counts it. A stream from a foreign address is closed.
    /// So is a stream for which no thread can be had; its guard says so.
    fn admit(&self, arrival: Arrival) -> usize {
        let from = arrival.peer.map(|peer| peer.ip().to_canonical());
        if self.peer.is_some_and(|peer| from != Some(peer)) {
            return 0;
        }
        let service = self.service;
        let admitted = self.admission.admit(&arrival.stream);
        let guard = EndGuard { events: self.events.clone(), ended: None };
        let _ = thread::spawn_scoped(self.scope, "stream", move || {
            guard.end(service.serve(&arrival, &admitted));
            drop(admitted); // now it is known why
        });
        1
    }
}

/// Accepts streams until `bell` rings.
fn accept(listener: &TcpListener, bell: &UnixStream, events: &mpsc::Sender<Event>, timing: Timing) {
    loop {
        match poll::readable(&[listener.as_fd(), bell.as_fd()], None).as_deref() {
            Ok([_, false]) => {}
            Ok(_) | Err(_) => return,
        }
        match listener.accept() {
            Ok((stream, peer)) => {
                let (stream, peer) = (Arc::new(stream.into()), Some(peer));
                let arrival = Arrival { stream, peer, begun: Vec::new() };
                if events.send(Event::Arrived(arrival)).is_err() {
                    return;
                }
            }
            Err(error) if socket::out_of_room(&error) => {
                let _ = poll::readable(&[bell.as_fd()], Some(timing.out_of_room));
            }
            Err(_) => {} // that client went away again
        }
    }
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
