//! Reads one JSON value (RFC 8259) from the whole of a text, strictly: it accepts the grammar and
//! nothing else. Its limits bound time and memory for any text.

#![forbid(unsafe_code)]

use std::fmt;

use super::{MAX_DEPTH, Value};

/// The longest text that is accepted, in bytes: far more than any message needs.
pub const MAX_TEXT: usize = 64 * 1024;

/// Why a text is not JSON: a reason and a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    reason: &'static str,
    offset: usize,
}

impl JsonError {
    pub(super) fn new(reason: &'static str, offset: usize) -> JsonError {
        JsonError { reason, offset }
    }

    /// The reason, without the place. It quotes nothing of the text.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The offset of the refused byte, from the start of the text.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

impl std::error::Error for JsonError {}

/// Reads a text that is one value, with only white space around it.
///
/// # Errors
///
/// A text over [`MAX_TEXT`] bytes, not UTF-8, or not RFC 8259; more than
/// [`MAX_DEPTH`] containers inside each other; an object with a name twice (section
/// 4 leaves its meaning open); a number too great for a finite float; half of a
/// surrogate pair (section 8.2).
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    if text.len() > MAX_TEXT {
        return Err(JsonError { reason: "the text is too long", offset: MAX_TEXT });
    }
    let text = std::str::from_utf8(text)
        .map_err(|e| JsonError { reason: "not UTF-8", offset: e.valid_up_to() })?;
    let mut parser = Parser { text, at: 0 };
    parser.skip_space();
    let value = parser.value(MAX_DEPTH)?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.refuse("more text after the value")),
    }
}

/// A position in a text. `at` is always at the start of a character.
pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl Parser<'_> {
    pub(super) fn refuse(&self, reason: &'static str) -> JsonError {
        JsonError { reason, offset: self.at }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over `byte`, which is ASCII, if it comes next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), JsonError> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(self.refuse(if self.peek().is_none() { "the text ends early" } else { otherwise }))
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// A value that may open `room` containers inside each other.
    fn value(&mut self, room: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{' | b'[') if room == 0 => Err(self.refuse("nested too deep")),
            Some(b'{') => self.object(room - 1),
            Some(b'[') => self.array(room - 1),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err(self.refuse("not a value")),
            None => Err(self.refuse("the text ends early")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        match self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            true => {
                self.at += word.len();
                Ok(value)
            }
            false => Err(self.refuse("not a value")),
        }
    }

    fn array(&mut self, room: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut elements = Vec::new();
        self.skip_space();
        if self.eat(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            self.skip_space();
            elements.push(self.value(room)?);
            self.skip_space();
            if self.eat(b']') {
                return Ok(Value::Array(elements));
            }
            self.expect(b',', "neither a comma nor the end of the array")?;
        }
    }

    fn object(&mut self, room: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        let mut offsets = Vec::new();
        self.skip_space();
        if self.eat(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            offsets.push(self.at);
            if self.peek().is_some_and(|byte| byte != b'"') {
                return Err(self.refuse("not a member's name"));
            }
            let name = self.string()?;
            self.skip_space();
            self.expect(b':', "no colon behind the name")?;
            self.skip_space();
            members.push((name, self.value(room)?));
            self.skip_space();
            if self.eat(b'}') {
                break;
            }
            self.expect(b',', "neither a comma nor the end of the object")?;
        }
        match repeated(&members, &offsets) {
            None => Ok(Value::Object(members)),
            Some(offset) => Err(JsonError { reason: "a name comes twice", offset }),
        }
    }

    /// Steps over digits and says how many there were.
    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if self.eat(b'0') {
            if let Some(b'0'..=b'9') = self.peek() {
                return Err(self.refuse("a number with a leading zero"));
            }
        } else if self.digits() == 0 {
            return Err(self.refuse("a number without digits"));
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            if self.digits() == 0 {
                return Err(self.refuse("a fraction without digits"));
            }
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            let _ = self.eat(b'+') || self.eat(b'-');
            if self.digits() == 0 {
                return Err(self.refuse("an exponent without digits"));
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        if whole {
            if let Ok(number) = text.parse() {
                return Ok(Value::Integer(number));
            }
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(JsonError { reason: "a number out of range", offset: start }),
        }
    }
}

/// The offset of the first name that has come before. It sorts the names: comparing each name
/// with every other takes quadratic time in a hostile text.
fn repeated(members: &[(String, Value)], offsets: &[usize]) -> Option<usize> {
    let mut names: Vec<(&str, usize)> =
        members.iter().map(|(name, _)| name.as_str()).zip(offsets.iter().copied()).collect();
    names.sort_unstable();
    let twice = names.windows(2).filter_map(|pair| match pair {
        [(first, _), (second, offset)] if first == second => Some(*offset),
        _ => None,
    });
    twice.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (&'static str, usize) {
        let error = parse(text.as_bytes()).unwrap_err();
        (error.reason(), error.offset())
    }

    #[test]
    fn words_and_white_space() {
        assert_eq!(parse(b" \t\r\n true \n"), Ok(Value::Bool(true)));
        assert_eq!(parse(b"false"), Ok(Value::Bool(false)));
        assert_eq!(parse(b"null"), Ok(Value::Null));
    }

    #[test]
    fn whole_numbers_that_fit_are_integers() {
        assert_eq!(parse(b"0"), Ok(Value::Integer(0)));
        assert_eq!(parse(b"-0"), Ok(Value::Integer(0)));
        assert_eq!(parse(b"9223372036854775807"), Ok(Value::Integer(i64::MAX)));
        assert_eq!(parse(b"-9223372036854775808"), Ok(Value::Integer(i64::MIN)));
    }

    #[test]
    fn other_numbers_are_floats() {
        assert_eq!(parse(b"9223372036854775808"), Ok(Value::Float(9_223_372_036_854_775_808.0)));
        assert_eq!(parse(b"1.0"), Ok(Value::Float(1.0)));
        assert_eq!(parse(b"-12.5e+1"), Ok(Value::Float(-125.0)));
        assert_eq!(parse(b"1E2"), Ok(Value::Float(100.0)));
    }

    #[test]
    fn numbers_outside_of_the_grammar_are_refused() {
        for text in ["01", "-01", "+1", "-", ".5", "1.", "1.e1", "1e", "1e+", "0x1", "NaN", "1_0"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_that_no_float_holds_is_refused() {
        assert_eq!(refusal(" 1e400"), ("a number out of range", 1));
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        assert_eq!(parse(b"\"a\xff\"").unwrap_err().to_string(), "not UTF-8 at byte 2");
        assert!(parse(b"\"\xed\xa0\x80\"").is_err());
    }

    #[test]
    fn a_name_that_comes_twice_is_refused_where_it_comes_again() {
        assert_eq!(refusal(r#"{"a":1,"b":2,"\u0061":3}"#), ("a name comes twice", 13));
    }

    #[test]
    fn a_name_may_come_again_in_another_object() {
        assert!(parse(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn containers_keep_their_order() {
        let value = parse(br#"{ "b" : [ 1 , [ ] , { } ] , "a" : "x" }"#).unwrap();
        assert_eq!(value.to_string(), r#"{"b":[1,[],{}],"a":"x"}"#);
    }

    #[test]
    fn text_outside_of_the_grammar_is_refused() {
        for text in [
            "",
            " ",
            "tru",
            "truely",
            "True",
            "1 2",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,}",
            "{,}",
            "{1:2}",
            "'a'",
            "[1]]",
            "\u{feff}1",
            "//\n1",
            "\u{a0}1",
            "{\"a\" 1}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn no_beginning_of_a_text_is_a_text() {
        let text = r#"{"a":[1,-2.5e3,"é\n\ud83d\ude00",true,null],"b":{}}"#.as_bytes();
        for end in 0..text.len() {
            assert!(parse(&text[..end]).is_err(), "{end}");
        }
        assert!(parse(text).is_ok());
    }

    #[test]
    fn the_depth_limit_is_exact() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(refusal(&nested(MAX_DEPTH + 1)), ("nested too deep", MAX_DEPTH));
    }

    #[test]
    fn objects_count_for_the_depth_too() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(refusal(&nested(MAX_DEPTH + 1)).0, "nested too deep");
    }

    #[test]
    fn the_size_limit_is_exact() {
        let padded = |size: usize| format!("{}1", " ".repeat(size - 1));
        assert!(parse(padded(MAX_TEXT).as_bytes()).is_ok());
        assert_eq!(refusal(&padded(MAX_TEXT + 1)), ("the text is too long", MAX_TEXT));
    }
}
