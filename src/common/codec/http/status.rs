//! Status codes of HTTP (RFC 9110, section 15): those that ropewalk's server sends, with their
//! words.

#![forbid(unsafe_code)]

use std::fmt;

/// A status code. Only the named ones below exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(u16);

/// Names of codes, each with its number and its words.
macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!("`", $code, " ", $reason, "`.")]
                pub const $name: Status = Status($code);
            )*

            /// Every status that has a name here, in the order of the codes.
            pub const ALL: &'static [Status] = &[$(Status::$name),*];

            /// The words after the code, from RFC 9110, section 15, RFC 6585 and RFC 4918.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    CONTINUE = 100 "Continue";
    OK = 200 "OK";
    CREATED = 201 "Created";
    ACCEPTED = 202 "Accepted";
    NO_CONTENT = 204 "No Content";
    PARTIAL_CONTENT = 206 "Partial Content";
    MOVED_PERMANENTLY = 301 "Moved Permanently";
    NOT_MODIFIED = 304 "Not Modified";
    BAD_REQUEST = 400 "Bad Request";
    UNAUTHORIZED = 401 "Unauthorized";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    REQUEST_TIMEOUT = 408 "Request Timeout";
    CONFLICT = 409 "Conflict";
    LENGTH_REQUIRED = 411 "Length Required";
    PRECONDITION_FAILED = 412 "Precondition Failed";
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    URI_TOO_LONG = 414 "URI Too Long";
    RANGE_NOT_SATISFIABLE = 416 "Range Not Satisfiable";
    EXPECTATION_FAILED = 417 "Expectation Failed";
    FIELDS_TOO_LARGE = 431 "Request Header Fields Too Large";
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error";
    NOT_IMPLEMENTED = 501 "Not Implemented";
    SERVICE_UNAVAILABLE = 503 "Service Unavailable";
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
    INSUFFICIENT_STORAGE = 507 "Insufficient Storage";
}

impl Status {
    /// The three digits.
    pub fn code(self) -> u16 {
        self.0
    }

    /// Whether a response with this status has no body, whatever its fields say (RFC 9112,
    /// section 6.3, rule 1).
    pub fn has_no_body(self) -> bool {
        code_has_no_body(self.0)
    }
}

/// As [`Status::has_no_body`], for any code of a peer.
pub(super) fn code_has_no_body(code: u16) -> bool {
    matches!(code, 100..=199 | 204 | 304)
}

/// The code and its words: `404 Not Found`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_shown_with_its_words() {
        assert_eq!(Status::NOT_FOUND.to_string(), "404 Not Found");
    }

    #[test]
    fn every_status_has_three_digits_and_words() {
        for status in Status::ALL {
            assert!((100..600).contains(&status.code()));
            assert!(!status.reason().is_empty());
        }
    }

    #[test]
    fn the_codes_ascend() {
        assert!(Status::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
    }

    #[test]
    fn interim_replies_no_content_and_not_modified_have_no_body() {
        let without: Vec<u16> =
            Status::ALL.iter().filter(|s| s.has_no_body()).map(|s| s.code()).collect();
        assert_eq!(without, [100, 204, 304]);
    }
}
