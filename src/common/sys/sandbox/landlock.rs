//! Landlock (landlock(7)): no files, and only the necessary network access. Open descriptors stay
//! open. It refuses everything that this kernel can refuse: an older kernel gives a weaker
//! confinement, and no error.

use super::super::{check, number};
use super::Role;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// landlock_create_ruleset(2): ask for the version only.
const CREATE_RULESET_VERSION: libc::c_uint = 1;
/// LANDLOCK_ACCESS_NET_BIND_TCP and LANDLOCK_ACCESS_NET_CONNECT_TCP.
const NET_BIND: u64 = 1;
const NET_CONNECT: u64 = 2;

/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL: no process outside can be
/// reached this way.
const SCOPED: u64 = 3;

/// landlock_create_ruleset(2)'s `struct landlock_ruleset_attr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

impl Ruleset {
    /// All rights that this version of Landlock can refuse, and the size of the structure that it
    /// knows, in bytes.
    fn all(version: u32) -> (Ruleset, usize) {
        let rights = match version {
            0 | 1 => 13,
            2 => 14,
            3 | 4 => 15,
            _ => 16,
        };
        let network = if version >= 4 { NET_BIND | NET_CONNECT } else { 0 };
        let scoped = if version >= 6 { SCOPED } else { 0 };
        let size = match version {
            0..=3 => 8,
            4 | 5 => 16,
            _ => 24,
        };
        (Ruleset { files: (1 << rights) - 1, network, scoped }, size)
    }
}

/// No file system access and no TCP bind; for a sender no TCP connect either.
pub(super) fn deny_files(role: Role) -> io::Result<()> {
    let (all, size) = Ruleset::all(version()?);
    let network = match role {
        Role::Sender => all.network,
        Role::Receiver => all.network & NET_BIND,
    };
    restrict(&create(&Ruleset { network, ..all }, size)?)
}

/// The kernel's version of Landlock.
///
/// # Errors
/// `ENOSYS` if it has none; `EOPNOTSUPP` if it was disabled at boot.
pub(super) fn version() -> io::Result<u32> {
    let (none, size): (*const Ruleset, usize) = (std::ptr::null(), 0);
    // SAFETY: with this flag the kernel takes a null pointer and touches no memory.
    let version = unsafe {
        libc::syscall(number::LANDLOCK_CREATE_RULESET, none, size, CREATE_RULESET_VERSION)
    };
    Ok(check(version as libc::c_int)?.unsigned_abs())
}

fn create(rules: &Ruleset, size: usize) -> io::Result<OwnedFd> {
    let flags: libc::c_uint = 0;
    // SAFETY: `rules` is live and at least `size` bytes long.
    let ruleset = unsafe {
        libc::syscall(number::LANDLOCK_CREATE_RULESET, std::ptr::from_ref(rules), size, flags)
    };
    let ruleset = check(ruleset as libc::c_int)?;
    // SAFETY: the call has just returned this descriptor, close-on-exec, and nothing
    // else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(ruleset) })
}

/// Confines this thread and the threads that it will start.
fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    let flags: libc::c_uint = 0;
    // SAFETY: takes numbers only and touches no memory of ours.
    let restricted =
        unsafe { libc::syscall(number::LANDLOCK_RESTRICT_SELF, ruleset.as_raw_fd(), flags) };
    check(restricted as libc::c_int)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_kernel_s_size() {
        assert_eq!(size_of::<Ruleset>(), 24);
    }

    #[test]
    fn an_older_kernel_is_asked_for_less() {
        assert_eq!(Ruleset::all(1), (Ruleset { files: 0x1fff, network: 0, scoped: 0 }, 8));
        assert_eq!(Ruleset::all(3), (Ruleset { files: 0x7fff, network: 0, scoped: 0 }, 8));
        assert_eq!(Ruleset::all(4), (Ruleset { files: 0x7fff, network: 3, scoped: 0 }, 16));
        assert_eq!(Ruleset::all(7), (Ruleset { files: 0xffff, network: 3, scoped: 3 }, 24));
    }

    #[test]
    fn this_kernel_accepts_all_rights_of_its_version() {
        let Ok(version) = version() else { return };
        for older in 1..=version {
            let (rules, size) = Ruleset::all(older);
            create(&rules, size).unwrap();
        }
    }
}
