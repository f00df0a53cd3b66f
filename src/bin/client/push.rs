//! One push, from the first connection to the server's word that everything is in place.

#![forbid(unsafe_code)]

mod hash;
mod kept;
mod session;
mod source;

pub(crate) use kept::Kept;
pub(crate) use source::Source;

use crate::config::{Config, StreamCount};
use crate::control::Server;
use crate::interrupt::Interrupt;
use crate::picture::Collector;
use crate::progress::Progress;
use crate::summary::{Fetched, FetchedTree, Summary};
use hash::Hash;
use ropewalk::app::report::{Act, Mended, Tally};
use ropewalk::app::supervise::Supervisor;
use ropewalk::app::{terminal, workers};
use ropewalk::codec::message::outcome::{MAX_WAIT, Outcome, OutcomeRequest, PushState};
use ropewalk::codec::message::push::{
    Known, PushOffer, PushRequest, PushSession, Pushed, PushedFile, PushedFolder,
};
use ropewalk::codec::message::tree_options::TreeOptions;
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::text::{escape, escape_rest};
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::hash::hex;
use ropewalk::sys::backoff::Backoff;
use ropewalk::sys::sync::lock;
use session::Session;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The first and the longest pause before the client asks again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What every step of a push uses.
pub(crate) struct Push<'a> {
    config: &'a Config,
    source: &'a Source,
    supervisor: &'a Arc<Supervisor>,
    interrupt: &'a Arc<Interrupt>,
    progress: &'a Progress,
    kept: &'a Kept,
    /// The sender program.
    sender: PathBuf,
    begun: Instant,
    /// The faults that the sender mended.
    mended: Mutex<Mended>,
    /// What the senders before this one moved, where a push took several.
    moved: Mutex<Tally>,
    /// Whether the server knows nothing of an earlier session of this push.
    is_forgotten: AtomicBool,
    collector: &'a Collector,
}

/// Pushes `source` to the name in `config`, and draws the picture that `config` asks for.
pub(crate) fn run(
    config: &Config,
    source: &Source,
    supervisor: &Arc<Supervisor>,
    interrupt: &Arc<Interrupt>,
    progress: &Progress,
    kept: &Kept,
) -> Result<Summary> {
    let (begun, mended) = (Instant::now(), Mutex::default());
    let collector = &Collector::default();
    let run = |sender| {
        let push = Push {
            config,
            source,
            supervisor,
            interrupt,
            progress,
            kept,
            sender,
            begun,
            mended,
            moved: Mutex::default(),
            is_forgotten: AtomicBool::new(false),
            collector,
        };
        push.run()
    };
    let outcome = workers::find("sender").and_then(run).map_err(|error| {
        match (interrupt.error(), error.code()) {
            (Some(interrupted), _) => interrupted,
            (None, ExitCode::Network | ExitCode::System) => error.advise(kept.advice(config)),
            (None, _) => error,
        }
    });
    collector.draw(config, &outcome);
    outcome
}

/// An option that is given and says which files stay as they are. The request for the push of a
/// single file cannot say that.
fn only_for_folders(config: &Config) -> Option<&'static str> {
    match config.tree.options {
        TreeOptions { ignore_existing: true, .. } => Some("--ignore-existing"),
        TreeOptions { update: true, .. } => Some("--update"),
        // --restart means that too, and can be said.
        TreeOptions { checksum: true, .. } if !config.start_options.restart => Some("--checksum"),
        _ => None,
    }
}

/// How a session ended.
enum Ended {
    /// The server has said what came of the push.
    Outcome(Outcome),
    /// The server has the file already.
    UpToDate,
}

impl Push<'_> {
    fn run(&self) -> Result<Summary> {
        let config = self.config;
        let is_folder = matches!(self.source, Source::Folder { .. });
        if let (false, Some(option)) = (is_folder, only_for_folders(config)) {
            return Err(Error::usage(format!("{option}: only the push of a folder has it")));
        }
        if config.tree.options.dry_run && !is_folder {
            let (shown, size) = (escape(&config.file), self.source.size());
            return Ok(Summary::DryRun { shown, size, is_push: true });
        }
        let (server, stream) = Server::find(config, self.supervisor, self.interrupt)?;
        let pushed = self.push_to(&server, stream);
        let ends_early =
            |error: &Error| self.interrupt.stopped().is_some() || error.code() == ExitCode::System;
        if pushed.as_ref().is_err_and(ends_early) {
            self.kept.ask(&server, &config.file);
        }
        server.end();
        pushed
    }

    fn push_to(&self, server: &Server, stream: TcpStream) -> Result<Summary> {
        let config = self.config;
        let request = self.request(None);
        let offer = server.request_push(
            stream,
            &config.file,
            &request,
            config.retry_for,
            self.interrupt,
        )?;
        let PushOffer::Session(offer) = offer else { return Ok(self.up_to_date(0)) };
        server.begin_session(offer.token, || Ok(()))?;
        self.session_begins(&offer);
        let hash = self.begin(&offer)?;
        let resumed = offer.resumed;
        match self.push_until_ended(server, offer, hash.as_ref())? {
            Ended::UpToDate => Ok(self.up_to_date(resumed)),
            Ended::Outcome(outcome) => self.summary(outcome, resumed, hash.as_ref()),
        }
    }

    /// The request for a session, which takes the place of `previous`.
    fn request(&self, previous: Option<[u8; 16]>) -> PushRequest {
        let config = self.config;
        let (sync, streams) = (config.start_options.sync, config.streams.at_first());
        let most_streams = (config.streams == StreamCount::Auto).then_some(u8::MAX);
        let what = match self.source {
            Source::File { identity, name, .. } => Pushed::File(PushedFile {
                name: name.clone(),
                known: Some(Known {
                    size: identity.version.size,
                    stored: identity.stored,
                    mtime: identity.version.mtime,
                }),
                tag: identity.etag().into_bytes(),
                verify: config.verify,
                restart: config.start_options.restart,
                whole: config.start_options.whole,
            }),
            Source::Pipe { tag, .. } => Pushed::File(PushedFile {
                name: None,
                known: None,
                tag: tag.clone(),
                verify: config.verify,
                restart: true,
                whole: true,
            }),
            Source::Folder { state, .. } => Pushed::Folder(Box::new(PushedFolder {
                top: *state,
                verify: config.tree.verify,
                options: config.tree.options.clone(),
            })),
        };
        PushRequest { streams, most_streams, previous, sync, what }
    }

    /// Notes down what the server has of a file when a session begins.
    fn session_begins(&self, offer: &PushSession) {
        if let Source::File { identity, .. } = self.source {
            self.kept.begins(offer.token, offer.resumed, identity.version.size);
        }
    }

    /// The same of a session in place of a lost one.
    fn goes_on(&self, offer: &PushSession) {
        self.session_begins(offer);
        if matches!(self.source, Source::Folder { .. }) && offer.files.is_none() {
            self.is_forgotten.store(true, Ordering::Relaxed);
        }
    }

    /// Begins to show progress, and to hash.
    fn begin(&self, offer: &PushSession) -> Result<Option<Hash>> {
        match self.source {
            Source::Folder { .. } => {
                self.progress.begin_tree();
                Ok(None)
            }
            Source::Pipe { .. } => {
                let wants_md5 = self.config.verify == Verify::Md5;
                self.progress.begin(None, 0, wants_md5);
                Ok(wants_md5.then(Hash::of_sender))
            }
            Source::File { file, identity, .. } => {
                let (size, wants_md5) = (identity.version.size, self.config.verify == Verify::Md5);
                self.progress.begin(Some(size), offer.resumed, wants_md5);
                wants_md5.then(|| Hash::begin(file, size)).transpose()
            }
        }
    }

    /// Pushes over one session after the other, until the server says what came of it. Time passes
    /// from the first of a row of sessions that brought nothing.
    fn push_until_ended(
        &self,
        server: &Server,
        mut offer: PushSession,
        hash: Option<&Hash>,
    ) -> Result<Ended> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut since: Option<Instant> = None;
        loop {
            let session = Session::new(self, server, offer);
            let moved = session.run(hash)?;
            let token = session.token();
            let cause = match session.take_ended() {
                Some(ended) => ended,
                None => Ended::Outcome(self.outcome(server, token, hash)?),
            };
            let cause = match cause {
                Ended::Outcome(Outcome { code: ExitCode::Network, text, .. }) => text,
                ended => return Ok(ended),
            };
            if !self.source.can_go_on() {
                return Err(Error::new(ExitCode::Network, cause));
            }
            // The session is lost. The server keeps what has come.
            if moved {
                (since, backoff) = (None, Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
            }
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.config.retry_for || !self.interrupt.pause(backoff.delay()) {
                return Err(Error::new(ExitCode::Network, cause));
            }
            let request = self.request(Some(token));
            let (stream, left) =
                (server.connect_anew()?, self.config.retry_for.saturating_sub(since.elapsed()));
            let file = &self.config.file;
            offer = match server.request_push(stream, file, &request, left, self.interrupt)? {
                PushOffer::Session(offer) => offer,
                PushOffer::UpToDate => return Ok(Ended::UpToDate),
            };
            server.begin_session(offer.token, || Ok(()))?;
            self.goes_on(&offer);
        }
    }

    /// Asks what came of the push, until the server says so. Sends the MD5 as soon as it is made.
    fn outcome(&self, server: &Server, token: [u8; 16], hash: Option<&Hash>) -> Result<Outcome> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut lost: Option<Instant> = None;
        loop {
            let md5 = hash.map(|hash| hash.wait(MAX_WAIT / 2)).transpose()?.flatten();
            // Without the MD5 this only says that the client is there.
            let has_all = hash.is_none() || md5.is_some();
            let wait = if has_all { MAX_WAIT } else { Duration::ZERO };
            let request = OutcomeRequest { token, wait, md5 };
            match server.ask_outcome(&self.config.file, &request, self.interrupt) {
                Ok(Some(PushState::Ended(outcome))) => return Ok(outcome),
                Ok(Some(PushState::Moving | PushState::Landing)) => {
                    lost = None;
                    backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
                }
                // A server that was started anew keeps what has come.
                Ok(None) => {
                    let text = "the server does not know the push any more";
                    return Ok(Outcome::failed(ExitCode::Network, text));
                }
                Err(error) if error.code() == ExitCode::Network => {
                    let since = *lost.get_or_insert_with(Instant::now);
                    let left = self.config.retry_for.saturating_sub(since.elapsed());
                    if left.is_zero() || !self.interrupt.pause(backoff.delay().min(left)) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The summary of a push whose file the server has already.
    fn up_to_date(&self, resumed: u64) -> Summary {
        let size = self.source.size().unwrap_or(0);
        if resumed == 0 {
            self.progress.begin(Some(size), size, false);
        }
        Summary::UpToDate { shown: escape(&self.config.file), size }
    }

    /// What the user is told of an outcome.
    ///
    /// # Errors
    /// The push failed, or its bytes are not on the server's disk.
    fn summary(&self, outcome: Outcome, resumed: u64, hash: Option<&Hash>) -> Result<Summary> {
        for entry in &outcome.entries {
            let reason = entry.reason.as_deref().unwrap_or_default();
            self.tell(entry.act, &escape_rest(&entry.path), &escape_rest(reason));
        }
        match outcome.code {
            ExitCode::Success | ExitCode::Incomplete | ExitCode::DeleteRefused => {}
            code => return Err(Error::new(code, escape_rest(&outcome.text))),
        }
        let is_dry = self.config.tree.options.dry_run;
        if self.config.start_options.sync && !outcome.durable && !is_dry {
            let text = "everything is in place, but the server could not wait for its disk";
            return Err(Error::new(ExitCode::System, text));
        }
        let told = outcome.tree.refused;
        let shown = outcome.entries.iter().filter(|entry| entry.act == Act::Refused).count() as u64;
        if told > shown && shown > 0 {
            terminal::log(format_args!("{} more could not be put in place", told - shown));
        }
        if let Source::Folder { .. } = self.source {
            self.progress.update_tree(outcome.tree);
        }
        self.progress.saving(outcome.bytes);
        let time = self.begun.elapsed();
        // The server knows what it asked for again, and the sender which streams broke.
        let Outcome { bad_blocks, asked_again, .. } = outcome;
        let mended = Mended { bad_blocks, asked_again, ..*lock(&self.mended) };
        Ok(match self.source {
            Source::File { .. } | Source::Pipe { .. } => Summary::Fetched(Fetched {
                bytes: outcome.bytes,
                time,
                streams: outcome.streams,
                md5: hash.and_then(Hash::known).map(|md5| hex(&md5)),
                resumed,
                same: outcome.found,
                mended,
                md5_was_slowest: false,
            }),
            Source::Folder { .. } => Summary::Tree(FetchedTree {
                tree: outcome.tree,
                bytes: outcome.bytes,
                same_bytes: outcome.found,
                time,
                streams: outcome.streams,
                is_checked: self.config.tree.verify != Verify::None,
                is_dry,
                is_push: true,
                is_forgotten: self.is_forgotten.load(Ordering::Relaxed),
                mended,
            }),
        })
    }

    /// Tells what became of an entry.
    fn tell(&self, act: Act, path: &str, reason: &str) {
        match act {
            Act::Refused => {
                let shown = if path.is_empty() { "the folder itself" } else { path };
                terminal::log(format_args!("{shown}: {reason}"));
            }
            Act::Warning if self.config.quiet => {}
            Act::Warning => terminal::log(format_args!("warning: {reason}")),
            Act::File => drop(terminal::print(format!("{path}\n").as_bytes())),
            Act::Link | Act::Folder | Act::Deleted | Act::Skipped => {
                // An error of standard output is none of the push.
                let _ = terminal::print(format!("{} {path}\n", act.word()).as_bytes());
            }
        }
    }
}
