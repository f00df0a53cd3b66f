//! `--index`: the index of a folder, as pages for people, or with all entries as HTML or JSON
//! for programs. `index/listing.rs` reads the entries of a folder that a client may see,
//! `index/query.rs` reads which of them a request asks for, and `index/page.rs` sends them.

#![forbid(unsafe_code)]

mod command;
mod file_page;
mod folder_page;
mod frame;
mod listing;
pub(crate) mod page;
mod query;

pub(crate) use query::asks_for;

use crate::answer::{NoAnswer, begin, unavailable};
use crate::conditions::{Validators, Verdict};
use crate::connections::Connection;
use crate::download::{Answer, Download, Payload};
use crate::target::{self, Folder};
use folder_page::Extras;
use listing::{Key, Listing, View};
use page::{Form, Page};
use ropewalk::codec::etag::EntityTag;
use ropewalk::codec::http::{Headers, Method, Refusal, RequestHead, Response, Status};
use ropewalk::codec::{accept, json};
use ropewalk::transfer::source::identity;
use std::net::SocketAddr;

/// The path of the rules for robots (RFC 9309).
pub(crate) const ROBOTS_PATH: &[u8] = b"/robots.txt";

/// The rules for robots where there is no such file. They forbid queries, which only show
/// the same folder in another order. They forbid no more, since `wget -m` obeys them too.
const ROBOTS: &str = "User-agent: *\nDisallow: /*?\n";

/// The answer to a GET or a HEAD of [`ROBOTS_PATH`].
pub(crate) fn robots() -> Response {
    begin(Status::OK).body("text/plain", ROBOTS)
}

/// The page of one file, with the command that fetches it.
pub(crate) fn file_page(
    connection: &Connection,
    head: &RequestHead,
    path: &[u8],
    version: &identity::Version,
) -> Result<Response, NoAnswer> {
    let url = command::url(head, local(connection)?)?;
    let page = file_page::page(path, &url, version).map_err(|error| unavailable(&error))?;
    let response = begin(Status::OK).field("Cache-Control", "no-cache");
    Ok(frame::describe(response, false).body(frame::CONTENT_TYPE, page))
}

/// Turns an error into a page, if the client is a browser.
pub(crate) fn for_people(head: &RequestHead, response: Response) -> Response {
    let asked = matches!(head.method, Method::Get | Method::Head);
    if response.status().code() < 400 || !asked || form(&head.headers) != Form::Browser {
        return response;
    }
    let reason = json::parse(response.body_bytes()).ok();
    let reason = reason.as_ref().and_then(|body| body.get("error")?.as_str());
    let Ok(page) = frame::error_page(response.status(), reason.unwrap_or_default()) else {
        return response;
    };
    let fields = response.headers().iter().filter(|(name, _)| *name != b"Content-Type");
    let page_response = fields.fold(Response::new(response.status()), |page, (name, value)| {
        page.field(&String::from_utf8_lossy(name), value)
    });
    frame::describe(page_response, false).field("Vary", "Accept").body(frame::CONTENT_TYPE, page)
}

/// The server's own address, as the client reached it.
fn local(connection: &Connection) -> Result<SocketAddr, Refusal> {
    let local = connection.stream().local_addr().map_err(|error| unavailable(&error))?;
    Ok(SocketAddr::new(local.ip().to_canonical(), local.port()))
}

/// The answer to a GET or a HEAD of a folder, which a client may put files into or not.
pub(crate) fn answer(
    connection: &Connection,
    head: &RequestHead,
    folder: Folder,
    takes_files: bool,
) -> Result<Answer, NoAnswer> {
    if !folder.path().ends_with(b"/") {
        // Without the slash the links in the page would lead elsewhere. `Location` is an
        // absolute path, which every client understands, BusyBox's wget too.
        let response = begin(Status::MOVED_PERMANENTLY)
            .field("Location", target::reference(&head.target)? + "/")
            .field("Cache-Control", "no-cache"); // the name may become that of a file
        return Ok(Answer::Message(response));
    }
    let path = folder.path().to_vec();
    let (form, page) = page(connection, head, folder, takes_files)?;
    let begin = |status| describe(begin(status), page.tag());
    let not_modified = || Ok(Answer::Message(begin(Status::NOT_MODIFIED)));
    match page.tag().map(|tag| judge(head, tag, &page)).transpose()? {
        Some(Verdict::Failed) => {
            let words = "the folder has changed";
            return Err(Refusal::new(Status::PRECONDITION_FAILED, words).into());
        }
        Some(Verdict::NotModified) => return not_modified(),
        Some(Verdict::Send(_)) | None => {}
    }
    let response = begin(Status::OK).field("Content-Type", form.content_type());
    let response = page.announce(frame::describe(response, page.takes_files()));
    Ok(match head.method {
        Method::Get => Answer::File(Box::new(Download {
            response,
            body: Payload::Index(Box::new(page)),
            path,
        })),
        _ => Answer::Message(response),
    })
}

/// The index in the form that the client wants. A browser gets the first entries, a program
/// all of them.
fn page(
    connection: &Connection,
    head: &RequestHead,
    folder: Folder,
    takes_files: bool,
) -> Result<(Form, Page), Refusal> {
    let form = form(&head.headers);
    let (view, limit) = match form {
        Form::Browser => (query::view(&head.target), Some(listing::MAX_ENTRIES)),
        Form::Plain => (View::all(Key::Name), None),
        Form::Json => (View::all(Key::Bytes), None),
    };
    let listing = Listing::read(&folder, &view, limit).map_err(|error| unavailable(&error))?;
    let page = match form {
        Form::Plain | Form::Json if listing.more => {
            Page::streamed(form, view, listing, folder, head.version)
        }
        Form::Browser => {
            let url = command::url(head, local(connection)?)?;
            let command = command::beginning(&url);
            Page::new(form, view, listing, folder.path(), Extras { command, takes_files })
        }
        _ => Page::new(form, view, listing, folder.path(), Extras::default()),
    };
    Ok((form, page))
}

/// Judges the request's conditions for a page with this tag.
fn judge(head: &RequestHead, tag: &str, page: &Page) -> Result<Verdict, Refusal> {
    let tag = EntityTag::strong(tag)
        .ok_or(Refusal::new(Status::INTERNAL_SERVER_ERROR, "no entity tag"))?;
    // No date, since a folder's own date does not change when a file in it is written to.
    let size = page.length().unwrap_or(0);
    let validators = Validators { tag, modified: None, date: None, size };
    Ok(validators.judge(&head.headers, false))
}

/// Adds the fields by which a client recognises the index later. A client may keep the
/// index, but has to ask each time whether it has changed.
fn describe(response: Response, tag: Option<&str>) -> Response {
    let response = response.field("Cache-Control", "no-cache").field("Vary", "Accept");
    match tag.and_then(EntityTag::strong) {
        Some(tag) => response.field("ETag", tag.to_string()),
        None => response,
    }
}

/// The form in which the client wants an index: JSON only if it prefers that to HTML, and
/// the page for people only if it names HTML, as browsers do.
fn form(fields: &Headers) -> Form {
    let Some(accept) = fields.joined("Accept") else { return Form::Plain };
    let (json, html) = (accept::weight(&accept, Form::Json.media_type()), Form::Plain.media_type());
    match accept::weight(&accept, html) {
        html if json.is_acceptable() && json > html => Form::Json,
        html if html.is_named() => Form::Browser,
        _ => Form::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(accept: &[&str]) -> Form {
        let mut headers = Headers::new();
        accept.iter().for_each(|value| headers.push("Accept", *value));
        form(&headers)
    }

    #[test]
    fn accept_decides_the_form() {
        for (accept, expected) in [
            (&[][..], Form::Plain),
            (&["*/*"], Form::Plain),
            (&["text/*"], Form::Plain),
            (&["application/json"], Form::Json),
            (&["text/html;q=0.9", "application/json"], Form::Json),
            (&["application/json;q=0.8", "text/html;q=0.9"], Form::Browser),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Form::Browser),
            (&["text/html;q=0", "*/*"], Form::Json),
            (&["application/json;q=0"], Form::Plain),
            (&["image/png"], Form::Plain),
        ] {
            assert_eq!(form_of(accept), expected, "{accept:?}");
        }
    }
}
