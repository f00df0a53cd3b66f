//! The body of a reply that refuses a request: the reason, for a person.
//!
//! ```text
//! {"error":"the server has no room now"}
//! ```

#![forbid(unsafe_code)]

use crate::codec::json::Value;

/// The reason of a refusal. The reason that a peer gives is hostile bytes: escape it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'a>(pub &'a str);

impl<'a> Reason<'a> {
    /// The reason as JSON.
    pub fn to_json(self) -> Value {
        Value::object([("error", Value::from(self.0))])
    }

    /// The reason in `object`. A server of another kind gives none.
    pub fn from_json(object: &'a Value) -> Option<Reason<'a>> {
        object.get("error").and_then(Value::as_str).map(Reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    #[test]
    fn a_reason_survives_the_connection() {
        let text = r#"{"error":"the server has no room now"}"#;
        let object = json::parse(text.as_bytes()).unwrap();
        let reason = Reason::from_json(&object).unwrap();
        assert_eq!(reason, Reason("the server has no room now"));
        assert_eq!(reason.to_json().to_string(), text);
    }

    #[test]
    fn a_body_without_a_text_has_no_reason() {
        for text in ["{}", "[]", r#"{"error":1}"#] {
            assert_eq!(Reason::from_json(&json::parse(text.as_bytes()).unwrap()), None, "{text}");
        }
    }
}
