//! The state of a file that a sender's job names, as `fstat` gives it.

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

/// The fields that change when a program writes to a file. A sender compares them before each
/// block. Its descriptor identifies the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Bytes in the file.
    pub size: u64,
    /// When its bytes were last written.
    pub mtime: Stamp,
    /// When its inode was last changed; no program can set this.
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
