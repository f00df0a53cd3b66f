//! Which port of a server the streams go to: the session's own, or where that cannot be
//! reached the one that the control connection reached. Decided once for all streams.
//!
//! ```text
//!   untried ── connected ──► reached ── a good block ──► data
//!      │                        │
//!      └── not within 1 s ──────┴── anything else, or 5 s of nothing ──► control, for good
//! ```

#![forbid(unsafe_code)]

use super::session::Session;
use ropewalk::error::system_words;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long the data port is tried before it counts as one that cannot be reached.
const TRY_TIME: Duration = Duration::from_secs(1);

/// How long a data port that takes connections may say nothing before it is taken for
/// somebody else's: some firewalls and tunnels take them for a peer that they do not reach.
pub(super) const TRUST_TIME: Duration = Duration::from_secs(5);

/// How long every other attempt to connect may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Where streams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To the data port, of which nothing is known yet.
    Untried,
    /// To the data port. Somebody takes connections there, perhaps not the sender.
    Reached,
    /// To the data port, from which good blocks have come.
    Data,
    /// To the control port, since this became of the data port, if it was tried.
    Control(Option<String>),
}

impl Route {
    /// Before the first stream.
    pub(super) fn new(single_port: bool) -> Route {
        if single_port { Route::Control(None) } else { Route::Untried }
    }

    /// What to connect to, and for how long at most.
    pub(super) fn target(&self, session: &Session) -> (SocketAddr, Duration) {
        match self {
            Route::Untried => (session.address, TRY_TIME),
            Route::Reached | Route::Data => (session.address, CONNECT_TIME),
            Route::Control(_) => (session.control, CONNECT_TIME),
        }
    }

    /// A stream has connected.
    pub(super) fn connected(&mut self) {
        if *self == Route::Untried {
            *self = Route::Reached;
        }
    }

    /// Whether what is at the other end has shown that it is no stranger; if there are
    /// doubts, there is another port to try.
    pub(super) fn is_trusted(&self) -> bool {
        match self {
            Route::Untried | Route::Reached => false,
            Route::Data | Route::Control(_) => true,
        }
    }

    /// A good block has come.
    pub(super) fn is_good(&mut self) {
        if !self.is_trusted() {
            *self = Route::Data;
        }
    }

    /// A stream could not connect, or was lost. `true` when all are to try another port
    /// for that.
    pub(super) fn failed(&mut self, session: &Session, error: &io::Error) -> bool {
        let tried = !self.is_trusted();
        if tried {
            *self = Route::Control(Some(format!("{}: {}", session.address, system_words(error))));
        }
        tried
    }

    /// There is another session, with another data port.
    pub(super) fn renewed(&mut self) {
        match self {
            Route::Untried | Route::Reached | Route::Data => *self = Route::Untried,
            // What keeps streams from one data port keeps them from the next one.
            Route::Control(_) => {}
        }
    }

    /// What a stream that failed says of it: where both ports were tried, of both.
    pub(super) fn explain(&self, session: &Session, error: &io::Error) -> String {
        let words = system_words(error);
        match self {
            Route::Untried | Route::Reached | Route::Data => words,
            Route::Control(None) => format!("{}: {words}", session.control),
            Route::Control(Some(data)) => format!("{}: {words}; {data}", session.control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::transfer::session::Token;

    fn session() -> Session {
        Session {
            address: "192.0.2.1:45187".parse().unwrap(),
            control: "192.0.2.1:8080".parse().unwrap(),
            token: Token::from_hex(&"0".repeat(32)).unwrap(),
            threads: 4,
        }
    }

    fn refused() -> io::Error {
        io::Error::from_raw_os_error(libc::ECONNREFUSED)
    }

    #[test]
    fn a_data_port_that_refuses_is_given_up_and_named() {
        let mut route = Route::new(false);
        assert_eq!(route.target(&session()), (session().address, Duration::from_secs(1)));
        assert!(route.failed(&session(), &refused()));
        assert_eq!(route.target(&session()).0, session().control);
        let reset = io::Error::from_raw_os_error(libc::ECONNRESET);
        assert_eq!(
            route.explain(&session(), &reset),
            "192.0.2.1:8080: Connection reset by peer; 192.0.2.1:45187: Connection refused"
        );
        // Once is enough: what fails now fails at the control port.
        assert!(!route.failed(&session(), &reset));
    }

    #[test]
    fn a_data_port_that_brings_nothing_good_is_given_up() {
        let mut route = Route::new(false);
        route.connected();
        assert_eq!(route.target(&session()), (session().address, CONNECT_TIME));
        assert!(!route.is_trusted());
        assert!(route.failed(&session(), &io::ErrorKind::UnexpectedEof.into()));
        assert!(route.is_trusted(), "there is no third port");
    }

    #[test]
    fn one_that_has_brought_something_is_stayed_with() {
        let mut route = Route::new(false);
        route.connected();
        route.is_good();
        assert!(route.is_trusted());
        assert!(!route.failed(&session(), &refused()));
        assert_eq!(route.target(&session()).0, session().address);
        assert_eq!(route.explain(&session(), &refused()), "Connection refused");
    }

    #[test]
    fn another_session_is_tried_anew_but_the_control_port_stayed_with() {
        let mut route = Route::Data;
        route.renewed();
        assert_eq!(route, Route::Untried);
        let mut route = Route::new(true);
        route.connected();
        route.is_good();
        route.renewed();
        assert_eq!(route, Route::Control(None));
    }
}
