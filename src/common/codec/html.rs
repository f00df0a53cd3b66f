//! Text made safe to stand in an HTML page. Writes no page.

#![forbid(unsafe_code)]

/// The text with every character replaced that could end it or begin something else,
/// between two tags and in an attribute's quotes. Not for the inside of a script, of a
/// style or of a comment.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
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
    fn other_text_is_kept() {
        assert_eq!(escape("a b/ä\u{1f600};#"), "a b/ä\u{1f600};#");
    }
}
