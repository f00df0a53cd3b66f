//! POST: opens the file or the folder, starts a transfer in the protocol that the request names,
//! and answers with the offer.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, respond};
use crate::connections::Connection;
use crate::pushes;
use crate::service::Service;
use crate::target::{self, Found, Opened, OpenedFolder};
use crate::transfers::Wanted;
use ropewalk::codec::http::{Refusal, RequestHead, Response, Status};
use ropewalk::codec::json;
use ropewalk::codec::message::offer::{Offer, RopewalkOffer, TreeOffer, UpToDate};
use ropewalk::codec::message::outcome::OutcomeRequest;
use ropewalk::codec::message::push::PushRequest;
use ropewalk::codec::message::transfer_request::{Protocol, TransferRequest, TreeWish};
use std::sync::OnceLock;

/// The answer to a POST.
pub(crate) fn answer(
    service: &Service,
    connection: &Connection,
    head: &RequestHead,
    body: &[u8],
) -> Result<Response, NoAnswer> {
    if head.body_length()?.is_none() {
        return Err(Refusal::new(Status::LENGTH_REQUIRED, "a Content-Length is needed").into());
    }
    if let Ok(value) = json::parse(body) {
        if PushRequest::is_in(&value) {
            return pushes::begin(service, connection, &target::path(&head.target)?, &value);
        }
        if OutcomeRequest::is_in(&value) {
            return pushes::outcome(service, connection, &value);
        }
    }
    let request = TransferRequest::from_body(body)
        .map_err(|reason| Refusal::new(Status::BAD_REQUEST, reason))?;
    // A client that leaves the number to the server takes fewer streams too.
    let threads = match request.most_streams {
        Some(most) => most.min(service.max_streams),
        None => request.streams,
    };
    if threads > service.max_streams {
        return Err(Refusal::new(Status::FORBIDDEN, too_many(service.max_streams)).into());
    }
    let asked = Asked { service, connection, request, threads };
    let offer = match request.protocol {
        // Classic clients do not encode their path, so it is not decoded.
        Protocol::Classic => asked.classic(head.target.clone())?,
        Protocol::Ropewalk => asked.ropewalk(target::path(&head.target)?)?,
    };
    let reply = respond(Status::OK, &offer.to_json());
    Ok(match offer.etag() {
        Some(etag) => reply.field("ETag", etag),
        None => reply,
    })
}

/// A request for a transfer, and over how many streams it may go.
struct Asked<'a> {
    service: &'a Service,
    connection: &'a Connection,
    request: TransferRequest,
    threads: u8,
}

impl Asked<'_> {
    fn classic(&self, path: Vec<u8>) -> Result<Offer, NoAnswer> {
        let Asked { service, connection, threads, .. } = *self;
        let wanted = Wanted { opened: service.tree.open(&path)?, path, threads };
        let offer = service.transfers.offer_classic(connection, wanted, &service.digests)?;
        Ok(Offer::Classic(offer))
    }

    fn ropewalk(&self, path: Vec<u8>) -> Result<Offer, NoAnswer> {
        let tree = &self.service.tree;
        // For a client that takes no folder, a folder is no file.
        let Some(wish) = self.request.tree else { return self.file(tree.open(&path)?, path) };
        match tree.find(&path)? {
            Found::File(opened) => self.file(opened, path),
            Found::Folder(opened) => self.folder(opened, path, wish),
        }
    }

    fn file(&self, opened: Opened, path: Vec<u8>) -> Result<Offer, NoAnswer> {
        let Asked { service, connection, threads, request } = *self;
        let identity = opened.identity;
        // Before admission: a full server answers too, and no session has to be left.
        if request.existing.is_some_and(|existing| existing.is_up_to_date(&identity.version)) {
            return Ok(Offer::UpToDate(UpToDate { etag: identity.etag_field() }));
        }
        let wanted = Wanted { opened, path, threads };
        let offer = service.transfers.offer_ropewalk(connection, wanted, &service.digests)?;
        Ok(Offer::Ropewalk(RopewalkOffer { granted: self.granted(), ..offer }))
    }

    fn folder(
        &self,
        opened: OpenedFolder,
        path: Vec<u8>,
        wish: TreeWish,
    ) -> Result<Offer, NoAnswer> {
        let Asked { service, connection, threads, .. } = *self;
        let wanted = Wanted { opened, path, threads };
        let offer = service.transfers.offer_tree(connection, wanted, wish)?;
        Ok(Offer::Tree(TreeOffer { granted: self.granted(), ..offer }))
    }

    /// The number of streams, where the client leaves it to the server.
    fn granted(&self) -> Option<u8> {
        self.request.most_streams.map(|_| self.threads)
    }
}

/// The refusal of more streams than `most`, the server's limit, which never changes.
fn too_many(most: u8) -> &'static str {
    static WORDS: OnceLock<String> = OnceLock::new();
    WORDS.get_or_init(|| format!("this server allows {most} streams per transfer"))
}
