//! HTTP/1.x messages (RFC 9110, RFC 9112): the head of a request or a response
//! from bytes and to bytes. A map; the work is in `http/*.rs`. Nothing here reads
//! a body, knows a URL's meaning or decides what a server answers.

#![forbid(unsafe_code)]

mod fault;
pub mod forwarded;
mod headers;
mod method;
mod reply;
mod request;
mod request_line;
mod response;
mod section;
mod status;

pub use fault::{HttpError, Refusal};
pub use headers::Headers;
pub(in crate::codec) use headers::{is_token, parse_digits, trim_ows};
pub use method::{MAX_METHOD, Method};
pub use reply::Response;
pub use request::{MAX_BODY, RequestHead, encode_request};
pub use request_line::{MAX_EMPTY_LINES, MAX_REQUEST_LINE, Version};
pub use response::{BodyFraming, MAX_STATUS_LINE, ResponseHead};
pub use section::{MAX_FIELD_BYTES, MAX_FIELDS};
pub use status::Status;

/// As many bytes as any head can have, in bytes, with its line ends: with so many
/// at hand `parse` never asks for more.
pub const MAX_HEAD: usize = 2 * MAX_EMPTY_LINES + MAX_REQUEST_LINE + 2 + MAX_FIELD_BYTES + 2;
