//! Dates as HTTP writes them (RFC 9110, section 5.6.7), to and from seconds since 1970. Does the
//! calendar's arithmetic itself, and reads no clock.

#![forbid(unsafe_code)]

/// The last second of the year 9999: later years need more than four digits.
pub const MAX_SECONDS: u64 = 253_402_300_799;

const DAY: u64 = 86_400;
const DAY_NAMES: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTH_NAMES: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date as IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`. `seconds` count from the start of
/// 1970 (UTC, without leap seconds); values above [`MAX_SECONDS`] are written as [`MAX_SECONDS`].
pub fn format(seconds: u64) -> String {
    let seconds = seconds.min(MAX_SECONDS);
    let (days, time) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    // The 1st of January 1970 was a Thursday. The arithmetic keeps both indices in bounds.
    let weekday = DAY_NAMES.into_iter().cycle().nth((days % 7) as usize + 3).unwrap_or_default();
    let month = MONTH_NAMES.into_iter().nth(month).unwrap_or_default();
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let weekday = weekday.get(..3).unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// The date for a table that people read, to the minute: `1994-11-06 08:49`, in UTC.
/// `seconds` as in [`format`].
pub fn format_short(seconds: u64) -> String {
    let seconds = seconds.min(MAX_SECONDS);
    let (year, month, day) = civil(seconds / DAY);
    let time = seconds % DAY;
    format!("{year:04}-{:02}-{day:02} {:02}:{:02}", month + 1, time / 3600, time / 60 % 60)
}

/// The date as a log has it (RFC 3339, section 5.6): `1994-11-06T08:49:37Z`. `seconds` as in
/// [`format`].
pub fn format_rfc3339(seconds: u64) -> String {
    let seconds = seconds.min(MAX_SECONDS);
    let (year, month, day) = civil(seconds / DAY);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1)
}

/// Reads a date in any of its three forms, in seconds since 1970: IMF-fixdate, that of RFC 850
/// (`Sunday, 06-Nov-94 08:49:37 GMT`), and that of C's asctime (`Sun Nov  6 08:49:37 1994`).
/// Years of two digits are 1970 to 2069.
///
/// `None` for any other text, a day or time that does not exist, and a date before 1970. The name
/// of the day is not checked against the date. A leap second (`:60`) counts as the second after
/// it.
pub fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let parts: Vec<&str> = text.splitn(7, ' ').collect();
    let (day, month, year, time) = match parts.as_slice() {
        [weekday, day, month, year, time, "GMT"] => {
            short_weekday(weekday.strip_suffix(',')?)?;
            (digits(day, 2)?, *month, digits(year, 4)?, *time)
        }
        [weekday, date, time, "GMT"] => {
            let weekday = weekday.strip_suffix(',')?;
            DAY_NAMES.contains(&weekday).then_some(())?;
            let parts: Vec<&str> = date.splitn(4, '-').collect();
            let [day, month, year] = parts.as_slice() else { return None };
            let year = digits(year, 2)?;
            (digits(day, 2)?, *month, if year < 70 { 2000 + year } else { 1900 + year }, *time)
        }
        [weekday, month, "", day, time, year] => {
            short_weekday(weekday)?;
            (digits(day, 1)?, *month, digits(year, 4)?, *time)
        }
        [weekday, month, day, time, year] => {
            short_weekday(weekday)?;
            (digits(day, 2)?, *month, digits(year, 4)?, *time)
        }
        _ => return None,
    };
    let month = MONTH_NAMES.iter().position(|name| *name == month)?;
    if year < 1970 || day == 0 || day > month_length(year, month) {
        return None;
    }
    Some(days_before(year, month).checked_add(day - 1)? * DAY + time_of_day(time)?)
}

/// Whether this is the three-letter name of a day.
fn short_weekday(text: &str) -> Option<()> {
    DAY_NAMES.iter().any(|name| name.get(..3) == Some(text)).then_some(())
}

/// A number of exactly this many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    if text.len() != count || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Seconds from midnight to `hh:mm:ss`.
fn time_of_day(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let [hour, minute, second] = parts.as_slice() else { return None };
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// How many days a month has; January is 0.
fn month_length(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// Days from the start of 1970 to that of a month; January is 0.
fn days_before(year: u64, month: usize) -> u64 {
    // Leap days since the year 1, up to the year before this one.
    let leap_days = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let months: u64 = (0..month).map(|month| month_length(year, month)).sum();
    (year - 1970) * 365 + leap_days(year) - leap_days(1970) + months
}

/// Year, month (January is 0) and day (from 1) of a day, counted from 1970.
fn civil(days: u64) -> (u64, usize, u64) {
    // A year is at least 365 days, so the guess is never too small.
    let mut year = 1970 + days / 365;
    while days_before(year, 0) > days {
        year -= 1;
    }
    let mut rest = days - days_before(year, 0);
    let mut month = 0;
    while rest >= month_length(year, month) {
        rest -= month_length(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard's own example, in its three forms.
    const EXAMPLE: u64 = 784_111_777;

    #[test]
    fn known_dates_are_written() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (EXAMPLE, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (MAX_SECONDS, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(format(seconds), text);
            assert_eq!(parse(text.as_bytes()), Some(seconds));
        }
    }

    #[test]
    fn a_short_date_goes_to_the_minute() {
        assert_eq!(format_short(0), "1970-01-01 00:00");
        assert_eq!(format_short(EXAMPLE), "1994-11-06 08:49");
        assert_eq!(format_short(u64::MAX), "9999-12-31 23:59");
    }

    #[test]
    fn a_date_for_a_log_goes_to_the_second() {
        assert_eq!(format_rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_rfc3339(EXAMPLE), "1994-11-06T08:49:37Z");
        assert_eq!(format_rfc3339(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(format_rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn the_last_date_is_written_for_later_ones() {
        assert_eq!(format(MAX_SECONDS + 1), format(MAX_SECONDS));
        assert_eq!(format(u64::MAX), format(MAX_SECONDS));
    }

    #[test]
    fn the_obsolete_forms_are_read() {
        assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(EXAMPLE));
        assert_eq!(parse(b"Sun Nov  6 08:49:37 1994"), Some(EXAMPLE));
        assert_eq!(parse(b"Wed Nov 16 08:49:37 1994"), Some(EXAMPLE + 10 * DAY));
    }

    #[test]
    fn a_year_of_two_digits_is_from_1970_to_2069() {
        assert_eq!(parse(b"Thursday, 01-Jan-70 00:00:00 GMT"), Some(0));
        assert_eq!(
            parse(b"Tuesday, 01-Jan-69 00:00:00 GMT"),
            parse(b"Tue, 01 Jan 2069 00:00:00 GMT")
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "safe code alone, and fifty thousand times")]
    fn every_day_from_1970_to_2100_reads_back() {
        let mut days = 0;
        for year in 1970..=2100 {
            for month in 0..12 {
                for day in 1..=month_length(year, month) {
                    assert_eq!(civil(days), (year, month, day));
                    let seconds = days * DAY + days % DAY;
                    assert_eq!(parse(format(seconds).as_bytes()), Some(seconds));
                    days += 1;
                }
            }
        }
        assert_eq!(days, 47_847);
    }

    #[test]
    fn days_of_the_week_follow_each_other() {
        // Miri takes a thousand times as long for a step.
        for days in (0..1000).step_by(if cfg!(miri) { 50 } else { 1 }) {
            let name = format(days * DAY);
            assert_eq!(name[..3], DAY_NAMES[(days as usize + 3) % 7][..3]);
        }
    }

    #[test]
    fn leap_years_have_their_day_and_others_do_not() {
        for (year, leap) in [(1972, true), (2000, true), (2100, false), (2023, false)] {
            let text = format!("Mon, 29 Feb {year} 00:00:00 GMT");
            assert_eq!(parse(text.as_bytes()).is_some(), leap, "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        assert_eq!(parse(b"Sat, 31 Dec 2016 23:59:60 GMT"), Some(1_483_228_800));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "Mon, 00 Jan 2024 00:00:00 GMT",
            "Mon, 32 Jan 2024 00:00:00 GMT",
            "Mon, 31 Apr 2024 00:00:00 GMT",
            "Mon, 01 Jan 2024 24:00:00 GMT",
            "Mon, 01 Jan 2024 00:60:00 GMT",
            "Mon, 01 Jan 2024 00:00:61 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Mon, 01 Jan 0000 00:00:00 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "GMT",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov   6 08:49:37 1994",
            "Sun Nov  06 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GM\xff"), None);
    }
}
