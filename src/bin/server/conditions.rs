//! Conditional requests and ranges, judged in the order of RFC 9110, section 13.2.2: a GET
//! or a HEAD gets the file, a part of it, "not modified", or "precondition failed". A PUT is
//! allowed or not.

#![forbid(unsafe_code)]

use crate::answer::now;
use ropewalk::codec::date;
use ropewalk::codec::etag::{EntityTag, IfRange, TagList};
use ropewalk::codec::http::{Headers, Refusal, Status};
use ropewalk::codec::range::{self, RangeOutcome};
use ropewalk::transfer::source::identity::Identity;

/// The properties of a file that conditions are compared with.
#[derive(Debug)]
pub(crate) struct Validators {
    /// The file's entity tag.
    pub(crate) tag: EntityTag,
    /// When the file was last modified, in seconds since 1970; `None` before 1970.
    pub(crate) modified: Option<u64>,
    /// The value of `Last-Modified`, in seconds since 1970. For a file from the future it is
    /// the date of the answer (RFC 9110, section 8.8.2.1), so it never equals `modified`.
    pub(crate) date: Option<u64>,
    /// The file's size in bytes.
    pub(crate) size: u64,
}

/// The kind of answer that a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The file or a part of it, or no such part: 200, 206 or 416.
    Send(RangeOutcome),
    /// The client's copy is still valid: 304.
    NotModified,
    /// The file is not in the state that the client means: 412.
    Failed,
}

impl Validators {
    /// Those of the file with this identity.
    ///
    /// # Errors
    /// 500: the identity makes no entity tag, which does not happen.
    pub(crate) fn of(identity: &Identity) -> Result<Validators, Refusal> {
        let tag = EntityTag::strong(&identity.etag())
            .ok_or(Refusal::new(Status::INTERNAL_SERVER_ERROR, "no entity tag"))?;
        let modified = u64::try_from(identity.version.mtime.seconds).ok();
        let date = modified.map(|modified| now().map_or(modified, |now| modified.min(now)));
        Ok(Validators { tag, modified, date, size: identity.version.size })
    }

    /// Judges a request with these fields. `ranges` is true for a GET alone (RFC 9110,
    /// section 14.2).
    pub(crate) fn judge(&self, fields: &Headers, ranges: bool) -> Verdict {
        if !self.is_expected(fields) {
            return Verdict::Failed;
        }
        if self.is_known(fields) {
            return Verdict::NotModified;
        }
        // Several Range fields count as none.
        match fields.get_only("Range") {
            Some(value) if ranges && self.in_range_condition(fields) => {
                Verdict::Send(range::resolve(value, self.size))
            }
            _ => Verdict::Send(RangeOutcome::Whole),
        }
    }

    /// Whether If-Match holds, or without that If-Unmodified-Since. A malformed list of tags
    /// matches no file: its client wants a certain state of the file, or nothing.
    fn is_expected(&self, fields: &Headers) -> bool {
        match fields.joined("If-Match") {
            Some(tags) => {
                TagList::parse(&tags).is_some_and(|tags| tags.matches_strongly(&self.tag))
            }
            None => match fields.get_only("If-Unmodified-Since").and_then(date::parse) {
                Some(since) => self.modified.is_none_or(|modified| modified <= since),
                None => true,
            },
        }
    }

    /// Whether the client has this state of the file, by If-None-Match, or without that by
    /// If-Modified-Since.
    fn is_known(&self, fields: &Headers) -> bool {
        match fields.joined("If-None-Match") {
            Some(tags) => TagList::parse(&tags).is_some_and(|tags| tags.matches_weakly(&self.tag)),
            None => match fields.get_only("If-Modified-Since").and_then(date::parse) {
                Some(since) => self.modified.is_some_and(|modified| modified <= since),
                None => false,
            },
        }
    }

    /// Whether If-Range holds: the client has a part of this state of the file.
    fn in_range_condition(&self, fields: &Headers) -> bool {
        if fields.get("If-Range").is_none() {
            return true;
        }
        match fields.get_only("If-Range").and_then(IfRange::parse) {
            Some(IfRange::Tag(tag)) => tag.same_bytes(&self.tag),
            // Two changes within one second have the same date, so a date proves nothing. A
            // client that got a date from this server got the tag too.
            Some(IfRange::Date(_)) | None => false,
        }
    }
}

/// What a PUT finds under its name.
#[derive(Debug)]
pub(crate) enum Current {
    /// Nothing.
    Missing,
    /// A file that this client may GET.
    File(Validators),
    /// Something else.
    Other,
}

/// Whether a PUT with these fields may replace what is there. A malformed list of tags allows
/// nothing: its client wants a certain state of the file, or none.
pub(crate) fn allow_change(fields: &Headers, current: &Current) -> bool {
    let list = |name| fields.joined(name).map(|tags| TagList::parse(&tags));
    let is_expected = match (list("If-Match"), current) {
        (_, Current::File(file)) => file.is_expected(fields),
        (Some(tags), Current::Other) => tags == Some(TagList::Any),
        (Some(_), Current::Missing) => false,
        (None, Current::Other | Current::Missing) => true,
    };
    is_expected
        && match (list("If-None-Match"), current) {
            (None, _) => true,
            (Some(None), _) => false,
            (Some(Some(_)), Current::Missing) => true,
            (Some(Some(tags)), Current::File(file)) => !tags.matches_weakly(&file.tag),
            (Some(Some(tags)), Current::Other) => tags != TagList::Any,
        }
}

/// Whether a PUT with these fields may only make a new file.
pub(crate) fn wants_new(fields: &Headers) -> bool {
    let tags = fields.joined("If-None-Match");
    tags.is_some_and(|tags| TagList::parse(&tags) == Some(TagList::Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Verdict = Verdict::Send(RangeOutcome::Whole);
    const PART: Verdict = Verdict::Send(RangeOutcome::Part { start: 10, length: 10 });
    const RANGE: (&str, &str) = ("Range", "bytes=10-19");

    /// The file's last change, and one second before and after it.
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn judge(fields: &[(&str, &str)]) -> Verdict {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.push(*name, *value));
        file().judge(&headers, true)
    }

    fn file() -> Validators {
        let modified = date::parse(THEN.as_bytes());
        let tag = EntityTag::strong("now").unwrap();
        Validators { tag, modified, date: modified, size: 100 }
    }

    #[test]
    fn without_conditions_the_file_or_the_range_is_sent() {
        assert_eq!(judge(&[]), WHOLE);
        assert_eq!(judge(&[RANGE]), PART);
    }

    #[test]
    fn a_head_ignores_ranges() {
        let mut headers = Headers::new();
        headers.push(RANGE.0, RANGE.1);
        assert_eq!(file().judge(&headers, false), WHOLE);
    }

    #[test]
    fn two_range_fields_count_as_none() {
        assert_eq!(judge(&[RANGE, RANGE]), WHOLE);
    }

    #[test]
    fn if_match_holds_for_the_file_s_tag_and_for_a_star() {
        for (value, verdict) in [
            ("\"now\"", WHOLE),
            ("\"then\", \"now\"", WHOLE),
            ("*", WHOLE),
            ("\"then\"", Verdict::Failed),
            ("W/\"now\"", Verdict::Failed),
            ("now", Verdict::Failed),
        ] {
            assert_eq!(judge(&[("If-Match", value)]), verdict, "{value}");
        }
    }

    #[test]
    fn tags_in_several_fields_form_one_list() {
        assert_eq!(judge(&[("If-Match", "\"then\""), ("If-Match", "\"now\"")]), WHOLE);
    }

    #[test]
    fn if_none_match_is_compared_weakly() {
        for (value, verdict) in [
            ("\"now\"", Verdict::NotModified),
            ("W/\"now\"", Verdict::NotModified),
            ("*", Verdict::NotModified),
            ("\"then\"", WHOLE),
            ("now", WHOLE),
        ] {
            assert_eq!(judge(&[("If-None-Match", value)]), verdict, "{value}");
        }
    }

    #[test]
    fn dates_are_compared_to_the_second() {
        for (value, since, unmodified) in [
            (BEFORE, WHOLE, Verdict::Failed),
            (THEN, Verdict::NotModified, WHOLE),
            (AFTER, Verdict::NotModified, WHOLE),
            ("yesterday", WHOLE, WHOLE),
        ] {
            assert_eq!(judge(&[("If-Modified-Since", value)]), since, "{value}");
            assert_eq!(judge(&[("If-Unmodified-Since", value)]), unmodified, "{value}");
        }
    }

    #[test]
    fn tags_take_precedence_over_dates() {
        assert_eq!(judge(&[("If-None-Match", "\"then\""), ("If-Modified-Since", AFTER)]), WHOLE);
        assert_eq!(judge(&[("If-Match", "\"now\""), ("If-Unmodified-Since", BEFORE)]), WHOLE);
    }

    #[test]
    fn not_modified_takes_precedence_over_a_range() {
        assert_eq!(judge(&[RANGE, ("If-None-Match", "\"now\"")]), Verdict::NotModified);
    }

    #[test]
    fn if_range_gets_the_whole_file_if_its_state_is_another() {
        for (value, verdict) in [
            ("\"now\"", PART),
            ("\"then\"", WHOLE),
            ("W/\"now\"", WHOLE),
            (THEN, WHOLE),
            (BEFORE, WHOLE),
            (AFTER, WHOLE),
            ("now", WHOLE),
        ] {
            assert_eq!(judge(&[RANGE, ("If-Range", value)]), verdict, "{value}");
        }
    }

    #[test]
    fn a_put_replaces_what_its_conditions_allow() {
        let [missing, file, other] = [Current::Missing, Current::File(file()), Current::Other];
        for (name, value, expected) in [
            ("If-None-Match", "*", [true, false, false]),
            ("If-None-Match", "\"now\"", [true, false, true]),
            ("If-None-Match", "W/\"now\"", [true, false, true]),
            ("If-None-Match", "\"then\"", [true, true, true]),
            ("If-None-Match", "now", [false, false, false]),
            ("If-Match", "*", [false, true, true]),
            ("If-Match", "\"now\"", [false, true, false]),
            ("If-Match", "W/\"now\"", [false, false, false]),
            ("If-Match", "\"then\"", [false, false, false]),
            ("If-Match", "now", [false, false, false]),
            ("If-Unmodified-Since", BEFORE, [true, false, true]),
            ("If-Unmodified-Since", THEN, [true, true, true]),
            ("If-Modified-Since", AFTER, [true, true, true]),
        ] {
            let mut headers = Headers::new();
            headers.push(name, value);
            let allowed = [&missing, &file, &other].map(|there| allow_change(&headers, there));
            assert_eq!(allowed, expected, "{name}: {value}");
            let is_star = (name, value) == ("If-None-Match", "*");
            assert_eq!(wants_new(&headers), is_star, "{name}: {value}");
        }
        assert!([missing, file, other].iter().all(|there| allow_change(&Headers::new(), there)));
    }

    #[test]
    fn a_file_from_before_1970_has_no_date() {
        let file = Validators { modified: None, date: None, ..file() };
        let mut headers = Headers::new();
        headers.push("If-Modified-Since", AFTER);
        assert_eq!(file.judge(&headers, true), WHOLE);
    }
}
