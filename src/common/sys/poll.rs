//! Waiting for any of several descriptors.

use super::retry;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Waits until one of `descriptors` is readable or closed by its peer; without
/// `limit` for as long as it takes. The answer says for each, in order, whether it
/// is ready; all are `false` when the time ran out.
pub fn readable(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut set: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let deadline = limit.map(|limit| Instant::now() + limit);
    retry(|| {
        let milliseconds = match deadline {
            None => -1,
            Some(deadline) => milliseconds_until(deadline),
        };
        // SAFETY: `set` is a live array of `set.len()` pollfd values.
        let ready =
            unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, milliseconds) };
        super::check(ready)
    })?;
    Ok(set.iter().map(|entry| entry.revents != 0).collect())
}

/// Waits until `descriptor` can be written to, or has failed, for as long as it takes.
pub fn writable(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut entry = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: `entry` is one live pollfd.
    retry(|| super::check(unsafe { libc::poll(&raw mut entry, 1, -1) }))?;
    Ok(())
}

/// What ended a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// For each descriptor, in order, whether it can be written to or has failed. All are
    /// `false` when the time ran out.
    Some(Vec<bool>),
    /// The bell rings. Then the descriptors do not count.
    Bell,
}

/// Waits until one of `descriptors` can be written to, or `bell` is readable or closed, until
/// `deadline` at most.
pub fn writable_or(
    descriptors: &[BorrowedFd<'_>],
    bell: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> io::Result<Ready> {
    let entry =
        |fd: &BorrowedFd<'_>, events| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    let mut set: Vec<libc::pollfd> =
        descriptors.iter().map(|fd| entry(fd, libc::POLLOUT)).collect();
    set.extend(bell.iter().map(|fd| entry(fd, libc::POLLIN)));
    retry(|| {
        let milliseconds = milliseconds_until(deadline);
        // SAFETY: `set` is a live array of `set.len()` pollfd values.
        let ready =
            unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, milliseconds) };
        super::check(ready)
    })?;
    let mut ready: Vec<bool> = set.iter().map(|entry| entry.revents != 0).collect();
    let rings = ready.split_off(descriptors.len()).contains(&true);
    Ok(if rings { Ready::Bell } else { Ready::Some(ready) })
}

/// Milliseconds from now to `deadline` as poll(2) takes them, rounded up so that a
/// wait never ends early and spins.
pub(super) fn milliseconds_until(deadline: Instant) -> libc::c_int {
    let left = deadline.saturating_duration_since(Instant::now());
    libc::c_int::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn says_which_descriptor_is_ready() {
        let (quiet, _other) = UnixStream::pair().unwrap();
        let (busy, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(readable(&[quiet.as_fd(), busy.as_fd()], None).unwrap(), [false, true]);
    }

    #[test]
    fn a_closed_peer_counts_as_ready() {
        let (here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert_eq!(readable(&[here.as_fd()], None).unwrap(), [true]);
    }

    #[test]
    fn time_runs_out() {
        let (here, _there) = UnixStream::pair().unwrap();
        assert_eq!(readable(&[here.as_fd()], Some(Duration::from_millis(1))).unwrap(), [false]);
    }
}
