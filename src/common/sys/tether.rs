//! Word of sockets that other processes hold, once nobody holds the other end any more.

use super::{check, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The most words that are taken at once.
const WORDS: usize = 16;

/// Sockets that are watched for the end of their peers. This process need not keep a socket open:
/// epoll(7) forgets it only when its last holder, in any process, has closed it.
#[derive(Debug)]
pub struct Tethers(OwnedFd);

impl Tethers {
    /// No sockets yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Tethers> {
        // SAFETY: epoll_create1 takes a number and touches no memory.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: epoll_create1 has just returned it, and nothing else owns it.
        Ok(Tethers(unsafe { OwnedFd::from_raw_fd(epoll) }))
    }

    /// Watches `socket`, whose peer's end is told with this number, once.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn tie(&self, socket: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        // EPOLLHUP is told in any case: nobody reads from the socket, or writes to it, any more.
        let mut event = libc::epoll_event { events: libc::EPOLLONESHOT as u32, u64: number };
        // SAFETY: `event` is a live epoll_event, which the kernel copies.
        check(unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        })?;
        Ok(())
    }

    /// The numbers of sockets whose peers have ended since the last call. Does not wait; the
    /// descriptor is readable while there are any.
    ///
    /// # Errors
    /// What epoll_wait(2) gives.
    pub fn cut(&self) -> io::Result<Vec<u64>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; WORDS];
        let count = retry(|| {
            // SAFETY: `events` has room for so many events.
            check(unsafe {
                libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), WORDS as libc::c_int, 0)
            })
        })?;
        Ok(events.iter().take(count as usize).map(|event| event.u64).collect())
    }
}

impl AsFd for Tethers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    /// A process that holds one end of a socket, which is watched as number 7, and the other end.
    fn tied(tethers: &Tethers) -> (Child, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        tethers.tie(there.as_fd(), 7).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec sleep 1000"]);
        command.stdin(Stdio::null()).stdout(OwnedFd::from(there));
        let child = command.spawn().unwrap();
        drop(command);
        (&here).read_exact(&mut [0; 6]).unwrap();
        (child, here)
    }

    fn is_told(tethers: &Tethers, limit: Duration) -> bool {
        poll::readable(&[tethers.as_fd()], Some(limit)).unwrap() == [true]
    }

    #[test]
    fn the_end_of_the_last_holder_of_the_other_end_is_told_once() {
        let tethers = Tethers::new().unwrap();
        let (mut child, here) = tied(&tethers);
        let copy = here.try_clone().unwrap();
        (&here).write_all(b"x").unwrap();
        drop(here);
        assert!(!is_told(&tethers, Duration::from_millis(1)), "a copy is open");
        drop(copy);
        assert!(is_told(&tethers, Duration::from_secs(1000)));
        assert_eq!(tethers.cut().unwrap(), [7]);
        assert_eq!(tethers.cut().unwrap(), [0; 0]);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn an_end_that_is_shut_counts_although_it_is_held() {
        let tethers = Tethers::new().unwrap();
        let (mut child, here) = tied(&tethers);
        here.shutdown(Shutdown::Write).unwrap();
        assert!(!is_told(&tethers, Duration::from_millis(1)), "one direction is open");
        here.shutdown(Shutdown::Both).unwrap();
        assert!(is_told(&tethers, Duration::from_secs(1000)));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_ends_first_is_forgotten() {
        let tethers = Tethers::new().unwrap();
        let (mut child, here) = tied(&tethers);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(here);
        assert_eq!(tethers.cut().unwrap(), [0; 0]);
    }
}
