//! Sizes, rates and times as people read them. Programs get the plain numbers.

#![forbid(unsafe_code)]

use std::time::Duration;

/// Bytes of a MiB.
pub const MIB: f64 = 1_048_576.0;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes with three digits and a unit of a power of 1024: `999 bytes`, `1.00 GiB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        1 => return "1 byte".to_string(),
        0..1024 => return format!("{bytes} bytes"),
        _ => {}
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // A number that rounds to four digits gets the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// A count with a comma between each three digits: `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes per second in the units of sizes: `443 MiB/s`.
pub fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", size(bytes_per_second as u64))
}

/// How long something took: `0.231 s`, `2.31 s`, `12 min 3 s`, `2 h 5 min`.
pub fn time(time: Duration) -> String {
    let whole = time.as_secs_f64().round() as u64;
    match whole {
        0..60 => format!("{} s", three_digits(time.as_secs_f64())),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Seconds as a clock shows them: `0:07`, `12:34`, `1:02:03`.
pub fn clock(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}"),
        1..100 => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => format!("{} days", hours / 24),
    }
}

/// `part` as a percentage of `whole`, rounded down; 100 if `whole` is 0.
pub fn percent(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 100,
        _ => (u128::from(part) * 100 / u128::from(whole)) as u64,
    }
}

/// A number with three digits in all, decimals included.
fn three_digits(value: f64) -> String {
    match value {
        0.0..0.9995 => format!("{value:.3}"),
        0.9995..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn sizes_have_three_digits_and_a_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.00 KiB"),
            (10_240, "10.0 KiB"),
            (1 << 30, "1.00 GiB"),
            ((1 << 30) - 1, "1.00 GiB"),
            (1023 << 20, "0.999 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn rates_have_the_units_of_sizes() {
        for (bytes, text) in [
            (0.0, "0 bytes/s"),
            (-1.0, "0 bytes/s"),
            (51_234.0, "50.0 KiB/s"),
            (1_048_576.0, "1.00 MiB/s"),
            (93_040_000.0, "88.7 MiB/s"),
            (464_800_000.0, "443 MiB/s"),
            (1_342e6, "1.25 GiB/s"),
            (f64::INFINITY, "16.0 EiB/s"),
        ] {
            assert_eq!(rate(bytes), text);
        }
    }

    #[test]
    fn times_grow_in_their_units() {
        for (milliseconds, text) in [
            (4, "0.004 s"),
            (2310, "2.31 s"),
            (59_400, "59.4 s"),
            (59_960, "1 min 0 s"),
            (723_000, "12 min 3 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(time(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn a_clock_has_hours_only_when_there_are_some() {
        for (seconds, text) in
            [(7, "0:07"), (754, "12:34"), (3723, "1:02:03"), (u64::MAX, "213503982334601 days")]
        {
            assert_eq!(clock(seconds), text);
        }
    }

    #[test]
    fn hundredths_are_rounded_down_and_do_not_overflow() {
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(0, 0), 100);
    }
}
