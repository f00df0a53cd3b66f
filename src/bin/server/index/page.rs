//! An index as bytes, in either of its forms. It is written twice, first only to learn
//! its length and its tag, so that no folder's page is ever in memory as a whole.

#![forbid(unsafe_code)]

use super::listing::{Entry, Kind, Listing};
use crate::body::{Sent, stalled_or_broken};
use crate::shares::DownloadShare;
use ropewalk::codec::json::Value;
use ropewalk::codec::text::escape;
use ropewalk::codec::{base64, date, html, percent};
use ropewalk::hash::{Sha256, hex};
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes that are sent at once.
const PIECE_SIZE: usize = 16 << 10;

/// Bytes of the SHA-256 that an entity tag keeps: as many as that of a file.
const TAG_BYTES: usize = 16;

/// How the page looks.
const STYLE: &str = "body{font-family:sans-serif;margin:2em}\
    th,td{text-align:left;padding:.15em 1.5em .15em 0}\
    td+td,th+th{text-align:right;white-space:nowrap}\
    td:first-child{overflow-wrap:anywhere}";

/// In which form an index goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For browsers.
    Html,
    /// For programs: README, "Folders".
    Json,
}

impl Form {
    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::Html => "text/html",
            Form::Json => "application/json",
        }
    }

    /// The value of `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/json",
        }
    }
}

/// What a page may do: nothing but look as [`STYLE`] says, so no name in it can do
/// anything, whatever a browser makes of it.
pub(super) fn security_policy() -> String {
    let mut style = Sha256::new();
    style.update(STYLE.as_bytes());
    let style = base64::encode(&style.finish());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// An index that is ready to go out.
#[derive(Debug)]
pub(crate) struct Page {
    form: Form,
    listing: Listing,
    /// The folder's path, as the client named it.
    path: Vec<u8>,
    length: u64,
    tag: String,
}

impl Page {
    /// The index of the folder that the client calls `path`.
    pub(super) fn new(form: Form, listing: Listing, path: &[u8]) -> Page {
        let mut page = Page { form, listing, path: path.to_vec(), length: 0, tag: String::new() };
        let mut measure = Measure { length: 0, hash: Sha256::new() };
        if page.write(&mut measure).is_ok() {
            let digest = measure.hash.finish();
            (page.length, page.tag) = (measure.length, hex(&digest[..TAG_BYTES]));
        }
        page
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What only this page has, for an entity tag.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// Sends it; gives up when the client takes nothing for `stall`. No faster than
    /// its share allows.
    pub(crate) fn send(
        &self,
        stream: &TcpStream,
        stall: Duration,
        share: Option<&DownloadShare>,
    ) -> Sent {
        let mut outlet = Outlet { stream, share, pending: Vec::new(), bytes: 0 };
        let sent = stream
            .set_write_timeout(Some(stall))
            .and_then(|()| self.write(&mut outlet))
            .and_then(|()| outlet.flush());
        Sent { bytes: outlet.bytes, broken: sent.err().map(|e| stalled_or_broken(&e, stall)) }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self.form {
            Form::Html => self.write_html(out),
            Form::Json => self.write_json(out),
        }
    }

    fn write_html(&self, out: &mut impl Write) -> io::Result<()> {
        let path = html::escape(&escape(&self.path));
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{path}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{path}</h1>\n\
             <table>\n<tr><th>Name</th><th>Size</th><th>Modified (UTC)</th></tr>\n"
        )?;
        if self.listing.has_parent {
            out.write_all(b"<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n")?;
        }
        for entry in &self.listing.entries {
            let (end, size) = match entry.kind {
                Kind::Folder => ("/", String::new()),
                Kind::File(size) => ("", size_in_words(size)),
            };
            let (link, name) = (link(entry), html::escape(&escape(&entry.name)));
            let modified = u64::try_from(entry.modified).map_or(String::new(), date::format_short);
            writeln!(
                out,
                "<tr><td><a href=\"{link}\">{name}{end}</a></td><td>{size}</td>\
                 <td>{modified}</td></tr>"
            )?;
        }
        out.write_all(b"</table>\n")?;
        if !self.listing.complete {
            let count = self.listing.entries.len();
            writeln!(out, "<p>There is more: only {count} of the entries are shown.</p>")?;
        }
        out.write_all(b"</body>\n</html>\n")
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{\"entries\":[")?;
        for (index, entry) in self.listing.entries.iter().enumerate() {
            let kind = match entry.kind {
                Kind::Folder => "folder",
                Kind::File(_) => "file",
            };
            let mut members = vec![
                ("name".to_string(), String::from_utf8_lossy(&entry.name).into_owned().into()),
                ("path".to_string(), link(entry).into()),
                ("type".to_string(), kind.into()),
            ];
            if let Kind::File(size) = entry.kind {
                members.push(("size".to_string(), Value::from_u64(size)));
            }
            members.push(("mtime".to_string(), Value::Integer(entry.modified)));
            let separator = if index == 0 { "" } else { "," };
            write!(out, "{separator}\n{}", Value::Object(members))?;
        }
        writeln!(out, "\n],\"complete\":{}}}", self.listing.complete)
    }
}

/// The entry's address, relative to the folder's.
fn link(entry: &Entry) -> String {
    let name = percent::encode_segment(&entry.name);
    match entry.kind {
        Kind::Folder => name + "/",
        Kind::File(_) => name,
    }
}

/// A size as people read it: at most four digits, and a unit.
fn size_in_words(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some(power) = (bytes.max(1).ilog2() / 10).checked_sub(1) else {
        return format!("{bytes} B");
    };
    let unit = units.into_iter().nth(power as usize).unwrap_or_default();
    // Tenths, cut and not rounded, so that nothing looks larger than it is.
    let tenths = (u128::from(bytes) * 10) >> (10 * (power + 1));
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Learns the length and the digest of what is written to it.
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

/// Sends what is written to it in pieces, each when its turn has come.
struct Outlet<'a> {
    stream: &'a TcpStream,
    share: Option<&'a DownloadShare>,
    pending: Vec<u8>,
    /// Bytes that the kernel took.
    bytes: u64,
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE_SIZE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(share) = self.share {
            share.take(self.pending.len() as u64);
        }
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => {
                    let count = count?;
                    self.bytes += count as u64;
                    rest = rest.get(count..).unwrap_or_default();
                }
            }
        }
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::codec::json;

    fn page(form: Form, entries: Vec<Entry>, complete: bool, has_parent: bool) -> String {
        let listing = Listing { entries, complete, has_parent };
        let page = Page::new(form, listing, b"/<a>/\xff&/");
        let mut bytes = Vec::new();
        page.write(&mut bytes).unwrap();
        assert_eq!(page.length(), bytes.len() as u64);
        String::from_utf8(bytes).unwrap()
    }

    fn file(name: &[u8], size: u64, modified: i64) -> Entry {
        Entry { name: name.to_vec(), kind: Kind::File(size), modified }
    }

    #[test]
    fn a_name_does_nothing_in_a_page() {
        let names: [(&[u8], &str); 5] = [
            (b"<script>\"'&", "%3Cscript%3E%22%27%26\">&lt;script&gt;&quot;&#39;&amp;</a>"),
            (b"javascript:x", "javascript%3Ax\">javascript:x</a>"),
            (b"a#b?c%d", "a%23b%3Fc%25d\">a#b?c%d</a>"),
            (b"\xff\n\\", "%FF%0A%5C\">\\xff\\x0a\\\\</a>"),
            ("\u{202e}ä".as_bytes(), "%E2%80%AE%C3%A4\">\\xe2\\x80\\xaeä</a>"),
        ];
        for (name, expected) in names {
            let text = page(Form::Html, vec![file(name, 0, 0)], true, false);
            assert!(text.contains(&format!("<a href=\"{expected}")), "{expected}: {text}");
            assert_eq!(text.matches("<script").count(), 0);
        }
        let text = page(Form::Html, vec![], true, false);
        assert!(text.contains("<title>/&lt;a&gt;/\\xff&amp;/</title>"), "{text}");
    }

    #[test]
    fn a_page_shows_sizes_dates_and_the_way_up() {
        let folder = Entry { name: b"sub".to_vec(), kind: Kind::Folder, modified: -1 };
        let text = page(Form::Html, vec![folder, file(b"a", 1536, 784_111_777)], true, true);
        assert!(text.contains("<a href=\"sub/\">sub/</a></td><td></td><td></td>"), "{text}");
        assert!(text.contains("<td>1.5 KiB</td><td>1994-11-06 08:49</td>"), "{text}");
        assert!(text.contains("<a href=\"../\">"), "{text}");
        assert!(!text.contains("There is more"), "{text}");
        let text = page(Form::Html, vec![], false, false);
        assert!(text.contains("There is more"), "{text}");
        assert!(!text.contains("../"), "{text}");
    }

    #[test]
    fn json_says_the_same_exactly() {
        let folder = Entry { name: b"sub".to_vec(), kind: Kind::Folder, modified: -1 };
        let entries = vec![folder, file(b"a\xff \"", u64::MAX, 7)];
        let value = json::parse(page(Form::Json, entries, false, true).as_bytes()).unwrap();
        assert_eq!(
            value.to_string(),
            "{\"entries\":[{\"name\":\"sub\",\"path\":\"sub/\",\"type\":\"folder\",\"mtime\":-1},\
             {\"name\":\"a\u{fffd} \\\"\",\"path\":\"a%FF%20%22\",\"type\":\"file\",\
             \"size\":9223372036854775807,\"mtime\":7}],\"complete\":false}"
        );
        let none = page(Form::Json, vec![], true, true);
        assert_eq!(
            json::parse(none.as_bytes()).unwrap().get("entries").unwrap().as_array(),
            Some(&[][..])
        );
    }

    #[test]
    fn a_tag_tells_one_page_from_another() {
        let tag = |form, size| {
            let listing =
                Listing { entries: vec![file(b"a", size, 0)], complete: true, has_parent: true };
            Page::new(form, listing, b"/").tag().to_string()
        };
        assert_eq!(tag(Form::Json, 1), tag(Form::Json, 1));
        assert_ne!(tag(Form::Json, 1), tag(Form::Json, 2));
        assert_ne!(tag(Form::Json, 1), tag(Form::Html, 1));
    }

    #[test]
    fn sizes_have_four_digits_at_most() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size_in_words(bytes), expected);
        }
    }
}
