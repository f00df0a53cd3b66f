//! The port that the streams go to: the session's data port, or the server's control port where the
//! data port cannot be reached. All streams go to the same port.
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

/// The port that the streams go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The data port, of which nothing is known yet.
    Untried,
    /// The data port. Something accepts connections there, perhaps not the peer.
    Reached,
    /// The data port, which has brought good blocks.
    Data,
    /// The control port, with the reason why the data port failed, if it was tried.
    Control(Option<String>),
}

impl Route {
    /// The route before the first stream; with `single_port`, the control port.
    pub fn new(single_port: bool) -> Route {
        if single_port { Route::Control(None) } else { Route::Untried }
    }

    /// The address to connect to.
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

    /// Whether the other end has shown that it is the peer, or there is no other port to try.
    pub fn is_trusted(&self) -> bool {
        match self {
            Route::Untried | Route::Reached => false,
            Route::Data | Route::Control(_) => true,
        }
    }

    /// The port has brought a good block.
    pub fn is_good(&mut self) {
        if !self.is_trusted() {
            *self = Route::Data;
        }
    }

    /// A stream could not connect, or broke. Returns `true` if all streams now go to another port.
    pub fn failed(&mut self, session: &Session, error: &io::Error) -> bool {
        let tried = !self.is_trusted();
        if tried {
            *self = Route::Control(Some(format!("{}: {}", session.address, system_words(error))));
        }
        tried
    }

    /// A new session has begun, with another data port.
    pub fn renewed(&mut self) {
        match self {
            Route::Untried | Route::Reached | Route::Data => *self = Route::Untried,
            // A firewall that blocks one data port blocks the next one too.
            Route::Control(_) => {}
        }
    }

    /// The words for the user about a stream that failed. They name both ports if both were tried.
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
    fn streams_leave_a_data_port_that_refuses_and_the_error_names_it() {
        let mut route = Route::new(false);
        assert_eq!(route.target(&session()), session().address);
        assert!(route.failed(&session(), &refused()));
        assert_eq!(route.target(&session()), session().control);
        let reset = io::Error::from_raw_os_error(libc::ECONNRESET);
        assert_eq!(
            route.explain(&session(), &reset),
            "192.0.2.1:8080: Connection reset by peer; 192.0.2.1:45187: Connection refused"
        );
        // The route changes once. A later failure is one of the control port.
        assert!(!route.failed(&session(), &reset));
    }

    #[test]
    fn streams_leave_a_data_port_that_brings_nothing_good() {
        let mut route = Route::new(false);
        route.connected();
        assert_eq!(route.target(&session()), session().address);
        assert!(!route.is_trusted());
        assert!(route.failed(&session(), &io::ErrorKind::UnexpectedEof.into()));
        assert!(route.is_trusted(), "there is no third port");
    }

    #[test]
    fn streams_stay_with_a_data_port_that_has_brought_a_good_block() {
        let mut route = Route::new(false);
        route.connected();
        route.is_good();
        assert!(route.is_trusted());
        assert!(!route.failed(&session(), &refused()));
        assert_eq!(route.target(&session()), session().address);
        assert_eq!(route.explain(&session(), &refused()), "Connection refused");
    }

    #[test]
    fn a_new_session_tries_its_data_port_unless_the_control_port_is_in_use() {
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
