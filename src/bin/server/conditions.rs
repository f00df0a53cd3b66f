//! Whether a GET or a HEAD gets the file, a part of it, or word that nothing has
//! changed: the conditional fields and ranges in the order of RFC 9110, section 13.2.2.

#![forbid(unsafe_code)]

use ropewalk::codec::date;
use ropewalk::codec::etag::{EntityTag, IfRange, TagList};
use ropewalk::codec::http::Headers;
use ropewalk::codec::range::{self, RangeOutcome};

/// What conditions are compared with.
#[derive(Debug)]
pub(crate) struct Validators {
    /// The file's entity tag.
    pub(crate) tag: EntityTag,
    /// When it was last modified, in seconds since 1970; `None` for before that.
    pub(crate) modified: Option<u64>,
    /// The date that the client is told of that, which is never one that is still to
    /// come (RFC 9110, section 8.8.2.1): then it is that of the answer, equals nothing
    /// in here, and lets no client keep what it has.
    pub(crate) date: Option<u64>,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// What the request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This much of the file: 200, 206 or 416.
    Send(RangeOutcome),
    /// Word that the client's copy is still good: 304.
    NotModified,
    /// Nothing, since the file is not the one that the client means: 412.
    Failed,
}

impl Validators {
    /// Judges a request with these fields. Ranges are for GET alone (RFC 9110, section
    /// 14.2).
    pub(crate) fn judge(&self, fields: &Headers, ranges: bool) -> Verdict {
        if !self.is_expected(fields) {
            return Verdict::Failed;
        }
        if self.is_known(fields) {
            return Verdict::NotModified;
        }
        // Several Range fields are no range at all.
        match fields.get_only("Range") {
            Some(value) if ranges && self.in_range_condition(fields) => {
                Verdict::Send(range::resolve(value, self.size))
            }
            _ => Verdict::Send(RangeOutcome::Whole),
        }
    }

    /// If-Match, or without it If-Unmodified-Since. A list of tags that cannot be read
    /// matches nothing: its sender wants this file or none.
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

    /// If-None-Match, or without it If-Modified-Since.
    fn is_known(&self, fields: &Headers) -> bool {
        match fields.joined("If-None-Match") {
            Some(tags) => TagList::parse(&tags).is_some_and(|tags| tags.matches_weakly(&self.tag)),
            None => match fields.get_only("If-Modified-Since").and_then(date::parse) {
                Some(since) => self.modified.is_some_and(|modified| modified <= since),
                None => false,
            },
        }
    }

    /// If-Range: whether the file is still the one of which the client has a part.
    fn in_range_condition(&self, fields: &Headers) -> bool {
        if fields.get("If-Range").is_none() {
            return true;
        }
        match fields.get_only("If-Range").and_then(IfRange::parse) {
            Some(IfRange::Tag(tag)) => tag.same_bytes(&self.tag),
            // Two changes within one second have the same date, so it vouches for no bytes;
            // who has a date from here has the tag too.
            Some(IfRange::Date(_)) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Verdict = Verdict::Send(RangeOutcome::Whole);
    const PART: Verdict = Verdict::Send(RangeOutcome::Part { start: 10, length: 10 });
    const RANGE: (&str, &str) = ("Range", "bytes=10-19");

    /// The moment of the file's last change, and the seconds around it.
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
    fn without_conditions_everything_is_sent() {
        assert_eq!(judge(&[]), WHOLE);
        assert_eq!(judge(&[RANGE]), PART);
    }

    #[test]
    fn a_range_of_a_head_is_passed_over() {
        let mut headers = Headers::new();
        headers.push(RANGE.0, RANGE.1);
        assert_eq!(file().judge(&headers, false), WHOLE);
    }

    #[test]
    fn two_range_fields_are_none() {
        assert_eq!(judge(&[RANGE, RANGE]), WHOLE);
    }

    #[test]
    fn if_match_holds_for_its_tag_and_for_any() {
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
    fn tags_in_several_fields_are_one_list() {
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
    fn dates_count_to_the_second() {
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
    fn tags_count_before_dates() {
        assert_eq!(judge(&[("If-None-Match", "\"then\""), ("If-Modified-Since", AFTER)]), WHOLE);
        assert_eq!(judge(&[("If-Match", "\"now\""), ("If-Unmodified-Since", BEFORE)]), WHOLE);
    }

    #[test]
    fn the_file_s_absence_of_change_counts_before_a_range() {
        assert_eq!(judge(&[RANGE, ("If-None-Match", "\"now\"")]), Verdict::NotModified);
    }

    #[test]
    fn if_range_gives_the_whole_of_another_file() {
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
    fn a_file_from_before_1970_has_no_date() {
        let file = Validators { modified: None, date: None, ..file() };
        let mut headers = Headers::new();
        headers.push("If-Modified-Since", AFTER);
        assert_eq!(file.judge(&headers, true), WHOLE);
    }
}
