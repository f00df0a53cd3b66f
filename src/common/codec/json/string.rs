//! JSON's strings (RFC 8259, section 7): reading and writing, with their escapes.

#![forbid(unsafe_code)]

use std::fmt::{self, Write};

use super::parser::{JsonError, Parser};

impl Parser<'_> {
    /// A string in quotes, its escapes undone.
    pub(super) fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"', "not a string")?;
        let mut string = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest
                .bytes()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
                .unwrap_or(rest.len());
            string.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                Some(_) => return Err(self.refuse("a control character in a string")),
                None => return Err(self.refuse("the text ends early")),
            }
        }
    }

    /// An escape, its backslash included (RFC 8259, section 7).
    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let lone = JsonError::new("half of a surrogate pair", start);
                let code = match self.hex4()? {
                    high @ 0xd800..=0xdbff => {
                        if !(self.eat(b'\\') && self.eat(b'u')) {
                            return Err(lone);
                        }
                        match self.hex4()? {
                            low @ 0xdc00..=0xdfff => {
                                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                            }
                            _ => return Err(lone),
                        }
                    }
                    code => code,
                };
                return char::from_u32(code).ok_or(lone);
            }
            Some(_) => return Err(self.refuse("an unknown escape")),
            None => return Err(self.refuse("the text ends early")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.refuse("not four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

/// A string in quotes (RFC 8259, section 7). It escapes every control character, DEL and C1 too:
/// the line is then safe on a terminal.
pub(super) fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::super::{Value, parse};

    fn refusal(text: &str) -> (&'static str, usize) {
        let error = parse(text.as_bytes()).unwrap_err();
        (error.reason(), error.offset())
    }

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        let text = Value::from("\"\\\n\r\t\0\u{1f}\u{7f}\u{9b}é");
        assert_eq!(text.to_string(), "\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\\u007f\\u009bé\"");
    }

    #[test]
    fn every_escape_is_undone() {
        let value = parse(br#""\"\\\/\b\f\n\r\t\u0041\u00e9\uD83D\ude00""#).unwrap();
        assert_eq!(value.as_str(), Some("\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{1f600}"));
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for text in
            [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\n""#, r#""\ud83d\u0041""#]
        {
            assert_eq!(refusal(text), ("half of a surrogate pair", 1), "{text}");
        }
    }

    #[test]
    fn bad_escapes_are_refused() {
        assert_eq!(refusal(r#""\x41""#), ("an unknown escape", 2));
        assert_eq!(refusal(r#""\u00g1""#), ("not four hexadecimal digits", 5));
        assert_eq!(refusal(r#""\u+041""#), ("not four hexadecimal digits", 3));
    }

    #[test]
    fn a_bare_control_character_is_refused() {
        assert_eq!(refusal("\"a\nb\""), ("a control character in a string", 2));
        assert_eq!(refusal("\"\0\""), ("a control character in a string", 1));
    }
}
