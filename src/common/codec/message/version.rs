//! The state of a file, as `fstat` gives it: all of it in a sender's job, and less of it where a
//! client and a server compare what they have.

#![forbid(unsafe_code)]

use super::fields::Fields;
use crate::codec::json::Value;
use crate::error::Result;

/// A time as the file system stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds since 1970; negative before it.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
}

/// Nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

/// To how many nanoseconds file systems cut a time: 100 ns (NTFS, SMB), 1 us, 10 ms (exFAT), 1 s
/// (ext3, HFS+), 2 s (FAT).
const CUTS: [i128; 5] = [100, 1_000, 10_000_000, SECOND as i128, 2 * SECOND as i128];

impl Stamp {
    /// Whether this moment is after the other one.
    pub fn is_after(self, other: Stamp) -> bool {
        (self.seconds, self.nanoseconds) > (other.seconds, other.nanoseconds)
    }

    /// Whether a file system may have made one of the two times from the other: they are equal,
    /// or one is the other cut to a coarser unit.
    pub fn agrees_with(self, other: Stamp) -> bool {
        let nanoseconds = |stamp: Stamp| {
            i128::from(stamp.seconds) * i128::from(SECOND) + i128::from(stamp.nanoseconds)
        };
        let (one, other) = (nanoseconds(self), nanoseconds(other));
        let cut = |time: i128, unit| time - time.rem_euclid(unit);
        one == other || CUTS.iter().any(|&unit| cut(one, unit) == other || one == cut(other, unit))
    }

    /// The members of an mtime.
    pub(super) fn members(self) -> [(&'static str, Value); 2] {
        [
            ("mtime_s", Value::Integer(self.seconds)),
            ("mtime_ns", Value::from_u64(self.nanoseconds.into())),
        ]
    }

    /// The mtime among the members of `object`; `None` where it is missing or invalid.
    pub(super) fn from_members(object: &Value) -> Option<Stamp> {
        let seconds = match object.get("mtime_s")? {
            Value::Integer(seconds) => *seconds,
            _ => return None,
        };
        let nanoseconds = u32::try_from(object.get("mtime_ns")?.as_u64()?).ok()?;
        (nanoseconds < SECOND).then_some(Stamp { seconds, nanoseconds })
    }
}

/// A file as another machine can have it too: by size and mtime alone it counts as up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Bytes in the file.
    pub size: u64,
    /// When its bytes were last written.
    pub mtime: Stamp,
}

impl Existing {
    /// Whether this file needs no transfer from the file in the state `version`.
    pub fn is_up_to_date(&self, version: &Version) -> bool {
        self.size == version.size && self.mtime.agrees_with(version.mtime)
    }

    pub(super) fn to_json(self) -> Value {
        let members = [("size", Value::from_u64(self.size))];
        Value::object(members.into_iter().chain(self.mtime.members()))
    }

    pub(super) fn from_json(object: &Value) -> Option<Existing> {
        let size = object.get("size")?.as_u64()?;
        Some(Existing { size, mtime: Stamp::from_members(object)? })
    }
}

/// The fields that change when a program writes to a file. A sender compares them before each
/// block. Its descriptor identifies the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Bytes in the file.
    pub size: u64,
    /// When its bytes were last written.
    pub mtime: Stamp,
    /// When its inode was last changed, its mode and names included; no program can set this.
    pub ctime: Stamp,
}

impl Version {
    /// The version's members.
    pub(super) fn members(&self) -> [(&'static str, Value); 5] {
        let nanoseconds = |stamp: Stamp| Value::from_u64(stamp.nanoseconds.into());
        [
            ("size", Value::from_u64(self.size)),
            ("mtime_s", Value::Integer(self.mtime.seconds)),
            ("mtime_ns", nanoseconds(self.mtime)),
            ("ctime_s", Value::Integer(self.ctime.seconds)),
            ("ctime_ns", nanoseconds(self.ctime)),
        ]
    }

    pub(super) fn from_fields(fields: &Fields<'_>) -> Result<Version> {
        let stamp = |seconds, nanoseconds| -> Result<Stamp> {
            let (seconds, nanoseconds) = (fields.signed(seconds)?, fields.number(nanoseconds)?);
            Ok(Stamp { seconds, nanoseconds })
        };
        Ok(Version {
            size: fields.number("size")?,
            mtime: stamp("mtime_s", "mtime_ns")?,
            ctime: stamp("ctime_s", "ctime_ns")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: i64, nanoseconds: u32) -> Stamp {
        Stamp { seconds, nanoseconds }
    }

    /// Whether the times agree, which must not depend on their order.
    fn agree(one: Stamp, other: Stamp) -> bool {
        assert_eq!(one.agrees_with(other), other.agrees_with(one));
        one.agrees_with(other)
    }

    #[test]
    fn a_time_agrees_with_itself_cut_to_each_unit_of_a_file_system() {
        let whole = stamp(1_700_000_001, 987_654_321);
        for cut in [
            whole,
            stamp(1_700_000_001, 987_654_300),
            stamp(1_700_000_001, 987_654_000),
            stamp(1_700_000_001, 980_000_000),
            stamp(1_700_000_001, 0),
            stamp(1_700_000_000, 0),
        ] {
            assert!(agree(whole, cut), "{cut:?}");
        }
    }

    #[test]
    fn a_time_that_is_cut_to_another_unit_or_rounded_up_is_another_time() {
        let whole = stamp(1_700_000_001, 987_654_321);
        for other in [
            stamp(1_700_000_001, 987_654_320),
            stamp(1_700_000_001, 987_654_400),
            stamp(1_700_000_001, 987_655_000),
            stamp(1_700_000_001, 987_000_000),
            stamp(1_700_000_001, 900_000_000),
            stamp(1_700_000_002, 0),
            stamp(1_699_999_998, 0),
            stamp(1_700_000_000, 987_654_321),
            stamp(0, 0),
        ] {
            assert!(!agree(whole, other), "{other:?}");
        }
        assert!(!agree(stamp(1_700_000_001, 0), stamp(1_700_000_003, 0)));
        assert!(!agree(stamp(7, 981_000_000), stamp(7, 987_654_000)));
    }

    #[test]
    fn times_before_1970_are_cut_to_earlier_times() {
        // -0.5 s and -1.5 s.
        let (half, more) = (stamp(-1, 500_000_000), stamp(-2, 500_000_000));
        assert!(agree(half, stamp(-1, 0)) && agree(half, stamp(-2, 0)));
        assert!(agree(more, stamp(-2, 0)));
        assert!(!agree(half, stamp(0, 0)) && !agree(more, stamp(-1, 0)));
    }

    #[test]
    fn the_first_and_the_last_time_can_be_compared() {
        let (first, last) = (stamp(i64::MIN, 0), stamp(i64::MAX, SECOND - 1));
        assert!(agree(first, first) && agree(last, last) && !agree(first, last));
    }

    #[test]
    fn a_file_of_this_size_and_time_is_up_to_date() {
        let (mtime, ctime) = (stamp(1_700_000_001, 987_654_321), stamp(1_800_000_000, 0));
        let version = Version { size: 10, mtime, ctime };
        let existing = |size, mtime| Existing { size, mtime };
        assert!(existing(10, mtime).is_up_to_date(&version));
        assert!(existing(10, stamp(1_700_000_000, 0)).is_up_to_date(&version));
        assert!(!existing(11, mtime).is_up_to_date(&version));
        assert!(!existing(10, ctime).is_up_to_date(&version));
    }
}
