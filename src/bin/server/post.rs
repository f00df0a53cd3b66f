//! POST: opens the file, starts a transfer in the protocol that the request names, and
//! answers with the offer.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, respond};
use crate::connections::Connection;
use crate::service::Service;
use crate::target;
use crate::transfers::Wanted;
use ropewalk::codec::http::{Refusal, RequestHead, Response, Status};
use ropewalk::codec::message::offer::{Offer, RopewalkOffer, UpToDate};
use ropewalk::codec::message::transfer_request::{Protocol, TransferRequest};
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
    let request = TransferRequest::from_body(body)
        .map_err(|reason| Refusal::new(Status::BAD_REQUEST, reason))?;
    let TransferRequest { streams, most_streams, protocol, existing, .. } = request;
    // A client that leaves the number to the server takes fewer streams too.
    let threads = most_streams.map_or(streams, |most| most.min(service.max_streams));
    if threads > service.max_streams {
        return Err(Refusal::new(Status::FORBIDDEN, too_many(service.max_streams)).into());
    }
    let offer = match protocol {
        Protocol::Classic => {
            // Classic clients do not encode their path, so it is not decoded.
            let path = head.target.clone();
            let opened = service.tree.open(&path)?;
            let wanted = Wanted { opened, path, threads };
            Offer::Classic(service.transfers.offer_classic(connection, wanted, &service.digests)?)
        }
        Protocol::Ropewalk => {
            let path = target::path(&head.target)?;
            let opened = service.tree.open(&path)?;
            let identity = opened.identity;
            // Before admission: a full server answers too, and no session has to be left.
            if existing.is_some_and(|existing| existing.is_up_to_date(&identity.version)) {
                Offer::UpToDate(UpToDate { etag: identity.etag_field() })
            } else {
                let wanted = Wanted { opened, path, threads };
                let offer =
                    service.transfers.offer_ropewalk(connection, wanted, &service.digests)?;
                Offer::Ropewalk(RopewalkOffer { granted: most_streams.map(|_| threads), ..offer })
            }
        }
    };
    let reply = respond(Status::OK, &offer.to_json());
    Ok(match offer.etag() {
        Some(etag) => reply.field("ETag", etag),
        None => reply,
    })
}

/// The refusal of more streams than `most`, the server's limit, which never changes.
fn too_many(most: u8) -> &'static str {
    static WORDS: OnceLock<String> = OnceLock::new();
    WORDS.get_or_init(|| format!("this server allows {most} streams per transfer"))
}
