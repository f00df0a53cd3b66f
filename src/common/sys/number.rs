//! Numbers of system calls that an old C library lacks. From 403 on they are the same on every
//! architecture, counted from its own base. Calls nothing.

#![forbid(unsafe_code)]

/// The base of an architecture's numbers. Only MIPS, with three calling conventions, does not
/// begin at zero.
const BASE: libc::c_long = if cfg!(target_arch = "mips") {
    4000
} else if cfg!(all(target_arch = "mips64", target_pointer_width = "64")) {
    5000
} else if cfg!(target_arch = "mips64") {
    6000
} else {
    0
};

/// clone3(2), Linux 5.3.
pub const CLONE3: libc::c_long = BASE + 435;
/// openat2(2), Linux 5.6.
pub const OPENAT2: libc::c_long = BASE + 437;
/// landlock_create_ruleset(2), Linux 5.13.
pub const LANDLOCK_CREATE_RULESET: libc::c_long = BASE + 444;
/// landlock_add_rule(2), Linux 5.13.
pub const LANDLOCK_ADD_RULE: libc::c_long = BASE + 445;
/// landlock_restrict_self(2), Linux 5.13.
pub const LANDLOCK_RESTRICT_SELF: libc::c_long = BASE + 446;
/// fchmodat2(2), Linux 6.6.
pub const FCHMODAT2: libc::c_long = BASE + 452;
/// utimensat(2) with times of 64 bits: on 32-bit systems since Linux 5.1, elsewhere the old call.
pub const UTIMENSAT_TIME64: libc::c_long =
    if cfg!(target_pointer_width = "32") { BASE + 412 } else { libc::SYS_utimensat };
