//! Command lines, good and bad, against a small table.

#![forbid(unsafe_code)]

use super::*;
use crate::error::ExitCode;

const TEST: Program = Program {
    name: "test",
    summary: "Tests what a program can be asked.",
    forms: &["from to [how]", "from"],
    positionals: &[
        Positional { name: "from", help: "where from", optional: false },
        Positional { name: "to", help: "where to", optional: false },
        Positional { name: "how", help: "how", optional: true },
    ],
    groups: &[
        Group {
            title: "what to say",
            options: &[Opt { short: Some('q'), long: "quiet", value: None, help: "nothing" }],
        },
        Group {
            title: "where to be",
            options: &[
                Opt { short: Some('b'), long: "bind", value: Some("ADDR"), help: "where" },
                Opt { short: None, long: "job", value: None, help: "job on standard input" },
            ],
        },
    ],
    examples: &[("Go from here", "{} here there")],
    habits: &[Habit { spellings: "-z --compress", instead: "there is nothing like it" }],
    alone: Some("job"),
};

fn parse(line: &str) -> Result<Arguments> {
    let words = line.split(' ').filter(|w| !w.is_empty()).map(OsString::from);
    match TEST.parse(words)? {
        Request::Run(arguments) => Ok(arguments),
        other => panic!("{other:?}"),
    }
}

fn refused(line: &str) -> String {
    let error = parse(line).unwrap_err();
    assert_eq!(error.code(), ExitCode::Usage);
    error.to_string()
}

#[test]
fn options_may_stand_anywhere() {
    let parsed = parse("a -q b").unwrap();
    assert!(parsed.has("quiet"));
    assert_eq!((parsed.positional(0), parsed.positional(1)), ("a".as_ref(), "b".as_ref()));
}

#[test]
fn a_value_may_be_attached_or_follow() {
    for line in ["-b x a b", "-bx a b", "-qbx a b", "--bind x a b", "--bind=x a b"] {
        assert_eq!(parse(line).unwrap().value("bind"), Some("x".as_ref()), "{line}");
    }
}

#[test]
fn the_last_value_counts() {
    assert_eq!(parse("-b x -b y a b").unwrap().value("bind"), Some("y".as_ref()));
}

#[test]
fn after_two_dashes_nothing_is_an_option() {
    assert_eq!(parse("-- -q --").unwrap().positional(0), "-q");
}

#[test]
fn the_words_are_kept_as_they_were_typed() {
    let parsed = parse("-qbx --quiet --bind --quiet a -- --quiet").unwrap();
    assert_eq!(parsed.typed_without("job").len(), 7);
    let kept = ["-qbx", "--bind", "--quiet", "a", "--", "--quiet"];
    assert_eq!(parsed.typed_without("quiet"), kept);
}

#[test]
fn a_single_dash_is_a_file() {
    assert_eq!(parse("a -").unwrap().positional(1), "-");
}

#[test]
fn an_option_that_replaces_the_arguments_needs_none() {
    assert!(parse("--job").unwrap().has("job"));
    assert!(refused("--job a").contains("too many"));
}

#[test]
fn the_last_argument_may_be_left_out_where_the_table_says_so() {
    assert_eq!(parse("a b").unwrap().optional(2), None);
    assert_eq!(parse("a b ").unwrap().positional(2), "");
    assert_eq!(parse("a b c").unwrap().optional(2), Some("c".as_ref()));
}

#[test]
fn mistakes_are_named() {
    assert!(refused("a").contains("to: is missing"));
    assert!(refused("a b c d").contains("'d': is one argument too many"));
    assert_eq!(refused("-x a b"), "-x: no such option; see --help");
    assert_eq!(refused("--wrong a b"), "--wrong: no such option; see --help");
    assert_eq!(refused("--bnid x a b"), "--bnid: no such option; did you mean --bind?");
    for line in ["-z a b", "-qzx a b", "--compress a b", "--compress=9 a b"] {
        assert!(refused(line).ends_with("no such option; there is nothing like it"), "{line}");
    }
    assert!(refused("--quiet=1 a b").contains("takes no value"));
    assert!(refused("a b --bind").contains("needs a value"));
}

#[test]
fn numbers_outside_their_range_are_refused() {
    for good in ["1", "255", "007"] {
        assert!(number("threads", good.as_ref(), 1..=255).is_ok(), "{good}");
    }
    for bad in ["", "0", "256", "-1", "+1", "1.0", "0x1", "4 ", "99999999999999999999999"] {
        assert!(number("threads", bad.as_ref(), 1..=255).is_err(), "{bad}");
    }
}

#[test]
fn rates_have_units_and_a_minimum() {
    for (text, bytes) in [("16384", 16384), ("16K", 16384), ("3m", 3 << 20), ("2G", 2 << 30)] {
        assert_eq!(rate("r", text.as_ref()).unwrap(), bytes, "{text}");
    }
    for text in ["", "K", "15K", "16383", "1T", "1.5M", "-1M", "99999999999999G", "1 M"] {
        assert!(rate("r", text.as_ref()).is_err(), "{text}");
    }
}

#[test]
fn sizes_have_units_and_are_not_zero() {
    for (text, bytes) in [("1", 1), ("16K", 16384), ("3m", 3 << 20), ("2000G", 2000 << 30)] {
        assert_eq!(size("s", text.as_ref()).unwrap(), bytes, "{text}");
    }
    for text in ["", "0", "K", "0G", "1.5M", "-1M", "99999999999999G", "1 M", "1T"] {
        let error = size("--s", text.as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("--s: must be bytes, such as "), "{error}");
    }
}

#[test]
fn the_value_of_an_unknown_option_is_not_shown() {
    for line in ["-uann:sesame a b", "--user=ann:sesame a b", "-qu\u{e9}ann:sesame a b"] {
        assert!(!refused(line).contains("sesame"), "{}", refused(line));
    }
    assert!(refused("-\u{e9}\u{e9} a b").starts_with("-\u{e9}: no such option"));
}

#[test]
fn help_lists_everything_once_and_in_groups() {
    let help = TEST.help("ropewalk-test", 80);
    let begin =
        "usage: ropewalk-test [options] from to [how]\n       ropewalk-test [options] from\n";
    assert!(help.starts_with(begin), "{help}");
    for words in [
        "examples:\n  Go from here:\n    ropewalk-test here there\n\narguments:\n  from    ",
        "\nwhat to say:\n  -q, --quiet ",
        "\nwhere to be:\n  -b, --bind ADDR          where\n      --job ",
        "\nhelp:\n  -h, --help               show this help\n",
    ] {
        assert_eq!(help.matches(words).count(), 1, "{words} in {help}");
    }
    assert!(help.ends_with("\nThe manual has more: man ropewalk-test\n"), "{help}");
}

#[test]
fn help_wins_over_missing_arguments() {
    assert!(matches!(TEST.parse(["-h".into()]), Ok(Request::Help)));
    assert!(matches!(TEST.parse(["-V".into()]), Ok(Request::Version)));
}
