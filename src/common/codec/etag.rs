//! Entity tags (RFC 9110, section 8.8.3) and the conditions that use them: `If-Match`,
//! `If-None-Match`, `If-Range`. The caller makes the tag of a file and decides the answer.

#![forbid(unsafe_code)]

use std::fmt;

use super::date;
use super::http::trim_ows;

/// The most tags that a list may have.
pub const MAX_TAGS: usize = 64;

/// The longest opaque part of a tag, in bytes without its quotes.
pub const MAX_OPAQUE: usize = 1024;

/// An entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    weak: bool,
    opaque: Vec<u8>,
}

impl EntityTag {
    /// The strong tag with this opaque part. `None` if it has a quote, a space, a control
    /// character, or more than [`MAX_OPAQUE`] bytes.
    pub fn strong(opaque: &str) -> Option<EntityTag> {
        let right = opaque.len() <= MAX_OPAQUE && opaque.bytes().all(is_opaque);
        right.then(|| EntityTag { weak: false, opaque: opaque.into() })
    }

    /// Reads one tag, `"x"` or `W/"x"`, and nothing else.
    pub fn parse(text: &[u8]) -> Option<EntityTag> {
        let (tag, rest) = take_tag(text)?;
        rest.is_empty().then_some(tag)
    }

    /// Whether the tag is weak: files that are equivalent, but differ in bytes, share it.
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Strong comparison (RFC 9110, section 8.8.3.2): whether the bytes are certainly the same.
    /// For `If-Match` and `If-Range`.
    pub fn same_bytes(&self, other: &EntityTag) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison (RFC 9110, section 8.8.3.2). For `If-None-Match`.
    pub fn same_meaning(&self, other: &EntityTag) -> bool {
        self.opaque == other.opaque
    }
}

/// The tag as a field has it, with its quotes. Bytes above 0x7F, which only a peer's tag has, are
/// shown as `?`.
impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opaque: String =
            self.opaque.iter().map(|&b| if b.is_ascii() { char::from(b) } else { '?' }).collect();
        write!(f, "{}\"{opaque}\"", if self.weak { "W/" } else { "" })
    }
}

/// The value of `If-Match` or `If-None-Match` (RFC 9110, sections 13.1.1, 13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagList {
    /// `*`: any tag at all.
    Any,
    /// These tags.
    Tags(Vec<EntityTag>),
}

impl TagList {
    /// Reads the value; `None` if it is invalid, empty, or has more than [`MAX_TAGS`] tags. The
    /// caller joins several fields first.
    pub fn parse(text: &[u8]) -> Option<TagList> {
        let mut rest = trim_ows(text);
        if rest == b"*" {
            return Some(TagList::Any);
        }
        let mut tags = Vec::new();
        loop {
            // A list may have empty elements (RFC 9110, section 5.6.1.2).
            while let [b',' | b' ' | b'\t', tail @ ..] = rest {
                rest = tail;
            }
            if rest.is_empty() {
                return (!tags.is_empty()).then_some(TagList::Tags(tags));
            }
            if tags.len() == MAX_TAGS {
                return None;
            }
            let (tag, tail) = take_tag(rest)?;
            tags.push(tag);
            rest = trim_ows(tail);
            if !rest.is_empty() && !rest.starts_with(b",") {
                return None;
            }
        }
    }

    /// Whether `If-Match` holds for a file with this tag: strong comparison.
    pub fn matches_strongly(&self, tag: &EntityTag) -> bool {
        match self {
            TagList::Any => true,
            TagList::Tags(tags) => tags.iter().any(|own| own.same_bytes(tag)),
        }
    }

    /// Whether `If-None-Match` finds a file with this tag: weak comparison.
    pub fn matches_weakly(&self, tag: &EntityTag) -> bool {
        match self {
            TagList::Any => true,
            TagList::Tags(tags) => tags.iter().any(|own| own.same_meaning(tag)),
        }
    }
}

/// The value of `If-Range` (RFC 9110, section 13.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// A tag, to be compared strongly.
    Tag(EntityTag),
    /// A date, in seconds since 1970.
    Date(u64),
}

impl IfRange {
    /// Reads the value. `None` if it is neither: then the condition is false, and the server
    /// sends the whole file.
    pub fn parse(text: &[u8]) -> Option<IfRange> {
        match EntityTag::parse(text) {
            Some(tag) => Some(IfRange::Tag(tag)),
            None => date::parse(text).map(IfRange::Date),
        }
    }
}

/// Whether a byte may be between a tag's quotes.
fn is_opaque(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff)
}

/// A tag at the start of a text, and the rest of the text.
fn take_tag(text: &[u8]) -> Option<(EntityTag, &[u8])> {
    let (weak, quoted) = match text.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let quoted = quoted.strip_prefix(b"\"")?;
    let (opaque, rest) = quoted.split_at_checked(quoted.iter().position(|&byte| byte == b'"')?)?;
    if opaque.len() > MAX_OPAQUE || !opaque.iter().copied().all(is_opaque) {
        return None;
    }
    Some((EntityTag { weak, opaque: opaque.to_vec() }, rest.strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text.as_bytes()).unwrap()
    }

    fn list(text: &str) -> Option<TagList> {
        TagList::parse(text.as_bytes())
    }

    #[test]
    fn a_strong_tag_is_written_in_quotes_and_reads_back() {
        let made = EntityTag::strong("1a-2b,c").unwrap();
        assert_eq!(made.to_string(), "\"1a-2b,c\"");
        assert_eq!(tag(&made.to_string()), made);
    }

    #[test]
    fn a_weak_tag_is_known_as_one() {
        assert!(tag("W/\"x\"").is_weak());
        assert!(!tag("\"x\"").is_weak());
        assert_eq!(tag("W/\"x\"").to_string(), "W/\"x\"");
    }

    #[test]
    fn invalid_bytes_make_no_tag() {
        for opaque in ["a\"b", "a b", "a\nb", "\u{7f}"] {
            assert_eq!(EntityTag::strong(opaque), None, "{opaque:?}");
        }
    }

    #[test]
    fn broken_tags_are_refused() {
        for text in
            ["", "x", "\"x", "x\"", "w/\"x\"", "W\"x\"", "\"a b\"", "\"x\"y", "\"a\nb\"", "\""]
        {
            assert_eq!(EntityTag::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn tags_compare_as_the_standard_s_table_has_it() {
        for (a, b, strongly, weakly) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!(tag(a).same_bytes(&tag(b)), strongly, "{a} {b}");
            assert_eq!(tag(a).same_meaning(&tag(b)), weakly, "{a} {b}");
        }
    }

    #[test]
    fn a_list_has_tags_with_commas_in_them() {
        let found = list("\"a,b\" , W/\"c\",,\"\u{e9}\"").unwrap();
        assert!(found.matches_strongly(&tag("\"a,b\"")));
        assert!(!found.matches_strongly(&tag("\"c\"")));
        assert!(found.matches_weakly(&tag("\"c\"")));
        assert!(found.matches_weakly(&tag("\"\u{e9}\"")));
        assert!(!found.matches_weakly(&tag("\"a\"")));
    }

    #[test]
    fn a_star_matches_everything() {
        assert_eq!(list(" * "), Some(TagList::Any));
        assert!(TagList::Any.matches_strongly(&tag("W/\"x\"")));
        assert!(TagList::Any.matches_weakly(&tag("\"x\"")));
    }

    #[test]
    fn broken_lists_are_refused() {
        for text in ["", ",", "a", "\"a\" \"b\"", "\"a\", *", "*, \"a\"", "\"a\",b", "\"a\",\"b"] {
            assert_eq!(list(text), None, "{text}");
        }
    }

    #[test]
    fn the_limit_of_tags_is_exact() {
        assert!(list(&"\"a\",".repeat(MAX_TAGS)).is_some());
        assert_eq!(list(&"\"a\",".repeat(MAX_TAGS + 1)), None);
    }

    #[test]
    fn the_limit_of_a_tag_is_exact() {
        let opaque = "x".repeat(MAX_OPAQUE);
        assert!(EntityTag::strong(&opaque).is_some());
        assert!(EntityTag::parse(format!("\"{opaque}\"").as_bytes()).is_some());
        assert_eq!(EntityTag::strong(&format!("{opaque}x")), None);
        assert_eq!(EntityTag::parse(format!("\"{opaque}x\"").as_bytes()), None);
    }

    #[test]
    fn if_range_has_a_tag_or_a_date() {
        assert_eq!(IfRange::parse(b"\"x\""), Some(IfRange::Tag(tag("\"x\""))));
        assert_eq!(IfRange::parse(b"Thu, 01 Jan 1970 00:00:07 GMT"), Some(IfRange::Date(7)));
        assert_eq!(IfRange::parse(b"*"), None);
        assert_eq!(IfRange::parse(b"\"x\", \"y\""), None);
    }
}
