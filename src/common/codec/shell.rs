//! A command line, quoted for a shell: a person can copy and run it (POSIX, Shell Command
//! Language, 2.2 Quoting). And a command split in words as a shell does it, without a shell.

#![forbid(unsafe_code)]

use super::text::escape;

/// The words as one line, each quoted if necessary. A word that is not printable text becomes
/// `$'...'`, which POSIX has since 2024: bash, zsh, ksh and BusyBox support it, dash does not.
pub fn command<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<String>>().join(" ")
}

fn quote(word: &[u8]) -> String {
    // Some shells expand a leading equals sign to a command's path.
    let plain = !word.is_empty() && word[0] != b'=' && word.iter().all(|byte| is_plain(*byte));
    // In printable text, `escape` changes backslashes only.
    let printable = escape(word).replace("\\\\", "\\").as_bytes() == word;
    match (plain, std::str::from_utf8(word)) {
        (true, Ok(text)) => text.to_string(),
        (false, Ok(text)) if printable => format!("'{}'", text.replace('\'', "'\\''")),
        _ => {
            let inner: String = word.iter().map(|byte| escaped(*byte)).collect();
            format!("$'{inner}'")
        }
    }
}

/// Whether no shell treats the byte specially anywhere in a word.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte)
}

/// The words of `text`, which blanks separate. Quotes and backslashes work as in a shell; nothing
/// is expanded. `None` if a quote is not closed.
pub fn split(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b' ' | b'\t' | b'\n' => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().push(rest.next()?),
            b'\'' | b'"' => {
                let word = word.get_or_insert_default();
                loop {
                    match (rest.next()?, byte) {
                        (end, _) if end == byte => break,
                        (b'\\', b'"') => match rest.next()? {
                            escaped @ (b'"' | b'\\') => word.push(escaped),
                            other => word.extend([b'\\', other]),
                        },
                        (inner, _) => word.push(inner),
                    }
                }
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// One byte within `$'...'`.
fn escaped(byte: u8) -> String {
    match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    #[test]
    fn a_plain_word_gets_no_quotes() {
        let words = ["./client", "host:8080", "4", "data/file.iso", "--verify=none", "a%b@c,d_+"];
        assert_eq!(command(words), words.join(" "));
    }

    #[test]
    fn a_word_with_special_characters_is_quoted() {
        for (word, quoted) in [
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("[::1]:80", "'[::1]:80'"),
            ("~", "'~'"),
            ("#a", "'#a'"),
            ("=ls", "'=ls'"),
            ("a\\b", "'a\\b'"),
            ("h\u{e4}user", "'h\u{e4}user'"),
        ] {
            assert_eq!(command([word]), quoted);
        }
    }

    #[test]
    fn a_command_is_split_as_a_shell_splits_it() {
        for (text, words) in [
            ("", &[][..]),
            ("  ", &[]),
            ("ssh -p 2222", &["ssh", "-p", "2222"]),
            (" docker\texec  -i ", &["docker", "exec", "-i"]),
            ("a 'b c' \"d 'e\" ''", &["a", "b c", "d 'e", ""]),
            ("x'y'\"z\"", &["xyz"]),
            (r#"a\ b "c\"d\e\\" 'f\'"#, &["a b", "c\"d\\e\\", "f\\"]),
            ("$HOME `id` *", &["$HOME", "`id`", "*"]),
        ] {
            let found = split(text.as_bytes()).unwrap();
            let expected: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            assert_eq!(found, expected, "{text}");
        }
        for open in ["'a", "\"a", "\"a\\\"", "a\\"] {
            assert_eq!(split(open.as_bytes()), None, "{open}");
        }
    }

    #[test]
    fn words_that_were_quoted_are_the_same_after_they_are_split() {
        let words: [&[u8]; 5] = [b"./client", b"", b"a  b", b"it's \"so\"", b"a\\nb\\"];
        assert_eq!(split(command(words).as_bytes()).unwrap(), words);
    }

    #[test]
    fn an_unprintable_byte_is_written_in_hex() {
        assert_eq!(command([b"a\xffb"]), "$'a\\xffb'");
        assert_eq!(command([b"it's\n\\"]), "$'it\\'s\\x0a\\\\'");
        assert_eq!(command(["\u{202e}x"]), "$'\\xe2\\x80\\xaex'");
    }

    /// What a shell makes of the words: each with a NUL behind it.
    fn taken_apart(shell: &str, words: &[&[u8]]) -> Option<Vec<u8>> {
        let line = command(words.iter().copied());
        assert!(!line.contains('\n'), "{line}");
        let script = format!("printf '%s\\0' {line}");
        let mut shell = Command::new(shell);
        shell.arg("-c").arg(OsStr::from_bytes(script.as_bytes())).env("LC_ALL", "C");
        shell.output().ok().map(|output| output.stdout)
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs programs")]
    fn shells_split_the_line_into_the_same_words() {
        let printable: [&[u8]; 9] = [
            b"./client",
            b"",
            b"a  b",
            b"it's \"so\"",
            b"$HOME `id` $(id) !!",
            b"a\\nb\\",
            b"*?[a-z]{1,2}",
            b"-x;y&z|<>()#~^",
            "h\u{e4}\u{1f980}".as_bytes(),
        ];
        let expected = [printable.join(&0), vec![0]].concat();
        assert_eq!(taken_apart("sh", &printable), Some(expected));
        let others: [&[u8]; 4] = [b"\xff\xfea", b"line\nbreak", b"\x1b[2J'\\", b"\x01\x7f\xc3("];
        // Where there is no bash, the words above are proof enough.
        if let Some(found) = taken_apart("bash", &others) {
            assert_eq!(found, [others.join(&0), vec![0]].concat());
        }
    }
}
