//! What all connections of a server share.

#![forbid(unsafe_code)]

use crate::auth::Auth;
use crate::config::Volume;
use crate::digests::Digests;
use crate::log::Log;
use crate::metrics::counters::Counters;
use crate::sessions::Sessions;
use crate::shares::Shares;
use crate::target::Tree;
use crate::transfers::Transfers;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What all connections share.
pub(crate) struct Service {
    /// Who may come in; everybody without one.
    pub(crate) auth: Option<Auth>,
    /// The files that clients may have.
    pub(crate) tree: Arc<Tree>,
    /// Whether folders are shown.
    pub(crate) index: bool,
    /// Transfers under way.
    pub(crate) transfers: Arc<Transfers>,
    /// Whose streams come to the control port.
    pub(crate) sessions: Arc<Sessions>,
    /// Digests of whole files.
    pub(crate) digests: Arc<Digests>,
    /// What there has been so far.
    pub(crate) counters: Arc<Counters>,
    /// Who shares the limit of bytes per second.
    pub(crate) shares: Arc<Shares>,
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
    /// The reverse proxy whose word about its clients counts.
    pub(crate) proxy: Option<IpAddr>,
}
