//! How an upload gets its name: what may be replaced, by the conditions of its request, and what
//! the client hears.

#![forbid(unsafe_code)]

use super::file::{Incoming, Unwritten};
use crate::answer::{begin, unavailable};
use crate::conditions::{Current, Validators, allow_change, wants_new};
use ropewalk::codec::http::{Headers, Refusal, Response, Status};
use ropewalk::sys::beneath::Place;
use ropewalk::sys::dir::{Kind, Status as Found};
use ropewalk::sys::volume;
use ropewalk::transfer::source::identity::Identity;
use std::io;

/// A file that has its name.
pub(super) struct Landed {
    /// Whether something had the name before.
    replaced: bool,
    /// The file's entity tag, if it is known.
    tag: Option<String>,
}

impl Landed {
    /// The answer to its request.
    pub(super) fn response(self) -> Response {
        let response = begin(if self.replaced { Status::NO_CONTENT } else { Status::CREATED });
        match self.tag {
            Some(tag) => response.field("ETag", tag),
            None => response,
        }
    }
}

/// Gives the whole file its mode, and waits until it is on the disk.
///
/// # Errors
/// As of [`judge`]; 507 and 500 where the disk does not take it.
pub(super) fn complete(incoming: &Incoming<'_>, fields: &Headers) -> Result<(), Refusal> {
    let old = judge(incoming.place(), fields)?;
    let old_mode = old.filter(|old| old.kind == Kind::File).map(|old| old.mode);
    incoming.complete(old_mode).map_err(refusal)
}

/// Gives the file its name, if the conditions of its request still hold.
///
/// # Errors
/// As of [`judge`]; 403 and 500 where the system refuses the rename.
pub(super) fn rename(incoming: &mut Incoming<'_>, fields: &Headers) -> Result<Landed, Refusal> {
    let replaced = judge(incoming.place(), fields)?.is_some();
    incoming.land(wants_new(fields)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => changed(),
        _ => refusal(error.into()),
    })?;
    // Only now, since a rename changes the ctime, which is a part of the tag.
    let found = incoming.file().metadata().ok();
    let tag = found.map(|found| Identity::of(incoming.file(), &found).etag_field());
    Ok(Landed { replaced, tag })
}

/// Waits until the name is on the disk.
///
/// # Errors
/// 500.
pub(super) fn sync_name(incoming: &Incoming<'_>) -> Result<(), Refusal> {
    incoming.sync_name().map_err(|error| {
        let words = "the file is in place, but its name may not survive a power cut";
        Refusal::new(Status::INTERNAL_SERVER_ERROR, words).because(error.raw_os_error())
    })
}

/// Looks at what has the name now. The answer is what an upload would replace; `None` for nothing.
///
/// # Errors
/// 409 for what is never replaced; 412 where the request's conditions do not hold.
pub(super) fn judge(place: &Place, fields: &Headers) -> Result<Option<Found>, Refusal> {
    let Place { folder, name } = place;
    let in_the_way = |words| Err(Refusal::new(Status::CONFLICT, words));
    let found = match folder.status_of(name) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
            return Err(Refusal::new(Status::BAD_REQUEST, "the name is too long"));
        }
        Err(error) => return Err(refusal(error.into())),
    };
    let current = match found {
        None => Current::Missing,
        Some(found) => match found.kind {
            Kind::Folder => return in_the_way("a folder has this name"),
            Kind::Special => return in_the_way("a device, a FIFO or a socket has this name"),
            _ if folder.is_mount_point(name) => return in_the_way("a mount point has this name"),
            Kind::File if folder.may_read(name, false) => Current::File(validators(place, &found)?),
            Kind::File | Kind::Link => Current::Other,
        },
    };
    match allow_change(fields, &current) {
        true => Ok(found),
        false => Err(changed()),
    }
}

/// What conditions about a file are compared with: the same as in a GET.
fn validators(place: &Place, found: &Found) -> Result<Validators, Refusal> {
    // Not on another mount: that would be a mount point.
    let keeps_inode = volume::keeps_inodes(&place.folder);
    Validators::of(&Identity::of_status(found, keeps_inode))
}

fn changed() -> Refusal {
    Refusal::new(Status::PRECONDITION_FAILED, "there is another file, or none, under this name")
}

/// The refusal of a file that cannot be written.
pub(crate) fn refusal(why: Unwritten) -> Refusal {
    match why {
        Unwritten::Full(cause) => {
            let words = "the server has too little free space for this file";
            Refusal::new(Status::INSUFFICIENT_STORAGE, words).because(cause)
        }
        Unwritten::TooLong => {
            Refusal::new(Status::CONTENT_TOO_LARGE, "no file can be so large on the server")
        }
        Unwritten::System(error) => match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => unavailable(&error),
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
                let words = "the server may not write there";
                Refusal::new(Status::FORBIDDEN, words).because(error.raw_os_error())
            }
            Some(libc::EISDIR | libc::ENOTEMPTY | libc::EBUSY) => {
                let words = "what has this name cannot be replaced";
                Refusal::new(Status::CONFLICT, words).because(error.raw_os_error())
            }
            cause => {
                let words = "the server cannot write the file";
                Refusal::new(Status::INTERNAL_SERVER_ERROR, words).because(cause)
            }
        },
    }
}
