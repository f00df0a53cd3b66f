//! The promises of patterns, and a matcher that is slow and plain to compare with.

use super::*;
use crate::testing::Random;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text.as_bytes()).unwrap()
}

/// Whether the pattern matches a file. A path with a slash at its end is a folder.
fn matches(text: &str, path: &str) -> bool {
    let folder = path.strip_suffix('/');
    pattern(text).matches(folder.unwrap_or(path).as_bytes(), folder.is_some())
}

#[test]
fn a_pattern_matches_these_paths_and_not_those() {
    for (text, yes, no) in [
        ("a", "a x/a x/y/a a/", "b aa a/b x/ab"),
        ("*", "a .a a/b a/", ""),
        ("*.o", "a.o .o x/a.o a.o/ a.b.o", "a.oo a.c o a.o/x"),
        ("a*", "a ab abc x/a", "ba"),
        ("*a*", "a ba ab bab", "b"),
        ("a*b*c", "abc aXbYc aabbcc abcbc", "ab acb abcd a/b/c"),
        ("?", "a x/b", "ab a/bc"),
        ("a?c", "abc x/abc", "ac abbc a/c"),
        ("[abc]", "a b c x/a", "d ab"),
        ("[a-c]x", "ax bx cx", "dx -x x"),
        ("[!a-c]", "d -", "a b c dd"),
        ("[^a]", "b ^", "a"),
        ("[]a]", "] a", "b"),
        ("[!]]", "a", "]"),
        ("[a-]", "a -", "b"),
        ("[-a]", "a -", "b"),
        ("[a^]", "a ^", "b"),
        ("[[]", "[", "a"),
        ("[*?]", "* ?", "a"),
        (r"[\]x]", r"] x", r"\"),
        (r"[\--a]", "- 0 a", ", b"),
        ("x[+-0]y", "x+y x0y", "x/y"),
        (r"\*", "*", "a"),
        (r"\[a]", "[a]", "a"),
        (r"a\b", "ab", r"a\b"),
        (r"\\", r"\", "a"),
        ("/a", "a a/", "x/a"),
        ("/a/b", "a/b", "x/a/b a b a/b/c"),
        ("/*", "a b/", "a/b"),
        ("a/b", "a/b x/a/b x/y/a/b", "a b a/x/b xa/b"),
        ("a/*", "a/b x/a/c", "a a/b/c"),
        ("a/", "a/ x/a/", "a x/a"),
        ("/a/", "a/", "a x/a/"),
        ("*/", "a/ a/b/", "a a/b"),
        ("**", "a a/b a/b/c a/", ""),
        ("/**", "a a/b a/b/c", ""),
        ("**/", "a/ a/b/", "a a/b"),
        ("**/a", "a x/a x/y/a", "b a/b"),
        ("/**/a", "a x/a x/y/a", "b a/b"),
        ("a/**", "a/b a/b/c x/a/b", "a b/a"),
        ("/a/**", "a/b a/b/c", "a x/a/b"),
        ("/a/**/", "a/b/ a/b/c/", "a/ a/b"),
        ("a/**/b", "a/b a/x/b a/x/y/b z/a/b", "a b ab a/bx"),
        ("/a/**/b/*.o", "a/b/x.o a/x/b/x.o a/b/b/x.o a/b/c/b/x.o", "a/b a/x.o a/b/x/x.o"),
        ("a/**/**/b", "a/b a/x/b a/x/y/b", "a b"),
        ("**/**", "a a/b", ""),
        ("/a/**/**", "a/b a/b/c", "a"),
        ("...", "... x/...", ".. ."),
        (".*", ".a .git/ x/.a", "a"),
        ("\u{e4}", "\u{e4}", "a"),
        ("??", "\u{e4}", "a"),
        (" a ", " a ", "a"),
        ("a b", "a b", "a"),
    ] {
        // A blank separates paths, except in the rows that are about blanks.
        let paths = |all: &'static str| match text.contains(' ') {
            true => vec![all],
            false => all.split(' ').filter(|path| !path.is_empty()).collect(),
        };
        for path in paths(yes) {
            assert!(matches(text, path), "{text} does not match {path}");
        }
        for path in paths(no) {
            assert!(!matches(text, path), "{text} matches {path}");
        }
    }
}

#[test]
fn a_name_of_any_bytes_is_matched() {
    let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    for text in [&b"*"[..], b"[\x01-\xff][!\xff]*\xff", b"\x01\x02*"] {
        assert!(Pattern::parse(text).unwrap().matches(&all, false));
    }
    assert!(Pattern::parse(b"\xff\n").unwrap().matches(b"\xff\n", false));
    assert!(!Pattern::parse(b"\xff").unwrap().matches(b"\xfe", false));
}

#[test]
fn a_pattern_that_can_never_match_is_an_error() {
    use PatternError::*;
    for (text, error) in [
        ("", Empty),
        ("/", Empty),
        ("//", EmptyName),
        ("a//", EmptyName),
        ("a//b", EmptyName),
        ("//a", EmptyName),
        ("[", UnclosedBracket),
        ("[]", UnclosedBracket),
        ("[!]", UnclosedBracket),
        ("[^]", UnclosedBracket),
        ("[a", UnclosedBracket),
        ("[a-", UnclosedBracket),
        (r"[a\]", UnclosedBracket),
        (r"[a\", UnclosedBracket),
        ("[a/b]", UnclosedBracket),
        ("[z-a]", ReversedRange),
        ("[[:digit:]]", Class),
        (r"a\", LoneBackslash),
        (r"a\/b", LoneBackslash),
        ("a**", AttachedStars),
        ("**a", AttachedStars),
        ("***", AttachedStars),
        ("x/**.o/y", AttachedStars),
        (".", DotName),
        ("./a", DotName),
        ("a/../b", DotName),
        ("a/.", DotName),
    ] {
        assert_eq!(Pattern::parse(text.as_bytes()), Err(error), "{text}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_pattern_is_as_long_as_a_path() {
    assert!(Pattern::parse(&[b'a'; MAX_PATTERN]).is_ok());
    assert_eq!(Pattern::parse(&[b'a'; MAX_PATTERN + 1]), Err(PatternError::TooLong));
}

/// Each of these takes more steps than there are atoms, for a matcher that tries all ways.
#[test]
fn a_hostile_pattern_takes_no_long_time() {
    let name = [b'a'; 255];
    let stars = "*a".repeat(120) + "*b";
    assert!(!Pattern::parse(stars.as_bytes()).unwrap().matches(&name, false));
    let sets = "*[ab]".repeat(100) + "c";
    assert!(!Pattern::parse(sets.as_bytes()).unwrap().matches(&name, false));

    let deep = "a/".repeat(2047) + "a";
    let folders = "**/a/".repeat(800) + "b";
    assert!(!Pattern::parse(folders.as_bytes()).unwrap().matches(deep.as_bytes(), false));
    let both = "/**/*a*".repeat(500) + "/b";
    assert!(!Pattern::parse(both.as_bytes()).unwrap().matches(deep.as_bytes(), false));
    let wide = vec!["a".repeat(255); 15].join("/");
    let both = format!("/**/{stars}").repeat(16);
    assert!(!Pattern::parse(both.as_bytes()).unwrap().matches(wide.as_bytes(), false));
}

fn rules(all: &[(Action, &str)]) -> Rules {
    let mut rules = Rules::default();
    all.iter().for_each(|(action, text)| rules.add(*action, pattern(text)));
    rules
}

#[test]
fn the_first_rule_that_matches_decides() {
    use Action::{Exclude, Include};
    let rules = rules(&[(Include, "keep.o"), (Exclude, "*.o"), (Include, "*"), (Exclude, "a")]);
    for (path, excluded) in [("keep.o", false), ("x.o", true), ("a", false)] {
        assert_eq!(rules.exclude(path.as_bytes(), false), excluded, "{path}");
    }
}

#[test]
fn what_no_rule_matches_belongs_to_the_transfer() {
    assert!(Rules::default().is_empty());
    assert!(!Rules::default().exclude(b"a", true));
    assert!(!rules(&[(Action::Exclude, "b/")]).exclude(b"b", false));
}

#[test]
fn a_file_of_patterns_has_comments_and_empty_lines_and_ends_of_lines_of_two_kinds() {
    let found = patterns_in(b"\xef\xbb\xbf# notes\n\n*.o\r\n\r\n\\#x\n #y\nlast").unwrap();
    assert_eq!(found, [&b"*.o"[..], br"\#x", b" #y", b"last"]);
}

#[test]
fn a_file_without_a_pattern_adds_no_rule() {
    for text in [&b""[..], b"\n", b"\r\n\r\n", b"# x", b"\xef\xbb\xbf"] {
        assert!(patterns_in(text).unwrap().is_empty());
    }
}

#[test]
fn a_bad_line_is_told_by_its_number() {
    let error = patterns_in(b"a\n# [\n[\nb\n").unwrap_err();
    assert_eq!(error, LineError { line: 3, error: PatternError::UnclosedBracket });
    assert_eq!(error.to_string(), "line 3: a '[' has no ']'");
}

/// The same question for the text of a pattern, byte by byte, trying all ways.
fn naive(text: &[u8], path: &[u8], is_folder: bool) -> bool {
    let (text, is_folder_pattern) = match text.strip_suffix(b"/") {
        Some(text) => (text, true),
        None => (text, false),
    };
    if is_folder_pattern && !is_folder {
        return false;
    }
    match text.strip_prefix(b"/") {
        Some(text) => naive_bytes(text, path),
        None => (0..path.len())
            .filter(|at| *at == 0 || path[at - 1] == b'/')
            .any(|at| naive_bytes(text, &path[at..])),
    }
}

fn naive_bytes(text: &[u8], path: &[u8]) -> bool {
    match text {
        [] => path.is_empty(),
        b"**" => !path.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            naive_bytes(rest, path)
                || (0..path.len()).any(|at| path[at] == b'/' && naive_bytes(rest, &path[at + 1..]))
        }
        [b'*', rest @ ..] => {
            naive_bytes(rest, path)
                || path.first().is_some_and(|b| *b != b'/') && naive_bytes(text, &path[1..])
        }
        [b'?', rest @ ..] => {
            path.first().is_some_and(|b| *b != b'/') && naive_bytes(rest, &path[1..])
        }
        [b'[', b'!', b'a', b']', rest @ ..] => {
            path.first().is_some_and(|b| *b != b'/' && *b != b'a') && naive_bytes(rest, &path[1..])
        }
        [b'[', b'a', b'-', b'b', b']', rest @ ..] => {
            path.first().is_some_and(|b| matches!(b, b'a' | b'b')) && naive_bytes(rest, &path[1..])
        }
        [byte, rest @ ..] => path.first() == Some(byte) && naive_bytes(rest, &path[1..]),
    }
}

#[test]
fn a_pattern_matches_what_a_plain_matcher_does() {
    let mut random = Random::new();
    let parts = ["a", "b", "*", "?", "[!a]", "[a-b]", "/", "/**/", "c"];
    let mut matched = 0;
    for _ in 0..100_000 {
        let count = 1 + random.below(8);
        let text: String = (0..count).map(|_| parts[random.below(parts.len())]).collect();
        let text = text.replace("//", "/");
        let Ok(parsed) = Pattern::parse(text.as_bytes()) else { continue };
        let names = 1 + random.below(5);
        let path: Vec<Vec<u8>> = (0..names)
            .map(|_| (0..1 + random.below(3)).map(|_| b"abc"[random.below(3)]).collect())
            .collect();
        let path = path.join(&b'/');
        let is_folder = random.below(2) == 0;
        let wanted = naive(text.as_bytes(), &path, is_folder);
        matched += usize::from(wanted);
        let found = parsed.matches(&path, is_folder);
        assert_eq!(found, wanted, "{text} {} {is_folder}", String::from_utf8_lossy(&path));
    }
    assert!(matched > 1000, "{matched}");
}
