//! The exit codes of the programs, which ropewalk-client(1) lists.

pub(crate) const SYSTEM: i32 = 1;
pub(crate) const USAGE: i32 = 2;
pub(crate) const NETWORK: i32 = 3;
pub(crate) const REFUSED: i32 = 4;
pub(crate) const PROTOCOL: i32 = 5;
pub(crate) const INTEGRITY: i32 = 6;
pub(crate) const CHANGED: i32 = 7;
pub(crate) const INCOMPLETE: i32 = 8;
pub(crate) const DELETE_REFUSED: i32 = 9;
pub(crate) const INTERRUPTED: i32 = 130;
