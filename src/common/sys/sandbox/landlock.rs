//! Landlock (landlock(7)): no files but those beneath the folder of a tree, and only the necessary
//! network access. Open descriptors stay open. It refuses everything that this kernel can refuse: an older kernel gives a weaker
//! confinement, and no error.

use super::super::{check, number};
use super::{Role, Work};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// landlock_create_ruleset(2): ask for the version only.
const CREATE_RULESET_VERSION: libc::c_uint = 1;
/// LANDLOCK_RULE_PATH_BENEATH of landlock_add_rule(2).
const RULE_PATH_BENEATH: libc::c_uint = 1;

/// LANDLOCK_ACCESS_FS_*, by their bits: what a source does with files, and what a sink does. REFER
/// is for hard links between two folders, since Landlock 2; TRUNCATE is known since 3.
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_FILE: u64 = 1 << 8;
const MAKE_LINK: u64 = 1 << 12;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const READ: u64 = READ_FILE | READ_DIR;
const CHANGE: u64 =
    WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_FILE | MAKE_LINK | REFER | TRUNCATE;

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

/// landlock_add_rule(2)'s `struct landlock_path_beneath_attr`, which has no padding.
#[repr(C, packed)]
struct PathBeneath {
    rights: u64,
    folder: i32,
}

/// No file system access but beneath `folder`, and no TCP bind; where peers come no TCP connect either.
pub(super) fn deny_files(role: Role, folder: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let (all, size) = Ruleset::all(version()?);
    let network = match role.dials() {
        false => all.network,
        true => all.network & NET_BIND,
    };
    let ruleset = create(&Ruleset { network, ..all }, size)?;
    let rights = match role.work {
        Work::Sender | Work::Receiver | Work::Pump => 0,
        Work::TreeSource => READ,
        Work::TreeSink => READ | CHANGE,
    };
    if let Some(folder) = folder {
        allow_beneath(&ruleset, folder, rights & all.files)?;
    }
    restrict(&ruleset)
}

/// Allows these rights, which the rule set handles, for `folder` and everything beneath it.
fn allow_beneath(ruleset: &OwnedFd, folder: BorrowedFd<'_>, rights: u64) -> io::Result<()> {
    let rule = PathBeneath { rights, folder: folder.as_raw_fd() };
    let flags: libc::c_uint = 0;
    // SAFETY: `rule` is live, and of the type that this kind of rule has.
    let added = unsafe {
        libc::syscall(
            number::LANDLOCK_ADD_RULE,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            flags,
        )
    };
    check(added as libc::c_int)?;
    Ok(())
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
    use std::os::fd::AsFd;

    #[test]
    fn the_structure_has_the_kernel_s_size() {
        assert_eq!(size_of::<Ruleset>(), 24);
        assert_eq!(size_of::<PathBeneath>(), 12);
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
            let ruleset = create(&rules, size).unwrap();
            let folder = std::fs::File::open("/").unwrap();
            allow_beneath(&ruleset, folder.as_fd(), (READ | CHANGE) & rules.files).unwrap();
        }
    }
}
