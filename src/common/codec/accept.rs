//! `Accept` (RFC 9110, section 12.5.1): how much a client wants a media type. The caller chooses
//! among the types that it has.

#![forbid(unsafe_code)]

use super::http::trim_ows;

/// The quality of a range without `q`, and the highest quality.
const WHOLE: u16 = 1000;

/// How specific a range of media types is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    /// `*/*`.
    Any,
    /// `text/*`.
    Family,
    /// `text/html`.
    Exact,
}

/// How much a client wants a media type; a greater value means more. Quality decides first. At
/// equal quality the more specific range decides: a client that names a type and adds `*/*`
/// prefers that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    /// In thousandths.
    quality: u16,
    precision: Precision,
}

impl Weight {
    /// Whether the client accepts the type at all.
    pub fn is_acceptable(self) -> bool {
        self.quality > 0
    }

    /// Whether the client accepts the type and names it in full, not only by a wildcard.
    pub fn is_named(self) -> bool {
        self.is_acceptable() && self.precision == Precision::Exact
    }
}

/// How much the client wants `media_type`, by the value of its `Accept` field. The most specific
/// range that matches decides; among equally specific ranges, the highest quality. Invalid
/// ranges, ranges with an invalid `q` and other parameters are ignored.
pub fn weight(accept: &[u8], media_type: &str) -> Weight {
    let ranges = split(accept, b',').filter_map(|range| {
        let mut parts = split(range, b';');
        let precision = precision(trim_ows(parts.next()?), media_type.as_bytes())?;
        Some((precision, quality(parts)?))
    });
    let (precision, quality) = ranges.max().unwrap_or((Precision::Any, 0));
    Weight { quality, precision }
}

/// How specifically a range matches the type; `None` if it does not match.
fn precision(range: &[u8], media_type: &[u8]) -> Option<Precision> {
    if range.eq_ignore_ascii_case(media_type) {
        return Some(Precision::Exact);
    }
    let family = media_type.split(|&byte| byte == b'/').next().unwrap_or_default();
    match range.strip_suffix(b"/*")? {
        b"*" => Some(Precision::Any),
        range if range.eq_ignore_ascii_case(family) => Some(Precision::Family),
        _ => None,
    }
}

/// The quality in the parameters of a range; `None` for an invalid `q`.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let weight = parameters.find_map(|parameter| match trim_ows(parameter) {
        [b'q' | b'Q', b'=', value @ ..] => Some(value),
        _ => None,
    });
    weight.map_or(Some(WHOLE), thousandths)
}

/// A `qvalue` (RFC 9110, section 12.4.2): from 0 to 1 with at most three decimals.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, rest) = text.split_first()?;
    let decimals = match rest {
        [] => rest,
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = decimals.iter().chain(b"000").take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, fraction) {
        (b'0', fraction) => Some(fraction),
        (b'1', 0) => Some(WHOLE),
        _ => None,
    }
}

/// The parts between separators outside quoted strings (RFC 9110, section 5.6.4).
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return byte == separator && !quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client with this field would rather have JSON than HTML.
    fn json(accept: &str) -> bool {
        let [json, html] =
            ["application/json", "text/html"].map(|kind| weight(accept.as_bytes(), kind));
        json.is_acceptable() && json > html
    }

    #[test]
    fn only_a_named_type_is_wanted() {
        assert!(json("application/json"));
        assert!(json("Application/JSON ; charset=utf-8"));
        assert!(!json("text/html"));
        assert!(!json("image/png"));
        assert!(!weight(b"image/png", "text/html").is_acceptable());
        assert!(!json(""));
    }

    #[test]
    fn the_defaults_of_browsers_and_tools_do_not_ask_for_json() {
        for accept in [
            "*/*",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        ] {
            assert!(!json(accept), "{accept}");
        }
    }

    #[test]
    fn the_greater_quality_is_wanted() {
        assert!(json("text/html;q=0.5, application/json;q=0.501"));
        assert!(!json("text/html;q=0.5, application/json;q=0.499"));
        assert!(!json("text/html, application/json"));
        assert!(json("text/html;Q=0.9,application/json;q=1.000"));
    }

    #[test]
    fn nothing_of_quality_zero_is_acceptable() {
        assert!(!json("application/json;q=0"));
        assert!(!json("application/json;q=0.000, */*"));
        assert!(json("text/html;q=0, */*;q=0.1"));
    }

    #[test]
    fn the_most_specific_range_decides() {
        assert!(!json("application/json;q=0.1, application/*;q=0.9, */*, text/html;q=0.2"));
        assert!(json("application/*;q=0.9, text/html;q=0.8, */*;q=0.1"));
        assert!(json("application/json;q=0.1, application/json;q=0.9, text/html;q=0.5"));
    }

    #[test]
    fn a_named_type_wins_at_equal_quality() {
        assert!(json("application/json, text/plain, */*"));
        assert!(!json("text/html, application/*"));
        assert!(json("application/json, text/*"));
    }

    #[test]
    fn only_the_whole_name_of_a_type_names_it() {
        let named = |accept: &str| weight(accept.as_bytes(), "text/html").is_named();
        assert!(named("TEXT/HTML;q=0.1") && named("a/b, text/html, */*"));
        assert!(!named("*/*") && !named("text/*") && !named("text/html;q=0, */*") && !named(""));
    }

    #[test]
    fn a_range_of_another_family_does_not_match() {
        assert!(!weight(b"image/*", "text/html").is_acceptable());
    }

    #[test]
    fn a_quoted_string_holds_no_range() {
        let html = |accept: &[u8]| weight(accept, "text/html").is_acceptable();
        assert!(!html(br#"x/y;z="a,text/html,b""#));
        assert!(!html(br#"x/y;z="\",text/html,b""#));
        assert!(html(br#"x/y;z="a\\",text/html"#));
    }

    #[test]
    fn a_backslash_outside_of_a_quoted_string_escapes_nothing() {
        assert!(weight(br"x/y;z=\,text/html", "text/html").is_acceptable());
    }

    #[test]
    fn separators_in_a_quoted_string_separate_nothing() {
        assert!(json(r#"application/json;x="a,b\",;q=0";q=0.5, text/html;q=0.4"#));
        assert!(!json(r#"x/y;z="application/json, text/html""#));
    }

    #[test]
    fn a_broken_weight_makes_no_range() {
        let quality = |q| weight(format!("a/b;q={q}").as_bytes(), "a/b").quality;
        for q in ["", "2", "1.1", "0.1234", "-1", "0,5", ".5", "0.5x", "x"] {
            assert_eq!(quality(q), 0, "{q:?}");
        }
        assert_eq!(["1", "1.", "1.000", "0.5", "0.001"].map(quality), [1000, 1000, 1000, 500, 1]);
    }
}
