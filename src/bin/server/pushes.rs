//! POST of a push: finds the place, judges whether the client may write it, and starts a receiver.
//! And the POST that asks what came of one.

#![forbid(unsafe_code)]

use crate::answer::{NoAnswer, no_room, respond};
use crate::connections::Connection;
use crate::service::Service;
use crate::transfers::outcomes::Key;
use crate::transfers::push::{Content, Ends, FilePush, TreePush, Wanted};
use crate::uploads::Uploads;
use crate::uploads::target::BUSY;
use ropewalk::codec::http::{Refusal, Response, Status};
use ropewalk::codec::json::Value;
use ropewalk::codec::message::outcome::{Outcome, OutcomeRequest};
use ropewalk::codec::message::push::{
    PushOffer, PushRequest, PushSession, Pushed, PushedFile, PushedFolder,
};
use ropewalk::codec::message::tree_options::Delete;
use ropewalk::sys::hangup::{self, Watch};
use std::os::fd::AsFd;
use std::time::Instant;

/// The answer to the request for a push of something to `path`.
pub(crate) fn begin(
    service: &Service,
    connection: &Connection,
    path: &[u8],
    body: &Value,
) -> Result<Response, NoAnswer> {
    let bad = |_| Refusal::new(Status::BAD_REQUEST, "the request for a push is not understood");
    let request = PushRequest::from_json(body).map_err(bad)?;
    let uploads = service.uploads()?;
    // A client that leaves the number to the server takes fewer streams too.
    let streams = match request.most_streams {
        Some(most) => most.min(service.max_streams),
        None => request.streams,
    };
    if streams > service.max_streams {
        let words = "this server allows fewer streams per transfer";
        return Err(Refusal::new(Status::FORBIDDEN, words).into());
    }
    if let Some(previous) = &request.previous {
        service.transfers.end_push(previous, Ends::Always);
    }
    let asked = Asked { service, uploads, connection, path, request: &request, streams };
    let offer = match &request.what {
        Pushed::File(file) => asked.begin_file(file)?,
        Pushed::Folder(folder) => PushOffer::Session(asked.begin_folder(folder)?),
    };
    Ok(respond(Status::OK, &offer.to_json()))
}

/// The answer to a request for the outcome of a push.
pub(crate) fn outcome(
    service: &Service,
    connection: &Connection,
    body: &Value,
) -> Result<Response, NoAnswer> {
    let bad = |_| Refusal::new(Status::BAD_REQUEST, "the request for an outcome is not understood");
    let request = OutcomeRequest::from_json(body).map_err(bad)?;
    let has_gone = || hangup::has_gone(connection.stream().as_fd(), Watch::Silence).unwrap_or(true);
    match service.transfers.outcomes.answer(&request, &has_gone) {
        Some(state) => Ok(respond(Status::OK, &state.to_json())),
        None => {
            let words = "no such push is under way, or has ended in the last minute";
            Err(Refusal::new(Status::NOT_FOUND, words).into())
        }
    }
}

/// A request for a push that the server takes, and over how many streams it may go.
struct Asked<'a> {
    service: &'a Service,
    uploads: &'a Uploads,
    connection: &'a Connection,
    path: &'a [u8],
    request: &'a PushRequest,
    streams: u8,
}

impl<'a> Asked<'a> {
    fn begin_file(&self, file: &PushedFile) -> Result<PushOffer, NoAnswer> {
        let Asked { service, uploads, connection, path, request, .. } = *self;
        let target = uploads.file_target(path, file)?;
        if !file.restart && target.is_up_to_date(file) {
            return Ok(PushOffer::UpToDate);
        }
        file.known.map_or(Ok(()), |known| uploads.check_size(known.size))?;
        make_way(service, &target.key)?;
        let entry = service.table.admit(connection.peer().ip(), Instant::now())?;
        let (key, earlier) = (target.key.clone(), self.earlier(&target.key));
        let prepared = uploads.prepare_file(target, path, file, request.sync)?;
        let resumed = prepared.resumed;
        let landing = uploads.landing().clone();
        let content = Content::File(Box::new(FilePush { prepared, file: file.clone(), landing }));
        let wanted = self.wanted(key, earlier, content);
        let session = service.transfers.offer_push(connection, entry, uploads, wanted)?;
        Ok(PushOffer::Session(PushSession { resumed, ..session }))
    }

    fn begin_folder(&self, folder: &PushedFolder) -> Result<PushSession, NoAnswer> {
        let Asked { service, uploads, connection, path, .. } = *self;
        let forbidden = |words| Err(Refusal::new(Status::FORBIDDEN, words).into());
        let (options, rules) = (&folder.options, uploads.rules());
        if options.owner && !rules.allow_owner {
            return forbidden("this server sets no owners: it was started without --allow-owner");
        }
        if options.delete != Delete::Nothing && !rules.allow_delete {
            return forbidden("this server deletes nothing: it was started without --allow-delete");
        }
        let target = uploads.folder_target(path)?;
        make_way(service, &target.key)?;
        let entry = service.table.admit(connection.peer().ip(), Instant::now())?;
        // A dry run changes nothing, so the last session counts everything anew.
        let earlier = self.earlier(&target.key).filter(|_| !options.dry_run);
        let key = target.key.clone();
        let prepared = uploads.prepare_folder(target, options.dry_run)?;
        let content = Content::Folder(Box::new(TreePush { prepared, folder: folder.clone() }));
        let files = earlier.as_ref().map(|earlier| earlier.tree.files);
        let wanted = self.wanted(key, earlier, content);
        let session = service.transfers.offer_push(connection, entry, uploads, wanted)?;
        Ok(PushSession { files, ..session })
    }

    /// What came of the session before, if this one goes on with its push.
    fn earlier(&self, key: &Key) -> Option<Outcome> {
        self.service.transfers.outcomes.of_lost(self.request.previous.as_ref()?, key)
    }

    fn wanted(&self, key: Key, earlier: Option<Outcome>, content: Content) -> Wanted<'a> {
        let Asked { path, streams, request, .. } = *self;
        let (grows, sync) = (request.most_streams.is_some(), request.sync);
        Wanted { key, path, streams, grows, sync, earlier, content }
    }
}

/// Ends the session that writes this, if its client has gone.
///
/// # Errors
/// 409 where its client is there; 503 where the session does not end.
fn make_way(service: &Service, key: &Key) -> Result<(), Refusal> {
    let transfers = &service.transfers;
    let Some(token) = transfers.outcomes.writer_of(key) else { return Ok(()) };
    if transfers.end_push(&token, Ends::WithoutClient) {
        return Ok(());
    }
    match transfers.outcomes.writer_of(key) {
        Some(_) => Err(Refusal::new(Status::CONFLICT, BUSY)),
        None => Err(no_room()),
    }
}
