//! The parts of a server that all its connections share.

#![forbid(unsafe_code)]

use crate::auth::Auth;
use crate::config::{Config, Volume};
use crate::digests::Digests;
use crate::log::Log;
use crate::metrics::counters::Counters;
use crate::ports::Entrances;
use crate::target::Tree;
use crate::transfers::admission::Limits;
use crate::transfers::table::Table;
use crate::transfers::{Programs, Transfers};
use crate::uploads::Uploads;
use ropewalk::app::supervise::Supervisor;
use ropewalk::codec::http::{Refusal, Status};
use ropewalk::error::Result as Started;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The parts that all connections share.
pub(crate) struct Service {
    /// Checks passwords; without it every client is served.
    pub(crate) auth: Option<Auth>,
    /// The files that clients may have.
    pub(crate) tree: Arc<Tree>,
    /// Whether folders are shown.
    pub(crate) index: bool,
    /// Takes uploads, where that is allowed.
    pub(crate) uploads: Option<Uploads>,
    /// Starts transfers.
    pub(crate) transfers: Transfers,
    /// All transfers, downloads and uploads under way.
    pub(crate) table: Arc<Table>,
    /// Digests of whole files.
    pub(crate) digests: Arc<Digests>,
    /// Error responses so far.
    pub(crate) counters: Arc<Counters>,
    /// Streams that a transfer may have.
    pub(crate) max_streams: u8,
    /// How long a client may take to send a request.
    pub(crate) request: Duration,
    /// How long a connection may stay idle between two requests.
    pub(crate) idle: Duration,
    /// How long a client may take no data.
    pub(crate) stall: Duration,
    /// How much to log.
    pub(crate) volume: Volume,
    /// Where refused requests are logged.
    pub(crate) log: Log,
    /// The reverse proxy that is trusted to name its clients.
    pub(crate) proxy: Option<IpAddr>,
}

impl Service {
    /// The service of `config`, whose transfers have a worker each.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub(crate) fn new(
        config: &Config,
        tree: Tree,
        (auth, uploads): (Option<Auth>, Option<Uploads>),
        entrances: Entrances,
        workers: Programs,
        supervisor: Arc<Supervisor>,
    ) -> Started<Service> {
        let limits = Limits {
            transfers: config.max_transfers,
            per_origin: config.max_per_address,
            patience: config.idle,
        };
        let table = Table::new(limits, config.rate);
        let log = Log::begin(config.log.as_deref(), config.volume)?;
        Ok(Service {
            auth,
            tree: Arc::new(tree),
            index: config.index,
            uploads,
            transfers: Transfers::new(config, entrances, workers, supervisor, table.clone()),
            table,
            digests: Digests::new(),
            counters: Counters::new(),
            max_streams: config.max_streams,
            request: config.request,
            idle: config.idle,
            stall: config.stall,
            volume: config.volume,
            log,
            proxy: config.proxy,
        })
    }

    /// What takes uploads.
    ///
    /// # Errors
    /// 403 where nothing may be written.
    pub(crate) fn uploads(&self) -> Result<&Uploads, Refusal> {
        self.uploads.as_ref().ok_or_else(|| {
            let words = match self.transfers.has_ports() {
                true => "this server takes no uploads: it was started without --writable",
                false => "this server only reads: it was started without --push",
            };
            Refusal::new(Status::FORBIDDEN, words)
        })
    }
}
