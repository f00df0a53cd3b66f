//! The options for folders as validated values.

#![forbid(unsafe_code)]

use ropewalk::app::options::Arguments;
use ropewalk::codec::message::tree_options::{Delete, TreeOptions};
use ropewalk::codec::message::verify::Verify;
use ropewalk::codec::pattern::{self, Action, Pattern};
use ropewalk::codec::text::escape;
use ropewalk::error::{Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Most bytes of all patterns. The receiver gets them in its job.
const MAX_PATTERNS: usize = 24 << 10;

/// What to do with a folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TreeConfig {
    /// How to compare, and what to do.
    pub(crate) options: TreeOptions,
    /// Whether the server leaves out what is mounted in the folder.
    pub(crate) one_file_system: bool,
    /// How to check the bytes.
    pub(crate) verify: Verify,
}

impl TreeConfig {
    /// Validates the options.
    pub(super) fn from_arguments(arguments: &Arguments) -> Result<TreeConfig> {
        let checksum = arguments.has("checksum");
        for other in ["ignore-existing", "update"] {
            if checksum && arguments.has(other) {
                return Err(Error::usage(format!("--checksum: cannot be combined with --{other}")));
            }
        }
        let restart = arguments.has("restart");
        Ok(TreeConfig {
            options: TreeOptions {
                rules: rules(arguments)?,
                delete: delete(arguments)?,
                dry_run: arguments.has("dry-run"),
                checksum: checksum || restart,
                whole: arguments.has("whole") || restart,
                ignore_existing: arguments.has("ignore-existing"),
                update: arguments.has("update"),
                hard_links: arguments.has("hard-links"),
                owner: arguments.has("owner"),
                verbose: arguments.has("verbose"),
            },
            one_file_system: arguments.has("one-file-system"),
            verify: verify(arguments),
        })
    }
}

fn delete(arguments: &Arguments) -> Result<Delete> {
    let most = arguments.number("max-delete", 0..=i64::MAX as u64)?;
    match (arguments.has("delete"), most) {
        (false, Some(_)) => Err(Error::usage("--max-delete: needs --delete")),
        (false, None) => Ok(Delete::Nothing),
        (true, None) => Ok(Delete::Half),
        (true, Some(most)) => Ok(Delete::AtMost(most)),
    }
}

/// A folder is checked by MD5 only where that is asked for by name. A word that is none is refused
/// where the option for files is read.
fn verify(arguments: &Arguments) -> Verify {
    let word = arguments.value("verify").and_then(OsStr::to_str);
    word.and_then(Verify::from_word).unwrap_or(Verify::Crc32c)
}

/// The patterns, in the order in which they were typed.
fn rules(arguments: &Arguments) -> Result<Vec<(Action, Vec<u8>)>> {
    let mut rules = Vec::new();
    for (option, value) in arguments.typed_values(&["exclude", "include", "exclude-from"]) {
        let text = value.as_bytes();
        let failed = |why: String| Error::usage(format!("--{option}: '{}': {why}", escape(text)));
        if option == "exclude-from" {
            let lines = std::fs::read(value)
                .map_err(|error| Error::system(format!("--{option}: {}", escape(text)), &error))?;
            let patterns =
                pattern::patterns_in(&lines).map_err(|error| failed(error.to_string()))?;
            rules.extend(patterns.into_iter().map(|line| (Action::Exclude, line.to_vec())));
            continue;
        }
        Pattern::parse(text).map_err(|error| failed(error.to_string()))?;
        let action = if option == "include" { Action::Include } else { Action::Exclude };
        rules.push((action, text.to_vec()));
    }
    match rules.iter().map(|(_, pattern)| pattern.len()).sum::<usize>() {
        0..=MAX_PATTERNS => Ok(rules),
        _ => Err(Error::usage("--exclude: all patterns together are longer than 24 KiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk::app::options::Request;
    use ropewalk::app::programs::CLIENT;

    fn config(words: &[&str]) -> Result<TreeConfig> {
        let words = words.iter().chain(&["box:80", "4", "f", "o"]);
        match CLIENT.parse(words.map(Into::into))? {
            Request::Run(arguments) => TreeConfig::from_arguments(&arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn patterns_keep_the_order_in_which_they_were_typed() {
        let options =
            config(&["--include=a", "--exclude", "*", "--include", "b/"]).unwrap().options;
        let expected: [(Action, &[u8]); 3] =
            [(Action::Include, b"a"), (Action::Exclude, b"*"), (Action::Include, b"b/")];
        assert_eq!(options.rules, expected.map(|(action, text)| (action, text.to_vec())));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for words in [
            &["--max-delete=3"][..],
            &["--checksum", "--update"],
            &["--checksum", "--ignore-existing"],
            &["--exclude="],
            &["--exclude=["],
            &["--delete", "--max-delete=-1"],
        ] {
            assert!(config(words).is_err(), "{words:?}");
        }
        let long = format!("--exclude={}", "x".repeat(4000));
        assert!(config(&[long.as_str(); 6]).is_ok() && config(&[long.as_str(); 7]).is_err());
    }

    #[test]
    fn a_folder_is_checked_by_md5_only_where_that_is_asked_for_by_name() {
        for (words, verify) in [
            (&[][..], Verify::Crc32c),
            (&["--verify=md5"], Verify::Md5),
            (&["--verify=crc32c"], Verify::Crc32c),
            (&["--verify=none"], Verify::None),
        ] {
            assert_eq!(config(words).unwrap().verify, verify, "{words:?}");
        }
    }

    #[test]
    fn a_limit_takes_the_place_of_half() {
        assert_eq!(config(&["--delete"]).unwrap().options.delete, Delete::Half);
        let limited = config(&["--delete", "--max-delete=7"]).unwrap();
        assert_eq!(limited.options.delete, Delete::AtMost(7));
    }
}
