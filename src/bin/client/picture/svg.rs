//! SVG as text: elements with rounded numbers and escaped words. It knows nothing of
//! transfers.

#![forbid(unsafe_code)]

use std::fmt::Write;

/// An SVG under construction.
pub(super) struct Svg {
    text: String,
}

/// The part of a text that its coordinates mean.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    /// The left one.
    Start,
    /// The middle.
    Middle,
    /// The right one.
    End,
}

impl Svg {
    /// An SVG of this size in pixels, with these style rules and this background color.
    pub(super) fn new(width: f64, height: f64, style: &str, ground: &str) -> Svg {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" \
             height=\"{1}\" role=\"img\">\n<style>{style}</style>\n\
             <rect width=\"{0}\" height=\"{1}\" fill=\"{ground}\"/>\n",
            number(width),
            number(height),
        );
        Svg { text }
    }

    /// The text for screen readers.
    pub(super) fn title(&mut self, words: &str) {
        self.push(format_args!("<title>{}</title>\n", escape(words)));
    }

    /// A rectangle.
    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.push(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
            number(x),
            number(y),
            number(width),
            number(height),
        ));
    }

    /// A line.
    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n",
            number(x1),
            number(y1),
            number(x2),
            number(y2),
        ));
    }

    /// A path. An empty path adds nothing.
    pub(super) fn path(&mut self, class: &str, path: &Path) {
        if !path.text.is_empty() {
            self.push(format_args!("<path class=\"{class}\" d=\"{}\"/>\n", path.text));
        }
    }

    /// Words.
    pub(super) fn words(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>\n",
            number(x),
            number(y),
            escape(words),
        ));
    }

    /// Begins a group whose lines have this width.
    pub(super) fn begin(&mut self, class: &str, width: f64) {
        let width = number(width);
        self.push(format_args!("<g class=\"{class}\" stroke-width=\"{width}\">\n"));
    }

    /// Ends the group.
    pub(super) fn end(&mut self) {
        self.push(format_args!("</g>\n"));
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(element); // a String takes everything
    }
}

/// The shape of a path.
#[derive(Clone, Default)]
pub(super) struct Path {
    text: String,
}

impl Path {
    /// Moves to a point without a line.
    pub(super) fn move_to(&mut self, x: f64, y: f64) {
        let _ = write!(self.text, "M{} {}", number(x), number(y));
    }

    /// Draws a line to a point.
    pub(super) fn line_to(&mut self, x: f64, y: f64) {
        let _ = write!(self.text, "L{} {}", number(x), number(y));
    }

    /// Closes the shape.
    pub(super) fn close(&mut self) {
        self.text.push('Z');
    }

    /// A line to the right.
    pub(super) fn dash(&mut self, (x, y): (f64, f64), width: f64) {
        let _ = write!(self.text, "M{} {}h{}", number(x), number(y), number(width));
    }

    /// A rectangle.
    pub(super) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let (width, height) = (number(width), number(height));
        let (x, y) = (number(x), number(y));
        let _ = write!(self.text, "M{x} {y}h{width}v{height}h-{width}z");
    }
}

/// A number with at most one digit behind the point.
fn number(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_string)
}

/// Words escaped for XML. A question mark replaces a character that XML forbids.
fn escape(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for character in words.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => text.push('?'),
            other if other.is_control() => text.push('?'),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_break_out() {
        let mut svg = Svg::new(1.0, 1.0, "", "#fff");
        svg.words("a", (0.0, 0.0), Anchor::Start, "</text><script>\"'&\u{1}\u{ffff}é");
        let text = svg.finish();
        assert!(text.contains(">&lt;/text&gt;&lt;script&gt;&quot;&#39;&amp;??é</text>"), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 1.0, 1.25, 100.0, 0.04].map(number);
        assert_eq!(shown, ["0", "1", "1.2", "100", "0"]);
    }

    #[test]
    fn an_empty_path_is_left_out() {
        let mut svg = Svg::new(1.0, 1.0, "", "#fff");
        svg.path("a", &Path::default());
        assert!(!svg.finish().contains("<path"));
    }
}
