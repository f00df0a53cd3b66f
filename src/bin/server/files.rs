//! GET and HEAD: the server as an ordinary HTTP file server, for other people's
//! clients; and the digest of a file, for ropewalk's own.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, begin, no_room, now, refusal};
use crate::body::Body;
use crate::conditions::{Validators, Verdict};
use crate::connections::Connection;
use crate::digests::{Hurry, NoDigest};
use crate::download::{Answer, Download, Payload};
use crate::index;
use crate::media;
use crate::service::Service;
use crate::target::{self, Opened};
use ropewalk::codec::date;
use ropewalk::codec::etag::EntityTag;
use ropewalk::codec::http::{Headers, Method, Refusal, RequestHead, Response, Status};
use ropewalk::codec::range::{self, RangeOutcome};
use ropewalk::codec::repr_digest;
use ropewalk::transfer::identity::Identity;

/// The answer to a GET or a HEAD.
pub(crate) fn answer(
    service: &Service,
    connection: &Connection,
    head: &RequestHead,
) -> Result<Answer, NoAnswer> {
    let path = target::path(&head.target)?;
    let opened = match service.tree.open(&path) {
        Err(refused) if service.index && refused.status == Status::NOT_FOUND => {
            if path == index::ROBOTS_PATH {
                return Ok(Answer::Message(index::robots()));
            }
            return index::answer(connection, head, service.tree.open_folder(&path)?);
        }
        opened => opened?,
    };
    let identity = opened.identity;
    if service.index && index::asks_for(&head.target, "get") {
        return index::card(connection, head, &path, &identity.version).map(Answer::Message);
    }
    let validators = validators(&identity)?;
    let get = head.method == Method::Get;
    let size = identity.version.size;
    let part = match validators.judge(&head.headers, get) {
        Verdict::Failed => return Err(changed().into()),
        Verdict::NotModified => {
            let response = describe(begin(Status::NOT_MODIFIED), &validators);
            return Ok(Answer::Message(response));
        }
        Verdict::Send(RangeOutcome::Unsatisfiable) => {
            let status = Status::RANGE_NOT_SATISFIABLE;
            let response = refusal(&Refusal::new(status, "the file has no such bytes"))
                .field("Content-Range", range::unsatisfied_range(size));
            return Ok(Answer::Message(response));
        }
        Verdict::Send(RangeOutcome::Whole) => None,
        Verdict::Send(RangeOutcome::Part { start, length }) => Some((start, length)),
    };
    let (start, length) = part.unwrap_or((0, size));
    let response = match part {
        None => begin(Status::OK),
        Some(_) => begin(Status::PARTIAL_CONTENT)
            .field("Content-Range", range::content_range(start, length, size)),
    };
    let response = describe(response, &validators)
        .field("Accept-Ranges", "bytes")
        .field("X-Content-Type-Options", "nosniff");
    let mut response = present(response, &head.target, &path);
    if wants_md5(&head.headers) {
        let md5 = match get {
            true => service.digests.known(&identity.key()), // its client can read, and need not wait
            false => Some(md5(service, connection, &opened)?),
        };
        if let Some(md5) = md5 {
            response = response.field("Repr-Digest", repr_digest::format_md5(&md5));
        }
    }
    let response = response.length(length);
    Ok(match get {
        true => {
            let version = identity.version;
            let body = Payload::Part(Body { file: opened.file, version, start, length });
            Answer::File(Box::new(Download { response, body, path }))
        }
        false => Answer::Message(response),
    })
}

/// What conditions are compared with.
fn validators(identity: &Identity) -> Result<Validators, Refusal> {
    let tag = EntityTag::strong(&identity.etag())
        .ok_or(Refusal::new(Status::INTERNAL_SERVER_ERROR, "no entity tag"))?;
    let modified = u64::try_from(identity.version.mtime.seconds).ok();
    let date = modified.map(|modified| now().map_or(modified, |now| modified.min(now)));
    Ok(Validators { tag, modified, date, size: identity.version.size })
}

/// Says what the file is, and whether a browser is to save it, or to show it because its
/// user asked for that.
fn present(response: Response, target: &[u8], path: &[u8]) -> Response {
    let shown = media::view_type(path).filter(|_| index::asks_for(target, "view"));
    let response = response
        .field("Content-Type", shown.unwrap_or(media::content_type(path)))
        .field("Content-Disposition", media::disposition(shown.is_some(), path));
    match shown {
        Some(shown) => response.field("Content-Security-Policy", media::view_policy(shown)),
        None => response,
    }
}

/// Adds the fields by which a client recognises the file later.
fn describe(response: Response, validators: &Validators) -> Response {
    let response = response.field("ETag", validators.tag.to_string());
    match validators.date {
        Some(date) => response.field("Last-Modified", date::format(date)),
        None => response,
    }
}

fn wants_md5(fields: &Headers) -> bool {
    fields.joined("Want-Repr-Digest").is_some_and(|value| repr_digest::wants_md5(&value))
}

fn changed() -> Refusal {
    Refusal::new(Status::PRECONDITION_FAILED, "the file has changed")
}

/// Waits for the MD5 of the file.
fn md5(service: &Service, connection: &Connection, opened: &Opened) -> Result<[u8; 16], NoAnswer> {
    let Opened { file, identity } = opened;
    let digests = &service.digests;
    match digests.digest(file, identity, connection.stream(), Hurry::WithTransfer) {
        Ok(hashed) if hashed.unchanged => Ok(hashed.md5),
        Ok(_) => Err(changed().into()),
        Err(why) => Err(why.into()),
    }
}

impl From<NoDigest> for NoAnswer {
    fn from(why: NoDigest) -> NoAnswer {
        match why {
            NoDigest::Gone => NoAnswer::Gone,
            NoDigest::NoRoom(cause) => NoAnswer::Refused(no_room().because(cause)),
            // Asking again is of no use.
            NoDigest::Failed(cause) => NoAnswer::Refused(
                Refusal::new(Status::INTERNAL_SERVER_ERROR, "the server cannot read the file")
                    .because(cause),
            ),
            NoDigest::Stopping | NoDigest::Abandoned | NoDigest::Busy => {
                let refused =
                    Refusal::new(Status::SERVICE_UNAVAILABLE, "the file cannot be hashed now");
                NoAnswer::Refused(refused)
            }
        }
    }
}
