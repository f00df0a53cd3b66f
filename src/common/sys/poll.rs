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

/// Which of two descriptors ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The first: it can be written to, or has failed.
    First,
    /// The bell rings; then the first does not count.
    Bell,
    /// Neither: the time ran out.
    Neither,
}

/// Waits until `first` can be written to or `bell` is readable or closed, at most for
/// `limit`.
pub fn writable_or(
    first: BorrowedFd<'_>,
    bell: BorrowedFd<'_>,
    limit: Duration,
) -> io::Result<Ready> {
    let mut set = [
        libc::pollfd { fd: first.as_raw_fd(), events: libc::POLLOUT, revents: 0 },
        libc::pollfd { fd: bell.as_raw_fd(), events: libc::POLLIN, revents: 0 },
    ];
    let deadline = Instant::now() + limit;
    retry(|| {
        // SAFETY: `set` is a live array of two pollfd values.
        super::check(unsafe { libc::poll(set.as_mut_ptr(), 2, milliseconds_until(deadline)) })
    })?;
    Ok(match set.map(|entry| entry.revents != 0) {
        [_, true] => Ready::Bell,
        [true, false] => Ready::First,
        [false, false] => Ready::Neither,
    })
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
