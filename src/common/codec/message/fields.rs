//! Reads the keys of a message, with errors that name the message and the key.

#![forbid(unsafe_code)]

use crate::codec::json::Value;
use crate::error::{Error, Result};
use crate::hash::from_hex;
use std::str::FromStr;
use std::time::Duration;

/// A message as it came.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    /// The word for the message in errors.
    message: &'static str,
    object: &'a Value,
}

impl<'a> Fields<'a> {
    /// The keys of `object`, which is a `message`.
    pub(super) fn of(message: &'static str, object: &'a Value) -> Fields<'a> {
        Fields { message, object }
    }

    /// Whether the message has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.object.get(key).is_some()
    }

    /// An error: the value of this key is wrong.
    pub(super) fn invalid(&self, key: &str) -> Error {
        Error::protocol(format!("the {} has an invalid '{key}'", self.message))
    }

    fn value(&self, key: &str) -> Result<&'a Value> {
        let lacks = || Error::protocol(format!("the {} lacks '{key}'", self.message));
        self.object.get(key).ok_or_else(lacks)
    }

    /// A whole number that is not negative and fits `T`.
    pub(super) fn number<T: TryFrom<u64>>(&self, key: &str) -> Result<T> {
        let number = self.value(key)?.as_u64().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.invalid(key))
    }

    /// As [`Fields::number`]; `None` if the message lacks the key.
    pub(super) fn number_if_any<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>> {
        self.has(key).then(|| self.number(key)).transpose()
    }

    /// A whole number that may be negative.
    pub(super) fn signed(&self, key: &str) -> Result<i64> {
        match self.value(key)? {
            Value::Integer(number) => Ok(*number),
            _ => Err(self.invalid(key)),
        }
    }

    /// How many streams: 1 to 255.
    pub(super) fn streams(&self, key: &str) -> Result<u8> {
        match self.number(key)? {
            0 => Err(self.invalid(key)),
            streams => Ok(streams),
        }
    }

    /// A time in milliseconds.
    pub(super) fn milliseconds(&self, key: &str) -> Result<Duration> {
        self.number(key).map(Duration::from_millis)
    }

    /// 1 for yes, 0 for no.
    pub(super) fn flag(&self, key: &str) -> Result<bool> {
        match self.number(key)? {
            0u64 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid(key)),
        }
    }

    /// As [`Fields::flag`]; no if the message lacks the key.
    pub(super) fn flag_if_any(&self, key: &str) -> Result<bool> {
        if self.has(key) { self.flag(key) } else { Ok(false) }
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<&'a str> {
        self.value(key)?.as_str().ok_or_else(|| self.invalid(key))
    }

    /// An array.
    pub(super) fn array(&self, key: &str) -> Result<&'a [Value]> {
        self.value(key)?.as_array().ok_or_else(|| self.invalid(key))
    }

    /// A text that parses as a `T`, such as an address.
    pub(super) fn spelled<T: FromStr>(&self, key: &str) -> Result<T> {
        self.text(key)?.parse().map_err(|_| self.invalid(key))
    }

    /// `N` bytes in hexadecimal digits.
    pub(super) fn bytes<const N: usize>(&self, key: &str) -> Result<[u8; N]> {
        let bytes = from_hex(self.text(key)?).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| self.invalid(key))
    }
}

/// A flag as a message has it.
pub(super) fn from_flag(flag: bool) -> Value {
    Value::from_u64(flag.into())
}

/// A time as a message has it: whole milliseconds.
pub(super) fn from_milliseconds(time: Duration) -> Value {
    Value::from_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    /// The error of `read` for `text`.
    fn error(text: &str, read: impl FnOnce(&Fields<'_>) -> Option<Error>) -> String {
        let object = json::parse(text.as_bytes()).unwrap();
        read(&Fields::of("job", &object)).unwrap().to_string()
    }

    #[test]
    fn a_key_that_is_missing_is_named() {
        assert_eq!(error("{}", |job| job.text("k").err()), "the job lacks 'k'");
        assert_eq!(error("[]", |job| job.number::<u64>("k").err()), "the job lacks 'k'");
    }

    #[test]
    fn a_key_that_is_wrong_is_named() {
        let wrong = "the job has an invalid 'k'";
        for text in ["-1", "1.5", "256", "\"1\"", "null"] {
            let object = format!("{{\"k\":{text}}}");
            assert_eq!(error(&object, |job| job.number::<u8>("k").err()), wrong, "{text}");
            assert_eq!(error(&object, |job| job.number_if_any::<u8>("k").err()), wrong, "{text}");
        }
        assert_eq!(error("{\"k\":0}", |job| job.streams("k").err()), wrong);
        assert_eq!(error("{\"k\":2}", |job| job.flag("k").err()), wrong);
        assert_eq!(error("{\"k\":true}", |job| job.flag_if_any("k").err()), wrong);
        assert_eq!(error("{\"k\":1.0}", |job| job.signed("k").err()), wrong);
        assert_eq!(error("{\"k\":1}", |job| job.text("k").err()), wrong);
        assert_eq!(error("{\"k\":\"x\"}", |job| job.spelled::<u16>("k").err()), wrong);
        assert_eq!(error("{\"k\":\"00\"}", |job| job.bytes::<2>("k").err()), wrong);
    }
}
