//! The answer to a report `stream`: a stream that the parent has opened for its worker, which is
//! the descriptor that comes with the message, or why there is none.
//!
//! ```text
//! {"stream":"open","descriptors":1}
//! {"stream":"failed","text":"ssh ended with exit code 255"}
//! ```

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::codec::json::Value;
use crate::error::Result;

/// The message with a stream, or without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewStream {
    /// The stream comes with the message.
    Open,
    /// There is none.
    Failed {
        /// Why, for a person.
        text: String,
    },
}

impl NewStream {
    /// The message as JSON, without the key of the transport.
    pub fn to_json(&self) -> Value {
        match self {
            NewStream::Open => Value::object([("stream", Value::from("open"))]),
            NewStream::Failed { text } => Value::object([
                ("stream", Value::from("failed")),
                ("text", Value::from(text.as_str())),
            ]),
        }
    }

    /// The message in `object`.
    ///
    /// # Errors
    /// A key is missing or wrong.
    pub fn from_json(object: &Value) -> Result<NewStream> {
        let fields = Fields::of("stream", object);
        match fields.text("stream")? {
            "open" => Ok(NewStream::Open),
            "failed" => Ok(NewStream::Failed { text: fields.text("text")?.to_string() }),
            _ => Err(fields.invalid("stream")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    #[test]
    fn both_answers_survive_the_socket() {
        for text in [r#"{"stream":"open"}"#, r#"{"stream":"failed","text":"no"}"#] {
            let answer = NewStream::from_json(&json::parse(text.as_bytes()).unwrap()).unwrap();
            assert_eq!(answer.to_json().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [r#"{"stream":"odd"}"#, r#"{"stream":"failed"}"#, r#"{"session":"x"}"#] {
            assert!(NewStream::from_json(&json::parse(text.as_bytes()).unwrap()).is_err());
        }
    }
}
