//! A stream that a server hands to a sender, with the hello that the server has read. The
//! stream itself is the descriptor that comes with the message.
//!
//! ```text
//! {"hello":"ff02000059843ddebe0a9675580d96b8bfb4b19600020000219dcaaf","descriptors":1}
//! ```

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::codec::json::Value;
use crate::codec::wire::HELLO_SIZE;
use crate::error::Result;
use crate::hash::hex;

/// The message with a handed stream.
pub struct HandedStream {
    /// The hello as it came. It is not checked yet. It has a token.
    pub hello: [u8; HELLO_SIZE],
}

impl HandedStream {
    /// The message as JSON, without the key of the transport.
    pub fn to_json(&self) -> Value {
        Value::object([("hello", Value::from(hex(&self.hello)))])
    }

    /// The message in `object`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(object: &Value) -> Result<HandedStream> {
        Ok(HandedStream { hello: Fields::of("handed stream", object).bytes("hello")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    const TEXT: &str = r#"{"hello":"ff02000059843ddebe0a9675580d96b8bfb4b19600020000219dcaaf"}"#;

    #[test]
    fn a_handed_stream_survives_the_socket() {
        let handed = HandedStream::from_json(&json::parse(TEXT.as_bytes()).unwrap()).unwrap();
        assert_eq!(handed.hello[..2], [0xff, 2]);
        assert_eq!(handed.to_json().to_string(), TEXT);
    }

    #[test]
    fn a_hello_of_another_length_is_an_error() {
        for text in ["", "ff", &"00".repeat(HELLO_SIZE + 1)] {
            let object = Value::object([("hello", Value::from(text))]);
            assert!(HandedStream::from_json(&object).is_err(), "{text}");
        }
    }
}
