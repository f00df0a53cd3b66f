//! How the sink of a tree compares, and what it does about what differs. Part of a job.
//!
//! ```text
//! {"rules":["-2a2e6f","+61"],"delete":"half","checksum":1,"dry_run":0, ...}
//! ```
//!
//! A rule is a sign, `-` to exclude and `+` to include, and the pattern in hexadecimal digits. The
//! first rule that matches decides. `delete` is `none`, `half` or the most entries that may go.

#![forbid(unsafe_code)]

use super::fields::{Fields, from_flag};
use crate::codec::json::Value;
use crate::codec::pattern::{Action, Pattern};
use crate::error::Result;
use crate::hash::{from_hex, hex};

/// Most rules of one job.
pub const MAX_RULES: usize = 10_000;

/// The options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeOptions {
    /// The patterns, in the order in which they are tried.
    pub rules: Vec<(Action, Vec<u8>)>,
    /// Whether, and how many, entries that the source lacks are deleted.
    pub delete: Delete,
    /// Whether nothing is changed.
    pub dry_run: bool,
    /// Whether contents are compared, and not size and mtime.
    pub checksum: bool,
    /// Whether a changed file is asked for whole.
    pub whole: bool,
    /// Whether what exists stays as it is.
    pub ignore_existing: bool,
    /// Whether a file that is newer than the source's stays as it is.
    pub update: bool,
    /// Whether files that are one file at the source become one file.
    pub hard_links: bool,
    /// Whether entries get the source's owners, by number.
    pub owner: bool,
    /// Whether each change is reported.
    pub verbose: bool,
}

/// How many entries may be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delete {
    /// None.
    #[default]
    Nothing,
    /// At most half of what was there, and none if the source is empty.
    Half,
    /// At most so many.
    AtMost(u64),
}

impl TreeOptions {
    /// The options as a JSON object.
    pub fn to_json(&self) -> Value {
        let rule = |(action, pattern): &(Action, Vec<u8>)| {
            let sign = if *action == Action::Include { '+' } else { '-' };
            Value::from(format!("{sign}{}", hex(pattern)))
        };
        let delete = match self.delete {
            Delete::Nothing => Value::from("none"),
            Delete::Half => Value::from("half"),
            Delete::AtMost(most) => Value::from_u64(most),
        };
        Value::object([
            ("rules", Value::Array(self.rules.iter().map(rule).collect())),
            ("delete", delete),
            ("dry_run", from_flag(self.dry_run)),
            ("checksum", from_flag(self.checksum)),
            ("whole", from_flag(self.whole)),
            ("ignore_existing", from_flag(self.ignore_existing)),
            ("update", from_flag(self.update)),
            ("hard_links", from_flag(self.hard_links)),
            ("owner", from_flag(self.owner)),
            ("verbose", from_flag(self.verbose)),
        ])
    }

    /// The options in `object`.
    ///
    /// # Errors
    /// A key is missing or wrong; a pattern is invalid; there are more than [`MAX_RULES`].
    pub fn from_json(object: &Value) -> Result<TreeOptions> {
        let fields = Fields::of("tree", object);
        let rules = fields.array("rules")?;
        let rules = match rules.len() {
            0..=MAX_RULES => rules.iter().map(rule).collect::<Option<_>>(),
            _ => None,
        };
        let rules = rules.ok_or_else(|| fields.invalid("rules"))?;
        Ok(TreeOptions {
            rules,
            delete: match object.get("delete") {
                Some(Value::String(word)) if word == "none" => Delete::Nothing,
                Some(Value::String(word)) if word == "half" => Delete::Half,
                _ => Delete::AtMost(fields.number("delete")?),
            },
            dry_run: fields.flag("dry_run")?,
            checksum: fields.flag("checksum")?,
            whole: fields.flag("whole")?,
            ignore_existing: fields.flag("ignore_existing")?,
            update: fields.flag("update")?,
            hard_links: fields.flag("hard_links")?,
            owner: fields.flag("owner")?,
            verbose: fields.flag("verbose")?,
        })
    }
}

/// One rule, if its pattern is valid.
fn rule(text: &Value) -> Option<(Action, Vec<u8>)> {
    let (action, digits) = match text.as_str()?.split_at_checked(1)? {
        ("+", digits) => (Action::Include, digits),
        ("-", digits) => (Action::Exclude, digits),
        _ => return None,
    };
    let pattern = from_hex(digits)?;
    Pattern::parse(&pattern).ok()?;
    Some((action, pattern))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    const TEXT: &str = concat!(
        r#"{"rules":["+612a","-2a2e6f"],"delete":"half","dry_run":0,"checksum":1,"whole":0,"#,
        r#""ignore_existing":0,"update":1,"hard_links":0,"owner":1,"verbose":1}"#
    );

    fn read(text: &str) -> Result<TreeOptions> {
        TreeOptions::from_json(&json::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn the_options_survive_the_socket() {
        let options = read(TEXT).unwrap();
        let rules = [(Action::Include, b"a*".to_vec()), (Action::Exclude, b"*.o".to_vec())];
        assert_eq!((&options.rules[..], options.delete), (&rules[..], Delete::Half));
        assert!(options.checksum && options.update && options.owner && options.verbose);
        assert_eq!(options.to_json().to_string(), TEXT);
        for delete in ["\"none\"", "7"] {
            let text = TEXT.replace("\"half\"", delete);
            assert_eq!(read(&text).unwrap().to_json().to_string(), text);
        }
    }

    #[test]
    fn a_rule_that_is_no_rule_is_an_error() {
        for wrong in ["612a", "*612a", "+6", "+", "+5b"] {
            assert!(read(&TEXT.replace("+612a", wrong)).is_err(), "{wrong}");
        }
        let many = format!("{}\"+61\"", "\"+61\",".repeat(MAX_RULES));
        assert!(read(&TEXT.replace("\"+612a\",\"-2a2e6f\"", &many)).is_err());
    }
}
