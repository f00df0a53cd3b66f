//! Waiting for any of several descriptors.

use super::retry;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The pause before a call that failed for lack of memory is repeated.
const NO_MEMORY_PAUSE: Duration = Duration::from_millis(10);

/// Waits until one of `descriptors` is readable or closed by its peer; without `limit`, forever.
/// The answer has, in order, whether each is ready; all are `false` if the time has run out.
pub fn readable(descriptors: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut set: Vec<libc::pollfd> =
        descriptors.iter().map(|fd| entry(*fd, libc::POLLIN)).collect();
    wait(&mut set, limit.map(|limit| Instant::now() + limit))?;
    Ok(set.iter().map(|entry| entry.revents != 0).collect())
}

/// Waits until `descriptor` is writable or has failed.
pub fn writable(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    wait(&mut [entry(descriptor, libc::POLLOUT)], None)
}

/// As [`writable`], for `limit` at most; `false` if the time has run out.
pub fn writable_within(descriptor: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    let mut set = [entry(descriptor, libc::POLLOUT)];
    wait(&mut set, Some(Instant::now() + limit))?;
    Ok(set[0].revents != 0)
}

/// What ended a wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The target is writable or has failed.
    There,
    /// Nobody can write to the source any more.
    SourceEnded,
    /// The time has run out.
    Late,
}

/// Waits until `target` is writable, or the other end of `source` is closed, for `limit` at most.
pub fn room(target: BorrowedFd<'_>, source: BorrowedFd<'_>, limit: Duration) -> io::Result<Room> {
    // POLLHUP and POLLERR need not be asked for.
    let mut set = [entry(target, libc::POLLOUT), entry(source, 0)];
    wait(&mut set, Some(Instant::now() + limit))?;
    Ok(match set.map(|entry| entry.revents != 0) {
        [true, _] => Room::There,
        [false, true] => Room::SourceEnded,
        [false, false] => Room::Late,
    })
}

/// What ended a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// For each descriptor, in order, whether it is writable or has failed. All are `false` if
    /// the time has run out.
    Some(Vec<bool>),
    /// The bell rings. Then the descriptors are not checked.
    Bell,
}

/// Waits until one of `descriptors` is writable, or `bell` is readable or closed, until
/// `deadline` at most.
pub fn writable_or(
    descriptors: &[BorrowedFd<'_>],
    bell: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> io::Result<Ready> {
    let mut set: Vec<libc::pollfd> =
        descriptors.iter().map(|fd| entry(*fd, libc::POLLOUT)).collect();
    set.extend(bell.map(|fd| entry(fd, libc::POLLIN)));
    wait(&mut set, Some(deadline))?;
    let mut ready: Vec<bool> = set.iter().map(|entry| entry.revents != 0).collect();
    let rings = ready.split_off(descriptors.len()).contains(&true);
    Ok(if rings { Ready::Bell } else { Ready::Some(ready) })
}

/// What poll(2) is to look for at one descriptor.
fn entry(descriptor: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 }
}

/// Waits for any of `set`, until `deadline` at most. Repeats a wait that failed for lack of
/// memory.
pub(super) fn wait(set: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<()> {
    while_short_of_memory(deadline, || {
        let milliseconds = deadline.map_or(-1, milliseconds_until);
        // SAFETY: `set` is a live array of `set.len()` pollfd values.
        super::check(unsafe {
            libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, milliseconds)
        })
    })?;
    Ok(())
}

/// Repeats a system call while it fails for lack of memory, until `deadline`.
fn while_short_of_memory<T>(
    deadline: Option<Instant>,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match retry(&mut call) {
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EAGAIN))
                    && deadline.is_none_or(|at| Instant::now() < at) =>
            {
                std::thread::sleep(NO_MEMORY_PAUSE);
            }
            done => return done,
        }
    }
}

/// Milliseconds from now to `deadline` for poll(2), rounded up: a wait that ends early would
/// spin.
fn milliseconds_until(deadline: Instant) -> libc::c_int {
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
    fn the_answer_names_the_ready_descriptor() {
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
    fn a_call_without_memory_is_repeated() {
        let mut calls = 0;
        let mut call = || {
            calls += 1;
            if calls <= 2 { Err(io::Error::from_raw_os_error(libc::ENOMEM)) } else { Ok(calls) }
        };
        assert_eq!(while_short_of_memory(None, &mut call).unwrap(), 3);
        let gone = || Err::<(), _>(io::Error::from_raw_os_error(libc::ENOMEM));
        assert!(while_short_of_memory(Some(Instant::now()), gone).is_err());
    }

    #[test]
    fn a_wait_for_a_full_pipe_ends_at_its_limit() {
        let (mut here, _there) = UnixStream::pair().unwrap();
        assert!(writable_within(here.as_fd(), Duration::from_secs(60)).unwrap());
        here.set_nonblocking(true).unwrap();
        while here.write(&[0; 4096]).is_ok() {}
        assert!(!writable_within(here.as_fd(), Duration::from_millis(1)).unwrap());
    }

    #[test]
    fn time_runs_out() {
        let (here, _there) = UnixStream::pair().unwrap();
        assert_eq!(readable(&[here.as_fd()], Some(Duration::from_millis(1))).unwrap(), [false]);
    }
}
