//! JSON values (RFC 8259): building, access, writing on one line. `json/parser.rs` reads them.
//! Knows no message of ropewalk.

#![forbid(unsafe_code)]

use std::fmt::{self, Write};

mod parser;
mod string;

pub use parser::{JsonError, MAX_TEXT, parse};

use string::write_string;

/// How many arrays and objects may be open at once, in what is read and in what
/// is written.
pub const MAX_DEPTH: usize = 32;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction and exponent that fits 64 bits with sign.
    Integer(i64),
    /// Any other number. The parser makes finite ones only; another one is written as `null`.
    Float(f64),
    /// A string, with its escapes undone.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object, in the order of its text. The parser refuses a name that comes twice.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// An object of these members, in this order. No name may come twice.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// An integer; `i64::MAX` for a greater one. No file, offset or count is that great: `off_t`
    /// ends at the same number. A float would lose the low digits.
    pub fn from_u64(number: u64) -> Value {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The member of an object with this name; `None` for any other value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The number, if it is an integer and not negative. `None` for a float, even `1.0`.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// Writes the value. Containers nested deeper than `room` become `null`.
    fn write(&self, f: &mut fmt::Formatter<'_>, room: usize) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Integer(number) => write!(f, "{number}"),
            // `{:?}` keeps a fraction or an exponent, so that it reads back as a float.
            Value::Float(number) if number.is_finite() => write!(f, "{number:?}"),
            Value::Float(_) => f.write_str("null"),
            Value::String(text) => write_string(f, text),
            Value::Array(_) | Value::Object(_) if room == 0 => f.write_str("null"),
            Value::Array(elements) => {
                f.write_char('[')?;
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    element.write(f, room - 1)?;
                }
                f.write_char(']')
            }
            Value::Object(members) => {
                f.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        f.write_char(',')?;
                    }
                    write_string(f, name)?;
                    f.write_char(':')?;
                    value.write(f, room - 1)?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Compact JSON on one line. Containers nested deeper than [`MAX_DEPTH`], which [`parse`]
/// refuses, are written as `null`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, MAX_DEPTH)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

impl From<Vec<Value>> for Value {
    fn from(elements: Vec<Value>) -> Value {
        Value::Array(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::from(true), |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn an_object_is_written_on_one_line_in_its_order() {
        let value = Value::object([
            ("z", Value::from_u64(7)),
            ("a", Value::Array(vec![Value::Null, Value::from(false), Value::Float(0.5)])),
            ("s", Value::from("x")),
        ]);
        assert_eq!(value.to_string(), r#"{"z":7,"a":[null,false,0.5],"s":"x"}"#);
    }

    #[test]
    fn empty_containers_are_written_empty() {
        assert_eq!(Value::Array(Vec::new()).to_string(), "[]");
        assert_eq!(Value::object([]).to_string(), "{}");
    }

    #[test]
    fn a_written_value_reads_back() {
        let all: String =
            (0..0x300).filter_map(char::from_u32).chain("\u{1f600}".chars()).collect();
        let value = Value::object([
            (all.clone().as_str(), Value::from(all)),
            ("numbers", Value::Array(vec![Value::Integer(i64::MIN), Value::Integer(i64::MAX)])),
            (
                "floats",
                Value::Array([1.0, -0.0, 1e300, 5e-324, f64::MAX, 0.1].map(Value::Float).into()),
            ),
            ("rest", Value::Array(vec![Value::Null, Value::from(true), Value::object([])])),
        ]);
        assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
    }

    #[test]
    fn the_deepest_value_that_is_read_is_also_written() {
        let value = nested(MAX_DEPTH);
        assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
    }

    #[test]
    fn a_value_that_is_nested_too_deep_is_written_as_null() {
        let text = nested(MAX_DEPTH + 1).to_string();
        assert_eq!(text, format!("{}null{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)));
    }

    #[test]
    fn a_float_that_is_not_finite_is_written_as_null() {
        assert_eq!(Value::Float(f64::NAN).to_string(), "null");
        assert_eq!(Value::Float(f64::INFINITY).to_string(), "null");
    }

    #[test]
    fn u64_saturates() {
        assert_eq!(Value::from_u64(i64::MAX as u64), Value::Integer(i64::MAX));
        assert_eq!(Value::from_u64(i64::MAX as u64 + 1), Value::Integer(i64::MAX));
        assert_eq!(Value::from_u64(u64::MAX), Value::Integer(i64::MAX));
    }

    #[test]
    fn only_whole_numbers_that_are_not_negative_are_u64() {
        assert_eq!(Value::Integer(0).as_u64(), Some(0));
        assert_eq!(Value::Integer(-1).as_u64(), None);
        assert_eq!(Value::Float(1.0).as_u64(), None);
    }

    #[test]
    fn views_answer_for_their_own_kind_only() {
        let value = Value::object([("on", Value::from(true)), ("list", Value::from(vec![]))]);
        assert_eq!(value.get("on").and_then(Value::as_bool), Some(true));
        assert_eq!(value.get("list").and_then(Value::as_array), Some(&[][..]));
        assert_eq!(value.get("off"), None);
        assert_eq!(value.as_str(), None);
        assert_eq!(Value::Null.get("on"), None);
    }

    #[test]
    fn views_answer_with_what_is_there() {
        assert_eq!(Value::from("x").as_str(), Some("x"));
        assert_eq!(Value::from(false).as_bool(), Some(false));
        let list = [Value::from_u64(1), Value::Null];
        assert_eq!(Value::from(list.to_vec()).as_array(), Some(&list[..]));
    }

    #[test]
    fn objects_that_are_nested_too_deep_are_written_as_null_too() {
        let value =
            (0..=MAX_DEPTH).fold(Value::from(true), |inner, _| Value::object([("a", inner)]));
        let text = value.to_string();
        let expected = format!("{}null{}", "{\"a\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        assert_eq!(text, expected);
    }
}
