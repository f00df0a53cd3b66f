//! The acceptor: takes the streams that come to a listener or are handed over. Each stream gets a
//! thread, in which the service speaks on the stream. The acceptor hears when a stream ends.

#![forbid(unsafe_code)]

use super::admission::{Admission, Admitted};
use crate::error::{Error, Result};
use crate::sys::listener::Listener;
use crate::sys::stream::Stream;
use crate::sys::{poll, socket, thread};
use crate::transfer::queue::growth::{FIRST_CARRIED, FIRST_STREAMS};
use crate::transfer::timing::Timing;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
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
    /// The bytes that were read from a stream before it was handed over. They named its session.
    /// Empty for a stream that came to the listener.
    pub begun: Vec<u8>,
}

/// The service that speaks on the accepted streams of a transfer.
pub trait Service: Sync {
    /// Most streams that may belong to the transfer at once. As many strangers may wait.
    fn room(&self) -> usize;

    /// Serves one stream, from its first byte to its end. A stream that belongs to the transfer
    /// joins first.
    fn serve(&self, arrival: &Arrival, admitted: &Admitted) -> Ended;

    /// The error of a transfer to which no stream comes any more.
    fn abandoned(&self) -> Error;

    /// Until when the acceptor waits while the streams are told how the transfer has ended; `None`
    /// if they are not told.
    fn told_until(&self) -> Option<Instant> {
        None
    }

    /// Ends every stream that has joined.
    fn end(&self);
}

/// How the service of a stream ended.
#[derive(Debug)]
pub enum Ended {
    /// The stream never joined the transfer, and does not count as activity.
    Stranger,
    /// The stream is over, and the transfer goes on.
    Stream,
    /// The whole transfer is over.
    Transfer(Result<()>),
}

/// A message to the acceptor's main thread.
enum Event {
    Arrived(Arrival),
    Ended(Ended),
    /// The source or sink needs no stream any more.
    Over,
}

/// Takes the streams of a transfer. The process's limit of descriptors also limits the streams that
/// wait here.
pub struct Acceptor {
    listener: Option<Listener>,
    /// The only address from which streams may come; `None` for any address.
    peer: Option<IpAddr>,
    timing: Timing,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    /// Readable at the end of the transfer, which wakes the thread that accepts.
    bell: UnixStream,
    ringer: UnixStream,
}

/// Hands streams over to an acceptor, or closes it.
#[derive(Clone)]
pub struct Entrance(mpsc::Sender<Event>);

impl Acceptor {
    /// Takes streams from `listener`, if there is one; from the address `peer` only, if that is
    /// given.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(
        listener: Option<Listener>,
        peer: Option<IpAddr>,
        timing: Timing,
    ) -> io::Result<Acceptor> {
        let (events, inbox) = mpsc::channel();
        let (bell, ringer) = UnixStream::pair()?;
        // A connection may be gone before it is accepted. Then accept must not block.
        listener.iter().for_each(|listener| drop(listener.set_nonblocking()));
        Ok(Acceptor { listener, peer, timing, events, inbox, bell, ringer })
    }

    /// How many streams `auto` begins with. Streams of a Unix socket are carried by another
    /// program.
    pub fn first_streams(&self) -> u8 {
        match self.listener {
            Some(Listener::Local(_)) => FIRST_CARRIED,
            Some(Listener::Tcp(_)) | None => FIRST_STREAMS,
        }
    }

    /// The entrance for streams that are handed over.
    pub fn entrance(&self) -> Entrance {
        Entrance(self.events.clone())
    }

    /// Serves streams until the transfer is over, or no stream is open for the idle time. While
    /// streams are open, calls `report` once in the report time at most.
    ///
    /// # Errors
    /// The service has ended the transfer with an error, or no stream came, or the system has no
    /// thread.
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
            // The scope joins the threads. So no thread may wait for a stream any more.
            let _ = ringer.shutdown(Shutdown::Both);
            serving.admission.end();
            service.end();
            outcome
        })
    }
}

impl Entrance {
    /// Hands over `stream`, from which the bytes `begun` were read.
    pub fn hand(&self, stream: Stream, begun: Vec<u8>) {
        let peer = stream.peer();
        let _ = self.0.send(Event::Arrived(Arrival { stream: Arc::new(stream), peer, begun }));
    }

    /// Ends the acceptor: the source or sink needs no stream any more.
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
    /// Serves streams until the transfer is over, and until they are told so.
    fn run(&mut self, report: &mut dyn FnMut()) -> Result<()> {
        let Timing { idle, report: interval, .. } = self.timing;
        let (mut idle_since, mut reported) = (Instant::now(), Instant::now());
        let mut served: usize = 0;
        let outcome = loop {
            let limit = match self.admission.is_empty() {
                true => idle.saturating_sub(idle_since.elapsed()),
                false => interval.saturating_sub(reported.elapsed()),
            };
            let event = self.inbox.recv_timeout(limit);
            served -= usize::from(matches!(event, Ok(Event::Ended(_))));
            match event {
                Ok(Event::Arrived(arrival)) => served += self.admit(arrival),
                Ok(Event::Over) => break Ok(()),
                Ok(Event::Ended(Ended::Stream)) => idle_since = Instant::now(),
                Ok(Event::Ended(Ended::Transfer(outcome))) => break outcome,
                // Strangers alone do not keep a transfer alive.
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

    /// Waits until each stream was told how the transfer has ended.
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

    /// Starts the thread of a stream, and returns 1. Closes a stream from a foreign address, and
    /// returns 0. If the system has no thread, the stream is closed too; its guard reports the end.
    fn admit(&self, arrival: Arrival) -> usize {
        let from = arrival.peer.map(|peer| peer.ip().to_canonical());
        if self.peer.is_some_and(|peer| from != Some(peer)) {
            return 0;
        }
        let service = self.service;
        let admitted = self.admission.admit(&arrival.stream);
        let guard = EndGuard { events: self.events.clone(), ended: None };
        let _ = thread::spawn_scoped(self.scope, "stream", move || {
            thread::contained(|| guard.end(service.serve(&arrival, &admitted)));
            drop(admitted); // after the main thread was told why
        });
        1
    }
}

/// Accepts streams until `bell` is readable.
fn accept(listener: &Listener, bell: &UnixStream, events: &mpsc::Sender<Event>, timing: Timing) {
    loop {
        match poll::readable(&[listener.as_fd(), bell.as_fd()], None).as_deref() {
            Ok([_, false]) => {}
            Ok(_) | Err(_) => return,
        }
        match listener.accept() {
            Ok((stream, peer)) => {
                let arrival = Arrival { stream: Arc::new(stream), peer, begun: Vec::new() };
                if events.send(Event::Arrived(arrival)).is_err() {
                    return;
                }
            }
            Err(error) if socket::out_of_room(&error) => {
                let _ = poll::readable(&[bell.as_fd()], Some(timing.out_of_room));
            }
            Err(_) => {} // that connection is gone again
        }
    }
}

/// Tells the main thread that a stream's thread has ended, even by a panic.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Panics on the first stream, and ends the transfer with the second.
    #[derive(Default)]
    struct Panicking {
        has_panicked: AtomicBool,
    }

    impl Service for Panicking {
        fn room(&self) -> usize {
            2
        }

        fn serve(&self, _arrival: &Arrival, _admitted: &Admitted) -> Ended {
            if !self.has_panicked.swap(true, Ordering::Relaxed) {
                panic!("as the test wants");
            }
            Ended::Transfer(Ok(()))
        }

        fn abandoned(&self) -> Error {
            Error::protocol("no stream came")
        }

        fn end(&self) {}
    }

    #[test]
    fn a_stream_whose_thread_panics_ends_alone() {
        let acceptor = Acceptor::new(None, None, Timing::default()).unwrap();
        let entrance = acceptor.entrance();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (here, there) = Stream::pair().unwrap();
            entrance.hand(here, Vec::new());
            peers.push(there);
        }
        acceptor.serve(&Panicking::default(), &mut || {}).unwrap();
    }
}
