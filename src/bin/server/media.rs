//! Media types and file names for browsers, made from the name of a file. The content of
//! the file does not count.

#![forbid(unsafe_code)]

/// The media type of a file with an unknown name.
const UNKNOWN: &str = "application/octet-stream";

/// Media types by the extension in lower case.
const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("deb", "application/vnd.debian.binary-package"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("mkv", "video/matroska"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("xz", "application/x-xz"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// The media type of a file with this path.
pub(crate) fn content_type(path: &[u8]) -> &'static str {
    let Some(extension) = extension(base_name(path)) else { return UNKNOWN };
    let known = TYPES.iter().find(|(own, _)| own.as_bytes().eq_ignore_ascii_case(extension));
    known.map_or(UNKNOWN, |(_, media_type)| media_type)
}

/// The extensions of more files that a browser shows as plain text, beside those of the
/// types `text/*`. As plain text, scripts and pages are shown and do not run.
const TEXTS: &[&str] = &[
    "adoc",
    "asc",
    "bash",
    "bat",
    "c",
    "cc",
    "cfg",
    "cmake",
    "conf",
    "cpp",
    "cs",
    "diff",
    "err",
    "go",
    "h",
    "hpp",
    "hs",
    "ini",
    "java",
    "json",
    "kt",
    "lua",
    "md5",
    "mjs",
    "nix",
    "out",
    "patch",
    "php",
    "pl",
    "properties",
    "py",
    "rb",
    "rs",
    "rst",
    "sh",
    "sha1",
    "sha256",
    "sha512",
    "sql",
    "srt",
    "swift",
    "tex",
    "toml",
    "ts",
    "tsv",
    "vtt",
    "xml",
    "yaml",
    "yml",
    "zig",
];

/// Whole names, in lower case, of files that a browser shows as plain text.
const TEXT_NAMES: &[&str] = &[
    "authors",
    "changelog",
    "changes",
    "copying",
    "dockerfile",
    "license",
    "makefile",
    "md5sums",
    "news",
    "notice",
    "readme",
    "sha1sums",
    "sha256sums",
    "sha512sums",
    "todo",
];

/// The media type as which a browser may show a file with this path; `None` for a file that
/// it may only save.
pub(crate) fn view_type(path: &[u8]) -> Option<&'static str> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let name = base_name(path).to_ascii_lowercase();
    let is = |own: &&str| own.as_bytes() == name;
    match content_type(path) {
        shown if shown.starts_with("image/") => Some(shown),
        "application/pdf" => Some("application/pdf"),
        shown if shown.starts_with("text/") => Some(TEXT),
        _ if TEXT_NAMES.iter().any(is) => Some(TEXT),
        _ => {
            let extension = extension(&name)?;
            TEXTS.iter().any(|own| own.as_bytes() == extension).then_some(TEXT)
        }
    }
}

/// The `Content-Security-Policy` of a shown file, which may run no script: an SVG picture
/// may have scripts in it. A browser's viewer for PDF does not start in a sandbox.
pub(crate) fn view_policy(media_type: &str) -> &'static str {
    match media_type {
        "application/pdf" => {
            "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; \
             frame-ancestors 'none'"
        }
        _ => {
            "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; \
             frame-ancestors 'none'; sandbox"
        }
    }
}

/// The value of `Content-Disposition` (RFC 6266) for a file with this path, which is shown
/// or else saved. A name that is not plain ASCII comes twice: for old programs with `_` in
/// place of other bytes, and encoded by RFC 8187.
pub(crate) fn disposition(shown: bool, path: &[u8]) -> String {
    let name = base_name(path);
    let plain: String = name
        .iter()
        .map(|&byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => "_".to_string(),
        })
        .collect();
    let kind = if shown { "inline" } else { "attachment" };
    let mut value = format!("{kind}; filename=\"{plain}\"");
    let is_plain = name.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\%".contains(byte));
    // A name that is not UTF-8 has no encoded form.
    if let (false, Ok(name)) = (is_plain, std::str::from_utf8(name)) {
        value.push_str("; filename*=UTF-8''");
        name.bytes().for_each(|byte| push_extended(&mut value, byte));
    }
    value
}

/// Appends a byte of an extended value (RFC 8187, section 3.2.1).
fn push_extended(value: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
        value.push(char::from(byte));
    } else {
        value.push_str(&format!("%{byte:02X}"));
    }
}

/// The bytes after the last dot of a name, unless the name begins with that dot.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|dot| *dot > 0)?;
    name.get(dot + 1..)
}

/// The bytes after the last slash.
fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_extension_decides_the_type() {
        for (path, expected) in [
            ("/srv/a.txt", "text/plain"),
            ("A.TAR.GZ", "application/gzip"),
            ("/a.txt/b", UNKNOWN),
            ("/.txt", UNKNOWN),
            ("/a.", UNKNOWN),
            ("/a.txtx", UNKNOWN),
            ("", UNKNOWN),
        ] {
            assert_eq!(content_type(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn text_pictures_and_pdf_are_shown_and_never_run() {
        let text = Some("text/plain; charset=utf-8");
        for (path, expected) in [
            ("/a.txt", text),
            ("a.HTML", text),
            ("a.js", text),
            ("x.rs", text),
            ("/srv/README", text),
            ("SHA256SUMS", text),
            ("a.svg", Some("image/svg+xml")),
            ("a.PNG", Some("image/png")),
            ("a.pdf", Some("application/pdf")),
            ("a.iso", None),
            ("a.wasm", None),
            ("/README/a", None),
            ("rs", None),
            (".txt", None),
        ] {
            assert_eq!(view_type(path.as_bytes()), expected, "{path}");
        }
        assert!(view_policy("image/svg+xml").ends_with("; sandbox"));
        assert_eq!(disposition(true, b"/a.txt"), "inline; filename=\"a.txt\"");
    }

    #[test]
    fn extensions_are_sorted_and_in_lower_case() {
        assert!(TEXTS.is_sorted() && TEXT_NAMES.is_sorted());
        assert!(TYPES.is_sorted());
        assert!(TYPES.iter().all(|(end, _)| *end == end.to_ascii_lowercase()));
    }

    #[test]
    fn a_plain_name_is_sent_once() {
        assert_eq!(disposition(false, b"/srv/a b.txt"), "attachment; filename=\"a b.txt\"");
    }

    #[test]
    fn other_names_are_sent_twice() {
        assert_eq!(
            disposition(false, "/srv/Übung €.txt".as_bytes()),
            "attachment; filename=\"__bung ___.txt\"; \
             filename*=UTF-8''%C3%9Cbung%20%E2%82%AC.txt"
        );
        assert_eq!(
            disposition(false, b"a\"b\\c%41"),
            "attachment; filename=\"a\\\"b\\\\c%41\"; filename*=UTF-8''a%22b%5Cc%2541"
        );
    }

    #[test]
    fn no_byte_of_a_name_ends_the_field() {
        assert_eq!(
            disposition(false, b"a\r\nX: y\x7f"),
            "attachment; filename=\"a__X: y_\"; filename*=UTF-8''a%0D%0AX%3A%20y%7F"
        );
        assert_eq!(disposition(false, b"\xff\xfe"), "attachment; filename=\"__\"");
    }
}
