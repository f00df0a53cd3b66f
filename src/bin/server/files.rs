//! GET and HEAD: the server as an ordinary HTTP file server for any client. A HEAD also
//! brings the MD5 of a file to ropewalk's client.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, begin, no_room, refusal};
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
use ropewalk::codec::http::{Headers, Method, Refusal, RequestHead, Response, Status};
use ropewalk::codec::prefer;
use ropewalk::codec::range::{self, RangeOutcome};
use ropewalk::codec::repr_digest;
use std::time::Duration;

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
            let folder = service.tree.open_folder(&path)?;
            let takes_files = service.uploads.as_ref().is_some_and(|own| own.takes_files_in(&path));
            return index::answer(connection, head, folder, takes_files);
        }
        opened => opened?,
    };
    if service.index && index::asks_for(&head.target, "get") {
        let version = &opened.identity.version;
        return index::file_page(connection, head, &path, version).map(Answer::Message);
    }
    file(service, connection, head, path, opened)
}

/// The answer to a GET or a HEAD of a file.
fn file(
    service: &Service,
    connection: &Connection,
    head: &RequestHead,
    path: Vec<u8>,
    opened: Opened,
) -> Result<Answer, NoAnswer> {
    let identity = opened.identity;
    let size = identity.version.size;
    let validators = Validators::of(&identity)?;
    let get = head.method == Method::Get;
    let (response, start, length) = match validators.judge(&head.headers, get) {
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
        Verdict::Send(RangeOutcome::Whole) => (begin(Status::OK), 0, size),
        Verdict::Send(RangeOutcome::Part { start, length }) => {
            let range = range::content_range(start, length, size);
            (begin(Status::PARTIAL_CONTENT).field("Content-Range", range), start, length)
        }
    };
    let response = describe(response, &validators)
        .field("Accept-Ranges", "bytes")
        .field("X-Content-Type-Options", "nosniff");
    let mut response = present(response, &head.target, &path);
    if wants_md5(&head.headers) {
        let md5 = match get {
            // A GET does not wait: its client can hash the bytes itself.
            true => service.digests.known(&identity.key()),
            false => match md5(service, connection, &opened, wait(&head.headers))? {
                Some(md5) => Some(md5),
                None => return Ok(Answer::Message(begin(Status::ACCEPTED))),
            },
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

/// Adds the file's media type and disposition: a browser saves the file, or shows it if the
/// target asks for that.
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

/// Adds the fields by which a client recognises this state of the file later.
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

/// How long the client wants to wait; `None` without a limit.
fn wait(fields: &Headers) -> Option<Duration> {
    fields.joined("Prefer").and_then(|value| prefer::wait(&value))
}

fn changed() -> Refusal {
    Refusal::new(Status::PRECONDITION_FAILED, "the file has changed")
}

/// Waits for the MD5 of the file. `None` if that takes longer than `limit`.
fn md5(
    service: &Service,
    connection: &Connection,
    opened: &Opened,
    limit: Option<Duration>,
) -> Result<Option<[u8; 16]>, NoAnswer> {
    let Opened { file, identity } = opened;
    let digests = &service.digests;
    match digests.digest(file, identity, connection.stream(), (Hurry::WithTransfer, limit)) {
        Ok(hashed) if hashed.unchanged => Ok(Some(hashed.md5)),
        Ok(_) => Err(changed().into()),
        Err(NoDigest::NotYet) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

impl From<NoDigest> for NoAnswer {
    fn from(why: NoDigest) -> NoAnswer {
        match why {
            NoDigest::Gone => NoAnswer::Gone,
            NoDigest::NoRoom(cause) => NoAnswer::Refused(no_room().because(cause)),
            // Permanent, so the client should not ask again.
            NoDigest::Failed(cause) => NoAnswer::Refused(
                Refusal::new(Status::INTERNAL_SERVER_ERROR, "the server cannot read the file")
                    .because(cause),
            ),
            NoDigest::Stopping | NoDigest::Abandoned | NoDigest::NotYet | NoDigest::Busy => {
                let refused =
                    Refusal::new(Status::SERVICE_UNAVAILABLE, "the file cannot be hashed now");
                NoAnswer::Refused(refused)
            }
        }
    }
}
