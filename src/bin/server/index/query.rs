//! The query of a target for an index: an order, a cursor from which to go on, and a text to
//! search for. A parameter that is not understood is ignored.

#![forbid(unsafe_code)]

use super::listing::{Entry, Key, Kind, Order, View};
use ropewalk::codec::percent;

/// The longest text to search for, in bytes; no name is longer.
const MAX_PATTERN: usize = 255;

/// The view that a target's query asks for.
pub(super) fn view(target: &[u8]) -> View {
    let mut view = View::all(Key::Name);
    for (key, value) in parameters(target) {
        match key {
            b"sort" => view.order = order(&value).unwrap_or(view.order),
            b"after" => view.after = parse_cursor(&value),
            b"q" if !value.is_empty() && value.len() <= MAX_PATTERN => {
                view.pattern = Some(String::from_utf8_lossy(&value).to_lowercase());
            }
            _ => {}
        }
    }
    view
}

/// Whether the query has this key, with or without a value.
pub(crate) fn asks_for(target: &[u8], word: &str) -> bool {
    parameters(target).any(|(key, _)| key == word.as_bytes())
}

/// The query that asks for this view; empty for the default view.
pub(super) fn encode(view: &View) -> String {
    let mut parts = Vec::new();
    if view.order != View::all(Key::Name).order {
        parts.push(format!("sort={}", sort(view.order)));
    }
    if let Some(pattern) = &view.pattern {
        parts.push(format!("q={}", percent::encode_segment(pattern.as_bytes())));
    }
    if let Some(after) = &view.after {
        parts.push(format!("after={}", percent::encode_segment(&cursor(after))));
    }
    parts.join("&")
}

/// The value that asks for this order.
pub(super) fn sort(order: Order) -> String {
    let key = match order.key {
        Key::Bytes | Key::Name => "name",
        Key::Size => "size",
        Key::Modified => "date",
    };
    format!("{}{key}", if order.descending { "-" } else { "" })
}

fn order(value: &[u8]) -> Option<Order> {
    let (descending, key) = match value {
        [b'-', key @ ..] => (true, key),
        key => (false, key),
    };
    let key = match key {
        b"name" => Key::Name,
        b"size" => Key::Size,
        b"date" => Key::Modified,
        _ => return None,
    };
    Some(Order { key, descending })
}

/// The cursor behind this entry, with all properties that an order compares: a file of 4 bytes
/// has `f4.784111777.name`, and a folder `d.784111777.name`.
fn cursor(entry: &Entry) -> Vec<u8> {
    let kind = match entry.kind {
        Kind::Folder => "d".to_string(),
        Kind::File(size) => format!("f{size}"),
    };
    [format!("{kind}.{}.", entry.modified).as_bytes(), &entry.name].concat()
}

fn parse_cursor(text: &[u8]) -> Option<Entry> {
    let mut parts = text.splitn(3, |&byte| byte == b'.');
    let kind = match parts.next()? {
        b"d" => Kind::Folder,
        [b'f', size @ ..] => Kind::File(std::str::from_utf8(size).ok()?.parse().ok()?),
        _ => return None,
    };
    let modified = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    Some(Entry { name: parts.next()?.to_vec(), kind, modified })
}

/// The keys and decoded values behind the first question mark. A plus sign is a space, since
/// browsers encode forms so.
fn parameters(target: &[u8]) -> impl Iterator<Item = (&[u8], Vec<u8>)> {
    let query = target.iter().position(|&byte| byte == b'?').and_then(|at| target.get(at + 1..));
    query.unwrap_or_default().split(|&byte| byte == b'&').filter_map(|part| {
        let at = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
        let (key, value) = part.split_at_checked(at)?;
        let value: Vec<u8> =
            value.iter().skip(1).map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        Some((key, percent::decode(&value).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_its_query() {
        for kind in [Kind::Folder, Kind::File(u64::MAX)] {
            for key in [Key::Name, Key::Size, Key::Modified] {
                let after = Entry { name: b"a.b&=\xff%+ \n".to_vec(), kind, modified: -1 };
                let order = Order { key, descending: kind == Kind::Folder };
                let pattern = Some("ä+&=?".to_string());
                let asked = View { order, after: Some(after), pattern };
                let query = encode(&asked);
                assert!(
                    query.bytes().all(|b| b.is_ascii_alphanumeric() || b"=&%.-_~".contains(&b))
                );
                assert_eq!(view(format!("/x?{query}").as_bytes()), asked, "{query}");
            }
        }
        assert_eq!(encode(&View::all(Key::Name)), "");
    }

    #[test]
    fn a_parameter_that_is_not_understood_is_ignored() {
        let usual = View::all(Key::Name);
        for query in [
            "",
            "?",
            "?x",
            "?sort",
            "?sort=",
            "?sort=--size",
            "?sort=mtime",
            "?after=",
            "?after=x",
            "?after=f1",
            "?after=f-1.0.a",
            "?after=f1.x.a",
            "?after=%",
            "?q=",
            "?q=%zz",
            "?&&=&",
        ] {
            assert_eq!(view(format!("/a{query}").as_bytes()), usual, "{query}");
        }
        assert_eq!(view(format!("/?q={}", "x".repeat(256)).as_bytes()), usual);
    }

    #[test]
    fn a_search_is_in_lower_case_and_a_plus_is_a_space() {
        assert_eq!(view(b"/?q=A+B%2B%C3%84").pattern.as_deref(), Some("a b+ä"));
    }

    #[test]
    fn a_key_counts_with_or_without_a_value() {
        assert!(asks_for(b"/a?view", "view") && asks_for(b"/a?x=1&view=1", "view"));
        assert!(!asks_for(b"/a?views", "view") && !asks_for(b"/view", "view"));
    }
}
