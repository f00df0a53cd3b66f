//! TCP sockets beyond std: both families at once, a backlog, keepalive.

use super::{check, check_size, retry};
use std::io::{self, Read};
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much longer than a write's limit a peer may take to acknowledge. A peer that reads nothing
/// still acknowledges; a peer that is gone does not.
pub const SILENCE: Duration = Duration::from_secs(5);

/// How many connections the kernel queues for a listener.
const BACKLOG: libc::c_int = 1024;

/// Listens on `address`, close-on-exec. The port can be bound again right after the listener's
/// end. The unspecified IPv6 address accepts IPv4 connections too.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = tcp_socket(address, 0)?;
    let fd = socket.as_raw_fd();
    set(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if let SocketAddr::V6(v6) = address {
        let only = libc::c_int::from(*v6.ip() != Ipv6Addr::UNSPECIFIED);
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
    }
    let (storage, length) = raw_address(address);
    // SAFETY: `storage` holds an address of `length` bytes and lives through the call.
    check(unsafe { libc::bind(fd, (&raw const storage).cast(), length) })?;
    // SAFETY: takes numbers only and touches no memory of ours.
    check(unsafe { libc::listen(fd, BACKLOG) })?;
    Ok(TcpListener::from(socket))
}

/// Listens on every address of this machine: IPv6 and IPv4 if the system supports both, else IPv4
/// alone.
pub fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| {
        match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
                listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            }
            _ => Err(error),
        }
    })
}

/// Whether accept(2) failed because this process or the system is out of room. A retry at once
/// fails too, so the caller waits first.
pub fn out_of_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// How long to wait then.
pub const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// A new socket for the family of `address`, close-on-exec, with these flags of socket(2) too.
pub(super) fn tcp_socket(address: SocketAddr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: takes numbers only and touches no memory of ours.
    let descriptor = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: socket has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `address` in the kernel's form, and its length in bytes.
pub(super) fn raw_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all-zero is a valid sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large and aligned enough for every address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(raw) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: sockaddr_storage is large and aligned enough for every address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(raw) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

/// When the kernel probes a silent peer.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between two probes.
    pub interval: Duration,
    /// Probes without an answer after which the peer is gone.
    pub count: u8,
}

/// Has the kernel find out by itself that a silent peer is gone: probes after `idle`
/// and then every `interval`, and gives up after `count` of them (tcp(7)).
pub fn set_keepalive(
    socket: BorrowedFd<'_>,
    idle: Duration,
    interval: Duration,
    count: u8,
) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    set(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds(idle))?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, seconds(interval))?;
    set(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, libc::c_int::from(count))
}

/// Ends the connection when sent data stays unacknowledged for `limit` (tcp(7)): keepalive probes
/// only while no data is on its way. Without this limit the kernel resends data to a dead peer
/// for a quarter of an hour.
///
/// The write's own limit detects a live peer that reads nothing, so this limit must be longer:
/// see [`SILENCE`].
pub fn set_user_timeout(socket: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    let milliseconds = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    set(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, milliseconds)
}

impl Keepalive {
    /// The first probe after 30 s of silence, the others 15 s apart.
    pub const fn probes(count: u8) -> Keepalive {
        let (idle, interval) = (Duration::from_secs(30), Duration::from_secs(15));
        Keepalive { idle, interval, count }
    }

    /// How long a peer is silent before the kernel gives it up.
    pub const fn time(self) -> Duration {
        let probes = self.interval.as_secs() * self.count as u64;
        Duration::from_secs(self.idle.as_secs() + probes)
    }
}

/// Ends the connection when its peer is gone: after [`Keepalive::time`] of silence, or when
/// sent data stays unacknowledged for `unacknowledged` (see [`set_user_timeout`]).
///
/// # Errors
/// The first error of the system. Every option is tried all the same.
pub fn detect_dead_peer(
    socket: BorrowedFd<'_>,
    probes: Keepalive,
    unacknowledged: Duration,
) -> io::Result<()> {
    let Keepalive { idle, interval, count } = probes;
    let kept = set_keepalive(socket, idle, interval, count);
    kept.and(set_user_timeout(socket, unacknowledged))
}

/// Reads available bytes, as std does. Repeats the read after the process was stopped and
/// continued: that interrupts a timed wait even without a handler (signal(7)).
pub fn read(mut socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| socket.read(buffer))
}

/// As [`read`], until `deadline` at most.
///
/// # Errors
/// `ETIMEDOUT`; the errors of read(2).
pub fn read_by(socket: &TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
    wait_by(socket, deadline, |mut socket| socket.read(buffer))
}

/// Waits for the next byte, until `deadline` at most, and leaves it to be read; `None` at the end
/// of the stream.
///
/// # Errors
/// As [`read_by`].
pub fn peek_by(socket: &TcpStream, deadline: Instant) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let count = wait_by(socket, deadline, |socket| socket.peek(&mut byte))?;
    Ok((count > 0).then_some(byte[0]))
}

fn wait_by(
    socket: &TcpStream,
    deadline: Instant,
    mut call: impl FnMut(&TcpStream) -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        socket.set_read_timeout(Some(left))?;
        match call(socket) {
            // The time is up, or a signal came: the deadline tells which.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            other => return other,
        }
    }
}

/// Sends all of `bytes`. The kernel waits for the next bytes before it sends a packet (MSG_MORE,
/// send(2)).
pub fn send_more(socket: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL;
        let sent = retry(|| {
            // SAFETY: `bytes` is readable for `bytes.len()` bytes.
            check_size(unsafe {
                libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags)
            })
        })?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// How long a round trip takes, as the kernel has measured it (TCP_INFO, tcp(7)); `None` if it
/// does not tell.
pub fn round_trip(socket: BorrowedFd<'_>) -> Option<Duration> {
    // SAFETY: all-zero is a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` is writable for `length` bytes, and both live through the call.
    let asked = check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        )
    });
    let end = mem::offset_of!(libc::tcp_info, tcpi_rtt) + size_of::<u32>();
    let known = asked.is_ok() && length as usize >= end && info.tcpi_rtt > 0;
    known.then(|| Duration::from_micros(info.tcpi_rtt.into()))
}

/// Sets whether closing `socket` resets the connection and discards unsent bytes (socket(7),
/// SO_LINGER). That also holds when the process is killed: no socket waits for a peer that never
/// reads, and no peer mistakes the close for the end of the data.
pub fn reset_on_close(socket: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let linger = libc::linger { l_onoff: on.into(), l_linger: 0 };
    set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, linger)
}

fn seconds(time: Duration) -> libc::c_int {
    libc::c_int::try_from(time.as_secs()).unwrap_or(libc::c_int::MAX)
}

/// Sets an option whose value the kernel takes as a `T`.
fn set<T>(fd: libc::c_int, level: libc::c_int, name: libc::c_int, value: T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    retry(|| {
        // SAFETY: `value` is alive, and `size` is its size.
        check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) })
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn listening_everywhere_takes_ipv4_too() {
        let listener = listen_everywhere(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_canonical(), "127.0.0.1".parse::<std::net::IpAddr>().unwrap());
    }

    #[test]
    fn an_address_in_use_is_an_error_in_the_c_library_s_words() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = listen(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(crate::error::system_words(&error), "Address already in use");
    }

    #[test]
    fn a_peeked_byte_stays_to_be_read() {
        use std::io::Write;
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (here, _) = listener.accept().unwrap();
        let soon = || Instant::now() + Duration::from_millis(20);
        let late = Instant::now() + Duration::from_secs(60);
        assert_eq!(peek_by(&here, soon()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        there.write_all(b"xy").unwrap();
        assert_eq!(peek_by(&here, late).unwrap(), Some(b'x'));
        assert_eq!(read_by(&here, &mut [0], late).unwrap(), 1);
        assert_eq!(peek_by(&here, late).unwrap(), Some(b'y'));
        assert_eq!(read_by(&here, &mut [0; 9], late).unwrap(), 1);
        let error = read_by(&here, &mut [0], soon()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(there);
        assert_eq!(peek_by(&here, late).unwrap(), None);
        assert!(peek_by(&here, Instant::now()).is_err());
    }

    #[test]
    fn a_round_trip_takes_some_time() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(round_trip(stream.as_fd()).is_some_and(|time| time < Duration::from_secs(60)));
    }

    #[test]
    fn bytes_that_wait_for_more_arrive_with_it() {
        use std::io::Write;
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        send_more(stream.as_fd(), b"head").unwrap();
        stream.write_all(b"body").unwrap();
        drop(stream);
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "headbody");
    }

    #[test]
    fn keepalive_is_accepted() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_keepalive(stream.as_fd(), Duration::from_secs(30), Duration::from_secs(10), 6).unwrap();
        set_user_timeout(stream.as_fd(), Duration::from_secs(60)).unwrap();
        detect_dead_peer(stream.as_fd(), Keepalive::probes(4), Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn keepalive_takes_the_idle_time_and_all_probes() {
        assert_eq!(Keepalive::probes(4).time(), Duration::from_secs(90));
        assert_eq!(Keepalive::probes(6).time(), Duration::from_secs(120));
    }

    #[test]
    fn a_connection_can_be_reset_instead_of_ended() {
        use std::io::Read;
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        for broken in [true, false] {
            let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (here, _) = listener.accept().unwrap();
            reset_on_close(here.as_fd(), true).unwrap();
            reset_on_close(here.as_fd(), broken).unwrap();
            drop(here);
            assert_eq!(there.read(&mut [0]).is_err(), broken);
        }
    }
}
