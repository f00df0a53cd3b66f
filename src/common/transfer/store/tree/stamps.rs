//! Whether two files count as the same by size and mtime. Pure functions.

#![forbid(unsafe_code)]

use crate::codec::message::version::Stamp;

/// The units in which file systems store an mtime, in nanoseconds: NTFS and SMB, others over a
/// network, exFAT, ext3 and tar, FAT.
const UNITS: [i128; 5] = [100, 1_000, 10_000_000, 1_000_000_000, 2_000_000_000];

/// Whether two files with these sizes and mtimes count as the same.
pub fn is_same(one: (u64, Stamp), other: (u64, Stamp)) -> bool {
    one.0 == other.0 && is_same_time(one.1, other.1)
}

/// Whether both times are identical, or one is the other as a coarser file system stores it: cut
/// to 100 ns, 1 µs, 10 ms, 1 s or 2 s.
pub fn is_same_time(one: Stamp, other: Stamp) -> bool {
    let (one, other) = (nanoseconds(one), nanoseconds(other));
    let cut = |time: i128, unit: i128| time - time.rem_euclid(unit);
    one == other || UNITS.iter().any(|&unit| cut(one, unit) == other || cut(other, unit) == one)
}

/// Nanoseconds since 1970.
fn nanoseconds(stamp: Stamp) -> i128 {
    i128::from(stamp.seconds) * 1_000_000_000 + i128::from(stamp.nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanoseconds: u32) -> Stamp {
        Stamp { seconds, nanoseconds }
    }

    #[test]
    fn identical_times_are_the_same_and_others_are_not() {
        assert!(is_same_time(at(5, 123_456_789), at(5, 123_456_789)));
        assert!(!is_same_time(at(5, 123_456_789), at(5, 123_456_788)));
        assert!(!is_same_time(at(5, 123_456_789), at(6, 123_456_789)));
        assert!(!is_same_time(at(5, 0), at(-5, 0)));
    }

    #[test]
    fn a_time_is_the_same_when_it_is_cut_to_a_known_unit() {
        let exact = at(7, 123_456_789);
        let cuts = [at(7, 123_456_700), at(7, 123_456_000), at(7, 120_000_000), at(7, 0), at(6, 0)];
        for cut in cuts {
            assert!(is_same_time(exact, cut) && is_same_time(cut, exact), "{cut:?}");
        }
    }

    #[test]
    fn a_time_that_is_rounded_up_or_cut_to_another_unit_differs() {
        let exact = at(7, 123_456_789);
        let others =
            [at(8, 0), at(7, 123_456_800), at(7, 123_000_000), at(7, 100_000_000), at(5, 0)];
        for other in others {
            assert!(!is_same_time(exact, other), "{other:?}");
        }
        // Two times that a coarse unit would make equal are not equal to each other.
        assert!(!is_same_time(at(7, 100), at(7, 200)));
    }

    #[test]
    fn a_time_before_1970_is_cut_downwards_as_the_kernel_does() {
        assert!(is_same_time(at(-3, 500_000_000), at(-3, 0)));
        assert!(is_same_time(at(-3, 500_000_000), at(-4, 0)));
        assert!(!is_same_time(at(-3, 500_000_000), at(-2, 0)));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let last = at(i64::MAX, 999_999_999);
        assert!(is_same_time(last, at(i64::MAX, 0)));
        assert!(!is_same_time(last, at(i64::MIN, 0)));
    }

    #[test]
    fn the_size_counts_too() {
        assert!(is_same((3, at(1, 1)), (3, at(1, 1))));
        assert!(!is_same((3, at(1, 1)), (4, at(1, 1))));
        assert!(!is_same((3, at(1, 1)), (3, at(1, 2))));
    }
}
