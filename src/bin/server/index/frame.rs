//! The frame of all pages for people: beginning, heading, end, style, script, and the
//! security policy for browsers.

#![forbid(unsafe_code)]

use ropewalk::codec::http::{Response, Status};
use ropewalk::codec::text::escape;
use ropewalk::codec::{base64, html};
use ropewalk::hash::Sha256;
use std::io::{self, Write};

/// The style of pages for people.
const STYLE: &str = include_str!("style.css");

/// The script of pages for people, which work without it too.
const SCRIPT: &str = include_str!("script.js");

/// The script of a folder's page that takes files. Without it there is no field for them.
const UPLOAD_SCRIPT: &str = include_str!("upload.js");

/// The style of an index for programs, which a person may see too.
pub(super) const PLAIN_STYLE: &str = "body{font-family:sans-serif;margin:2em}\
    th,td{text-align:left;padding:.15em 1.5em .15em 0}\
    td+td,th+th{text-align:right;white-space:nowrap}\
    td:first-child{overflow-wrap:anywhere}";

/// The value of `Content-Type` of every page.
pub(super) const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// Adds the security fields of a page. It may use the styles and the script of this file, and
/// nothing else, so no file name in it can run, whatever a browser takes it for. A page that takes
/// files may also send them to this server.
pub(super) fn describe(response: Response, takes_files: bool) -> Response {
    let [style, plain, script] = [STYLE, PLAIN_STYLE, SCRIPT].map(source);
    let upload = match takes_files {
        true => format!(" {}; connect-src 'self'", source(UPLOAD_SCRIPT)),
        false => String::new(),
    };
    let policy = format!(
        "default-src 'none'; style-src {style} {plain}; script-src {script}{upload}; \
         img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    response
        .field("X-Content-Type-Options", "nosniff")
        .field("Content-Security-Policy", policy)
        .field("Referrer-Policy", "no-referrer")
}

/// The name of a style or a script in a Content-Security-Policy.
fn source(text: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(text.as_bytes());
    format!("'sha256-{}'", base64::encode(&digest.finish()))
}

/// Writes a page up to its content. `body` has the attributes of the body element.
///
/// # Errors
/// Those of `out`.
pub(super) fn begin(out: &mut impl Write, title: &str, body: &str) -> io::Result<()> {
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body{body}>\n\
         <div class=\"page\">\n",
        html::escape(title)
    )
}

/// Writes a page's end, behind its content.
///
/// # Errors
/// Those of `out`.
pub(super) fn end(out: &mut impl Write) -> io::Result<()> {
    write!(out, "</div>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")
}

/// Writes the field for files that are put into the folder, and its script. It is hidden until the
/// script runs: a form alone can send no file that any other page could not send, too.
///
/// # Errors
/// Those of `out`.
pub(super) fn upload_field(out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "<section id=\"upload\" aria-labelledby=\"put\" hidden>\n\
         <h2 id=\"put\">Put files into this folder</h2>\n\
         <form><input type=\"file\" multiple aria-labelledby=\"put\"><button>Upload</button></form>\n\
         <ul aria-live=\"polite\"></ul>\n</section>\n<script>{UPLOAD_SCRIPT}</script>\n"
    )
}

/// Writes a heading with a link to each folder above the last part of `path`. A folder's path
/// ends with a slash. The links are relative, since behind a proxy only the browser knows
/// where the path begins.
///
/// # Errors
/// Those of `out`.
pub(super) fn heading(out: &mut impl Write, path: &[u8]) -> io::Result<()> {
    let folder = path.strip_suffix(b"/");
    let parts: Vec<&[u8]> = folder.unwrap_or(path).split(|&byte| byte == b'/').collect();
    let below = usize::from(folder.is_some());
    out.write_all(b"<nav aria-label=\"Folders\"><h1>")?;
    // A browser resolves dots in a path, so its links would lead elsewhere.
    let crumbs =
        path.starts_with(b"/") && !parts.contains(&&b"."[..]) && !parts.contains(&&b".."[..]);
    if !crumbs || folder == Some(b"") {
        return writeln!(out, "<b>{}</b></h1></nav>", html::escape_breakable(&escape(path)));
    }
    let last = parts.len() - 1;
    for (at, part) in parts.into_iter().enumerate() {
        let up = match (last + below).saturating_sub(at + 1) {
            _ if at == last => String::new(),
            0 => "./".to_string(),
            count => "../".repeat(count),
        };
        let name = html::escape_breakable(&escape(part));
        match (at, part) {
            (0, _) => write!(out, "<a href=\"{up}\" title=\"The top folder\">/</a>")?,
            (at, _) if at == last => write!(out, " <b aria-current=\"page\">{name}</b>")?,
            (_, b"") => {}
            _ => write!(out, " <a href=\"{up}\">{name}</a><i>/</i>")?,
        }
    }
    out.write_all(b"</h1></nav>\n")
}

/// The page of an error, in place of its JSON.
///
/// # Errors
/// None in practice: memory takes every write.
pub(super) fn error_page(status: Status, reason: &str) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    begin(&mut out, &status.to_string(), "")?;
    let mut reason = html::escape(reason);
    if let Some(first) = reason.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    writeln!(out, "<h1>{}</h1>\n<p>{reason}.</p>", html::escape(&status.to_string()))?;
    end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading_of(path: &[u8]) -> String {
        let mut out = Vec::new();
        heading(&mut out, path).unwrap();
        let text = String::from_utf8(out).unwrap();
        let inner = text.strip_prefix("<nav aria-label=\"Folders\"><h1>").unwrap();
        inner.strip_suffix("</h1></nav>\n").unwrap().replace(" title=\"The top folder\"", "")
    }

    #[test]
    fn a_heading_links_to_every_folder_above() {
        for (path, expected) in [
            ("/", "<b>/</b>"),
            ("/a/", "<a href=\"../\">/</a> <b aria-current=\"page\">a</b>"),
            (
                "/a/b/",
                "<a href=\"../../\">/</a> <a href=\"../\">a</a><i>/</i> \
                 <b aria-current=\"page\">b</b>",
            ),
            (
                "/a/b",
                "<a href=\"../\">/</a> <a href=\"./\">a</a><i>/</i> \
                 <b aria-current=\"page\">b</b>",
            ),
            ("/b", "<a href=\"./\">/</a> <b aria-current=\"page\">b</b>"),
            // A browser counts empty parts too.
            (
                "/a//b/",
                "<a href=\"../../../\">/</a> <a href=\"../../\">a</a><i>/</i> \
                 <b aria-current=\"page\">b</b>",
            ),
            ("/a/../b/", "<b>/a/../b/</b>"),
            ("a/", "<b>a/</b>"),
        ] {
            assert_eq!(heading_of(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_name_is_only_text_in_a_heading() {
        let text = heading_of(b"/<i>\"'/\xff\n/");
        assert!(
            text.contains(">&lt;i&gt;&quot;&#39;</a>")
                && text.contains("<b aria-current=\"page\">\\xff\\x0a</b>"),
            "{text}"
        );
    }

    #[test]
    fn neither_style_nor_script_ends_its_own_element() {
        for (text, tag) in [
            (STYLE, "</style"),
            (SCRIPT, "</script"),
            (SCRIPT, "<!--"),
            (UPLOAD_SCRIPT, "</script"),
            (UPLOAD_SCRIPT, "<!--"),
        ] {
            assert!(!text.to_ascii_lowercase().contains(tag));
        }
    }

    #[test]
    fn only_a_page_that_takes_files_may_send_any() {
        let policy = |takes_files| {
            let response = describe(Response::new(Status::OK), takes_files);
            let policy = response.headers().get("Content-Security-Policy").unwrap().to_vec();
            String::from_utf8(policy).unwrap()
        };
        let own = source(UPLOAD_SCRIPT);
        assert!(!policy(false).contains("connect-src") && !policy(false).contains(&own));
        assert!(policy(true).contains(&format!(" {own}; connect-src 'self'; ")));
    }

    #[test]
    fn an_error_page_shows_status_and_reason() {
        let text = String::from_utf8(error_page(Status::NOT_FOUND, "no <such>").unwrap()).unwrap();
        assert!(text.contains("<h1>404 Not Found</h1>\n<p>No &lt;such&gt;.</p>"), "{text}");
    }
}
