//! Completion for bash 4.3 and newer. It needs nothing of the bash-completion package.

#![forbid(unsafe_code)]

use super::{Kind, ORIGIN, installed, kind, place, spellings};
use ropewalk::app::options::{Opt, Program};

/// Readline also cuts words at = and :. The script joins such pieces to one word again. The words
/// before the current one tell which option waits for its value, and how many arguments were given.
const WORDS: &str = r#"    local -a words=()
    local word glued='' only='' pending='' place=0
    for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ $glued || $word == [=:]* ]] && ((${#words[@]} > 0)); then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        if [[ $word == *[=:] ]]; then glued=yes; else glued=''; fi
    done
    local current=${words[-1]}
    for word in "${words[@]:0:${#words[@]}-1}"; do
        if [[ $pending ]]; then
            pending=''
        elif [[ $only || $word == - || $word != -* ]]; then
            place=$((place + 1))
        elif [[ $word == -- ]]; then
            only=yes
        else
            case $word in
            VALUED) pending=$word ;;
            esac
        fi
    done
    if [[ ! $pending && ! $only && $current == --*=* ]]; then
        pending=${current%%=*}
        current=${current#*=}
    fi
"#;

/// The text of the file.
pub(super) fn render(program: &Program) -> String {
    let name = installed(program);
    let function = format!("_{}", name.replace('-', "_"));
    let spelled = |options: &[&Opt], between: &str| -> String {
        options.iter().flat_map(|option| spellings(option)).collect::<Vec<_>>().join(between)
    };
    let all: Vec<&Opt> = program.all_options().collect();
    let valued: Vec<&Opt> = all.iter().copied().filter(|option| option.value.is_some()).collect();
    // A `case` needs a pattern, and no word is empty here.
    let patterns = if valued.is_empty() { "''".into() } else { spelled(&valued, " | ") };

    let mut out = format!("# bash completion for {name}. {ORIGIN}\n\n{function}()\n{{\n");
    out.push_str("    COMPREPLY=()\n");
    out.push_str(&WORDS.replace("VALUED", &patterns));
    out.push_str("    if [[ $pending ]]; then\n        case $pending in\n");
    for option in &valued {
        if let Some(offer) = kind(option).and_then(|kind| offer(&kind)) {
            out.push_str(&format!("        {}) {offer} ;;\n", spelled(&[option], " | ")));
        }
    }
    out.push_str("        esac\n    elif [[ ! $only && $current == -* ]]; then\n");
    out.push_str(&format!("        {}\n", words(&spelled(&all, " "))));
    out.push_str("    else\n        case $place in\n");
    for (index, positional) in program.positionals.iter().enumerate() {
        if let Some(offer) = offer(&place(program, positional.name)) {
            out.push_str(&format!("        {index}) {offer} ;;\n"));
        }
    }
    out.push_str("        esac\n    fi\n}\n\n");
    out.push_str(&format!("complete -F {function} {name}\n"));
    out
}

/// The command that offers values of this kind; `None` if there is nothing to offer.
///
/// Files and folders are left to readline, which knows how to quote them.
fn offer(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::File => "compopt -o default".into(),
        Kind::Folder => "compopt -o dirnames".into(),
        Kind::Host => "mapfile -t COMPREPLY < <(compgen -A hostname -- \"$current\")".into(),
        Kind::User => "mapfile -t COMPREPLY < <(compgen -A user -- \"$current\")".into(),
        Kind::OneOf(choices) => words(&choices.join(" ")),
        Kind::Free => return None,
    })
}

/// The command that offers these words.
fn words(words: &str) -> String {
    format!("mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$current\")")
}
