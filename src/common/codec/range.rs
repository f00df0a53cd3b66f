//! Byte ranges (RFC 9110, section 14): the part of a file that a `Range` field asks for, and
//! `Content-Range`. Does not read the file.

#![forbid(unsafe_code)]

use super::http::{parse_digits, trim_ows};

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeOutcome {
    /// The whole file, with 200: the field asks for something unsupported, and may be ignored
    /// (RFC 9110, section 14.2).
    Whole,
    /// A part of it, with 206.
    Part {
        /// Where the part begins, in bytes from the start.
        start: u64,
        /// Its length in bytes: at least one, and never past the end.
        length: u64,
    },
    /// Nothing, with 416.
    Unsatisfiable,
}

/// The answer to the value of a `Range` field, for a file of `size` bytes. An invalid value, an
/// unknown unit or several ranges get the whole file.
pub fn resolve(value: &[u8], size: u64) -> RangeOutcome {
    part(value, size).unwrap_or(RangeOutcome::Whole)
}

/// The value of `Content-Range` for a part of a file of `size` bytes, with 206 (RFC
/// 9110, section 14.4). `length` is at least one.
pub fn content_range(start: u64, length: u64, size: u64) -> String {
    format!("bytes {start}-{}/{size}", start.saturating_add(length.saturating_sub(1)))
}

/// The value of `Content-Range` for a file of `size` bytes, with 416.
pub fn unsatisfied_range(size: u64) -> String {
    format!("bytes */{size}")
}

/// The outcome of a single byte range; `None` for anything else.
fn part(value: &[u8], size: u64) -> Option<RangeOutcome> {
    let (unit, range) = value.split_at_checked(value.iter().position(|&byte| byte == b'=')?)?;
    let range = trim_ows(range.strip_prefix(b"=")?);
    let (first, last) = range.split_at_checked(range.iter().position(|&byte| byte == b'-')?)?;
    let last = last.strip_prefix(b"-")?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let (start, length) = match (first, last) {
        // The last bytes of the file: zero of them, or of an empty file.
        ([], suffix) => match parse_digits(suffix)? {
            _ if size == 0 => return None,
            0 => return Some(RangeOutcome::Unsatisfiable),
            suffix => (size - suffix.min(size), suffix.min(size)),
        },
        (first, last) => {
            let start = parse_digits(first)?;
            let last = if last.is_empty() { u64::MAX } else { parse_digits(last)? };
            if last < start {
                return None;
            }
            if start >= size {
                // An empty file has no first byte. A client that begins at 0 wants the whole
                // file, as caches do that fetch in slices: a 416 would be a failure to them.
                return if start == 0 { None } else { Some(RangeOutcome::Unsatisfiable) };
            }
            (start, last.min(size - 1) - start + 1)
        }
    };
    Some(RangeOutcome::Part { start, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_100(value: &str) -> RangeOutcome {
        resolve(value.as_bytes(), 100)
    }

    fn part(start: u64, length: u64) -> RangeOutcome {
        RangeOutcome::Part { start, length }
    }

    #[test]
    fn a_range_has_both_its_ends() {
        assert_eq!(of_100("bytes=0-0"), part(0, 1));
        assert_eq!(of_100("bytes=10-19"), part(10, 10));
        assert_eq!(of_100("bytes=0-99"), part(0, 100));
        assert_eq!(of_100("Bytes= 99-99 "), part(99, 1));
    }

    #[test]
    fn a_range_may_end_past_the_end() {
        assert_eq!(of_100("bytes=90-100"), part(90, 10));
        assert_eq!(of_100("bytes=90-99999999999999999999999"), part(90, 10));
    }

    #[test]
    fn a_range_may_be_open() {
        assert_eq!(of_100("bytes=99-"), part(99, 1));
        assert_eq!(of_100("bytes=0-"), part(0, 100));
    }

    #[test]
    fn a_range_may_be_the_last_bytes() {
        assert_eq!(of_100("bytes=-1"), part(99, 1));
        assert_eq!(of_100("bytes=-100"), part(0, 100));
        assert_eq!(of_100("bytes=-101"), part(0, 100));
        assert_eq!(of_100("bytes=-99999999999999999999999"), part(0, 100));
    }

    #[test]
    fn a_range_after_the_end_is_not_satisfied() {
        assert_eq!(of_100("bytes=100-"), RangeOutcome::Unsatisfiable);
        assert_eq!(of_100("bytes=100-200"), RangeOutcome::Unsatisfiable);
        assert_eq!(of_100("bytes=99999999999999999999999-"), RangeOutcome::Unsatisfiable);
        assert_eq!(of_100("bytes=-0"), RangeOutcome::Unsatisfiable);
    }

    #[test]
    fn anything_else_is_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "bytes=1-2,",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes 1-2",
            "lines=1-2",
            "bytes=1 - 2",
            "1-2",
            "bytes =1-2",
            "bytes=0x1-2",
        ] {
            assert_eq!(of_100(value), RangeOutcome::Whole, "{value:?}");
        }
    }

    #[test]
    fn a_range_from_0_of_an_empty_file_gets_the_whole_file() {
        for range in ["bytes=0-", "bytes=0-0", "bytes=0-1048575", "bytes=-1", "bytes=-0"] {
            assert_eq!(resolve(range.as_bytes(), 0), RangeOutcome::Whole, "{range}");
        }
        for range in ["bytes=1-", "bytes=1-1"] {
            assert_eq!(resolve(range.as_bytes(), 0), RangeOutcome::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn the_greatest_file_does_not_overflow() {
        assert_eq!(resolve(b"bytes=0-", u64::MAX), part(0, u64::MAX));
        let last = format!("bytes={}-{}", u64::MAX - 1, u64::MAX);
        assert_eq!(resolve(last.as_bytes(), u64::MAX), part(u64::MAX - 1, 1));
    }

    #[test]
    fn content_range_names_first_last_and_size() {
        assert_eq!(content_range(10, 10, 100), "bytes 10-19/100");
        assert_eq!(
            content_range(u64::MAX - 1, 1, u64::MAX),
            format!("bytes {0}-{0}/{1}", u64::MAX - 1, u64::MAX)
        );
        assert_eq!(unsatisfied_range(100), "bytes */100");
    }
}
