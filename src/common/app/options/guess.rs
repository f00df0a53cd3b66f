//! The error about an unknown option: the likely option, or advice about another program's
//! option.

#![forbid(unsafe_code)]

use super::Program;
use crate::codec::text::escape;
use crate::error::Error;

/// The longest name, in bytes, that is compared with the options.
const LONGEST: usize = 40;

/// The error about `given`, an option with its dashes and without a value.
pub(super) fn unknown(program: &Program, given: &[u8]) -> Error {
    let error = Error::usage(format!("{}: no such option", escape(given)));
    let Ok(given) = std::str::from_utf8(given) else { return error.advise("see --help") };
    let habit = program.habits.iter().find(|habit| habit.spellings.split(' ').any(|s| s == given));
    if let Some(habit) = habit {
        return error.advise(habit.instead);
    }
    match given.strip_prefix("--").and_then(|name| nearest(program, name)) {
        Some(meant) => error.advise(format_args!("did you mean --{meant}?")),
        None => error.advise("see --help"),
    }
}

/// The option whose name is most similar to `name`. It begins with `name`, or shares two thirds
/// of the letters.
fn nearest(program: &Program, name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return None;
    }
    let names = || program.all_options().map(|option| option.long);
    let begun: Vec<&str> = names().filter(|long| long.starts_with(name)).collect();
    if let ([only], 2..) = (begun.as_slice(), name.len()) {
        return Some(only);
    }
    let (distance, long) = names().map(|long| (distance(name, long), long)).min()?;
    (distance * 3 <= name.len().max(3)).then_some(long)
}

/// The edit distance: how many letters to change, drop, insert or swap with the next one to turn
/// `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::programs::{CLIENT, RECEIVER, SENDER, SERVER};

    #[test]
    fn letters_that_differ_are_counted() {
        for (a, b, expected) in [
            ("", "", 0),
            ("quiet", "quiet", 0),
            ("queit", "quiet", 1),
            ("restart", "retsart", 1),
            ("", "abc", 3),
            ("sync", "no-sync", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn a_similar_option_is_suggested() {
        for (given, meant) in [
            ("--limitrate", "did you mean --limit-rate?"),
            ("--qiuet", "did you mean --quiet?"),
            ("--verif", "did you mean --verify?"),
            ("--retry_for", "did you mean --retry-for?"),
            ("--wat", "see --help"),
            ("--x", "see --help"),
        ] {
            let text = unknown(&CLIENT, given.as_bytes()).to_string();
            assert_eq!(text, format!("{given}: no such option; {meant}"));
        }
    }

    #[test]
    fn a_name_of_any_length_is_answered() {
        let long = format!("--{}", "\u{e9}".repeat(100_000));
        assert!(unknown(&CLIENT, long.as_bytes()).to_string().ends_with("; see --help"));
        assert!(unknown(&CLIENT, b"--\xff").to_string().ends_with("; see --help"));
    }

    #[test]
    fn no_foreign_option_hides_an_option_of_the_program() {
        for program in [&SERVER, &CLIENT, &SENDER, &RECEIVER] {
            for habit in program.habits {
                for spelling in habit.spellings.split(' ') {
                    assert!(spelling.starts_with('-'), "{spelling}");
                    let own = program.all_options().any(|option| {
                        spelling.strip_prefix("--") == Some(option.long)
                            || option.short.is_some_and(|short| spelling == format!("-{short}"))
                    });
                    assert!(!own, "{}: {spelling}", program.name);
                }
            }
        }
    }

    #[test]
    fn the_advice_names_existing_options() {
        for program in [&SERVER, &CLIENT] {
            for habit in program.habits {
                let words = habit.instead.split([' ', ',', '.', ';', ':', '(', ')']);
                for word in words.filter_map(|word| word.strip_prefix("--")) {
                    assert!(program.all_options().any(|option| option.long == word), "{word}");
                }
            }
        }
    }
}
