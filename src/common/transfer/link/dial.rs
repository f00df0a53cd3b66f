//! How a dialler opens a stream: to the session's data port, or to the server's control port where
//! the data port cannot be reached.

#![forbid(unsafe_code)]

use super::route::Route;
use crate::codec::message::session::Session;
use crate::codec::wire::{Hello, Request};
use crate::error::system_words;
use crate::sys::connect::connect_unless;
use crate::sys::stream::Stream;
use crate::sys::sync::lock;
use crate::transfer::timing::Timing;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::Instant;

/// A way to open streams to the peer.
pub trait Dial: Send + Sync {
    /// Opens a stream, by `until` at the latest.
    ///
    /// # Errors
    /// The stream cannot be opened now, or [`Dial::end`] was called.
    fn dial(&self, until: Instant) -> io::Result<Stream>;

    /// Opens streams of `session` from now on.
    fn renew(&self, _session: &Session) {}

    /// A stream of the current session has brought something good.
    fn is_good(&self) {}

    /// A stream of the current session broke, or could not be opened. Returns `true` if all
    /// streams now go to another port; then the session is not at fault.
    fn failed(&self, _error: &io::Error) -> bool {
        false
    }

    /// Whether the other end is known to be the peer, or there is no other port to try.
    fn is_trusted(&self) -> bool {
        true
    }

    /// Whether the port that is tried first has brought something good.
    fn is_proven(&self) -> bool {
        true
    }

    /// Whether other connections use the port of the streams too.
    fn shares_port(&self) -> bool {
        false
    }

    /// Whether the parent keeps what carries a stream, and uses that again after an end in order.
    fn lends(&self) -> bool {
        false
    }

    /// The words for the user about a stream that failed.
    fn explain(&self, error: &io::Error) -> String {
        system_words(error)
    }

    /// Tells the peer on a new stream that the transfer is complete, since no stream is open. A
    /// peer that cannot be told waits for a stream, and ends after a while.
    fn take_leave(&self, hello: &Hello) {
        let _ = self.dial(Instant::now()).and_then(|stream| say_finished(&stream, hello));
    }

    /// Ends every attempt, now and later.
    fn end(&self) {}
}

fn say_finished(stream: &Stream, hello: &Hello) -> io::Result<()> {
    stream.write_all(&[&hello.encode()[..], &Request::Finished.encode()].concat())
}

/// Dials a server over TCP.
pub struct TcpDial {
    timing: Timing,
    state: Mutex<State>,
    /// Readable from [`Dial::end`] on, which ends attempts under way.
    bell: UnixStream,
    ringer: UnixStream,
}

struct State {
    session: Session,
    /// The number of the session. An attempt of an old session does not change the new route.
    generation: u64,
    route: Route,
}

impl TcpDial {
    /// Dials the ports of `session`; with `single_port`, only the control port.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(session: Session, single_port: bool, timing: Timing) -> io::Result<TcpDial> {
        let (bell, ringer) = UnixStream::pair()?;
        let state = State { session, generation: 0, route: Route::new(single_port) };
        Ok(TcpDial { timing, state: Mutex::new(state), bell, ringer })
    }
}

impl Dial for TcpDial {
    fn dial(&self, until: Instant) -> io::Result<Stream> {
        loop {
            let (session, generation, route) = {
                let state = lock(&self.state);
                (state.session, state.generation, state.route.clone())
            };
            let left = until.saturating_duration_since(Instant::now());
            let limit = if route.is_untried() { self.timing.try_data_port } else { left };
            let address = route.target(&session);
            let connected = connect_unless(address, limit.min(left), self.bell.as_fd());
            let mut state = lock(&self.state);
            let current = state.generation == generation;
            match connected {
                Ok(stream) => {
                    if current {
                        state.route.connected();
                    }
                    return Ok(stream.into());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                // Try the other port: this failure, or another stream's, has changed the route.
                Err(error)
                    if current
                        && (state.route.failed(&session, &error) || state.route != route) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn renew(&self, session: &Session) {
        let mut state = lock(&self.state);
        state.session = *session;
        state.generation += 1;
        state.route.renewed();
    }

    fn is_good(&self) {
        lock(&self.state).route.is_good();
    }

    fn failed(&self, error: &io::Error) -> bool {
        let mut state = lock(&self.state);
        let session = state.session;
        state.route.failed(&session, error)
    }

    fn is_trusted(&self) -> bool {
        lock(&self.state).route.is_trusted()
    }

    fn is_proven(&self) -> bool {
        lock(&self.state).route == Route::Data
    }

    fn shares_port(&self) -> bool {
        matches!(lock(&self.state).route, Route::Control(_))
    }

    fn explain(&self, error: &io::Error) -> String {
        let state = lock(&self.state);
        state.route.explain(&state.session, error)
    }

    fn take_leave(&self, hello: &Hello) {
        let (session, route) = {
            let state = lock(&self.state);
            (state.session, state.route.clone())
        };
        let _ = [route.target(&session), session.control].into_iter().any(|address| {
            let stream = connect_unless(address, self.timing.leave, self.bell.as_fd());
            let told = stream.and_then(|stream| {
                let stream = Stream::from(stream);
                stream.set_write_timeout(Some(self.timing.leave))?;
                say_finished(&stream, hello)
            });
            told.is_ok()
        });
    }

    fn end(&self) {
        let _ = self.ringer.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener};
    use std::time::Duration;

    /// A session with these ports at the address 127.63.0.2.
    fn dial_to(data: u16, control: u16) -> TcpDial {
        let [address, control] =
            [data, control].map(|port| SocketAddr::from(([127, 63, 0, 2], port)));
        let session = Session { address, control, token: [0; 16], streams: 4 };
        TcpDial::new(session, false, Timing::default()).unwrap()
    }

    fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.63.0.2:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_stream_goes_to_the_control_port_at_once_when_the_data_port_refuses() {
        let (control, port) = listen();
        let dial = dial_to(1, port);
        dial.dial(soon()).unwrap();
        control.accept().unwrap();
        assert!(dial.shares_port());
    }

    #[test]
    fn no_stream_is_opened_after_the_end() {
        let (_listener, port) = listen();
        let dial = dial_to(port, port);
        dial.end();
        assert!(dial.dial(soon()).is_err());
    }
}
