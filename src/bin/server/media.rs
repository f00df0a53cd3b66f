//! What a file's name says about it to a browser: its media type, and the name under
//! which it is to be saved. Does not look into the file.

#![forbid(unsafe_code)]

/// The type of a file whose name says nothing.
const UNKNOWN: &str = "application/octet-stream";

/// Types by the end of the name, in lower case.
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
    let name = base_name(path);
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.').filter(|dot| *dot > 0) else {
        return UNKNOWN;
    };
    let extension = &name[dot + 1..];
    let known = TYPES.iter().find(|(own, _)| own.as_bytes().eq_ignore_ascii_case(extension));
    known.map_or(UNKNOWN, |(_, media_type)| media_type)
}

/// The value of `Content-Disposition` (RFC 6266) that has a file with this path saved
/// under its own name. A name that is more than plain ASCII comes twice: for old
/// programs with `_` for what they would not understand, and as RFC 8187 has it.
pub(crate) fn disposition(path: &[u8]) -> String {
    let name = base_name(path);
    let plain: String = name
        .iter()
        .map(|&byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => "_".to_string(),
        })
        .collect();
    let mut value = format!("attachment; filename=\"{plain}\"");
    let is_plain = name.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\%".contains(byte));
    // In what is no UTF-8 there is nothing to say beyond the plain form.
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

/// What follows the last slash.
fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_that_of_the_last_extension() {
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
    fn extensions_are_sorted_and_in_lower_case() {
        assert!(TYPES.is_sorted());
        assert!(TYPES.iter().all(|(end, _)| *end == end.to_ascii_lowercase()));
    }

    #[test]
    fn a_plain_name_comes_once() {
        assert_eq!(disposition(b"/srv/a b.txt"), "attachment; filename=\"a b.txt\"");
    }

    #[test]
    fn other_names_come_twice() {
        assert_eq!(
            disposition("/srv/Übung €.txt".as_bytes()),
            "attachment; filename=\"__bung ___.txt\"; \
             filename*=UTF-8''%C3%9Cbung%20%E2%82%AC.txt"
        );
        assert_eq!(
            disposition(b"a\"b\\c%41"),
            "attachment; filename=\"a\\\"b\\\\c%41\"; filename*=UTF-8''a%22b%5Cc%2541"
        );
    }

    #[test]
    fn nothing_in_a_name_ends_the_field() {
        assert_eq!(
            disposition(b"a\r\nX: y\x7f"),
            "attachment; filename=\"a__X: y_\"; filename*=UTF-8''a%0D%0AX%3A%20y%7F"
        );
        assert_eq!(disposition(b"\xff\xfe"), "attachment; filename=\"__\"");
    }
}
