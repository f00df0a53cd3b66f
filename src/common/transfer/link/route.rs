//! Which port of a server the streams go to: the session's own, or where that cannot be
//! reached the port of the control connection. Decided once for all streams.
//!
//! ```text
//!   untried ── connected ──► reached ── a good block ──► data
//!      │                        │
//!      └── not within 1 s ──────┴── anything else, or 5 s of nothing ──► control, for good
//! ```

#![forbid(unsafe_code)]

use crate::codec::message::session::Session;
use crate::error::system_words;
use std::io;
use std::net::SocketAddr;

/// Where streams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
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
    pub fn new(single_port: bool) -> Route {
        if single_port { Route::Control(None) } else { Route::Untried }
    }

    /// What to connect to.
    pub fn target(&self, session: &Session) -> SocketAddr {
        match self {
            Route::Untried | Route::Reached | Route::Data => session.address,
            Route::Control(_) => session.control,
        }
    }

    /// Whether nothing is known of the data port yet.
    pub fn is_untried(&self) -> bool {
        *self == Route::Untried
    }

    /// A stream has connected.
    pub fn connected(&mut self) {
        if *self == Route::Untried {
            *self = Route::Reached;
        }
    }

    /// Whether what is at the other end has shown that it is no stranger; if there are
    /// doubts, there is another port to try.
    pub fn is_trusted(&self) -> bool {
        match self {
            Route::Untried | Route::Reached => false,
            Route::Data | Route::Control(_) => true,
        }
    }

    /// A good block has come.
    pub fn is_good(&mut self) {
        if !self.is_trusted() {
            *self = Route::Data;
        }
    }

    /// A stream could not connect, or was lost. `true` when all are to try another port
    /// for that.
    pub fn failed(&mut self, session: &Session, error: &io::Error) -> bool {
        let tried = !self.is_trusted();
        if tried {
            *self = Route::Control(Some(format!("{}: {}", session.address, system_words(error))));
        }
        tried
    }

    /// There is another session, with another data port.
    pub fn renewed(&mut self) {
        match self {
            Route::Untried | Route::Reached | Route::Data => *self = Route::Untried,
            // What keeps streams from one data port keeps them from the next one.
            Route::Control(_) => {}
        }
    }

    /// What a stream that failed says of it: where both ports were tried, of both.
    pub fn explain(&self, session: &Session, error: &io::Error) -> String {
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

    fn session() -> Session {
        Session {
            address: "192.0.2.1:45187".parse().unwrap(),
            control: "192.0.2.1:8080".parse().unwrap(),
            token: [0; 16],
            streams: 4,
        }
    }

    fn refused() -> io::Error {
        io::Error::from_raw_os_error(libc::ECONNREFUSED)
    }

    #[test]
    fn a_data_port_that_refuses_is_given_up_and_named() {
        let mut route = Route::new(false);
        assert_eq!(route.target(&session()), session().address);
        assert!(route.failed(&session(), &refused()));
        assert_eq!(route.target(&session()), session().control);
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
        assert_eq!(route.target(&session()), session().address);
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
        assert_eq!(route.target(&session()), session().address);
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
