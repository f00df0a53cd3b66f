//! An index as bytes, in each of its forms. An index is never in memory as a whole: it is
//! written twice, first only to learn its length and tag. An index with too many entries for
//! memory is written once, while its entries are read.

#![forbid(unsafe_code)]

use super::folder_page::{self, Extras};
use super::frame::{self, PLAIN_STYLE};
use super::listing::{Entry, Kind, Listing, View};
use crate::sending::Sending;
use crate::target::Folder;
use ropewalk::codec::http::{Response, Version};
use ropewalk::codec::json::Value;
use ropewalk::codec::text::escape;
use ropewalk::codec::{date, html, percent};
use ropewalk::hash::{Sha256, hex};
use std::io::{self, Write};

/// The bytes that are sent at once.
const PIECE_SIZE: usize = 16 << 10;

/// The bytes of the SHA-256 in an entity tag; a file's tag has as many.
const TAG_BYTES: usize = 16;

/// The form of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A page for people.
    Browser,
    /// HTML for programs that follow links. It has the links of all entries, and no others.
    Plain,
    /// JSON for programs: ropewalk-server(1), INDEX.
    Json,
}

impl Form {
    /// The media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::Browser | Form::Plain => "text/html",
            Form::Json => "application/json",
        }
    }

    /// The value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Browser | Form::Plain => frame::CONTENT_TYPE,
            Form::Json => "application/json",
        }
    }
}

/// How the end of an index is marked.
#[derive(Debug)]
enum Framing {
    /// The length is known, in bytes.
    Length(u64),
    /// The folder is read while the index is sent, in chunks (RFC 9112, section 7.1).
    Chunks(Folder),
    /// The folder is read while the index is sent, until the connection ends.
    UntilClose(Folder),
}

/// An index that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Page {
    form: Form,
    /// The entries that the request asks for.
    view: View,
    /// The first of these entries; all of them if the length is known.
    listing: Listing,
    /// The folder's path, as the client named it.
    path: Vec<u8>,
    extras: Extras,
    framing: Framing,
    tag: Option<String>,
}

impl Page {
    /// An index of these entries.
    pub(super) fn new(
        form: Form,
        view: View,
        listing: Listing,
        path: &[u8],
        extras: Extras,
    ) -> Page {
        let (path, framing) = (path.to_vec(), Framing::Length(0));
        let mut page = Page { form, view, listing, path, extras, framing, tag: None };
        let mut measure = Measure { length: 0, hash: Sha256::new() };
        if page.write(&mut measure).is_ok() {
            page.framing = Framing::Length(measure.length);
            page.tag = Some(hex(&measure.hash.finish()[..TAG_BYTES]));
        }
        page
    }

    /// An index of these entries and of all behind them, which are read from the folder while
    /// the index is sent. It is sent in chunks, except to a client of HTTP/1.0.
    pub(super) fn streamed(
        form: Form,
        view: View,
        listing: Listing,
        folder: Folder,
        version: Version,
    ) -> Page {
        let path = folder.path().to_vec();
        let framing = match version {
            Version::Http10 => Framing::UntilClose(folder),
            Version::Http11 => Framing::Chunks(folder),
        };
        Page { form, view, listing, path, extras: Extras::default(), framing, tag: None }
    }

    /// The length in bytes, if it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunks(_) | Framing::UntilClose(_) => None,
        }
    }

    /// Whether it has a field for files that are put into the folder.
    pub(super) fn takes_files(&self) -> bool {
        self.extras.takes_files
    }

    /// The entity tag; `None` if entries are still to be read.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Adds the field by which the client finds the end.
    pub(super) fn announce(&self, response: Response) -> Response {
        match self.framing {
            Framing::Length(length) => response.length(length),
            Framing::Chunks(_) => response.chunked(),
            Framing::UntilClose(_) => response.until_close(),
        }
    }

    /// Sends it.
    ///
    /// # Errors
    /// A folder cannot be read, or a write failed.
    pub(crate) fn send(&self, out: &mut Sending<'_>) -> io::Result<()> {
        let chunks = matches!(self.framing, Framing::Chunks(_));
        let mut pieces = Pieces { out, chunks, pending: Vec::new() };
        self.write(&mut pieces)?;
        pieces.finish()
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self.form {
            Form::Browser => {
                folder_page::write(out, &self.path, &self.view, &self.listing, &self.extras)
            }
            Form::Plain => self.write_plain(out),
            Form::Json => self.write_json(out),
        }
    }

    /// Writes every entry, also those that are still to be read.
    fn write_entries(&self, mut write: impl FnMut(&Entry) -> io::Result<()>) -> io::Result<()> {
        self.listing.entries.iter().try_for_each(&mut write)?;
        let (Framing::Chunks(folder) | Framing::UntilClose(folder)) = &self.framing else {
            return Ok(());
        };
        let (mut more, mut last) = (self.listing.more, self.listing.entries.last().cloned());
        while more {
            let view = View { after: last, ..self.view.clone() };
            let listing = Listing::read(folder, &view, None)?;
            listing.entries.iter().try_for_each(&mut write)?;
            (more, last) = (listing.more, listing.entries.last().cloned());
        }
        Ok(())
    }

    fn write_plain(&self, out: &mut impl Write) -> io::Result<()> {
        let path = html::escape(&escape(&self.path));
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{path}</title>\n<style>{PLAIN_STYLE}</style>\n</head>\n<body>\n<h1>{path}</h1>\n\
             <table>\n<tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr>\n"
        )?;
        if self.listing.has_parent {
            out.write_all(b"<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n")?;
        }
        self.write_entries(|entry| {
            let (end, size) = match entry.kind {
                Kind::Folder => ("/", String::new()),
                Kind::File(size) => ("", folder_page::size_in_words(size)),
            };
            let (link, name) = (link(entry), html::escape(&escape(&entry.name)));
            let modified = u64::try_from(entry.modified).map_or(String::new(), date::format_short);
            writeln!(
                out,
                "<tr><td><a href=\"{link}\">{name}{end}</a></td><td>{size}</td>\
                 <td>{modified}</td></tr>"
            )
        })?;
        out.write_all(b"</table>\n")?;
        out.write_all(b"</body>\n</html>\n")
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{\"entries\":[")?;
        let mut separator = "";
        self.write_entries(|entry| {
            let kind = match entry.kind {
                Kind::Folder => "folder",
                Kind::File(_) => "file",
            };
            let mut members = vec![
                ("name", String::from_utf8_lossy(&entry.name).into_owned().into()),
                ("path", link(entry).into()),
                ("type", kind.into()),
            ];
            if let Kind::File(size) = entry.kind {
                members.push(("size", Value::from_u64(size)));
            }
            members.push(("mtime", Value::Integer(entry.modified)));
            write!(out, "{separator}\n{}", Value::object(members))?;
            separator = ",";
            Ok(())
        })?;
        // Always true. Programs may look at it, since older servers left entries out.
        out.write_all(b"\n],\"complete\":true}\n")
    }
}

/// The entry's link, relative to the folder.
fn link(entry: &Entry) -> String {
    let name = percent::encode_segment(&entry.name);
    match entry.kind {
        Kind::Folder => name + "/",
        Kind::File(_) => name,
    }
}

/// Measures the length and the digest of the bytes written to it.
struct Measure {
    length: u64,
    hash: Sha256,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends in pieces what is written to it.
struct Pieces<'a, 'b> {
    out: &'a mut Sending<'b>,
    /// Whether each piece is a chunk.
    chunks: bool,
    pending: Vec<u8>,
}

impl Pieces<'_, '_> {
    /// Sends what is left, and says that this is all.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        match self.chunks {
            true => self.out.frame(b"0\r\n\r\n"),
            false => Ok(()),
        }
    }
}

impl Write for Pieces<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE_SIZE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(()); // an empty chunk would be the last one
        }
        self.out.wait(self.pending.len() as u64);
        if self.chunks {
            self.out.frame(format!("{:x}\r\n", self.pending.len()).as_bytes())?;
        }
        self.out.push(&self.pending)?;
        if self.chunks {
            self.out.frame(b"\r\n")?;
        }
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::Key;
    use super::*;
    use ropewalk::codec::json;

    fn page(form: Form, entries: Vec<Entry>, more: bool, has_parent: bool) -> String {
        let listing = Listing { entries, more, has_parent, ..Listing::default() };
        let page =
            Page::new(form, View::all(Key::Name), listing, b"/<a>/\xff&/", Extras::default());
        let mut bytes = Vec::new();
        page.write(&mut bytes).unwrap();
        assert_eq!(page.length(), Some(bytes.len() as u64));
        String::from_utf8(bytes).unwrap()
    }

    fn file(name: &[u8], size: u64, modified: i64) -> Entry {
        Entry { name: name.to_vec(), kind: Kind::File(size), modified }
    }

    #[test]
    fn a_name_is_only_text_in_an_index() {
        let names: [(&[u8], &str); 5] = [
            (b"<script>\"'&", "%3Cscript%3E%22%27%26\">&lt;script&gt;&quot;&#39;&amp;</a>"),
            (b"javascript:x", "javascript%3Ax\">javascript:x</a>"),
            (b"a#b?c%d", "a%23b%3Fc%25d\">a#b?c%d</a>"),
            (b"\xff\n\\", "%FF%0A%5C\">\\xff\\x0a\\\\</a>"),
            ("\u{202e}ä".as_bytes(), "%E2%80%AE%C3%A4\">\\xe2\\x80\\xaeä</a>"),
        ];
        for (name, expected) in names {
            let text = page(Form::Plain, vec![file(name, 0, 0)], false, false);
            assert!(text.contains(&format!("<a href=\"{expected}")), "{expected}: {text}");
            assert_eq!(text.matches("<script").count(), 0);
        }
        let text = page(Form::Plain, vec![], false, false);
        assert!(text.contains("<title>/&lt;a&gt;/\\xff&amp;/</title>"), "{text}");
    }

    #[test]
    fn an_index_shows_sizes_dates_and_the_folder_above() {
        let folder = Entry { name: b"sub".to_vec(), kind: Kind::Folder, modified: -1 };
        let text = page(Form::Plain, vec![folder, file(b"a", 1536, 784_111_777)], false, true);
        assert!(text.contains("<a href=\"sub/\">sub/</a></td><td></td><td></td>"), "{text}");
        assert!(text.contains("<td>1.5 KiB</td><td>1994-11-06 08:49</td>"), "{text}");
        assert!(text.contains("<a href=\"../\">"), "{text}");
        let text = page(Form::Plain, vec![], false, false);
        assert!(!text.contains("../"), "{text}");
    }

    #[test]
    fn json_has_exact_names_and_sizes() {
        let folder = Entry { name: b"sub".to_vec(), kind: Kind::Folder, modified: -1 };
        let entries = vec![folder, file(b"a\xff \"", u64::MAX, 7)];
        let value = json::parse(page(Form::Json, entries, true, true).as_bytes()).unwrap();
        assert_eq!(
            value.to_string(),
            "{\"entries\":[{\"name\":\"sub\",\"path\":\"sub/\",\"type\":\"folder\",\"mtime\":-1},\
             {\"name\":\"a\u{fffd} \\\"\",\"path\":\"a%FF%20%22\",\"type\":\"file\",\
             \"size\":9223372036854775807,\"mtime\":7}],\"complete\":true}"
        );
        let none = page(Form::Json, vec![], true, true);
        assert_eq!(
            json::parse(none.as_bytes()).unwrap().get("entries").unwrap().as_array(),
            Some(&[][..])
        );
    }

    #[test]
    fn two_indexes_have_different_tags() {
        let tag = |form, size| {
            let listing = Listing { entries: vec![file(b"a", size, 0)], ..Listing::default() };
            let page = Page::new(form, View::all(Key::Name), listing, b"/", Extras::default());
            page.tag().unwrap().to_string()
        };
        assert_eq!(tag(Form::Json, 1), tag(Form::Json, 1));
        assert_ne!(tag(Form::Json, 1), tag(Form::Json, 2));
        assert_ne!(tag(Form::Json, 1), tag(Form::Plain, 1));
    }
}
