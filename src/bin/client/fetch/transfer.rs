//! A transfer over the ropewalk protocol, and the session that its worker gets.

#![forbid(unsafe_code)]

use super::Fetch;
use super::offered::Offered;
use crate::config::StreamCount;
use crate::control::{Answer, Offer, Server};
use crate::session_guard::SessionGuard;
use crate::session_request::Renewal;
use ropewalk::app::job;
use ropewalk::codec::message::session::Session;
use ropewalk::codec::message::streams::Streams;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::transfer::queue::growth::FIRST_STREAMS;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A transfer with one server. It says nothing of the sink: its worker gets that.
pub(super) struct Transfer<'a> {
    pub(super) fetch: &'a Fetch<'a>,
    pub(super) server: &'a Server,
    /// The first offer. Those of later sessions must be of the same file or folder.
    pub(super) offer: Offered<'a>,
    pub(super) guard: &'a SessionGuard,
}

impl Transfer<'_> {
    /// The streams of the first session, as a worker gets them.
    pub(super) fn streams(&self) -> Streams {
        Streams::Dialled {
            session: self.session(self.offer),
            single_port: self.fetch.config.single_port,
            handed: self.server.children().is_some(),
        }
    }

    /// The session of `offer`, as a worker gets it.
    pub(super) fn session(&self, offer: Offered<'_>) -> Session {
        let streams = match self.fetch.config.streams {
            StreamCount::Fixed(streams) => streams,
            // Without a number the server grants what the client asked for at first.
            StreamCount::Auto => offer.granted().unwrap_or(FIRST_STREAMS).max(1),
        };
        Session {
            address: self.server.data_address(offer.port()),
            control: self.server.address(),
            token: offer.token(),
            streams,
        }
    }
}

impl Renewal for Transfer<'_> {
    type Offer = Offer;

    fn retry_for(&self) -> Duration {
        self.fetch.config.retry_for
    }

    fn ask(&self) -> Result<Answer<Offer>> {
        let (server, config) = (self.server, self.fetch.config);
        let stream = server.connect_anew()?;
        let request = self.fetch.request(None, matches!(self.offer, Offered::Tree(_)));
        server.request_session(stream, &config.file, request, self.fetch.interrupt)
    }

    fn hand_over(&self, offer: Offer, lifeline: &UnixStream) -> Result<()> {
        let offer = match &offer {
            Offer::Ropewalk(offer) => Offered::File(offer),
            Offer::Tree(offer) => Offered::Tree(offer),
            Offer::Classic(_) => {
                let text = "the server now speaks only the classic protocol, which cannot resume";
                return Err(Error::protocol(text));
            }
            Offer::UpToDate(_) => {
                return Err(Error::protocol("the server offers no other session"));
            }
        };
        let guard = offer.guard(self.server, self.fetch.config.single_port);
        if !offer.is_of_same(self.offer) {
            let what = match self.offer {
                Offered::File(_) => "the file on the server has changed",
                Offered::Tree(_) => "the server has another folder of this name now",
            };
            return Err(Error::new(ExitCode::Changed, what));
        }
        let session = self.session(offer).to_json();
        let announce =
            || job::say(lifeline, &session).map_err(|error| Error::system("receiver", &error));
        self.server.begin_session(offer.token(), announce)?;
        self.guard.replace(guard);
        Ok(())
    }

    fn is_locked_out(&self) -> bool {
        self.server.children().is_some_and(|all| all.is_locked_out())
    }
}
