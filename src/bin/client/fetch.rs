//! One fetch, from the first connection to the file in place.

#![forbid(unsafe_code)]

mod classic_protocol;
mod corruption;
mod digest;
mod offered;
mod receiver;
pub(crate) mod resume_hint;
mod ropewalk_protocol;
mod to_descriptor;
mod transfer;
mod tree;

use crate::config::{Config, StreamCount};
use crate::control::{Offer, Server, TransferRequest};
use crate::destination::{Named, OpenDestination};
use crate::interrupt::Interrupt;
use crate::picture::Collector;
use crate::progress::Progress;
use crate::summary::Summary;
use offered::Offered;
use ropewalk::app::supervise::Supervisor;
use ropewalk::app::{terminal, workers};
use ropewalk::codec::message::transfer_request::{Protocol, TreeWish};
use ropewalk::codec::message::version::Existing;
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, ExitCode, Result};
use ropewalk::transfer::store::output::Output;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// What every step of a fetch uses.
pub(crate) struct Fetch<'a> {
    /// What the user asked for.
    pub(crate) config: &'a Config,
    /// Starts the receiver.
    pub(crate) supervisor: &'a Arc<Supervisor>,
    /// What a signal ends.
    pub(crate) interrupt: &'a Arc<Interrupt>,
    /// Where the fetch notes down its progress.
    pub(crate) progress: &'a Progress,
    /// The receiver program.
    receiver: PathBuf,
    begun: Instant,
    collector: &'a Collector,
}

/// Fetches the file that `config` names into `destination`, and draws the picture that
/// `config` asks for.
pub(crate) fn run(
    config: &Config,
    destination: OpenDestination,
    supervisor: &Arc<Supervisor>,
    interrupt: &Arc<Interrupt>,
    progress: &Progress,
) -> Result<Summary> {
    let begun = Instant::now();
    let collector = Collector::default();
    let outcome = workers::find("receiver").and_then(|receiver| {
        let collector = &collector;
        Fetch { config, supervisor, interrupt, progress, receiver, begun, collector }
            .run(destination)
    });
    collector.draw(config, &outcome);
    outcome
}

/// The error for a folder in the place of a file.
const NOT_REQUESTED: &str = "the server offers a folder, which was not requested";

impl Fetch<'_> {
    /// Asks the server for the file, and fetches it over the protocol that the server speaks.
    fn run(&self, destination: OpenDestination) -> Result<Summary> {
        let (server, stream) = Server::find(self.config, self.supervisor, self.interrupt)?;
        let fetched = self.fetch_from(&server, stream, destination);
        server.end();
        fetched
    }

    fn fetch_from(
        &self,
        server: &Server,
        stream: TcpStream,
        destination: OpenDestination,
    ) -> Result<Summary> {
        let Fetch { config, interrupt, .. } = self;
        let existing = self.existing(&destination);
        let takes_tree = matches!(destination, OpenDestination::Named(_));
        let (file, request) = (&config.file, self.request(existing, takes_tree));
        let offer = server.request_transfer(stream, file, request, config.retry_for, interrupt)?;
        if let Some(shown) = self.kept(&destination, &offer)? {
            self.end_session(server, &offer);
            return Ok(Summary::Kept { shown });
        }
        let fetched = match offer {
            Offer::UpToDate(_) => match (destination, existing) {
                (OpenDestination::Named(Named { file, .. }), Some(existing)) => {
                    return Ok(self.leave(file?, existing));
                }
                _ => Err(Error::protocol("the server calls a file up to date that is not here")),
            },
            Offer::Tree(offer) => {
                server.begin_session(offer.token, || Ok(()))?;
                let guard = Offered::Tree(&offer).guard(server, config.single_port);
                let OpenDestination::Named(Named { folder, .. }) = destination else {
                    return Err(Error::protocol(NOT_REQUESTED));
                };
                return tree::run(self, &folder, server, &offer, &guard).map(Summary::Tree);
            }
            Offer::Classic(_) | Offer::Ropewalk(_) if config.tree.options.dry_run => {
                return Ok(self.tell_only(server, &offer));
            }
            Offer::Classic(_) if server.children().is_some() => {
                Err(Error::protocol("the program there speaks only the classic protocol"))
            }
            Offer::Classic(offer) => match destination {
                OpenDestination::Named(Named { file, .. }) => {
                    classic_protocol::run(self, file?, server, &offer)
                }
                OpenDestination::Descriptor(open) => {
                    to_descriptor::run_classic(self, &open, server, &offer)
                }
            },
            Offer::Ropewalk(offer) => {
                server.begin_session(offer.token, || Ok(()))?;
                let guard = Offered::File(&offer).guard(server, config.single_port);
                match destination {
                    OpenDestination::Named(Named { file, .. }) => {
                        ropewalk_protocol::run(self, file?, server, &offer, &guard)
                    }
                    OpenDestination::Descriptor(open) => {
                        to_descriptor::run_ropewalk(self, &open, server, &offer, &guard)
                    }
                }
            }
        };
        fetched.map(Summary::Fetched)
    }

    /// The file that is fetched only if it is not up to date. Whoever wants contents to be compared
    /// does not go by size and mtime.
    fn existing(&self, destination: &OpenDestination) -> Option<Existing> {
        let config = self.config;
        match config.start_options.restart || config.tree.options.checksum {
            true => None,
            false => destination.output()?.replaced(),
        }
    }

    /// The output as messages show it, if the file that is here stays as it is: by --ignore-existing
    /// or --update.
    ///
    /// # Errors
    /// The server does not say when its file was written, and --update needs that.
    fn kept(&self, destination: &OpenDestination, offer: &Offer) -> Result<Option<String>> {
        let options = &self.config.tree.options;
        let Some(output) = destination.output() else { return Ok(None) };
        let Some(existing) = output.replaced() else { return Ok(None) };
        let theirs = match offer {
            Offer::UpToDate(_) | Offer::Tree(_) => return Ok(None),
            Offer::Ropewalk(offer) => offer.mtime,
            Offer::Classic(_) => None,
        };
        let unknown = || Error::protocol("the server tells no mtime, which --update compares");
        let stays = options.ignore_existing
            || options.update && existing.mtime.is_after(theirs.ok_or_else(unknown)?);
        Ok(stays.then(|| output.shown().into()))
    }

    /// The request for a transfer, unless `existing` is up to date.
    fn request(&self, existing: Option<Existing>, takes_tree: bool) -> TransferRequest {
        let streams = self.config.streams;
        TransferRequest {
            streams: streams.at_first(),
            most_streams: (streams == StreamCount::Auto).then_some(u8::MAX),
            protocol: Protocol::Ropewalk,
            existing,
            tree: takes_tree
                .then_some(TreeWish { one_file_system: self.config.tree.one_file_system }),
        }
    }

    /// Ends the session of a file that is not fetched.
    fn end_session(&self, server: &Server, offer: &Offer) {
        if let Offer::Ropewalk(offer) = offer {
            drop(Offered::File(offer).guard(server, self.config.single_port));
        }
    }

    /// Says what a run that is no dry run would fetch. The session ends.
    fn tell_only(&self, server: &Server, offer: &Offer) -> Summary {
        self.end_session(server, offer);
        let size = match offer {
            Offer::Ropewalk(offer) => Some(offer.size),
            Offer::Classic(_) | Offer::UpToDate(_) | Offer::Tree(_) => None,
        };
        Summary::DryRun { shown: escape(&self.config.file), size, is_push: false }
    }

    /// Leaves the output as it is, since the server has the same file.
    fn leave(&self, output: Output, existing: Existing) -> Summary {
        let (shown, size) = (output.shown().to_string(), existing.size);
        self.progress.begin(Some(size), size, false);
        output.tidy();
        Summary::UpToDate { shown, size }
    }

    /// Tells the user what the fetch has to do without, unless the user wants errors only.
    fn warn(&self, what: Option<String>) {
        if let Some(what) = what.filter(|_| !self.config.quiet) {
            terminal::log(format_args!("warning: {what}"));
        }
    }
}

/// Compares the MD5 `came` of the output `shown` with the MD5 `said` by the server.
fn compare(shown: &str, came: &str, said: &str) -> Result<()> {
    if came == said {
        return Ok(());
    }
    let text = format!("{shown}: MD5 differs: {came} here, {said} on the server");
    Err(Error::new(ExitCode::Integrity, text))
}
