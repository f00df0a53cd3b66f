//! Connects over TCP to the first of several addresses that answers (RFC 8305, section 5).

use super::socket::{raw_address, tcp_socket};
use super::{check, poll};
use crate::error::Error;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The most attempts at once. Each has a descriptor, and a name may have any number of addresses.
const MAX_ATTEMPTS: usize = 32;

/// How long an address may be silent before the next one is tried too (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers, each for `limit` at most. An address that
/// is silent holds up the next one for 250 ms only.
///
/// # Errors
/// Those of [`race`].
pub fn connect_any(
    addresses: &[SocketAddr],
    limit: Duration,
) -> io::Result<(TcpStream, SocketAddr)> {
    race(addresses, ATTEMPT_DELAY, limit, None)
}

/// Connects to `address`, for `limit` at most, and gives up at once when `bell` becomes
/// readable or is closed.
///
/// # Errors
/// Those of [`race`].
pub fn connect_unless(
    address: SocketAddr,
    limit: Duration,
    bell: BorrowedFd<'_>,
) -> io::Result<TcpStream> {
    race(&[address], ATTEMPT_DELAY, limit, Some(bell)).map(|(stream, _)| stream)
}

/// Adds what to do to an error that has this cause and to which `addresses` led: a link-local
/// address is of use only together with its interface.
pub fn advise_zone(error: Error, cause: &io::Error, addresses: &[SocketAddr]) -> Error {
    let lacks_zone = |address: &SocketAddr| match address {
        SocketAddr::V6(v6) => v6.ip().is_unicast_link_local() && v6.scope_id() == 0,
        SocketAddr::V4(_) => false,
    };
    match addresses.iter().find(|address| lacks_zone(address)) {
        Some(address) if cause.kind() == io::ErrorKind::InvalidInput => error.advise(format!(
            "a link-local address needs its interface: {}%eth0, say",
            address.ip()
        )),
        _ => error,
    }
}

/// Connects to the first of `addresses` that answers. A further attempt begins when the one
/// before it has failed, or after `delay` without an answer; the earlier ones go on. Each may
/// take `limit`. All end at once when `bell` becomes readable or is closed.
///
/// # Errors
/// `Interrupted` for the bell. Else what became of the attempts: a refusal counts most, then
/// `ETIMEDOUT`, then what else socket(2) and connect(2) gave. `AddrNotAvailable` without an
/// address.
pub fn race(
    addresses: &[SocketAddr],
    delay: Duration,
    limit: Duration,
    bell: Option<BorrowedFd<'_>>,
) -> io::Result<(TcpStream, SocketAddr)> {
    if let poll::Ready::Bell = poll::writable_or(&[], bell, Instant::now())? {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let mut race = Race {
        left: addresses.iter().copied().collect(),
        attempts: Vec::new(),
        next: Instant::now(),
        failure: io::ErrorKind::AddrNotAvailable.into(),
    };
    loop {
        while race.starts_another() {
            race.start(delay, limit);
        }
        let Some(deadline) = race.deadline() else { return Err(race.failure) };
        let streams: Vec<BorrowedFd<'_>> =
            race.attempts.iter().map(|attempt| attempt.stream.as_fd()).collect();
        match poll::writable_or(&streams, bell, deadline)? {
            poll::Ready::Bell => return Err(io::ErrorKind::Interrupted.into()),
            poll::Ready::Some(ready) => {
                if let Some(winner) = race.look(&ready)? {
                    return Ok(winner);
                }
            }
        }
    }
}

/// The remaining addresses, the attempts under way, and the results of the others.
struct Race {
    left: VecDeque<SocketAddr>,
    attempts: Vec<Attempt>,
    /// When the next attempt begins.
    next: Instant,
    failure: io::Error,
}

/// An attempt under way.
struct Attempt {
    stream: TcpStream,
    address: SocketAddr,
    until: Instant,
}

impl Race {
    fn has_more(&self) -> bool {
        !self.left.is_empty() && self.attempts.len() < MAX_ATTEMPTS
    }

    fn starts_another(&self) -> bool {
        self.has_more() && (self.attempts.is_empty() || self.next <= Instant::now())
    }

    fn start(&mut self, delay: Duration, limit: Duration) {
        let Some(address) = self.left.pop_front() else { return };
        match begin(address) {
            Ok(stream) => {
                let now = Instant::now();
                self.next = now + delay;
                self.attempts.push(Attempt { stream, address, until: now + limit });
            }
            Err(error) => self.failed(error),
        }
    }

    /// The time of the next action if no address answers; `None` if nothing is under way.
    fn deadline(&self) -> Option<Instant> {
        let first = self.attempts.iter().map(|attempt| attempt.until).min()?;
        Some(if self.has_more() { first.min(self.next) } else { first })
    }

    /// The established connection, if there is one. Closes attempts that have failed or timed
    /// out.
    fn look(&mut self, ready: &[bool]) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let now = Instant::now();
        for (attempt, ready) in std::mem::take(&mut self.attempts).into_iter().zip(ready) {
            if !ready && attempt.until > now {
                self.attempts.push(attempt);
                continue;
            }
            if !ready {
                self.failed(io::Error::from_raw_os_error(libc::ETIMEDOUT));
                continue;
            }
            match attempt.stream.take_error()? {
                Some(error) => self.failed(error),
                None => {
                    attempt.stream.set_nonblocking(false)?;
                    return Ok(Some((attempt.stream, attempt.address)));
                }
            }
        }
        Ok(None)
    }

    fn failed(&mut self, error: io::Error) {
        let weight = |error: &io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused => 2,
            io::ErrorKind::TimedOut => 1,
            _ => 0,
        };
        if weight(&error) >= weight(&self.failure) {
            self.failure = error;
        }
        self.next = Instant::now();
    }
}

/// Begins to connect. The socket becomes writable when the attempt has succeeded or failed.
fn begin(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::from(tcp_socket(address, libc::SOCK_NONBLOCK)?);
    let (storage, length) = raw_address(address);
    let descriptor = stream.as_raw_fd();
    // SAFETY: `storage` holds an address of `length` bytes and lives through the call.
    let begun = check(unsafe { libc::connect(descriptor, (&raw const storage).cast(), length) });
    match begun {
        // A signal does not end the attempt (connect(2)).
        Err(error)
            if [Some(libc::EINPROGRESS), Some(libc::EINTR)].contains(&error.raw_os_error()) =>
        {
            Ok(stream)
        }
        begun => begun.map(|_| stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    /// A listener that accepts nothing and whose queue is full: connections to it wait.
    struct Silent {
        address: SocketAddr,
        listener: TcpListener,
        queue: Vec<TcpStream>,
    }

    fn silent() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: listen takes two numbers and touches no memory; the descriptor is open.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_millis(300);
        let queue = std::iter::from_fn(|| race(&[address], limit, limit, None).ok()).map(|it| it.0);
        Silent { address, queue: queue.collect(), listener }
    }

    /// A bound port without a listener: connections to it are refused.
    struct Refusing {
        address: SocketAddr,
        _socket: OwnedFd,
    }

    fn refusing() -> Refusing {
        let any = "127.0.0.1:0".parse().unwrap();
        let socket = tcp_socket(any, 0).unwrap();
        let (storage, length) = raw_address(any);
        // SAFETY: `storage` holds an address of `length` bytes and lives through the call.
        check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const storage).cast(), length) })
            .unwrap();
        // Only to ask for the address.
        let listener = TcpListener::from(socket.try_clone().unwrap());
        Refusing { address: listener.local_addr().unwrap(), _socket: socket }
    }

    #[test]
    fn a_silent_address_delays_the_next_one_only_by_the_delay() {
        let (silent, listener) = (silent(), TcpListener::bind("127.0.0.1:0").unwrap());
        let good = listener.local_addr().unwrap();
        let begun = Instant::now();
        let (stream, address) = race(&[silent.address, good], SHORT, LONG, None).unwrap();
        assert_eq!((stream.peer_addr().unwrap(), address), (good, good));
        assert!((SHORT..LONG / 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_refusal_does_not_delay_the_next_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let (silent, refusing) = (silent(), refusing());
        assert_eq!(race(&[refusing.address, good], LONG, LONG, None).unwrap().1, good);
        let all = [silent.address, refusing.address, good];
        assert_eq!(race(&all, SHORT, LONG, None).unwrap().1, good);
    }

    #[test]
    fn an_address_that_answers_late_is_still_taken() {
        let (silent, refusing) = (silent(), refusing());
        let addresses = [silent.address, refusing.address];
        std::thread::scope(|scope| {
            let attempt = scope.spawn(|| race(&addresses, SHORT, LONG, None).unwrap().1);
            std::thread::sleep(SHORT * 5);
            // The kernel tries again after a second, and there is room then.
            for _ in 0..=silent.queue.len() {
                silent.listener.accept().unwrap();
            }
            assert_eq!(attempt.join().unwrap(), silent.address);
        });
    }

    #[test]
    fn a_refusal_is_reported_rather_than_a_timeout() {
        let (silent, refusing) = (silent(), refusing());
        let limit = Duration::from_millis(100);
        let all = [silent.address, refusing.address];
        let error = race(&all, SHORT, limit, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = race(&all[..1], SHORT, limit, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
        let error = race(&[], SHORT, limit, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_bell_ends_all_attempts() {
        let (silent, listener) = (silent(), TcpListener::bind("127.0.0.1:0").unwrap());
        let good = listener.local_addr().unwrap();
        let (bell, ringer) = UnixStream::pair().unwrap();
        race(&[good], SHORT, LONG, Some(bell.as_fd())).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| race(&[silent.address], SHORT, LONG, Some(bell.as_fd())));
            drop(ringer);
            assert_eq!(waiting.join().unwrap().unwrap_err().kind(), io::ErrorKind::Interrupted);
        });
        let error = race(&[good], SHORT, LONG, Some(bell.as_fd())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
