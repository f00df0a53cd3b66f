//! The order in which people expect names: `file9` before `file10`, and letters without regard to
//! case. Letters beyond ASCII keep the order of their bytes.

#![forbid(unsafe_code)]

use std::cmp::Ordering;

/// Compares two names. A row of digits counts as a number of any length, an ASCII letter as lower
/// case, every other byte as itself. Only names of the same bytes are equal.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let order = match (left.first(), right.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y) = (take_number(&mut left), take_number(&mut right));
                // Without leading zeros, the longer number is greater.
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            (Some(x), Some(y)) => {
                let order = x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase());
                left = left.get(1..).unwrap_or_default();
                right = right.get(1..).unwrap_or_default();
                order
            }
            // One is a prefix of the other, or they differ only in case and zeros.
            (x, y) => return x.is_some().cmp(&y.is_some()).then_with(|| a.cmp(b)),
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Takes the digits at the start, and returns them without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or_default();
    *text = rest;
    let zeros = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    digits.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_the_order_that_people_expect() {
        let ordered = [
            "", "2", "10", "010a", "a", "a1", "a1.txt", "a1b", "a2", "A10", "a10x", "B", "b0",
            "b00", "v1.9.0", "v1.10.0", "ä",
        ];
        for (at, x) in ordered.iter().enumerate() {
            for (other, y) in ordered.iter().enumerate() {
                assert_eq!(compare(x.as_bytes(), y.as_bytes()), at.cmp(&other), "{x:?} {y:?}");
            }
        }
    }

    #[test]
    fn numbers_may_be_longer_than_any_type() {
        let (small, great) = ("9".repeat(200), format!("1{}", "0".repeat(200)));
        assert_eq!(compare(small.as_bytes(), great.as_bytes()), Ordering::Less);
    }

    #[test]
    fn only_equal_bytes_are_equal() {
        for (x, y) in [("a", "A"), ("01", "1"), ("x0", "x00")] {
            assert_ne!(compare(x.as_bytes(), y.as_bytes()), Ordering::Equal);
            assert_eq!(
                compare(x.as_bytes(), y.as_bytes()),
                compare(y.as_bytes(), x.as_bytes()).reverse()
            );
        }
        assert_eq!(compare(b"a1", b"a1"), Ordering::Equal);
    }
}
