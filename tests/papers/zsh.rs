//! Completion for zsh, by its own `_arguments` (zshcompsys(1)).

#![forbid(unsafe_code)]

use super::{Kind, ORIGIN, installed, kind, place, spellings};
use ropewalk::app::options::{Opt, Program};

/// The text of the file.
pub(super) fn render(program: &Program) -> String {
    let mut specs: Vec<String> = Vec::new();
    for option in program.all_options() {
        specs.extend(spellings(option).iter().map(|spelling| spec(program, option, spelling)));
    }
    for (index, positional) in program.positionals.iter().enumerate() {
        let action = action(&place(program, positional.name));
        let optional = if positional.optional { ":" } else { "" };
        let name = escape(positional.name, ':');
        specs.push(format!("{}:{optional}{name}:{action}", index + 1));
    }
    let mut out = format!("#compdef {}\n# {ORIGIN}\n\n_arguments -s -S : \\\n", installed(program));
    let lines = specs.iter().map(|spec| format!("    '{}'", spec.replace('\'', "'\\''")));
    out.push_str(&lines.collect::<Vec<_>>().join(" \\\n"));
    out.push('\n');
    out
}

/// One spelling of an option: what it excludes, its name, its help, its value.
fn spec(program: &Program, option: &Opt, spelling: &str) -> String {
    let alone = ["help", "version"].contains(&option.long) || program.alone == Some(option.long);
    let excluded = if alone { "- : *".into() } else { spellings(option).join(" ") };
    let joined = match (option.value, spelling.starts_with("--")) {
        (None, _) => "",
        (Some(_), true) => "=",
        (Some(_), false) => "+",
    };
    let help = escape(option.help, ']');
    let value = match (option.value, kind(option)) {
        (Some(name), Some(kind)) => format!(":{}:{}", escape(name, ':'), action(&kind)),
        _ => String::new(),
    };
    format!("({excluded}){spelling}{joined}[{help}]{value}")
}

/// What `_arguments` does for values of this kind. A space shows the name and offers nothing.
fn action(kind: &Kind) -> String {
    match kind {
        Kind::File => "_files".into(),
        Kind::Folder => "_files -/".into(),
        Kind::Host => "_hosts".into(),
        Kind::User => "_users".into(),
        Kind::OneOf(choices) => format!("({})", choices.join(" ")),
        Kind::Free => " ".into(),
    }
}

/// The text with each `end` escaped, which would otherwise end it.
fn escape(text: &str, end: char) -> String {
    text.replace('\\', "\\\\").replace(end, &format!("\\{end}"))
}
