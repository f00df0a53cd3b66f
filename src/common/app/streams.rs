//! The streams of a worker: how it gets them by its job, and what it hears of them over its
//! lifeline.

#![forbid(unsafe_code)]

use super::job::Job;
use super::report::Report;
use crate::codec::message::handed::HandedStream;
use crate::codec::message::new_stream::NewStream;
use crate::codec::message::rate::NewRate;
use crate::codec::message::session::Session;
use crate::codec::message::streams::Streams;
use crate::error::{Error, Result};
use crate::sys::listener::Listener;
use crate::sys::stream::Stream;
use crate::transfer::link::acceptor::{Acceptor, Entrance};
use crate::transfer::link::dial::{Dial, TcpDial};
use crate::transfer::link::dialler::Dialler;
use crate::transfer::link::handed::HandedDial;
use crate::transfer::link::token::Token;
use crate::transfer::queue::rate::Rate;
use crate::transfer::timing::Timing;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The streams of one transfer.
pub enum Link {
    /// The worker opens them.
    Dialled {
        /// What opens them.
        dialler: Arc<Dialler>,
        /// Where the parent opens the streams: what takes them.
        handed: Option<HandedDial>,
    },
    /// They come to the worker.
    Accepted {
        /// What takes them.
        acceptor: Box<Acceptor>,
        /// What each of them shows.
        token: Token,
    },
}

impl Link {
    /// The streams of this job; where they are accepted, its next descriptor is the listener. With
    /// the waits of the transfer.
    ///
    /// # Errors
    /// A descriptor is missing, or none is left.
    pub fn from_job(streams: Streams, job: &mut Job) -> Result<(Link, Timing)> {
        let failed = |error: io::Error| Error::system("start", &error);
        match streams {
            Streams::Accepted { token, peer, idle, stall, .. } => {
                let timing = Timing { idle, source_stall: stall, ..Timing::default() };
                let listener = Listener::from(job.descriptor()?);
                let acceptor = Acceptor::new(Some(listener), peer, timing).map_err(failed)?;
                let (acceptor, token) = (Box::new(acceptor), Token::from_bytes(token));
                Ok((Link::Accepted { acceptor, token }, timing))
            }
            Streams::Dialled { session, single_port, handed } => {
                let timing = Timing::default();
                let handed = handed.then(|| HandedDial::new(|| Report::Stream.send()));
                let dial: Box<dyn Dial> = match &handed {
                    Some(handed) => Box::new(handed.clone()),
                    None => Box::new(TcpDial::new(session, single_port, timing).map_err(failed)?),
                };
                let dialler = Dialler::new(dial, session.token, session.streams, timing);
                Ok((Link::Dialled { dialler: Arc::new(dialler), handed }, timing))
            }
        }
    }

    /// Hears of sessions and streams, and of the limit on the rate, from the parent.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn watch_lifeline(&self, job: &Job, rate: Option<Arc<Rate>>) -> Result<()> {
        let ear = match self {
            Link::Dialled { dialler, handed } => Ear::Dialler(dialler.clone(), handed.clone()),
            Link::Accepted { acceptor, .. } => Ear::Acceptor(acceptor.entrance()),
        };
        job.watch_lifeline(move |word, descriptor| {
            if let (Some(rate), Ok(new)) = (&rate, NewRate::from_json(&word)) {
                rate.change(new.rate);
            }
            match &ear {
                Ear::Dialler(dialler, handed) => {
                    if let Ok(session) = Session::from_json(&word) {
                        dialler.renew(&session);
                    }
                    if let (Some(handed), Ok(answer)) = (handed, NewStream::from_json(&word)) {
                        handed.answer(opened(answer, descriptor));
                    }
                }
                Ear::Acceptor(entrance) => {
                    if let (Some(stream), Ok(handed)) = (descriptor, HandedStream::from_json(&word))
                    {
                        entrance.hand(Stream::from(stream), handed.hello.to_vec());
                    }
                }
            }
        })
    }
}

/// What hears of streams.
enum Ear {
    Dialler(Arc<Dialler>, Option<HandedDial>),
    Acceptor(Entrance),
}

/// What the parent says of a stream that it was asked for.
fn opened(answer: NewStream, descriptor: Option<OwnedFd>) -> io::Result<Stream> {
    match (answer, descriptor) {
        (NewStream::Open, Some(descriptor)) => Ok(Stream::from(descriptor)),
        (NewStream::Open, None) => Err(io::Error::other("the stream was lost on its way")),
        // As a refused connection: two of them without a stream end the session.
        (NewStream::Failed { text }, _) => {
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, text))
        }
    }
}
