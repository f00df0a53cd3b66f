//! A new rate limit for a running worker.
//!
//! ```text
//! {"rate":1048576}
//! ```

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::codec::json::Value;
use crate::error::Result;

/// The message with a new limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRate {
    /// Bytes per second at most.
    pub rate: u64,
}

impl NewRate {
    /// The message as JSON.
    pub fn to_json(self) -> Value {
        Value::object([("rate", Value::from_u64(self.rate))])
    }

    /// The message in `object`.
    ///
    /// # Errors
    /// The key is missing or wrong.
    pub fn from_json(object: &Value) -> Result<NewRate> {
        Ok(NewRate { rate: Fields::of("rate", object).number("rate")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    #[test]
    fn a_new_rate_survives_the_socket() {
        let text = r#"{"rate":1048576}"#;
        let rate = NewRate::from_json(&json::parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(rate, NewRate { rate: 1 << 20 });
        assert_eq!(rate.to_json().to_string(), text);
    }

    #[test]
    fn another_message_is_no_rate() {
        for text in ["{}", r#"{"rate":-1}"#, r#"{"rate":"1"}"#, r#"{"hello":"ff"}"#] {
            assert!(NewRate::from_json(&json::parse(text.as_bytes()).unwrap()).is_err(), "{text}");
        }
    }
}
