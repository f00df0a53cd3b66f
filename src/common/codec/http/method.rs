//! Request methods (RFC 9110, section 9): the four that ropewalk supports, and the names of
//! others.

#![forbid(unsafe_code)]

use super::headers::is_token;
use super::{Refusal, Status};

/// The longest name of a method, in bytes. The longest in the registry has 17.
pub const MAX_METHOD: usize = 32;

/// A request's method. Names are compared with regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// Another one: token characters only, so it is safe to show.
    Other(Vec<u8>),
}

impl Method {
    /// Reads a method's name.
    ///
    /// # Errors
    ///
    /// 400 if it is no token; 501 if it is longer than [`MAX_METHOD`] (RFC 9112,
    /// section 3).
    pub fn parse(name: &[u8]) -> Result<Method, Refusal> {
        match name {
            b"GET" => Ok(Method::Get),
            b"HEAD" => Ok(Method::Head),
            b"POST" => Ok(Method::Post),
            b"PUT" => Ok(Method::Put),
            _ if !is_token(name) => Err(Refusal::bad("the method is no token")),
            _ if name.len() > MAX_METHOD => {
                Err(Refusal::new(Status::NOT_IMPLEMENTED, "the method's name is too long"))
            }
            _ => Ok(Method::Other(name.to_vec())),
        }
    }

    /// The name, as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Method::Get => b"GET",
            Method::Head => b"HEAD",
            Method::Post => b"POST",
            Method::Put => b"PUT",
            Method::Other(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_methods_are_known() {
        for method in [Method::Get, Method::Head, Method::Post, Method::Put] {
            assert_eq!(Method::parse(method.as_bytes()), Ok(method));
        }
    }

    #[test]
    fn case_matters() {
        assert_eq!(Method::parse(b"get"), Ok(Method::Other(b"get".to_vec())));
    }

    #[test]
    fn a_method_that_is_no_token_is_a_bad_request() {
        for name in [&b""[..], b"G(T", b"G\xc3\x89T", b"\x16\x03\x01"] {
            assert_eq!(Method::parse(name).unwrap_err().status, Status::BAD_REQUEST);
        }
    }

    #[test]
    fn the_length_limit_is_exact() {
        assert!(Method::parse(&[b'X'; MAX_METHOD]).is_ok());
        let refusal = Method::parse(&[b'X'; MAX_METHOD + 1]).unwrap_err();
        assert_eq!(refusal.status, Status::NOT_IMPLEMENTED);
    }
}
