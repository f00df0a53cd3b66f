//! HTTP/1.x messages (RFC 9110, RFC 9112): the heads of requests and responses, from bytes and to
//! bytes. Nothing here reads a body, interprets a URL or decides a server's answer.

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

/// The longest head, in bytes, with its line ends. Given this many bytes, `parse` never asks for
/// more.
pub const MAX_HEAD: usize = 2 * MAX_EMPTY_LINES + MAX_REQUEST_LINE + 2 + MAX_FIELD_BYTES + 2;
