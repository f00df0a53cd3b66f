//! Dictionaries of structured fields (RFC 9651, which contains RFC 8941): from bytes, as far as
//! ropewalk's fields need it. Values of other kinds are checked and ignored.

#![forbid(unsafe_code)]

use super::base64;

/// The longest dictionary that is accepted, in bytes.
pub const MAX_TEXT: usize = 8 * 1024;

/// The value of a dictionary's member, without its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An integer of at most 15 digits.
    Integer(i64),
    /// A boolean. A member without a value is true.
    Boolean(bool),
    /// A byte sequence.
    Bytes(Vec<u8>),
    /// A string, a token, a decimal, a date, a display string or an inner list.
    Other,
}

/// The member with this key, from a field's value (RFC 9651, section 4.2.2). Other members are
/// checked too: one invalid member makes the whole dictionary invalid. The last member with the
/// key counts. `Ok(None)` if there is none.
///
/// # Errors
///
/// The text is no dictionary, or longer than [`MAX_TEXT`]: then the caller ignores the field
/// (section 4.2).
pub fn member(text: &[u8], key: &str) -> Result<Option<Item>, NotStructured> {
    if text.len() > MAX_TEXT {
        return Err(NotStructured);
    }
    dictionary_member(text, key.as_bytes()).ok_or(NotStructured)
}

/// The text is not a structured field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotStructured;

impl std::fmt::Display for NotStructured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a structured field")
    }
}

impl std::error::Error for NotStructured {}

/// The answer of [`member`]; `None` for an invalid dictionary.
fn dictionary_member(text: &[u8], wanted: &[u8]) -> Option<Option<Item>> {
    let mut found = None;
    let mut reader = Reader { rest: text };
    reader.skip(b" ");
    while !reader.rest.is_empty() {
        let key = reader.key()?;
        let item = if reader.eat(b'=') { reader.item_or_list()? } else { Item::Boolean(true) };
        reader.parameters()?;
        if key == wanted {
            found = Some(item);
        }
        reader.skip(b" \t");
        if reader.rest.is_empty() {
            break;
        }
        if !reader.eat(b',') {
            return None;
        }
        reader.skip(b" \t");
        if reader.rest.is_empty() {
            return None;
        }
    }
    Some(found)
}

/// A position in a text. Every step answers `None` if the text is invalid there.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        found
    }

    /// Takes bytes while they are of one kind.
    fn take_while(&mut self, of_kind: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|&b| !of_kind(b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or_default();
        self.rest = rest;
        taken
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        match self.rest.first()? {
            b'a'..=b'z' | b'*' => Some(self.take_while(
                |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'),
            )),
            _ => None,
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(b" ");
            self.key()?;
            if self.eat(b'=') {
                self.item()?;
            }
        }
        Some(())
    }

    fn item_or_list(&mut self) -> Option<Item> {
        if !self.eat(b'(') {
            return self.item();
        }
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Some(Item::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.rest.first()?, b' ' | b')') {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        match self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'%' => {
                self.next();
                self.string()
            }
            b'@' => {
                self.next();
                matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
            }
            b':' => {
                self.next();
                let text = self.take_while(|byte| byte != b':');
                self.eat(b':').then_some(())?;
                base64::decode(text).map(Item::Bytes)
            }
            b'?' => {
                self.next();
                match self.next()? {
                    b'0' => Some(Item::Boolean(false)),
                    b'1' => Some(Item::Boolean(true)),
                    _ => None,
                }
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'*' => {
                self.take_while(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b));
                Some(Item::Other)
            }
            _ => None,
        }
    }

    /// An integer or a decimal (RFC 9651, section 4.2.4).
    fn number(&mut self) -> Option<Item> {
        let negative = self.eat(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if self.eat(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let right = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return right.then_some(Item::Other);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let number = digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        Some(Item::Integer(if negative { -number } else { number }))
    }

    fn string(&mut self) -> Option<Item> {
        self.eat(b'"').then_some(())?;
        loop {
            match self.next()? {
                b'"' => return Some(Item::Other),
                b'\\' => match self.next()? {
                    b'"' | b'\\' => {}
                    _ => return None,
                },
                0x20..=0x7e => {}
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(text: &str) -> Result<Option<Item>, NotStructured> {
        member(text.as_bytes(), "a")
    }

    #[test]
    fn an_error_says_in_words_what_is_wrong() {
        assert_eq!(member(b"=", "md5").unwrap_err().to_string(), "not a structured field");
    }

    #[test]
    fn values_of_each_kind() {
        assert_eq!(a("a=-12"), Ok(Some(Item::Integer(-12))));
        assert_eq!(a("a=?0"), Ok(Some(Item::Boolean(false))));
        assert_eq!(a("a"), Ok(Some(Item::Boolean(true))));
        assert_eq!(a("a=:aGk=:"), Ok(Some(Item::Bytes(b"hi".to_vec()))));
        for other in ["\"x,\\\"y\"", "tok/en:1", "1.5", "@12", "%\"%c3%a9\"", "()", "(1 \"x\";q a)"]
        {
            assert_eq!(a(&format!("a={other}")), Ok(Some(Item::Other)), "{other}");
        }
    }

    #[test]
    fn a_boolean_is_a_question_mark_and_a_digit() {
        assert_eq!(a("a=?1"), Ok(Some(Item::Boolean(true))));
        assert_eq!(a("a=?0"), Ok(Some(Item::Boolean(false))));
        assert_eq!(a("a=?2"), Err(NotStructured));
    }

    #[test]
    fn a_member_is_found_among_others() {
        assert_eq!(a("b=\"a=1\", a=2;q=1;x , c"), Ok(Some(Item::Integer(2))));
        assert_eq!(a(" b=1,\tc "), Ok(None));
        assert_eq!(a(""), Ok(None));
    }

    #[test]
    fn the_last_of_several_counts() {
        assert_eq!(a("a=1, a=2"), Ok(Some(Item::Integer(2))));
    }

    #[test]
    fn a_broken_member_breaks_the_whole() {
        for text in [
            "a=1,",
            ",a=1",
            "a=1 b=2",
            "a=",
            "A=1",
            "1a=1",
            "a=1, b=(1",
            "a=1, b=\"",
            "a=1;",
            "a=1;Q",
            "a=:aGk:",
            "a=:aGk=",
            "a=?2",
            "a=1.",
            "a=-",
            "a=1.1234",
            "a=\"\u{7f}\"",
            "a=\"\\n\"",
            "a=(1\"x\")",
            "a=@1.5",
            "a=%x",
            "a=é",
            "a =1",
        ] {
            assert_eq!(a(text), Err(NotStructured), "{text}");
        }
    }

    #[test]
    fn the_limit_of_an_integer_is_exact() {
        assert_eq!(a("a=999999999999999"), Ok(Some(Item::Integer(999_999_999_999_999))));
        assert_eq!(a("a=1000000000000000"), Err(NotStructured));
    }

    #[test]
    fn the_size_limit_is_exact() {
        let padded = |size: usize| format!("a=1{}", " ".repeat(size - 3));
        assert!(a(&padded(MAX_TEXT)).is_ok());
        assert_eq!(a(&padded(MAX_TEXT + 1)), Err(NotStructured));
    }
}
