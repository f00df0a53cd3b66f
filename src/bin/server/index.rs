//! The index of a folder: for browsers an HTML page, for programs that ask for it JSON.
//! Only with `--index`. What may be seen of a folder is `index/listing.rs`'s business,
//! how it looks that of `index/page.rs`.

#![forbid(unsafe_code)]

mod listing;
mod page;

pub(crate) use page::Page;

use crate::conditions::{Validators, Verdict};
use crate::files::{Download, Payload};
use crate::requests::{Answer, NoAnswer, begin, unavailable};
use crate::target::{self, Folder};
use listing::Listing;
use page::Form;
use ropewalk::codec::accept;
use ropewalk::codec::etag::EntityTag;
use ropewalk::codec::http::{Headers, Method, Refusal, RequestHead, Response, Status};
use ropewalk::codec::percent;

/// The answer to a GET or a HEAD of a folder.
pub(crate) fn answer(head: &RequestHead, folder: &Folder<'_>) -> Result<Answer, NoAnswer> {
    if !folder.path().ends_with(b"/") {
        // The links in the page would lead elsewhere.
        let location = with_slash(&head.target)?;
        let response = begin(Status::MOVED_PERMANENTLY)
            .field("Location", location)
            .field("Cache-Control", "no-cache"); // it may be a file tomorrow
        return Ok(Answer::Message(response));
    }
    let form = form(&head.headers);
    let listing = Listing::of(folder).map_err(|error| unavailable(&error))?;
    let page = Page::new(form, listing, folder.path());
    let tag = EntityTag::strong(page.tag())
        .ok_or(Refusal::new(Status::INTERNAL_SERVER_ERROR, "no entity tag"))?;
    // The folder's own date does not tell when a file in it was written to.
    let validators = Validators { tag, modified: None, date: None, size: page.length() };
    match validators.judge(&head.headers, false) {
        Verdict::Failed => {
            Err(Refusal::new(Status::PRECONDITION_FAILED, "the folder is another one now").into())
        }
        Verdict::NotModified => {
            Ok(Answer::Message(describe(begin(Status::NOT_MODIFIED), &validators)))
        }
        Verdict::Send(_) => {
            let response = describe(begin(Status::OK), &validators)
                .field("Content-Type", form.content_type())
                .field("X-Content-Type-Options", "nosniff")
                .field("Content-Security-Policy", page::security_policy())
                .length(page.length());
            Ok(match head.method {
                Method::Get => {
                    let (body, path) = (Payload::Index(page), folder.path().to_vec());
                    Answer::File(Box::new(Download { response, body, path }))
                }
                _ => Answer::Message(response),
            })
        }
    }
}

/// Adds the fields by which a client recognises the index later. It may keep it, but
/// has to ask each time whether it is still right.
fn describe(response: Response, validators: &Validators) -> Response {
    response
        .field("ETag", validators.tag.to_string())
        .field("Cache-Control", "no-cache")
        .field("Vary", "Accept")
}

/// In which form the client wants an index: JSON only if it wants that more.
fn form(fields: &Headers) -> Form {
    let Some(accept) = fields.joined("Accept") else { return Form::Html };
    let (json, html) = (accept::weight(&accept, Form::Json.media_type()), Form::Html.media_type());
    match json.is_acceptable() && json > accept::weight(&accept, html) {
        true => Form::Json,
        false => Form::Html,
    }
}

/// Where the folder is that this target names without a slash at its end: a reference
/// of one segment, relative to the target itself, so it cannot lead to another host.
fn with_slash(target: &[u8]) -> Result<String, Refusal> {
    let path = target::without_query(target);
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    // Decoded and encoded again, since what comes may have any bytes in it.
    Ok(percent::encode_segment(&target::decode(last)?) + "/")
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
    fn json_is_for_those_who_want_it_more_than_html() {
        for (accept, expected) in [
            (&[][..], Form::Html),
            (&["*/*"], Form::Html),
            (&["application/json"], Form::Json),
            (&["text/html;q=0.9", "application/json"], Form::Json),
            (&["application/json;q=0.8", "text/html;q=0.9"], Form::Html),
            (&["application/json;q=0"], Form::Html),
            (&["image/png"], Form::Html),
        ] {
            assert_eq!(form_of(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_redirection_stays_on_its_host() {
        for (target, expected) in [
            ("/sub", "sub/"),
            ("/a/b%20c?x=/y", "b%20c/"),
            ("//host/sub", "sub/"),
            ("//host", "host/"),
            ("/%2F%2Fhost", "%2F%2Fhost/"),
            ("/\\host", "%5Chost/"),
            ("/x:y", "x%3Ay/"),
            ("http://host/sub", "sub/"),
            ("/a b\"<", "a%20b%22%3C/"),
            ("/a/..", "../"),
        ] {
            assert_eq!(with_slash(target.as_bytes()).unwrap(), expected, "{target}");
        }
    }
}
