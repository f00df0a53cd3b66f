//! A man page in the macros of man(7), as groff and mandoc read them.

#![forbid(unsafe_code)]

use super::pages::{Page, Section};
use super::{ORIGIN, called, installed};
use ropewalk::app::options::Opt;

/// The longest line of text. A longer single word gets its own line.
const WIDTH: usize = 78;

/// The page's source.
///
/// It bears no date: the text is renewed with the table, and the version says how old it is.
pub(super) fn render(page: &Page) -> String {
    let program = page.program;
    let name = installed(program);
    let mut out = format!(
        ".\\\" {ORIGIN}\n.TH {} 1 \"\" \"ropewalk {}\" \"ropewalk\"\n",
        escape(&name.to_uppercase()),
        escape(ropewalk::VERSION)
    );
    out.push_str(".SH NAME\n");
    text(&mut out, &format!("{name} - {}", headline(program.summary)));
    out.push_str(".SH SYNOPSIS\n");
    let job = program.alone.map(|alone| format!("--{alone}"));
    let forms = program.forms.iter().map(|form| format!("[option ...] {form}")).chain(job);
    for (index, form) in forms.enumerate() {
        let between = if index > 0 { "\n.br\n" } else { "" };
        let words: Vec<String> = form.split(' ').map(synopsis_word).collect();
        out.push_str(&format!("{between}.B {}\n{}", escape(&name), words.join(" ")));
    }
    out.push_str("\n.SH DESCRIPTION\n");
    paragraphs(&mut out, page.description);
    out.push_str(".SH ARGUMENTS\n");
    for positional in program.positionals {
        item(&mut out, &format!("\\fI{}\\fR", escape(positional.name)), positional.help);
    }
    out.push_str(".SH OPTIONS\nOptions may stand anywhere; after\n.B \\-\\-\nthere are none.\n");
    for group in program.all_groups() {
        out.push_str(&format!(".SS {}\n", escape(&sentence(group.title))));
        for option in group.options {
            item(&mut out, &label(option), option.help);
        }
    }
    for section in page.sections {
        render_section(&mut out, section);
    }
    out.push_str(".SH EXIT STATUS\n");
    for code in page.exits {
        item(&mut out, &format!("\\fB{}\\fR", code.number()), code.meaning());
    }
    out.push_str(".SH EXAMPLES\n");
    for (index, (what, line)) in program.examples.iter().enumerate() {
        if index > 0 {
            out.push_str(".PP\n");
        }
        text(&mut out, &format!("{what}:"));
        let line = line.replace("{}", &called(program));
        out.push_str(&format!(".PP\n.RS 4\n.nf\n$ {}\n.fi\n.RE\n", escape(&line)));
    }
    out.push_str(".SH SEE ALSO\n");
    let others =
        page.see_also.iter().map(|(name, section)| format!(".BR {} ({section})", escape(name)));
    out.push_str(&others.collect::<Vec<_>>().join(" ,\n"));
    out.push('\n');
    out
}

/// A summary for the line behind a page's name, which has no full stop.
fn headline(summary: &str) -> &str {
    summary.strip_suffix('.').unwrap_or(summary)
}

/// A word of the synopsis, in italics if the user replaces it.
fn synopsis_word(word: &str) -> String {
    let bare = word.trim_matches(['[', ']']);
    let shown = match bare {
        "..." => escape(bare),
        _ if bare.starts_with("--") => format!("\\fB{}\\fR", escape(bare)),
        _ => format!("\\fI{}\\fR", escape(bare)),
    };
    word.replacen(bare, &shown, 1)
}

/// A heading with a capital letter.
fn sentence(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn render_section(out: &mut String, section: &Section) {
    out.push_str(&format!(".SH {}\n", section.title));
    paragraphs(out, section.text);
    for (term, about) in section.entries {
        item(out, &format!("\\fB{}\\fR", escape(term)), about);
    }
}

/// Paragraphs. The first one follows its heading directly.
fn paragraphs(out: &mut String, texts: &[&str]) {
    for (index, paragraph) in texts.iter().enumerate() {
        if index > 0 {
            out.push_str(".PP\n");
        }
        text(out, paragraph);
    }
}

/// A term that is already marked up, and the text about it.
fn item(out: &mut String, term: &str, about: &str) {
    out.push_str(&format!(".TP\n{term}\n"));
    text(out, about);
}

/// `-b ADDR, --bind ADDR` as man pages show it.
fn label(option: &Opt) -> String {
    let short = option.short.map(|letter| format!("\\fB\\-{letter}\\fR, ")).unwrap_or_default();
    let value = option.value.map(|value| format!(" \\fI{}\\fR", escape(value))).unwrap_or_default();
    format!("{short}\\fB\\-\\-{}\\fR{value}", escape(option.long))
}

/// Running text, in short lines, with a new line for each sentence. Options are bold.
fn text(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split_whitespace() {
        let shown = styled(word);
        if width > 0 && width + 1 + shown.len() > WIDTH {
            out.push('\n');
            width = 0;
        }
        if width > 0 {
            out.push(' ');
            width += 1;
        } else if shown.starts_with(['.', '\'']) {
            out.push_str("\\&"); // otherwise roff reads a request
        }
        out.push_str(&shown);
        width += shown.len();
        if word.ends_with(['.', '?']) {
            out.push('\n');
            width = 0;
        }
    }
    if width > 0 {
        out.push('\n');
    }
}

/// An escaped word, bold if it is an option.
fn styled(word: &str) -> String {
    let bare = word.trim_end_matches([',', '.', ':', ';', ')']);
    if !bare.starts_with("--") {
        return escape(word);
    }
    format!("\\fB{}\\fR{}", escape(bare), escape(&word[bare.len()..]))
}

/// Plain text, escaped so that roff shows it unchanged, with dashes and not hyphens.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '~' => escaped.push_str("\\(ti"),
            '^' => escaped.push_str("\\(ha"),
            '`' => escaped.push_str("\\(ga"),
            '\'' => escaped.push_str("\\(aq"),
            '"' => escaped.push_str("\\(dq"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        let mut out = String::new();
        text(&mut out, source);
        out
    }

    #[test]
    fn text_that_roff_would_read_as_markup_is_escaped() {
        assert_eq!(escape(r"a-b \n 'c' ~^`"), r"a\-b \en \(aqc\(aq \(ti\(ha\(ga");
        assert_eq!(shown(".part is kept"), "\\&.part is kept\n");
    }

    #[test]
    fn options_in_running_text_are_bold() {
        assert_eq!(shown("with --auth, let"), "with \\fB\\-\\-auth\\fR, let\n");
    }

    #[test]
    fn each_sentence_has_its_line_and_none_is_long() {
        assert_eq!(shown("One. Two. Three"), "One.\nTwo.\nThree\n");
        let long = shown(&"word ".repeat(100));
        assert!(long.lines().count() > 5 && long.lines().all(|line| line.len() <= WIDTH));
    }
}
