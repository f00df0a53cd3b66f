//! The numbers at an axis, and the text of numbers and times.

#![forbid(unsafe_code)]

/// Round steps between two numbers, times a power of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

/// Round steps between two times, in seconds.
const TIME_STEPS: [f64; 20] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    1200.0, 1800.0, 3600.0, 7200.0,
];

/// The numbers of an axis: 0, and at most `count` more up to `most`.
pub(super) fn ticks(most: f64, count: u32) -> Vec<f64> {
    let least = most / f64::from(count);
    if !(least > 0.0 && least.is_finite()) {
        return vec![0.0];
    }
    let power = 10f64.powf(least.log10().floor());
    let step = STEPS.iter().map(|step| step * power).find(|step| *step >= least * 0.999);
    multiples(step.unwrap_or(10.0 * power), most)
}

/// The times of an axis, in seconds.
pub(super) fn time_ticks(most: f64, count: u32) -> Vec<f64> {
    let least = most / f64::from(count);
    let step = TIME_STEPS.iter().copied().find(|step| *step >= least);
    // Longer times get whole hours.
    multiples(step.unwrap_or_else(|| (least / 3600.0).ceil() * 3600.0), most)
}

fn multiples(step: f64, most: f64) -> Vec<f64> {
    let count = (most / step + 1e-6).floor().clamp(0.0, 100.0) as u32;
    (0..=count).map(|number| f64::from(number) * step).collect()
}

/// A number with at most three digits behind the point, and fewer if it is large.
pub(super) fn short(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 10.0 || size == 0.0 => 0,
        size if size >= 1.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// A time, as the axis shows it.
pub(super) fn time(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{} s", short(seconds)),
        60..3600 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02} h", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_numbers() {
        assert_eq!(ticks(37.0, 4), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(100.0, 4), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(0.9, 4), [0.0, 0.5]);
        assert_eq!(ticks(0.0, 4), [0.0]);
        assert_eq!(ticks(f64::INFINITY, 4), [0.0]);
        for most in [0.0001, 0.3, 7.0, 123_456.0, 1e12] {
            assert!((2..=6).contains(&ticks(most, 5).len()), "{most}");
        }
    }

    #[test]
    fn an_axis_of_times_has_whole_minutes_and_hours() {
        assert_eq!(time_ticks(70.0, 8), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]);
        assert_eq!(time_ticks(3600.0 * 30.0, 8).last(), Some(&(3600.0 * 28.0)));
        assert_eq!(time_ticks(0.0, 8), [0.0]);
    }

    #[test]
    fn numbers_and_times_are_shown_short() {
        assert_eq!(
            [0.0, 0.02, 0.25, 1.5, 2.0, 37.4, 100.0].map(short),
            ["0", "0.02", "0.25", "1.5", "2", "37", "100"]
        );
        assert_eq!(
            [0.5, 59.0, 60.0, 3599.0, 7260.0].map(time),
            ["0.5 s", "59 s", "1:00 min", "59:59 min", "2:01 h"]
        );
    }
}
