//! Becomes another user for good. A program that needs root for its port does so before it
//! accepts a connection.

use super::check;
use super::sandbox::limit_core_dumps;
use std::ffi::{CStr, CString};
use std::io;

/// The greatest size of the system's entry of a user, with its texts, in bytes.
const MAX_ENTRY: usize = 1 << 20;

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: CString,
    user: libc::uid_t,
    group: libc::gid_t,
}

/// Looks up a user by name; `None` if there is none.
pub fn find(name: &[u8]) -> io::Result<Option<User>> {
    let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut room = 1024;
    loop {
        let mut buffer: Vec<libc::c_char> = vec![0; room];
        // SAFETY: all-zero is a valid passwd: null pointers and numbers.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: the name is a live C string; entry, buffer and `found` are writable,
        // and the buffer has the length given.
        let failed = unsafe {
            libc::getpwnam_r(name.as_ptr(), &mut entry, buffer.as_mut_ptr(), room, &mut found)
        };
        match failed {
            0 if found.is_null() => return Ok(None),
            0 => return Ok(Some(User { name, user: entry.pw_uid, group: entry.pw_gid })),
            libc::ERANGE if room < MAX_ENTRY => room *= 2,
            libc::EINTR => {}
            // The errors of systems without this user, or without a file of users.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            other => return Err(io::Error::from_raw_os_error(other)),
        }
    }
}

/// Becomes this user, with its own groups only, for all threads of the process, and checks that
/// there is no way back. Calls that need root fail afterwards. This process leaves no core file,
/// as after [`limit_core_dumps`].
///
/// # Errors
/// `EPERM` if this process is not root; `InvalidInput` for root itself. After an error the
/// process may be half changed, and has to end.
pub fn become_user(user: &User) -> io::Result<()> {
    if user.user == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this user is root"));
    }
    let name: &CStr = &user.name;
    // SAFETY: the name is a live C string; the others take numbers only.
    unsafe {
        check(libc::initgroups(name.as_ptr(), user.group as _))?;
        check(libc::setresgid(user.group, user.group, user.group))?;
        check(libc::setresuid(user.user, user.user, user.user))?;
        let root_again = libc::setuid(0) == 0 || libc::seteuid(0) == 0;
        let group_again = user.group != 0 && libc::setgid(0) == 0;
        let changed = (libc::geteuid(), libc::getegid()) == (user.user, user.group);
        if root_again || group_again || !changed {
            return Err(io::Error::other("the way back to root is still open"));
        }
    }
    // A change of user resets this to fs.suid_dumpable. An error is ignored.
    let _ = limit_core_dumps();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_is_not_a_user_to_become() {
        let root = find(b"root").unwrap().unwrap();
        assert_eq!((root.user, root.group), (0, 0));
        assert_eq!(become_user(&root).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    /// If fs.suid_dumpable is 0, the kernel does half of it. The limit is set in any case.
    #[test]
    fn another_user_leaves_no_core_file_either() {
        const NAME: &str = "sys::user::tests::another_user_leaves_no_core_file_either";
        const CHILD: &str = "ROPEWALK_USER_TEST";
        let Ok(Some(nobody)) = find(b"nobody") else { return };
        if crate::sys::process::effective_user() != 0 {
            return;
        }
        if std::env::var_os(CHILD).is_none() {
            // A process of its own, since there is no way back.
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", NAME, "--nocapture", "--test-threads", "1"]).env(CHILD, "1");
            let output = command.env("LSAN_OPTIONS", "detect_leaks=0").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
            return;
        }
        if let Err(error) = become_user(&nobody) {
            // A container's root may be unable to become another user.
            assert!(matches!(error.raw_os_error(), Some(libc::EPERM | libc::EINVAL)), "{error}");
            return;
        }
        let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        let zero: libc::c_ulong = 0;
        // SAFETY: `limit` is writable and lives through the call; the other takes numbers
        // only.
        let dumpable = unsafe {
            check(libc::getrlimit(libc::RLIMIT_CORE, &mut limit)).unwrap();
            libc::prctl(libc::PR_GET_DUMPABLE, zero, zero, zero, zero)
        };
        assert_eq!((limit.rlim_cur, limit.rlim_max, dumpable), (0, 0, 0));
    }

    #[test]
    fn an_unknown_name_is_none() {
        assert_eq!(find(b"ropewalk-no-such-user").unwrap(), None);
        assert!(find(b"a\0b").is_err());
    }
}
