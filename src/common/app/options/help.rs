//! The usage and the `--help` text of a program's table, for a window of any width.

#![forbid(unsafe_code)]

use super::{Opt, Program};

/// The longest line of help, in columns, however wide the window is.
const WIDEST: usize = 80;

/// The shortest line limit. In a narrower window the terminal breaks the lines.
const NARROWEST: usize = 40;

/// The column of the texts about arguments and options; labels end before it.
const COLUMN: usize = 27;

/// The same column in a narrow window.
const NARROW_COLUMN: usize = 6;

/// How many ways to call a program a user sees who types only its name.
const BRIEF_FORMS: usize = 3;

/// A window with fewer columns is narrow.
const TWO_COLUMNS: usize = 50;

impl Program {
    /// Each way to call the program, which is called `name`, on a line of its own.
    pub fn usage(&self, name: &str, width: usize) -> String {
        usage(self.forms, name, width)
    }

    /// The text for a user who types only the program's name: the first ways to call it, and an
    /// example.
    pub fn brief(&self, name: &str, width: usize) -> String {
        let mut text = usage(&self.forms[..self.forms.len().min(BRIEF_FORMS)], name, width);
        if let Some((_, line)) = self.examples.first() {
            text.push_str(&format!("example: {}\n", line.replace("{}", name)));
        }
        text.push_str(&format!("{name} --help shows all options\n"));
        text
    }

    /// The `--help` text of a program called `name`, for a window of `width` columns.
    pub fn help(&self, name: &str, width: usize) -> String {
        let width = width.clamp(NARROWEST, WIDEST);
        let mut text = self.usage(name, width);
        text.push_str(&format!("\n{}\n", wrapped(self.summary, 0, width)));
        if !self.examples.is_empty() {
            text.push_str("examples:\n");
        }
        for (what, line) in self.examples {
            text.push_str(&wrapped(&format!("  {what}:"), 2, width));
            // A broken command line could not be copied.
            text.push_str(&format!("    {}\n", line.replace("{}", name)));
        }
        text.push_str("\narguments:\n");
        for positional in self.positionals {
            text.push_str(&row(positional.name, positional.help, width));
        }
        for group in self.all_groups().filter(|group| !group.options.is_empty()) {
            text.push_str(&format!("\n{}:\n", group.title));
            for option in group.options {
                text.push_str(&row(&option.label(), option.help, width));
            }
        }
        let pointer = format!("The manual has more: man ropewalk-{}", self.name);
        text.push_str(&format!("\n{}", wrapped(&pointer, 0, width)));
        text
    }
}

/// Each of these ways to call the program `name`, on a line of its own.
fn usage(forms: &[&str], name: &str, width: usize) -> String {
    let mut text = String::new();
    for (index, form) in forms.iter().enumerate() {
        let head = if index == 0 { "usage:" } else { "" };
        let begin = format!("{head:6} {name} [options]");
        let indent = 7 + name.len() + 1;
        match begin.len() + 1 + form.len() <= width {
            true => text.push_str(&format!("{begin} {form}\n")),
            false => text.push_str(&wrapped(&format!("{begin} {form}"), indent, width)),
        }
    }
    text
}

impl Opt {
    /// `-q, --quiet` or `    --bind ADDR`, as `--help` shows it.
    fn label(&self) -> String {
        let short = self.short.map_or("    ".into(), |short| format!("-{short}, "));
        let value = self.value.map(|value| format!(" {value}")).unwrap_or_default();
        format!("{short}--{}{value}", self.long)
    }
}

/// A label and the text about it.
fn row(label: &str, about: &str, width: usize) -> String {
    let column = if width < TWO_COLUMNS { NARROW_COLUMN } else { COLUMN };
    let begin = format!("  {label}");
    match begin.len() + 2 <= column {
        true => wrapped(&format!("{begin:column$}{about}"), column, width),
        false => format!("{begin}\n{}", wrapped(&format!("{:column$}{about}", ""), column, width)),
    }
}

/// `text` in lines of at most `width` columns, each ended. The first line keeps its leading
/// spaces; the other lines begin with `indent` spaces. A longer word gets its own line.
fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut line = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let length = rest[spaces..].find(' ').unwrap_or(rest.len() - spaces);
        let piece = &rest[..spaces + length];
        if line.len() + piece.len() > width && !line.trim().is_empty() {
            out.push_str(line.trim_end());
            out.push('\n');
            line = format!("{:indent$}{}", "", piece.trim_start());
        } else {
            line.push_str(piece);
        }
        rest = &rest[piece.len()..];
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::programs::{CLIENT, RECEIVER, SENDER, SERVER};

    #[test]
    fn text_is_broken_between_words_and_no_line_is_too_long() {
        assert_eq!(wrapped("  -q  one two three", 6, 12), "  -q  one\n      two\n      three\n");
        assert_eq!(wrapped("a longwordindeed b", 1, 6), "a\n longwordindeed\n b\n");
        assert_eq!(wrapped("", 3, 10), "\n");
    }

    #[test]
    fn help_except_its_examples_fits_any_window_of_forty_columns_or_more() {
        for program in [&SERVER, &CLIENT, &SENDER, &RECEIVER] {
            let examples = program.help("NAME", WIDEST);
            for width in [0, 40, 49, 50, 60, 79, 80, 200, usize::MAX] {
                for line in program.help("NAME", width).lines() {
                    let is_example = line.starts_with("    ") && examples.contains(line);
                    let fits = line.len() <= width.clamp(NARROWEST, WIDEST);
                    assert!(fits || is_example, "{width}: {line:?}");
                }
            }
        }
    }

    #[test]
    fn examples_fit_the_widest_line_and_have_the_name() {
        for program in [&SERVER, &CLIENT, &SENDER, &RECEIVER] {
            let help = program.help("ropewalk-client", WIDEST);
            assert!(help.lines().all(|line| line.len() <= WIDEST), "{help}");
            assert!(!help.contains("{}"), "{help}");
        }
    }
}
