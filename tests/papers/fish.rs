//! Completion for fish 3.0 and newer.

#![forbid(unsafe_code)]

use super::{Kind, ORIGIN, installed, kind, place, spellings};
use ropewalk::app::options::{Opt, Program};

/// Whether so many arguments come before the current word, options not counted. A lone `-` is no
/// option. From fish 4 on, `?` is no pattern.
const PLACE: &str = "    set -l words (commandline -opc)
    set -l place 0
    set -l pending no
    for word in $words[2..-1]
        if test $pending = yes
            set pending no
        else
            switch $word
                case VALUED
                    set pending yes
                case -
                    set place (math $place + 1)
                case '-*'
                case '*'
                    set place (math $place + 1)
            end
        end
    end
    test $place -eq $argv[1]
";

/// The text of the file.
pub(super) fn render(program: &Program) -> String {
    let name = installed(program);
    let condition = format!("__{}_place", name.replace('-', "_"));
    let valued = program.all_options().filter(|option| option.value.is_some());
    let valued: Vec<String> = valued.flat_map(spellings).collect();
    // A `case` needs a pattern, and no word is empty here.
    let patterns = if valued.is_empty() { "''".into() } else { valued.join(" ") };
    let mut out = format!("# fish completion for {name}. {ORIGIN}\n\nfunction {condition}\n");
    out.push_str(&PLACE.replace("VALUED", &patterns));
    out.push_str(&format!("end\n\ncomplete -c {name} -f\n"));
    for option in program.all_options() {
        out.push_str(&format!("complete -c {name}{}\n", described(option)));
    }
    for (index, positional) in program.positionals.iter().enumerate() {
        let offer = offer(&place(program, positional.name));
        if !offer.is_empty() {
            let help = quote(positional.help);
            out.push_str(&format!(
                "complete -c {name} -n '{condition} {index}'{offer} -d {help}\n"
            ));
        }
    }
    out
}

/// The arguments of `complete` for an option.
fn described(option: &Opt) -> String {
    let short = option.short.map(|letter| format!(" -s {letter}")).unwrap_or_default();
    let value = match kind(option) {
        None => String::new(),
        Some(Kind::File) => format!(" -r{}", offer(&Kind::File)),
        Some(kind) => format!(" -x{}", offer(&kind)),
    };
    format!("{short} -l {}{value} -d {}", option.long, quote(option.help))
}

/// The arguments of `complete` that offer values of this kind; empty if there is nothing to offer.
fn offer(kind: &Kind) -> String {
    match kind {
        Kind::File => " -F".into(),
        Kind::Folder => " -a '(__fish_complete_directories)'".into(),
        Kind::Host => " -a '(__fish_print_hostnames)'".into(),
        Kind::User => " -a '(__fish_complete_users)'".into(),
        Kind::OneOf(choices) => format!(" -a '{}'", choices.join(" ")),
        Kind::Free => String::new(),
    }
}

/// The text as one quoted word.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
