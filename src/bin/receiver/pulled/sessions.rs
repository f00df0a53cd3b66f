//! The session that streams belong to, and how it is found to be lost: then the parent
//! asks the server for another one, and the streams go on with that.

#![forbid(unsafe_code)]

use super::route::Route;
use ropewalk::codec::json::Value;
use ropewalk::codec::wire::Request;
use ropewalk::sys::sync::{lock, wait_for};
use ropewalk::sys::{random, socket};
use ropewalk::transfer::session::Token;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Refusals in a row, with no stream open, after which a session is lost: nobody
/// listens there any more.
const MAX_REFUSALS: u32 = 2;

/// Time without an open stream that brings anything, after which a session is lost.
const LOSS_TIME: Duration = Duration::from_secs(5);

/// And after this long even if streams are open: their kernel may accept them while
/// nobody answers.
const DEAF_TIME: Duration = Duration::from_secs(30);

/// How long a stream without a session waits before it looks whether all is over.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// A session.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    /// Where its sender listens.
    pub(crate) address: SocketAddr,
    /// Where its server does, which hands streams on to the sender.
    pub(crate) control: SocketAddr,
    /// What it wants to be shown.
    pub(crate) token: Token,
    /// How many streams it has a place for.
    pub(crate) threads: u8,
}

impl Session {
    /// The session that a job, or what the parent says later, describes.
    pub(crate) fn from_object(object: &Value) -> Option<Session> {
        let text = |key| object.get(key).and_then(Value::as_str);
        Some(Session {
            address: text("address")?.parse().ok()?,
            control: text("control")?.parse().ok()?,
            token: Token::from_hex(text("session")?)?,
            threads: u8::try_from(object.get("threads")?.as_u64()?).ok()?,
        })
    }
}

/// The session of all streams.
pub(crate) struct Sessions {
    state: Mutex<State>,
    changed: Condvar,
    /// Comes to its end when all is over, for those who are connecting.
    bell: UnixStream,
    ringer: UnixStream,
}

struct State {
    session: Session,
    route: Route,
    /// Counts sessions, so that the failures of an old one are not held against a new.
    generation: u64,
    /// Streams that are connected.
    open: HashMap<usize, TcpStream>,
    refusals: u32,
    quiet_since: Instant,
    /// The session is of no use, and the parent was or will be told.
    lost: Option<String>,
    told: bool,
    over: bool,
}

impl Sessions {
    /// Begins with this session; with `single_port` without trying its data port.
    pub(crate) fn new(session: Session, single_port: bool) -> io::Result<Sessions> {
        let state = State {
            session,
            route: Route::new(single_port),
            generation: 0,
            open: HashMap::new(),
            refusals: 0,
            quiet_since: Instant::now(),
            lost: None,
            told: false,
            over: false,
        };
        let (bell, ringer) = UnixStream::pair()?;
        Ok(Sessions { state: Mutex::new(state), changed: Condvar::new(), bell, ringer })
    }

    /// Connects a stream of this session, to the control port where the data port cannot be
    /// reached, and not when all is over.
    pub(crate) fn connect(&self, generation: u64, session: &Session) -> io::Result<TcpStream> {
        loop {
            let route = lock(&self.state).route.clone();
            let (address, limit) = route.target(session);
            let connected = socket::connect(address, limit, self.bell.as_fd());
            let mut state = lock(&self.state);
            let current = state.generation == generation && !state.over;
            match connected {
                Ok(stream) => {
                    if current {
                        state.route.connected();
                    }
                    return Ok(stream);
                }
                // Another port, now or because another stream has found out.
                Err(error)
                    if current && (state.route.failed(session, &error) || state.route != route) => {
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on with another session.
    pub(crate) fn renew(&self, session: Session) {
        let mut state = lock(&self.state);
        state.session = session;
        state.route.renewed();
        state.generation += 1;
        state.refusals = 0;
        state.quiet_since = Instant::now();
        state.lost = None;
        state.told = false;
        self.changed.notify_all();
    }

    /// The session to use, with its generation; waits for one that is not lost. `None`
    /// when all is over.
    pub(crate) fn current(&self) -> Option<(u64, Session)> {
        let mut state = lock(&self.state);
        loop {
            match (state.over, &state.lost) {
                (true, _) => return None,
                (false, None) => return Some((state.generation, state.session)),
                (false, Some(_)) => state = wait_for(&self.changed, state, LOOK_TIME),
            }
        }
    }

    /// Waits for half of `delay` to all of it, or until there is another session or all
    /// is over. `false` when all is over.
    pub(crate) fn pause(&self, delay: Duration) -> bool {
        let deadline = Instant::now() + jitter(delay);
        let mut state = lock(&self.state);
        let generation = state.generation;
        while !state.over && state.generation == generation {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait_for(&self.changed, state, left);
        }
        !state.over
    }

    /// Stream `number` is connected. `false` when all is over meanwhile.
    pub(crate) fn opened(&self, number: usize, stream: &TcpStream) -> io::Result<bool> {
        let clone = stream.try_clone()?;
        let mut state = lock(&self.state);
        if !state.over {
            state.open.insert(number, clone);
        }
        Ok(!state.over)
    }

    /// Whether the port that streams go to is known to be the session's, or is the last one.
    pub(crate) fn port_is_trusted(&self) -> bool {
        lock(&self.state).route.is_trusted()
    }

    /// A stream has brought something good.
    pub(crate) fn is_good(&self, generation: u64) {
        let mut state = lock(&self.state);
        if state.generation == generation {
            state.route.is_good();
            state.refusals = 0;
            state.quiet_since = Instant::now();
        }
    }

    /// Stream `number` is not needed any more: it is closed.
    pub(crate) fn closed(&self, number: usize) {
        lock(&self.state).open.remove(&number);
    }

    /// The shortest round trip of the streams that are open.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let state = lock(&self.state);
        state.open.values().filter_map(|stream| socket::round_trip(stream.as_fd())).min()
    }

    /// How many streams there may be now.
    pub(crate) fn threads(&self) -> u8 {
        lock(&self.state).session.threads
    }

    /// Whether streams went to the control port.
    pub(crate) fn single_port(&self) -> bool {
        matches!(lock(&self.state).route, Route::Control(_))
    }

    /// Until now there was no room for anything that a stream could have brought: that
    /// nothing came is not held against the session.
    pub(crate) fn excuse(&self) {
        lock(&self.state).quiet_since = Instant::now();
    }

    /// Stream `number` is not connected any more, or could not be. `NotFound` is the
    /// server's word that the session is over.
    pub(crate) fn failed(&self, number: usize, generation: u64, error: &io::Error) {
        let mut state = lock(&self.state);
        state.open.remove(&number);
        if state.generation != generation || state.lost.is_some() {
            return;
        }
        let session = state.session;
        if state.route.failed(&session, error) {
            state.quiet_since = Instant::now();
            return;
        }
        let over = error.kind() == io::ErrorKind::NotFound;
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        state.refusals += u32::from(refused);
        let quiet = state.quiet_since.elapsed();
        let gone = state.open.is_empty() && (state.refusals >= MAX_REFUSALS || quiet > LOSS_TIME);
        if over || gone || quiet > DEAF_TIME {
            state.lost = Some(state.route.explain(&session, error));
        }
    }

    /// Why the session was lost, once for each that was.
    pub(crate) fn take_loss(&self) -> Option<String> {
        let mut state = lock(&self.state);
        match &state.lost {
            Some(text) if !state.told => {
                let text = text.clone();
                state.told = true;
                Some(text)
            }
            _ => None,
        }
    }

    /// Ends every stream. When the file is complete, the sender is told on each that is
    /// open, so that it ends too.
    pub(crate) fn end(&self, complete: bool) {
        let mut state = lock(&self.state);
        state.over = true;
        let _ = self.ringer.shutdown(Shutdown::Both);
        for mut stream in state.open.values() {
            if complete {
                // It is smaller than any socket's buffer; what does not go is not needed.
                let _ = stream.set_write_timeout(Some(Duration::from_millis(1)));
                let _ = stream.write_all(&Request::Finished.encode());
            }
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }
}

/// Between half of `delay` and all of it, so that streams do not come back at once.
fn jitter(delay: Duration) -> Duration {
    let mut byte = [255];
    let _ = random::fill(&mut byte);
    delay.mul_f64(0.5 + f64::from(byte[0]) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    /// A session with these ports at the address 127.63.0.2, of which blocks have come.
    fn sessions_at(data: u16, control: u16) -> Sessions {
        let token = Token::from_hex(&"0".repeat(32)).unwrap();
        let [address, control] =
            [data, control].map(|port| SocketAddr::from(([127, 63, 0, 2], port)));
        Sessions::new(Session { address, control, token, threads: 4 }, false).unwrap()
    }

    fn sessions() -> Sessions {
        let sessions = sessions_at(1, 2);
        sessions.is_good(0);
        sessions
    }

    #[test]
    fn refusals_lose_a_session_once() {
        let sessions = sessions();
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        sessions.failed(0, 0, &refused);
        assert_eq!(sessions.take_loss(), None);
        sessions.failed(1, 0, &refused);
        assert!(sessions.take_loss().is_some());
        assert_eq!(sessions.take_loss(), None);
    }

    #[test]
    fn failures_of_an_old_session_do_not_lose_the_new_one() {
        let sessions = sessions();
        let (_, session) = sessions.current().unwrap();
        sessions.renew(session);
        sessions.is_good(1);
        for _ in 0..10 {
            sessions.failed(0, 0, &ErrorKind::ConnectionRefused.into());
        }
        assert_eq!(sessions.take_loss(), None);
        assert_eq!(sessions.current().map(|(generation, _)| generation), Some(1));
    }

    #[test]
    fn a_break_alone_does_not_lose_a_session() {
        let sessions = sessions();
        for _ in 0..10 {
            sessions.failed(0, 0, &ErrorKind::ConnectionReset.into());
        }
        assert_eq!(sessions.take_loss(), None);
    }

    #[test]
    fn time_in_which_nothing_could_come_does_not_lose_a_session() {
        let sessions = sessions();
        let long_ago = Instant::now().checked_sub(2 * DEAF_TIME);
        let Some(long_ago) = long_ago else { return }; // this machine has only just begun
        let reset = io::Error::from(ErrorKind::ConnectionReset);
        lock(&sessions.state).quiet_since = long_ago;
        sessions.excuse();
        sessions.failed(0, 0, &reset);
        assert_eq!(sessions.take_loss(), None);
        lock(&sessions.state).quiet_since = long_ago;
        sessions.failed(0, 0, &reset);
        assert!(sessions.take_loss().is_some());
    }

    #[test]
    fn a_session_that_is_over_is_lost_at_once() {
        let sessions = sessions();
        sessions.failed(0, 0, &ErrorKind::NotFound.into());
        assert!(sessions.take_loss().is_some());
    }

    #[test]
    fn both_ports_that_fail_are_named_when_the_session_is_lost() {
        let sessions = sessions_at(1, 2);
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        (0..3).for_each(|number| sessions.failed(number, 0, &refused));
        let text = sessions.take_loss().unwrap();
        assert!(text.contains("127.63.0.2:2: ") && text.contains("127.63.0.2:1: "), "{text}");
    }

    fn listen() -> (std::net::TcpListener, u16) {
        let listener = std::net::TcpListener::bind("127.63.0.2:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_stream_goes_to_the_control_port_at_once_when_the_data_port_refuses() {
        let (control, port) = listen();
        let sessions = sessions_at(1, port);
        let (generation, session) = sessions.current().unwrap();
        sessions.connect(generation, &session).unwrap();
        control.accept().unwrap();
        assert!(sessions.single_port());
    }

    #[test]
    fn nobody_connects_when_all_is_over() {
        let (_listener, port) = listen();
        let sessions = sessions_at(port, port);
        let (generation, session) = sessions.current().unwrap();
        sessions.end(false);
        assert!(sessions.connect(generation, &session).is_err());
    }

    #[test]
    fn the_end_reaches_those_who_wait() {
        let sessions = sessions();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| sessions.pause(Duration::from_secs(1000)));
            sessions.end(true);
            assert!(!waiter.join().unwrap());
        });
        assert!(sessions.current().is_none());
    }
}
