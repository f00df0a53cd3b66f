//! Text escaped for an HTML page. Writes no page.

#![forbid(unsafe_code)]

/// A name of up to this many bytes fits into one line of any page.
const SHORT_NAME: usize = 20;

/// The text, escaped for a place between two tags or in an attribute's quotes. Not for the inside
/// of a script, a style or a comment.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut out, c));
    out
}

/// A file's name, escaped for the text between two tags. A long name gets places where a browser
/// may break the line: before a dot, and after other signs between words.
pub fn escape_breakable(name: &str) -> String {
    if name.len() <= SHORT_NAME {
        return escape(name);
    }
    let mut out = String::with_capacity(2 * name.len());
    let mut last = None;
    for c in name.chars() {
        let between = match (last, c) {
            (None | Some('.'), _) => false,
            (_, '.') => true,
            (Some(last), c) => "-_,+=~@)]}".contains(last) && c.is_alphanumeric(),
        };
        if between {
            out.push_str("<wbr>");
        }
        push(&mut out, c);
        last = Some(c);
    }
    out
}

fn push(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_text_or_an_attribute() {
        assert_eq!(
            escape("</td><a href=\"x\" onclick='y'>&amp;"),
            "&lt;/td&gt;&lt;a href=&quot;x&quot; onclick=&#39;y&#39;&gt;&amp;amp;"
        );
    }

    #[test]
    fn a_long_name_may_be_broken_between_its_words() {
        assert_eq!(escape_breakable("a-b_c.tar.gz"), "a-b_c.tar.gz");
        assert_eq!(
            escape_breakable("linux-6.1.0_amd64-<x>.tar.gz..sig"),
            "linux-<wbr>6<wbr>.1<wbr>.0_<wbr>amd64-&lt;x&gt;<wbr>.tar<wbr>.gz<wbr>..sig"
        );
        assert_eq!(escape_breakable(&"x".repeat(50)), "x".repeat(50));
    }

    #[test]
    fn other_text_is_kept() {
        assert_eq!(escape("a b/ä\u{1f600};#"), "a b/ä\u{1f600};#");
    }
}
