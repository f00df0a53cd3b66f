//! The sender of a push and its sessions: how the client starts it, follows its reports, and gets it
//! another session when one is lost.

#![forbid(unsafe_code)]

use super::hash::Hash;
use super::{Ended, Push, Source};
use crate::config::StreamCount;
use crate::control::{Answer, Server};
use crate::session_guard::SessionGuard;
use crate::session_request::{Loss, Renewal, SessionRequest};
use ropewalk::app::job;
use ropewalk::app::report::{Report, Tally, TreeTally};
use ropewalk::app::supervise::Worker;
use ropewalk::codec::message::outcome::{Outcome, OutcomeRequest, PushState};
use ropewalk::codec::message::push::{PushOffer, PushSession};
use ropewalk::codec::message::sender_job::{SenderJob, SenderProtocol};
use ropewalk::codec::message::session;
use ropewalk::codec::message::streams::Streams;
use ropewalk::codec::message::verify::Verify;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::from_hex;
use ropewalk::sys::process::Ended as Exit;
use ropewalk::sys::sync::lock;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A sender, from its first session to its end.
pub(super) struct Session<'a> {
    push: &'a Push<'a>,
    server: &'a Server,
    first: PushSession,
    guard: SessionGuard,
    state: Mutex<State>,
}

struct State {
    /// The token of the current session.
    token: [u8; 16],
    /// Files that the sender has sent.
    sent: u64,
    /// How many of them it had sent when the session began, and how many were in place then.
    sent_before: u64,
    in_place: u64,
    /// What a lost session turned out to be: the push had ended. `Some(None)` if the server is
    /// still putting the file in place.
    ended: Option<Option<Ended>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(push: &'a Push<'a>, server: &'a Server, first: PushSession) -> Session<'a> {
        let in_place = first.files.unwrap_or(lock(&push.moved).files);
        let (token, sent, sent_before) = (first.token, 0, 0);
        let state = Mutex::new(State { token, sent, sent_before, in_place, ended: None });
        let guard = guard(push, server, &first);
        Session { push, server, first, guard, state }
    }

    /// The token of the last session.
    pub(super) fn token(&self) -> [u8; 16] {
        lock(&self.state).token
    }

    /// What the server has said already.
    pub(super) fn take_ended(&self) -> Option<Ended> {
        lock(&self.state).ended.take().flatten()
    }

    /// Runs a sender to its end. Whether it has moved anything.
    pub(super) fn run(&self, hash: Option<&Hash>) -> Result<bool> {
        if self.push.source.size() == Some(0) {
            // The server asks for nothing, and takes no stream.
            self.guard.release();
            hash.iter().for_each(|hash| hash.reached(u64::MAX));
            return Ok(false);
        }
        let failed = |error: io::Error| Error::system("sender", &error);
        let (job, content) = self.job();
        let mut worker = self
            .push
            .supervisor
            .start_worker(&self.push.sender, job.to_json(), &[content])
            .map_err(failed)?;
        let lifeline = worker.lifeline().try_clone().map_err(failed)?;
        let children = self.server.children();
        if let Some(children) = children {
            children.serve(worker.lifeline().try_clone().map_err(failed)?);
        }
        let (mut moved, before) = (false, lock(&self.push.moved).bytes);
        let last = std::thread::scope(|scope| {
            let mut request = None;
            let lost = |loss| {
                // The request before has ended: the sender got its session and lost that too.
                request.take().map_or(Ok(()), SessionRequest::end)?;
                request = Some(SessionRequest::start(scope, self, &lifeline, loss)?);
                Ok(())
            };
            let last = self.follow(&mut worker, hash, &mut moved, before, lost);
            // A request without success has ended the sender: its error comes first.
            request.map_or(Ok(()), SessionRequest::end)?;
            last
        });
        if let Some(children) = children {
            children.sender_ended(matches!(last, Ok(Some(Report::Done { .. }))));
        }
        if lock(&self.state).ended.is_some() {
            self.guard.release();
            worker.wait();
            hash.iter().for_each(|hash| hash.reached(u64::MAX));
            return Ok(true);
        }
        self.judge(&worker, last?)?;
        self.guard.release();
        hash.iter().for_each(|hash| hash.reached(u64::MAX));
        Ok(moved)
    }

    fn job(&self) -> (SenderJob, BorrowedFd<'_>) {
        let config = self.push.config;
        let streams = Streams::Dialled {
            session: self.session(&self.first),
            single_port: config.single_port,
            handed: self.server.children().is_some(),
        };
        let grows = config.streams == StreamCount::Auto;
        let (protocol, content) = match self.push.source {
            Source::File { file, identity, .. } => {
                let (stored, version) = (identity.stored, identity.version);
                (SenderProtocol::Ropewalk { streams, stored, version, grows }, file.as_fd())
            }
            Source::Pipe { input, .. } => {
                let md5 = config.verify == Verify::Md5;
                (SenderProtocol::Piped { streams, md5, grows }, input.as_fd())
            }
            Source::Folder { folder, .. } => {
                let one_file_system = config.tree.one_file_system;
                (SenderProtocol::Tree { streams, one_file_system, grows }, folder.as_fd())
            }
        };
        (SenderJob { rate: config.rate, trace: config.trace.is_some(), protocol }, content)
    }

    /// A session as the sender gets it.
    fn session(&self, offer: &PushSession) -> session::Session {
        session::Session {
            address: self.server.data_address(offer.port),
            control: self.server.address(),
            token: offer.token,
            streams: offer.streams,
        }
    }

    /// Reads reports to the last one, which is the answer. Calls `lost` for each session that the
    /// sender lost.
    fn follow(
        &self,
        worker: &mut Worker,
        hash: Option<&Hash>,
        moved: &mut bool,
        before: u64,
        mut lost: impl FnMut(Loss) -> Result<()>,
    ) -> Result<Option<Report>> {
        let failed = |error: io::Error| Error::system("sender", &error);
        let (mut last, mut bytes, mut lost_since) = (None, 0, None);
        while let Some(report) = worker.reports.next_report().map_err(failed)? {
            match &report {
                Report::Progress(tally) => {
                    let answered = tally.bytes + tally.same + tally.covered;
                    if answered != bytes {
                        bytes = answered;
                        (lost_since, *moved) = (None, true);
                    }
                    hash.iter().for_each(|hash| hash.reached(tally.offset));
                    self.show(*tally, before);
                }
                Report::Stream => self.server.children().map_or(Ok(()), |all| all.want())?,
                Report::Trace(slice) => self.push.collector.add(slice),
                Report::Moving { path } => self.push.progress.moves(path),
                Report::Lost { text } => {
                    self.push.progress.server_lost();
                    let since = *lost_since.get_or_insert_with(Instant::now);
                    lost(Loss { text: text.clone(), since })?;
                }
                Report::Done { tally, mended, md5 } => {
                    let md5 = md5.as_deref().and_then(from_hex);
                    let md5 = md5.and_then(|md5| <[u8; 16]>::try_from(md5).ok());
                    hash.zip(md5).inspect(|(hash, md5)| hash.is(*md5));
                    *moved |= tally.bytes > 0;
                    *lock(&self.push.mended) = *mended;
                }
                _ => {}
            }
            last = Some(report);
        }
        Ok(last)
    }

    /// Shows how far the sender is, behind those that moved so many bytes before. It does not know
    /// what the server had at first, nor which of its answers have come.
    fn show(&self, tally: Tally, before: u64) {
        let progress = self.push.progress;
        match self.push.source {
            Source::File { identity, .. } => {
                let bytes = self.first.resumed.saturating_add(tally.covered);
                let bytes = bytes.min(identity.version.size);
                progress.update(Tally { bytes, offset: 0, ..tally });
            }
            Source::Pipe { .. } => progress.update(Tally { offset: 0, ..tally }),
            Source::Folder { .. } => {
                let mut state = lock(&self.state);
                state.sent = tally.files;
                let files =
                    state.in_place.saturating_add(tally.files.saturating_sub(state.sent_before));
                drop(state);
                let all = Tally { bytes: before + tally.bytes, files, ..tally };
                progress.update(all);
                let files_known = files;
                progress.update_tree(TreeTally { files, files_known, ..TreeTally::default() });
                *lock(&self.push.moved) = all;
            }
        }
    }

    /// Turns the end of a sender into a result.
    fn judge(&self, worker: &Worker, last: Option<Report>) -> Result<()> {
        let died = |what: String| Err(Error::new(ExitCode::System, format!("sender: {what}")));
        match (last, worker.wait()) {
            (Some(Report::Failed { code, text }), _) => Err(Error::new(code, text)),
            (Some(Report::Done { .. }), Some(Exit::Exited(0))) => Ok(()),
            (_, Some(Exit::Killed(signal))) => died(format!("stopped by signal {signal}")),
            (_, Some(Exit::Exited(code))) => died(format!("ended with exit code {code}")),
            (_, None) => died("was lost".to_string()),
        }
    }

    /// Notes down that the push has ended, which ends the sender.
    fn over(&self, ended: Option<Ended>) -> Result<Answer<PushSession>> {
        lock(&self.state).ended = Some(ended);
        Err(Error::internal("the push has ended"))
    }
}

/// Ends the session of `offer`, if the push ends early.
fn guard(push: &Push<'_>, server: &Server, offer: &PushSession) -> SessionGuard {
    SessionGuard::of_push(server, (offer.port, offer.token), push.config.single_port)
}

impl Renewal for Session<'_> {
    type Offer = PushSession;

    fn retry_for(&self) -> Duration {
        self.push.config.retry_for
    }

    /// A session that seems lost may be one that has ended.
    fn ask(&self) -> Result<Answer<PushSession>> {
        let (token, file) = (self.token(), &self.push.config.file);
        let request = OutcomeRequest { token, wait: Duration::ZERO, md5: None };
        match self.server.ask_outcome(file, &request, self.push.interrupt)? {
            Some(PushState::Landing) => return self.over(None),
            Some(PushState::Ended(outcome)) if outcome.code != ExitCode::Network => {
                return self.over(Some(Ended::Outcome(outcome)));
            }
            Some(PushState::Ended(Outcome { .. }) | PushState::Moving) | None => {}
        }
        if !self.push.source.can_go_on() {
            let lost = Outcome::failed(ExitCode::Network, "the session was lost");
            return self.over(Some(Ended::Outcome(lost)));
        }
        let request = self.push.request(Some(token));
        match self.server.request_push_once(file, &request, self.push.interrupt)? {
            Answer::Later(error, delay) => Ok(Answer::Later(error, delay)),
            Answer::Now(PushOffer::Session(offer)) => Ok(Answer::Now(offer)),
            Answer::Now(PushOffer::UpToDate) => self.over(Some(Ended::UpToDate)),
        }
    }

    fn hand_over(&self, offer: PushSession, lifeline: &UnixStream) -> Result<()> {
        let mut state = lock(&self.state);
        state.token = offer.token;
        if let Some(files) = offer.files {
            // What was sent and is not in place is sent again.
            (state.in_place, state.sent_before) = (files, state.sent);
        }
        drop(state);
        self.push.goes_on(&offer);
        self.guard.replace(guard(self.push, self.server, &offer));
        let session = self.session(&offer).to_json();
        let announce =
            || job::say(lifeline, &session).map_err(|error| Error::system("sender", &error));
        self.server.begin_session(offer.token, announce)
    }

    fn is_locked_out(&self) -> bool {
        let children = self.server.children();
        lock(&self.state).ended.is_some() || children.is_some_and(|all| all.is_locked_out())
    }
}
