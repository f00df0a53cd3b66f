//! Watches sockets that other processes hold, and says when nobody holds the other end any more.

use super::{check, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The most ends that are taken at once.
const MOST: usize = 16;

/// Sockets that are watched for the end of their peers. This process need not keep a socket open:
/// epoll(7) forgets it only when its last holder, in any process, has closed it.
#[derive(Debug)]
pub struct PeerWatch(OwnedFd);

impl PeerWatch {
    /// No sockets yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<PeerWatch> {
        // SAFETY: epoll_create1 takes a number and touches no memory.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: epoll_create1 has just returned it, and nothing else owns it.
        Ok(PeerWatch(unsafe { OwnedFd::from_raw_fd(epoll) }))
    }

    /// Watches `socket`, whose peer's end is told with this number, once.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn add(&self, socket: BorrowedFd<'_>, number: u64) -> io::Result<()> {
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
    pub fn ended(&self) -> io::Result<Vec<u64>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        let count = retry(|| {
            // SAFETY: `events` has room for so many events.
            check(unsafe {
                libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), MOST as libc::c_int, 0)
            })
        })?;
        Ok(events.iter().take(count as usize).map(|event| event.u64).collect())
    }
}

impl AsFd for PeerWatch {
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
    fn watched(watch: &PeerWatch) -> (Child, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        watch.add(there.as_fd(), 7).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec sleep 1000"]);
        command.stdin(Stdio::null()).stdout(OwnedFd::from(there));
        let child = command.spawn().unwrap();
        drop(command);
        (&here).read_exact(&mut [0; 6]).unwrap();
        (child, here)
    }

    fn is_told(watch: &PeerWatch, limit: Duration) -> bool {
        poll::readable(&[watch.as_fd()], Some(limit)).unwrap() == [true]
    }

    #[test]
    fn the_end_of_the_last_holder_of_the_other_end_is_told_once() {
        let watch = PeerWatch::new().unwrap();
        let (mut child, here) = watched(&watch);
        let copy = here.try_clone().unwrap();
        (&here).write_all(b"x").unwrap();
        drop(here);
        assert!(!is_told(&watch, Duration::from_millis(1)), "a copy is open");
        drop(copy);
        assert!(is_told(&watch, Duration::from_secs(1000)));
        assert_eq!(watch.ended().unwrap(), [7]);
        assert_eq!(watch.ended().unwrap(), [0; 0]);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn an_end_that_is_shut_counts_although_it_is_held() {
        let watch = PeerWatch::new().unwrap();
        let (mut child, here) = watched(&watch);
        here.shutdown(Shutdown::Write).unwrap();
        assert!(!is_told(&watch, Duration::from_millis(1)), "one direction is open");
        here.shutdown(Shutdown::Both).unwrap();
        assert!(is_told(&watch, Duration::from_secs(1000)));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_ends_first_is_forgotten() {
        let watch = PeerWatch::new().unwrap();
        let (mut child, here) = watched(&watch);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(here);
        assert_eq!(watch.ended().unwrap(), [0; 0]);
    }
}
